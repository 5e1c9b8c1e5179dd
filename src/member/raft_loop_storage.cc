#include <algorithm>
#include <utility>

#include "base/check.h"
#include "member/raft_loop.h"
#include "raft/raft.h"

// What of the raft loop has to do with the disk: the log's writes, snapshots, and the log in memory.

namespace kvorum::member {

// ---- Writes.

void RaftLoop::Append(raft::Message&& message) {
  const raft::HardState state{.term = message.term, .vote = message.vote, .commit = message.commit};
  const bool promises =
      !message.entries.empty() || !message.responses.empty() || message.snapshot.has_value();
  if (!promises) {
    // Nothing waits for the commit index alone to be on disk, so it goes with the next write.
    hard_state_unwritten_ = hard_state_unwritten_ || !state.empty();
    return;
  }
  wal::LogStorage::Write write;
  if (!state.empty()) {
    write.hard_state = state;
  } else if (hard_state_unwritten_ || message.snapshot) {
    write.hard_state = hard_state_;
  }
  hard_state_unwritten_ = false;
  if (message.snapshot) {
    // Its file was written before the core was told of it, and its database before that.
    const raft::SnapshotMetadata& metadata = message.snapshot->metadata;
    write.snapshot = wal::SnapshotRecord{
        .index = metadata.index, .term = metadata.term, .conf_state = metadata.conf_state};
    last_record_ = metadata.index;
  }
  write.entries = message.entries;
  Appended appended{.snapshot = std::move(message.snapshot),
                    .entries = std::move(message.entries),
                    .responses = std::move(message.responses)};
  write.done = [this, appended = std::move(appended)](const absl::Status& status) mutable {
    if (!Written(status)) return;
    Post([&](Inbox& inbox) { inbox.appended.push_back(std::move(appended)); });
  };
  Enqueue(std::move(write));
}

void RaftLoop::Enqueue(wal::LogStorage::Write&& write) {
  {
    absl::MutexLock lock(&writes_mutex_);
    writes_.push_back(ports_.clock->Now());
  }
  if (due_.empty() && !(AloneInCharge() && !HasFollowers())) return ports_.log->Enqueue(std::move(write));
  due_.push_back(std::move(write));
}

void RaftLoop::SaveDue() {
  if (due_.empty()) return;
  {
    absl::MutexLock lock(&mutex_);
    ++saves_;
    saved_waiters_.swap(new_waiters_);
    if (save_watch_ == 0 && !stopped_) ArmSaveWatch();
  }
  ports_.log->SaveNow(std::exchange(due_, {}));
  absl::MutexLock lock(&mutex_);
  ++saves_;
  saved_waiters_.swap(new_waiters_);
}

void RaftLoop::ArmSaveWatch() {
  watched_save_ = saves_;
  save_watch_ = ports_.apply_executor->PostAfter(options_.heartbeat_interval, [this] { WatchSave(); });
}

void RaftLoop::WatchSave() {
  std::vector<Waiter> waiters;
  {
    absl::MutexLock lock(&mutex_);
    save_watch_ = 0;
    const bool under_way = saves_ % 2 == 1;
    const bool same = saves_ == watched_save_;
    if (stopped_ || (same && !under_way)) return;
    if (same) {
      waiters.swap(saved_waiters_);
      for (auto& [entry, waiter] : inbox_->proposals) {
        if (waiter.done && !waiter.as_leader) waiters.push_back(std::move(waiter));
      }
      for (auto& [message, waiter] : inbox_->conf_changes) {
        if (waiter.done) waiters.push_back(std::move(waiter));
      }
    }
    ArmSaveWatch();
  }
  if (!waiters.empty()) applier_->Apply({}, std::move(waiters), [] {});
}

bool RaftLoop::Written(const absl::Status& status) {
  {
    absl::MutexLock lock(&writes_mutex_);
    writes_.pop_front();
  }
  if (!status.ok()) Fail(status);
  return status.ok();
}

std::optional<MonotonicTime> RaftLoop::OldestWrite() const {
  absl::MutexLock lock(&writes_mutex_);
  if (writes_.empty()) return std::nullopt;
  return writes_.front();
}

void RaftLoop::FlushHardState() {
  if (!std::exchange(hard_state_unwritten_, false) || state_->failed.load()) return;
  wal::LogStorage::Write write;
  write.hard_state = hard_state_;
  write.done = [this](const absl::Status& status) { Written(status); };
  Enqueue(std::move(write));
}

void RaftLoop::TakeAppended(Appended&& appended) {
  if (!appended.snapshot) {
    log_.Append(std::move(appended.entries));
    for (raft::Message& response : appended.responses) {
      if (installing_ > 0 && response.type == raft::MessageType::kStorageAppendResp) {
        after_install_.push_back(std::move(response));
      } else {
        Step(std::move(response));
      }
    }
    return;
  }
  const raft::Index index = appended.snapshot->metadata.index;
  log_.Install(*appended.snapshot);
  log_.Append(std::move(appended.entries));
  // The leader may know that it is durable. The core has to wait until it is applied.
  std::vector<raft::Message> after;
  for (raft::Message& response : appended.responses) {
    if (response.snapshot) {
      after.push_back(std::move(response));
    } else {
      Step(std::move(response));
    }
  }
  ++installing_;
  applier_->Install(*std::move(appended.snapshot), [this, index, after = std::move(after)]() mutable {
    WithCore([this, after = std::move(after)](raft::RawNode&) mutable { TakeInstalled(std::move(after)); });
    ports_.log->ReleaseTo(index);
  });
}

void RaftLoop::TakeInstalled(std::vector<raft::Message> responses) {
  for (raft::Message& response : responses) Step(std::move(response));
  if (--installing_ > 0) return;
  for (raft::Message& response : std::exchange(after_install_, {})) Step(std::move(response));
}

// ---- The log in memory.

MemoryLog::Followers RaftLoop::LookAtFollowers() const {
  MemoryLog::Followers followers{.any = HasFollowers(), .needed = std::nullopt};
  if (soft_state_.role != raft::Role::kLeader || ports_.transport == nullptr) return followers;
  for (const auto& [id, progress] : node_->raft().membership().progress) {
    const raft::Index next = progress.match + 1;
    const bool on_its_way = progress.state == raft::ProgressState::kSnapshot;
    if (id.value() == id_.value() || on_its_way || next < log_.storage().FirstIndex()) continue;
    if (!ports_.transport->ActiveSince(id)) continue;
    followers.needed = std::min(followers.needed.value_or(next), next);
  }
  return followers;
}

void RaftLoop::CutMemory(SnapshotPoint point) {
  AfterApplied([this, point = std::move(point)] { log_.Cut(point, LookAtFollowers(), ports_.clock->Now()); });
}

// ---- Snapshots of this member.

void RaftLoop::SaveSnapshot(SnapshotPoint point, absl::AnyInvocable<void()> done) {
  WithCore([this, point = std::move(point), done = std::move(done)](raft::RawNode&) mutable {
    // One that came from the leader meanwhile says more.
    if (point.index <= last_record_) return done();
    raft::Snapshot snapshot{.data = std::move(point.data)};
    snapshot.metadata = {.conf_state = std::move(point.conf_state), .index = point.index, .term = point.term};
    raft::SnapshotMetadata metadata = snapshot.metadata;
    ports_.snapshots->Save(std::move(snapshot), [this, metadata = std::move(metadata),
                                                 done = std::move(done)](absl::Status status) mutable {
      if (!status.ok()) return Fail(status);
      WithCore([this, metadata = std::move(metadata), done = std::move(done)](raft::RawNode&) mutable {
        WriteSnapshotRecord(std::move(metadata), std::move(done));
      });
    });
  });
}

void RaftLoop::WriteSnapshotRecord(raft::SnapshotMetadata metadata, absl::AnyInvocable<void()> done) {
  if (metadata.index <= last_record_) return done();
  last_record_ = metadata.index;
  wal::LogStorage::Write write;
  // The log vouches for a snapshot only up to its commit index, so that goes along.
  write.hard_state = hard_state_;
  hard_state_unwritten_ = false;
  const raft::Index index = metadata.index;
  write.snapshot = wal::SnapshotRecord{
      .index = index, .term = metadata.term, .conf_state = std::move(metadata.conf_state)};
  write.done = [this, index, done = std::move(done)](const absl::Status& status) mutable {
    if (!Written(status)) return;
    WithCore([this, index, done = std::move(done)](raft::RawNode&) mutable {
      ports_.log->ReleaseTo(index);
      // The database reaches as far, so one that came with a snapshot up to here was installed or not needed.
      ports_.snapshots->ReleaseDatabases(index);
      done();
    });
  };
  Enqueue(std::move(write));
}

}  // namespace kvorum::member
