#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "base/env.h"

namespace kvorum::testing {

/// A file system in memory that fails as real ones do: it forgets what was not synced, keeps a torn part of
/// it, and fails chosen operations. Thread-safe.
///
/// Model of durability: file contents become durable with the file's Sync; names (created, renamed, removed)
/// with SyncDirectory of the directory they stand in, or at once by CreateDirectories. A crash takes
/// everything back to that, but for what the `Crash` policy says the disk had already got.
class FaultEnv final : public Env {
 public:
  FaultEnv();
  ~FaultEnv() override;

  // Faults.

  enum class Op : uint8_t { kOpen, kWrite, kSync, kTruncate, kAllocate, kSyncDirectory, kRename, kRemove };
  static constexpr size_t kOps = 8;

  /// The `nth` operation of this kind from now (0: the next one) fails with `error`. A failing write has
  /// written about its first half, up to the end of a sector. Replaces the kind's earlier order.
  void FailNth(Op op, uint64_t nth, absl::Status error);
  /// After `count` more operations of whatever kind everything fails, as if the machine had stopped; a write
  /// that is cut off this way is still in flight, so that Crash may keep parts of it.
  void StopAfter(uint64_t count);
  /// While the disk is full no file gets longer and none is made: "no space left on device". What has room in
  /// its file already is written. It stays full over a crash.
  void SetFull(bool full);
  bool full() const;
  /// Forgets FailNth and StopAfter.
  void ClearFaults();
  /// Operations of this kind, and of all kinds, so far.
  uint64_t count(Op op) const;
  uint64_t total_count() const;

  /// What a crash leaves of the writes since the last sync, for each file by itself.
  struct Keep {
    /// Bytes written first are kept until this many are.
    uint64_t first_bytes = 0;
    /// Kept where true, by sector of the file (512 bytes), within `first_bytes`.
    std::function<bool(uint64_t sector)> sector = nullptr;
    /// Directory changes are kept, synced or not.
    bool directories = false;
  };
  static Keep KeepNothing() { return {}; }
  static Keep KeepEverything() {
    return {.first_bytes = std::numeric_limits<uint64_t>::max(), .directories = true};
  }

  /// The machine stops and starts again: files that are open stop working, locks are gone, faults are
  /// forgotten.
  void Crash(const Keep& keep);

  /// Damage done by the medium. REQUIRES: the file exists and is longer than `offset`
  void Flip(const std::string& path, uint64_t offset, uint8_t mask);
  /// Replaces the file, durably.
  void Put(const std::string& path, std::string content);
  /// Whether a crash now would leave all files in this directory whose names end so as they are, under these
  /// names. False where there is no such directory.
  bool AreDurable(std::string_view directory, std::string_view suffix);
  /// The file's content as a reader sees it; REQUIRES: the file exists
  std::string Get(const std::string& path);

  // Env.

  absl::StatusOr<std::unique_ptr<WritableFile>> OpenForWriting(const std::string& path, Create create,
                                                               mode_t mode) override;
  absl::StatusOr<std::string> ReadFile(const std::string& path) override;
  absl::Status ReadRange(const std::string& path, uint64_t offset, size_t size, std::string* out) override;
  absl::StatusOr<std::vector<std::string>> ListDirectory(const std::string& path) override;
  bool Exists(const std::string& path) override;
  absl::StatusOr<uint64_t> FileSize(const std::string& path) override;
  absl::Status CreateDirectories(const std::string& path, mode_t mode) override;
  absl::Status SyncDirectory(const std::string& path) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status RemoveFile(const std::string& path) override;
  absl::Status RemoveTree(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<FileLock>> LockFile(const std::string& path) override;

 private:
  friend class FaultFile;
  friend class FaultLock;
  struct Node;

  struct Fault {
    uint64_t at;  ///< value of the kind's counter that fails
    absl::Status error;
  };

  /// Counts the operation and says whether it fails. `*stopped` tells a machine that stopped from an error.
  absl::Status Begin(Op op, bool* stopped = nullptr) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::shared_ptr<Node> Find(std::string_view path) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// The directory that `path` stands in, and the name there.
  absl::StatusOr<std::pair<std::shared_ptr<Node>, std::string>> Parent(const std::string& path)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<std::shared_ptr<Node>> FindFile(const std::string& path)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  std::shared_ptr<Node> root_ ABSL_GUARDED_BY(mutex_);  // shared with open files
  uint64_t boot_ ABSL_GUARDED_BY(mutex_) = 0;           // counts crashes
  bool full_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t total_ ABSL_GUARDED_BY(mutex_) = 0;
  std::array<uint64_t, kOps> counts_ ABSL_GUARDED_BY(mutex_){};
  std::array<std::optional<Fault>, kOps> faults_ ABSL_GUARDED_BY(mutex_);
  uint64_t stop_at_ ABSL_GUARDED_BY(mutex_) = std::numeric_limits<uint64_t>::max();
};

}  // namespace kvorum::testing
