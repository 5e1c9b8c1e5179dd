#include "cmd/kvorum/snapshot_files.h"

#include <utility>

#include "bbolt/bbolt.h"
#include "fmt/format.h"

namespace kvorum::cmd {

SnapshotFiles::SnapshotFiles(Env* env, const std::string& directory, size_t keep, Logger* logger,
                             metrics::Registry* metrics)
    : directory_(directory), logger_(logger), keep_(keep), snapshotter_(env, directory, logger, metrics) {}

void SnapshotFiles::Save(raft::Snapshot snapshot, absl::AnyInvocable<void(absl::Status)> done) {
  executor_.Post([this, snapshot = std::move(snapshot), done = std::move(done)]() mutable {
    // Before the new one is there, not after: until the log vouches for it, a start needs an older one.
    if (const absl::Status purged = snapshotter_.Purge(keep_); !purged.ok()) {
      KVORUM_LOG(*logger_, kWarn, "failed to purge snap files", {"error", std::string(purged.message())});
    }
    done(snapshotter_.Save(snapshot));
  });
}

void SnapshotFiles::OpenDatabase(
    raft::Index index, absl::AnyInvocable<void(absl::StatusOr<std::unique_ptr<backend::ReadView>>)> done) {
  executor_.Post([this, index, done = std::move(done)]() mutable {
    done(bbolt::OpenFile(fmt::format("{}/{}", directory_, snap::DatabaseName(index)), logger_));
  });
}

void SnapshotFiles::ReleaseDatabases(raft::Index index) {
  executor_.Post([this, index] { snapshotter_.ReleaseDatabases(index).IgnoreError(); });
}

}  // namespace kvorum::cmd
