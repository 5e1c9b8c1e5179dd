#include "base/check.h"
#include "v2store/snapshot.h"
#include "v2store/store.h"
#include "v2store/store_impl.h"

namespace kvorum::v2store {
namespace {

class SharedView final : public Store::View {
 public:
  explicit SharedView(Snapshot snapshot) : snapshot_(std::move(snapshot)) {}
  std::string ToJson() const override { return v2store::ToJson(snapshot_); }

 private:
  const Snapshot snapshot_;
};

}  // namespace

Snapshot Store::Impl::TakeSnapshot() const {
  Snapshot snapshot{.past = hub.past(), .stats = counters.Get()};
  absl::ReaderMutexLock lock(&mutex);
  snapshot.root = tree.root();
  snapshot.index = index.load(std::memory_order_relaxed);
  return snapshot;
}

std::unique_ptr<Store::View> Store::SaveView() const {
  return std::make_unique<SharedView>(impl_->TakeSnapshot());
}

absl::Status Store::Recover(std::string_view json) {
  absl::StatusOr<Snapshot> snapshot = SnapshotFromJson(json, impl_->TakeSnapshot());
  if (!snapshot.ok()) return snapshot.status();
  Tree tree(std::move(snapshot->root));
  const uint64_t before = index();
  {
    absl::MutexLock lock(&impl_->mutex);
    std::swap(impl_->tree, tree);
    index_.store(snapshot->index, std::memory_order_release);
    ttls_.store(impl_->tree.expiring().size(), std::memory_order_release);
    auth_changes_.fetch_add(1, std::memory_order_release);
  }
  impl_->counters.Set(snapshot->stats);
  impl_->hub.Restore(std::move(snapshot->past), before, snapshot->index);
  return absl::OkStatus();
}

}  // namespace kvorum::v2store
