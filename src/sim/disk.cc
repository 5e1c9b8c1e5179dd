#include "sim/disk.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "fmt/format.h"

namespace kvorum::sim {

namespace {

constexpr size_t kKeepSegments = 3;
constexpr size_t kKeepSnapshots = 3;
constexpr uint64_t kSectorBytes = 512;

}  // namespace

Disk::Disk(Scheduler* scheduler, DiskManner manner) : scheduler_(scheduler), manner_(manner) {}

Disk::~Disk() {
  if (alive_ != nullptr) *alive_ = false;
}

void Disk::Record(Recorder* recorder, MemberId member) {
  recorder_ = recorder;
  member_ = member;
}

void Disk::Attach(std::unique_ptr<wal::Wal> wal, std::string wal_dir, const std::string& snap_dir) {
  wal_ = std::move(wal);
  wal_dir_ = std::move(wal_dir);
  snap_dir_ = snap_dir;
  snapshotter_ = std::make_unique<snap::Snapshotter>(&env_, snap_dir, &NullLogger(), nullptr);
  failure_ = absl::OkStatus();
  release_ = raft::Index(0);
  unsynced_ = 0;
  alive_ = std::make_shared<bool>(true);
}

void Disk::Detach(bool torn, bool power_cut) {
  if (alive_ != nullptr) *alive_ = false;
  Random& random = scheduler_->chance();
  if (torn && wal_ != nullptr && failure_.ok()) {
    if (under_way_.empty()) under_way_.swap(waiting_);
    env_.StopAfter(random.Below(3));
    if (!under_way_.empty()) WriteOut(under_way_).IgnoreError();
  }
  // What waits is told nothing: whoever would hear is gone as well.
  waiting_.clear();
  under_way_.clear();
  wal_.reset();
  snapshotter_.reset();
  if (!power_cut) {
    env_.Crash(testing::FaultEnv::KeepEverything());
    return;
  }
  const uint64_t seed = random.Next();
  // A sector is there or not: no disk writes half of one.
  const uint64_t kept = random.OneIn(1, 4) ? 0 : std::numeric_limits<uint64_t>::max();
  env_.Crash({.first_bytes = kept,
              .sector = [seed](uint64_t sector) { return ((seed ^ sector) * 0x9e3779b97f4a7c15 >> 62) != 0; },
              .directories = random.OneIn(1, 2)});
}

void Disk::Wipe() {
  KVORUM_CHECK(wal_ == nullptr, "a disk is taken from a running process");
  if (!wal_dir_.empty()) env_.RemoveTree("/data").IgnoreError();
  wal_dir_.clear();
  databases_.clear();
}

std::string Disk::Flip() {
  KVORUM_CHECK(wal_ == nullptr, "a file of a running process is flipped");
  Random& random = scheduler_->chance();
  std::vector<std::string> paths;
  for (const std::string& directory : {wal_dir_, snap_dir_}) {
    const absl::StatusOr<std::vector<std::string>> names = env_.ListDirectory(directory);
    if (!names.ok()) continue;
    for (const std::string& name : *names) {
      const bool counts = name.ends_with(".wal") || name.ends_with(".snap");
      if (counts && env_.FileSize(directory + "/" + name).value_or(0) > 0)
        paths.push_back(directory + "/" + name);
    }
  }
  if (paths.empty()) return "";
  const std::string path = paths[random.Below(paths.size())];
  const std::string content = env_.Get(path);
  // Mostly where something stands.
  const size_t last = content.find_last_not_of('\0');
  const bool anywhere = last == std::string::npos || random.OneIn(1, 8);
  const uint64_t first = random.Below(anywhere ? content.size() : last + 1);
  const uint64_t sector = first - first % kSectorBytes;
  env_.Flip(path, first, static_cast<uint8_t>(1 << random.Below(8)));
  for (uint64_t more = random.Below(3); more > 0; --more) {
    const uint64_t at = sector + random.Below(kSectorBytes);
    if (at < content.size() && at != first) env_.Flip(path, at, static_cast<uint8_t>(1 << random.Below(8)));
  }
  return fmt::format("{} at {}", path, first);
}

void Disk::LoseLog() {
  KVORUM_CHECK(wal_ == nullptr, "a log is taken from a running process");
  if (!wal_dir_.empty()) env_.RemoveTree(wal_dir_).IgnoreError();
}

bool Disk::TakeDatabase(raft::Index index, std::unique_ptr<backend::MemoryBackend> database) {
  if (env_.full()) return false;
  databases_[index] = std::move(database);
  return true;
}

backend::MemoryBackend* Disk::database(raft::Index index) {
  const auto found = databases_.find(index);
  return found == databases_.end() ? nullptr : found->second.get();
}

void Disk::Later(Instant delay, Scheduler::Task task) {
  scheduler_->After(delay, [alive = alive_, task = std::move(task)]() mutable {
    if (*alive) task();
  });
}

Instant Disk::SyncTime() {
  Random& random = scheduler_->chance();
  if (manner_.stall_one_in != 0 && random.OneIn(1, manner_.stall_one_in)) return manner_.stall;
  return scheduler_->Between(manner_.min_sync, manner_.max_sync);
}

void Disk::Enqueue(Write write) {
  recorder_->Handed(member_, write);
  waiting_.push_back(std::move(write));
  if (under_way_.empty()) Begin();
}

void Disk::Begin() {
  under_way_.swap(waiting_);
  Later(SyncTime(), [this] { Finish(); });
}

absl::Status Disk::WriteOut(std::vector<Write>& writes) {
  std::vector<wal::Batch> batches;
  batches.reserve(writes.size());
  for (Write& write : writes) {
    batches.push_back({.hard_state = write.hard_state,
                       .entries = write.entries,
                       .snapshot = write.snapshot ? &*write.snapshot : nullptr});
  }
  return wal_->Save(batches);
}

void Disk::Finish() {
  if (failure_.ok()) failure_ = WriteOut(under_way_);
  std::vector<Write> finished = std::exchange(under_way_, {});
  unsynced_ += finished.size();
  if (!failure_.ok()) {
    recorder_->SyncFailed(member_);
  } else if (env_.AreDurable(wal_dir_, ".wal")) {
    recorder_->Synced(member_, std::exchange(unsynced_, 0));
  }
  for (Write& write : finished) write.done(failure_);
  if (failure_.ok() && release_ > raft::Index(0)) {
    wal_->ReleaseTo(std::exchange(release_, raft::Index(0))).IgnoreError();
    wal::Purge(env_, wal_dir_, kKeepSegments).IgnoreError();
  }
  if (!waiting_.empty()) Begin();
}

void Disk::ReleaseTo(raft::Index index) { release_ = index; }

void Disk::Save(raft::Snapshot snapshot, absl::AnyInvocable<void(absl::Status)> done) {
  Later(SyncTime(), [this, snapshot = std::move(snapshot), done = std::move(done)]() mutable {
    snapshotter_->Purge(kKeepSnapshots).IgnoreError();
    done(snapshotter_->Save(snapshot));
  });
}

void Disk::OpenDatabase(raft::Index index,
                        absl::AnyInvocable<void(absl::StatusOr<std::unique_ptr<backend::ReadView>>)> done) {
  Later(SyncTime(), [this, index, done = std::move(done)]() mutable {
    backend::MemoryBackend* found = database(index);
    if (found == nullptr) return done(absl::NotFoundError("no database"));
    done(found->NewReadView());
  });
}

void Disk::ReleaseDatabases(raft::Index index) {
  databases_.erase(databases_.begin(), databases_.upper_bound(index));
}

}  // namespace kvorum::sim
