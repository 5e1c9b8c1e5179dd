#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backend/memory_backend.h"
#include "base/testing/fault_env.h"
#include "member/ports.h"
#include "sim/recorder.h"
#include "sim/scheduler.h"
#include "snap/snapshotter.h"
#include "wal/wal.h"

namespace kvorum::sim {

/// How one machine's disk behaves.
struct DiskManner {
  Instant min_sync = 100'000;    ///< a write of the log takes between this
  Instant max_sync = 2'000'000;  ///< and this
  /// One sync in so many takes `stall` (0: none does).
  uint64_t stall_one_in = 0;
  Instant stall = 500'000'000;
};

/// The disk of one machine: the files of the log and of snapshots, in the real formats, on a file system that
/// forgets what was not synced; the databases that came with snapshots; and the queue of one process's
/// writes, which come back when the disk has taken them. The files stay when the process ends.
class Disk final : public wal::LogStorage, public member::SnapshotStorage {
 public:
  Disk(Scheduler* scheduler, DiskManner manner);
  ~Disk() override;

  /// From now on what is written here is noted as that member's.
  void Record(Recorder* recorder, MemberId member);

  testing::FaultEnv& env() { return env_; }
  DiskManner& manner() { return manner_; }

  /// A process begins to write: it owns these files until Detach.
  void Attach(std::unique_ptr<wal::Wal> wal, std::string wal_dir, const std::string& snap_dir);
  /// The process is gone with everything that was on its way. With `torn` the write under way has reached the
  /// disk in part; `lost` bytes that were not synced are forgotten (a power cut).
  void Detach(bool torn, bool power_cut);
  /// The disk is replaced by an empty one.
  void Wipe();
  /// Bits flip in one sector of a log or snapshot file; its name, or nothing where there is none. REQUIRES:
  /// no process runs
  std::string Flip();
  /// The log's files are gone. REQUIRES: no process runs
  void LoseLog();
  bool empty() const { return wal_dir_.empty(); }

  /// The database that came with the snapshot at `index`; it is durable. False where there is no room.
  bool TakeDatabase(raft::Index index, std::unique_ptr<backend::MemoryBackend> database);
  backend::MemoryBackend* database(raft::Index index);

  // wal::LogStorage
  void Enqueue(Write write) override;
  void ReleaseTo(raft::Index index) override;
  // member::SnapshotStorage
  void Save(raft::Snapshot snapshot, absl::AnyInvocable<void(absl::Status)> done) override;
  void OpenDatabase(
      raft::Index index,
      absl::AnyInvocable<void(absl::StatusOr<std::unique_ptr<backend::ReadView>>)> done) override;
  void ReleaseDatabases(raft::Index index) override;

 private:
  void Begin();
  void Finish();
  absl::Status WriteOut(std::vector<Write>& writes);
  Instant SyncTime();
  /// Runs `task` later, unless the process is gone by then.
  void Later(Instant delay, Scheduler::Task task);

  Scheduler* const scheduler_;
  DiskManner manner_;
  testing::FaultEnv env_;
  std::map<raft::Index, std::unique_ptr<backend::MemoryBackend>> databases_;
  std::string wal_dir_;
  std::string snap_dir_;
  Recorder* recorder_ = nullptr;
  MemberId member_;

  // Of the process that runs.
  std::unique_ptr<wal::Wal> wal_;
  std::unique_ptr<snap::Snapshotter> snapshotter_;
  std::vector<Write> waiting_;
  std::vector<Write> under_way_;
  size_t unsynced_ = 0;  // of what was written, in writes
  raft::Index release_;
  absl::Status failure_;
  std::shared_ptr<bool> alive_;  // shared with what will happen
};

}  // namespace kvorum::sim
