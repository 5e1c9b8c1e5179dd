#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace kvorum {

/// A file open for writing, with one writer. Every operation that fails leaves the file in an unknown state:
/// the caller stops using it. In particular a `Sync` that failed is never retried, for the system may have
/// dropped the pages. Not thread-safe, but `Sync` may run while another thread uses another file.
class WritableFile {
 public:
  virtual ~WritableFile() = default;

  /// Writes the pieces one after another at the write position, with one vectored system call where the
  /// system takes them all.
  virtual absl::Status Append(std::span<const std::string_view> pieces) = 0;
  absl::Status Append(std::string_view data) { return Append(std::span(&data, 1)); }

  /// Data and size are durable when this returns OK (fdatasync).
  virtual absl::Status Sync() = 0;

  /// Cuts or extends with zeros; does not move the write position.
  virtual absl::Status Truncate(uint64_t size) = 0;
  /// Reserves disk space for [0, size) and makes the file at least that long; new bytes read as zero.
  virtual absl::Status Allocate(uint64_t size) = 0;

  /// Where the next Append goes, in bytes from the start.
  virtual uint64_t position() const = 0;
  virtual absl::Status Seek(uint64_t position) = 0;
  virtual absl::StatusOr<uint64_t> Size() const = 0;

  /// Closes; also done by the destructor, which drops the error.
  virtual absl::Status Close() = 0;
};

/// Holds a lock on a file until destroyed.
class FileLock {
 public:
  virtual ~FileLock() = default;
};

/// The file system. `PosixEnv()` is the real one; tests and the simulator bring one that loses unsynced
/// bytes, tears writes and fails on command (base/testing/fault_env.h). Thread-safe.
///
/// Errors: NotFound where the path does not exist, AlreadyExists where it must not, ResourceExhausted for a
/// full disk (ENOSPC, EDQUOT), PermissionDenied for EACCES, EPERM and EROFS, Unavailable for a lock that
/// another process holds, Internal for everything else (EIO and so on); the text names call, path and cause.
class Env {
 public:
  virtual ~Env() = default;

  enum class Create : uint8_t { kNever, kIfMissing, kMustBeNew, kTruncate };
  /// Opens for writing at position 0. New files have the mode `mode`.
  virtual absl::StatusOr<std::unique_ptr<WritableFile>> OpenForWriting(const std::string& path, Create create,
                                                                       mode_t mode = 0600) = 0;

  /// The whole file.
  virtual absl::StatusOr<std::string> ReadFile(const std::string& path) = 0;
  /// Appends the bytes [offset, offset + size) of the file to `*out`, or as many of them as there are.
  virtual absl::Status ReadRange(const std::string& path, uint64_t offset, size_t size, std::string* out) = 0;

  /// Names in the directory, sorted, without "." and "..".
  virtual absl::StatusOr<std::vector<std::string>> ListDirectory(const std::string& path) = 0;
  virtual bool Exists(const std::string& path) = 0;
  virtual absl::StatusOr<uint64_t> FileSize(const std::string& path) = 0;

  /// Makes the directory and its parents, so that the names of those that are new are durable; those that
  /// exist are left as they are.
  virtual absl::Status CreateDirectories(const std::string& path, mode_t mode = 0700) = 0;
  /// Makes what was renamed, created or removed in the directory durable (fsync).
  virtual absl::Status SyncDirectory(const std::string& path) = 0;

  /// Atomic; replaces `to`.
  virtual absl::Status Rename(const std::string& from, const std::string& to) = 0;
  virtual absl::Status RemoveFile(const std::string& path) = 0;
  /// Removes the directory and everything in it; OK where there is none.
  virtual absl::Status RemoveTree(const std::string& path) = 0;

  /// Takes an exclusive advisory lock without waiting. It belongs to the open file, not to the process or the
  /// name: it conflicts within one process, and follows the file through renames. On Linux an open-file-
  /// description lock (fcntl F_OFD_SETLK, flock where that is missing), as etcd takes it, so that either
  /// program sees the other's. Makes the file where it is missing.
  virtual absl::StatusOr<std::unique_ptr<FileLock>> LockFile(const std::string& path) = 0;
};

/// The operating system's files; lives for the whole process.
Env& PosixEnv();

/// The directory that `path` stands in: "." where it names none.
std::string ParentDirectory(const std::string& path);

}  // namespace kvorum
