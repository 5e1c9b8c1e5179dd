#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backend/memory_backend.h"
#include "base/clock.h"
#include "base/executor.h"
#include "gtest/gtest.h"
#include "member/ports.h"
#include "raft/storage.h"

namespace kvorum::member {

class FakeClock final : public Clock {
 public:
  MonotonicTime Now() const override { return now_; }
  WallTime WallNow() const override { return WallTime(kBegin + now_.time_since_epoch()); }
  void Set(MonotonicTime now) { now_ = now; }

 private:
  static constexpr std::chrono::seconds kBegin{1'600'000'000};
  MonotonicTime now_{std::chrono::hours(1)};
};

/// An executor whose tasks run when it is told to.
class ManualExecutor final : public Executor {
 public:
  explicit ManualExecutor(const Clock* clock) : clock_(clock) {}

  void Post(Task task) override { tasks_.push_back(std::move(task)); }
  TimerId PostAt(MonotonicTime deadline, Task task) override {
    timers_.emplace(std::pair(deadline, ++last_timer_), std::move(task));
    return last_timer_;
  }
  void CancelTimer(TimerId timer) override {
    std::erase_if(timers_, [timer](const auto& entry) { return entry.first.second == timer; });
  }
  const Clock& clock() const override { return *clock_; }

  /// Runs one task, or one timer that is due; false where there is none.
  bool RunOne() {
    Task task;
    if (!tasks_.empty()) {
      task = std::move(tasks_.front());
      tasks_.pop_front();
    } else if (!timers_.empty() && timers_.begin()->first.first <= clock_->Now()) {
      task = std::move(timers_.begin()->second);
      timers_.erase(timers_.begin());
    } else {
      return false;
    }
    task();
    return true;
  }
  std::optional<MonotonicTime> NextTimer() const {
    if (timers_.empty()) return std::nullopt;
    return timers_.begin()->first.first;
  }

 private:
  const Clock* const clock_;
  std::deque<Task> tasks_;
  std::map<std::pair<MonotonicTime, TimerId>, Task> timers_;
  TimerId last_timer_ = 0;
};

/// What is on the disk of the log and of the snapshots, and what is on its way there.
class FakeDisk final : public wal::LogStorage, public SnapshotStorage {
 public:
  void Enqueue(Write write) override { writes_.push_back(std::move(write)); }
  void ReleaseTo(raft::Index index) override { released_ = index; }
  void Save(raft::Snapshot snapshot, absl::AnyInvocable<void(absl::Status)> done) override {
    saves_.emplace_back(std::move(snapshot), std::move(done));
  }

  void OpenDatabase(
      raft::Index index,
      absl::AnyInvocable<void(absl::StatusOr<std::unique_ptr<backend::ReadView>>)> done) override {
    opens_.emplace_back(index, std::move(done));
  }
  void ReleaseDatabases(raft::Index index) override {
    databases_.erase(databases_.begin(), databases_.upper_bound(index));
  }
  /// A database arrives with the snapshot at `index`.
  void TakeDatabase(raft::Index index, std::unique_ptr<backend::MemoryBackend> database) {
    databases_[index] = std::move(database);
  }
  backend::MemoryBackend* database(raft::Index index) {
    const auto it = databases_.find(index);
    return it == databases_.end() ? nullptr : it->second.get();
  }

  /// Finishes one write; false where none waits.
  bool RunOne() {
    if (!writes_.empty()) {
      Write write = std::move(writes_.front());
      writes_.pop_front();
      if (!failure_.ok()) {
        write.done(failure_);
        return true;
      }
      Keep(write);
      write.done(absl::OkStatus());
      return true;
    }
    if (!opens_.empty() && !hold_databases_) {
      auto [index, done] = std::move(opens_.front());
      opens_.pop_front();
      backend::MemoryBackend* found = database(index);
      if (found == nullptr) {
        done(absl::NotFoundError("no database"));
      } else {
        done(found->NewReadView());
      }
      return true;
    }
    if (saves_.empty()) return false;
    auto [snapshot, done] = std::move(saves_.front());
    saves_.pop_front();
    if (failure_.ok()) files_[snapshot.metadata.index] = std::move(snapshot);
    done(failure_);
    return true;
  }
  /// Databases that are asked for are not opened.
  void HoldDatabases(bool hold) { hold_databases_ = hold; }
  void FailFrom(absl::Status failure) { failure_ = std::move(failure); }

  /// What was not finished is lost, but for the first `kept` writes.
  void Crash(size_t kept) {
    for (size_t i = 0; i < kept && i < writes_.size(); ++i) Keep(writes_[i]);
    writes_.clear();
    saves_.clear();
    opens_.clear();
  }

  std::unique_ptr<raft::MemoryStorage> Recover() const {
    auto log = std::make_unique<raft::MemoryStorage>();
    if (noted_ != raft::Index(0)) {
      EXPECT_TRUE(log->ApplySnapshot(files_.at(noted_)).ok());
    }
    log->SetHardState(state_);
    std::vector<raft::Entry> entries;
    for (const auto& [index, entry] : entries_) {
      if (index > noted_) entries.push_back(entry);
    }
    log->Append(std::move(entries));
    return log;
  }
  bool empty() const { return state_.empty(); }
  /// The newest snapshot that the log knows of.
  raft::Index noted() const { return noted_; }
  size_t waiting() const { return writes_.size(); }
  raft::Index released() const { return released_; }
  const std::map<raft::Index, raft::Snapshot>& files() const { return files_; }
  const std::map<raft::Index, raft::Entry>& entries() const { return entries_; }
  const raft::HardState& hard_state() const { return state_; }

 private:
  void Keep(const Write& write) {
    if (!write.hard_state.empty()) state_ = write.hard_state;
    if (write.snapshot) {
      EXPECT_LE(write.snapshot->index, state_.commit);
      EXPECT_TRUE(files_.contains(write.snapshot->index));
      noted_ = std::max(noted_, write.snapshot->index);
      const auto at = entries_.find(write.snapshot->index);
      const bool agrees = at != entries_.end() && at->second.term == write.snapshot->term;
      if (!agrees) entries_.clear();
    }
    for (const raft::Entry& entry : write.entries) {
      entries_.erase(entries_.lower_bound(entry.index), entries_.end());
      entries_[entry.index] = entry;
    }
  }

  std::deque<Write> writes_;
  std::deque<std::pair<raft::Snapshot, absl::AnyInvocable<void(absl::Status)>>> saves_;
  std::deque<
      std::pair<raft::Index, absl::AnyInvocable<void(absl::StatusOr<std::unique_ptr<backend::ReadView>>)>>>
      opens_;
  std::map<raft::Index, std::unique_ptr<backend::MemoryBackend>> databases_;
  bool hold_databases_ = false;
  absl::Status failure_;
  raft::HardState state_;
  std::map<raft::Index, raft::Entry> entries_;
  std::map<raft::Index, raft::Snapshot> files_;
  raft::Index noted_;
  raft::Index released_;
};

}  // namespace kvorum::member
