#pragma once

#include <string>

#include "base/thread_executor.h"
#include "member/ports.h"
#include "snap/snapshotter.h"

namespace kvorum::cmd {

/// The member's snapshots as files, written on a thread of their own.
class SnapshotFiles final : public member::SnapshotStorage {
 public:
  /// Keeps the newest `keep` files (0: all). Everything is borrowed.
  SnapshotFiles(Env* env, const std::string& directory, size_t keep, Logger* logger,
                metrics::Registry* metrics);

  void Save(raft::Snapshot snapshot, absl::AnyInvocable<void(absl::Status)> done) override;
  void OpenDatabase(
      raft::Index index,
      absl::AnyInvocable<void(absl::StatusOr<std::unique_ptr<backend::ReadView>>)> done) override;
  void ReleaseDatabases(raft::Index index) override;

  /// Finishes what is queued and joins the thread.
  void Stop() { executor_.Stop(); }

 private:
  const std::string directory_;
  Logger* const logger_;
  const size_t keep_;
  snap::Snapshotter snapshotter_;  // used on executor_ only
  ThreadExecutor executor_{"snapshots"};
};

}  // namespace kvorum::cmd
