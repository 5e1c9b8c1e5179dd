#include "member/compactor.h"

#include <memory>
#include <utility>
#include <vector>

namespace kvorum::member {

void Compactor::Run() {
  if (running_ || stopped_ || !store_->compacting()) return;
  running_ = true;
  if (!options_.compact_hash_check) return ports_.apply_executor->Post([this] { Step(); });
  ports_.background_executor->Post([this] {
    if (const absl::Status status = store_->HashCompaction(); !status.ok()) {
      KVORUM_LOG(*ports_.logger, kError, "failed to hash a compaction", {"error", status.ToString()});
    }
    ports_.apply_executor->Post([this] { Step(); });
  });
}

void Compactor::Step() {
  if (stopped_) return;
  if (paused_) {
    running_ = false;
    return;
  }
  if (store_->CompactStep(options_.compaction_batch_limit)) {
    timer_ = ports_.apply_executor->PostAfter(options_.compaction_sleep_interval, [this] { Step(); });
    return;
  }
  running_ = false;
  Finished();
}

void Compactor::Resume() {
  paused_ = false;
  Run();
  if (!running_) Finished();
}

void Compactor::Wait(int64_t revision, Done done) {
  waiting_.emplace(revision, std::move(done));
  if (!store_->compacting() && !paused_) Finished();
}

void Compactor::Finished() {
  auto reached = std::make_shared<std::vector<Done>>();  // shared with the backend's callback alone
  const auto end = waiting_.upper_bound(store_->compact_revision());
  for (auto it = waiting_.begin(); it != end; ++it) reached->push_back(std::move(it->second));
  waiting_.erase(waiting_.begin(), end);
  if (reached->empty()) return;
  ports_.backend->Commit([reached](absl::Status status) {
    for (Done& done : *reached) done(status);
  });
}

void Compactor::Stop(const absl::Status& status) {
  stopped_ = true;
  ports_.apply_executor->CancelTimer(timer_);
  for (auto& [revision, done] : std::exchange(waiting_, {})) done(status);
}

}  // namespace kvorum::member
