#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "base/env.h"
#include "raft/types.h"

namespace kvorum::peer {

/// A database that is being received with a snapshot: written under a name of its own, and given its right
/// one when it is whole. One thread at a time. Destroyed unfinished, it takes the file away.
class SnapshotFile final {
 public:
  /// `env` is borrowed. `serial` tells files apart that are received at once.
  SnapshotFile(Env* env, std::string directory, raft::Index index, uint64_t serial);
  ~SnapshotFile();

  absl::Status Append(std::string_view data);
  /// Makes file and name durable: `%016x.snap.db`.
  absl::Status Finish();

  uint64_t size() const { return size_; }

 private:
  Env* const env_;
  const std::string directory_;
  const std::string temporary_path_;
  const std::string path_;
  std::unique_ptr<WritableFile> file_;  // null before the first Append and after Finish
  uint64_t size_ = 0;
  uint64_t synced_ = 0;
  bool exists_ = false;  // under its temporary name
};

}  // namespace kvorum::peer
