#include "member/read_rounds.h"

#include <utility>

#include "member/errors.h"

namespace kvorum::member {
namespace {

constexpr std::chrono::milliseconds kRetryInterval(500);

Bytes ContextOf(uint64_t round) {
  return Bytes::Build(8, [round](char* out) {
    for (int i = 0; i < 8; ++i) out[i] = static_cast<char>(round >> (56 - 8 * i));
  });
}

void FailOverdue(std::vector<PendingRead>& reads, MonotonicTime now) {
  std::vector<PendingRead> kept;
  std::vector<PendingRead> overdue;
  for (PendingRead& read : reads) (read.deadline > now ? kept : overdue).push_back(std::move(read));
  reads = std::move(kept);
  for (PendingRead& read : overdue) read.done(read.overdue);
}

void Fail(std::vector<PendingRead> reads, const absl::Status& status) {
  for (PendingRead& read : reads) read.done(status);
}

}  // namespace

void ReadRounds::Add(PendingRead read) { queued_.push_back(std::move(read)); }

Bytes ReadRounds::Ask(MonotonicTime now) {
  if (asking_) {
    if (now - asked_at_ < kRetryInterval) return {};
    metrics_->slow_read_indexes.Add();
    asked_at_ = now;
    return ContextOf(round_);
  }
  if (queued_.empty()) return {};
  asked_ = std::exchange(queued_, {});
  ++round_;
  asking_ = true;
  asked_at_ = now;
  return ContextOf(round_);
}

void ReadRounds::OnAnswer(const raft::ReadState& answer) {
  if (!asking_ || answer.context.view() != ContextOf(round_).view()) return;
  asking_ = false;
  for (PendingRead& read : std::exchange(asked_, {})) unapplied_.emplace(answer.index, std::move(read));
}

void ReadRounds::OnApplied(raft::Index applied) {
  while (!unapplied_.empty() && unapplied_.begin()->first <= applied) {
    PendingRead read = std::move(unapplied_.begin()->second);
    unapplied_.erase(unapplied_.begin());
    read.done(absl::OkStatus());
  }
}

void ReadRounds::OnLeaderChange() {
  if (!asking_) return;
  asking_ = false;
  metrics_->read_indexes_failed.Add();
  Fail(std::exchange(asked_, {}), LeaderChangedError());
}

void ReadRounds::OnTick(MonotonicTime now) {
  const size_t asked = asked_.size();
  FailOverdue(queued_, now);
  FailOverdue(asked_, now);
  if (asking_ && asked != 0 && asked_.empty()) {
    asking_ = false;
    metrics_->read_indexes_failed.Add();
  }
  std::vector<PendingRead> overdue;
  for (auto it = unapplied_.begin(); it != unapplied_.end();) {
    if (it->second.deadline > now) {
      ++it;
      continue;
    }
    overdue.push_back(std::move(it->second));
    it = unapplied_.erase(it);
  }
  for (PendingRead& read : overdue) read.done(read.overdue);
}

void ReadRounds::FailAll(const absl::Status& status) {
  asking_ = false;
  Fail(std::exchange(queued_, {}), status);
  Fail(std::exchange(asked_, {}), status);
  for (auto& [index, read] : std::exchange(unapplied_, {})) read.done(status);
}

}  // namespace kvorum::member
