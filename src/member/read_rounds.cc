#include "member/read_rounds.h"

#include <algorithm>
#include <iterator>
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

uint64_t RoundOf(const Bytes& context) {
  uint64_t round = 0;
  for (const char c : context.view()) round = round << 8 | static_cast<unsigned char>(c);
  return round;
}

/// Moves those whose time is over to the end of `overdue`.
void TakeOverdue(std::vector<PendingRead>& reads, MonotonicTime now, std::vector<PendingRead>& overdue) {
  const auto first = std::stable_partition(reads.begin(), reads.end(),
                                           [now](const PendingRead& read) { return read.deadline > now; });
  std::move(first, reads.end(), std::back_inserter(overdue));
  reads.erase(first, reads.end());
}

void Tell(std::vector<PendingRead> reads, const absl::Status& status) {
  for (PendingRead& read : reads) read.done(status);
}

}  // namespace

bool ReadRounds::Add(PendingRead& read) {
  absl::MutexLock lock(&mutex_);
  if (closed_) return false;
  queued_.push_back(std::move(read));
  return true;
}

Bytes ReadRounds::Start(MonotonicTime now) {
  if (asking_ || queued_.empty()) return {};
  asked_ = std::exchange(queued_, {});
  first_asked_ = ++round_;
  asking_ = true;
  asked_at_ = now;
  return ContextOf(round_);
}

Bytes ReadRounds::Ask(MonotonicTime now) {
  absl::MutexLock lock(&mutex_);
  return Start(now);
}

Bytes ReadRounds::AskAgain(MonotonicTime now) {
  absl::MutexLock lock(&mutex_);
  if (!asking_) return Start(now);
  if (now - asked_at_ < kRetryInterval) return {};
  metrics_->slow_read_indexes.Add();
  asked_at_ = now;
  return ContextOf(++round_);
}

void ReadRounds::OnAnswer(const raft::ReadState& answer, raft::Index applied) {
  std::vector<PendingRead> confirmed;
  {
    absl::MutexLock lock(&mutex_);
    const uint64_t round = RoundOf(answer.context);
    if (!asking_ || round < first_asked_ || round > round_) return;
    asking_ = false;
    if (answer.index <= applied) {
      confirmed = std::exchange(asked_, {});
    } else {
      unapplied_.emplace(answer.index, std::exchange(asked_, {}));
    }
  }
  Tell(std::move(confirmed), absl::OkStatus());
}

void ReadRounds::OnApplied(raft::Index applied) {
  std::vector<std::vector<PendingRead>> confirmed;
  {
    absl::MutexLock lock(&mutex_);
    while (!unapplied_.empty() && unapplied_.begin()->first <= applied) {
      confirmed.push_back(std::move(unapplied_.begin()->second));
      unapplied_.erase(unapplied_.begin());
    }
  }
  for (std::vector<PendingRead>& reads : confirmed) Tell(std::move(reads), absl::OkStatus());
}

void ReadRounds::OnLeaderChange() {
  std::vector<PendingRead> lost;
  {
    absl::MutexLock lock(&mutex_);
    if (!asking_) return;
    asking_ = false;
    lost = std::exchange(asked_, {});
  }
  metrics_->read_indexes_failed.Add();
  Tell(std::move(lost), LeaderChangedError());
}

void ReadRounds::OnTick(MonotonicTime now) {
  std::vector<PendingRead> overdue;
  {
    absl::MutexLock lock(&mutex_);
    const size_t asked = asked_.size();
    TakeOverdue(queued_, now, overdue);
    TakeOverdue(asked_, now, overdue);
    if (asking_ && asked != 0 && asked_.empty()) {
      asking_ = false;
      metrics_->read_indexes_failed.Add();
    }
    for (auto it = unapplied_.begin(); it != unapplied_.end();) {
      TakeOverdue(it->second, now, overdue);
      it = it->second.empty() ? unapplied_.erase(it) : std::next(it);
    }
  }
  for (PendingRead& read : overdue) read.done(read.overdue);
}

void ReadRounds::FailAll(const absl::Status& status) {
  std::vector<PendingRead> failed;
  {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
    asking_ = false;
    failed = std::exchange(queued_, {});
    std::move(asked_.begin(), asked_.end(), std::back_inserter(failed));
    asked_.clear();
    for (auto& [index, reads] : unapplied_) std::move(reads.begin(), reads.end(), std::back_inserter(failed));
    unapplied_.clear();
  }
  Tell(std::move(failed), status);
}

}  // namespace kvorum::member
