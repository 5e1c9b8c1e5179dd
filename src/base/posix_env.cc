#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/check.h"
#include "base/env.h"
#include "base/status.h"
#include "fmt/format.h"

namespace kvorum {
namespace {

absl::StatusCode CodeOf(int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::StatusCode::kNotFound;
    case EEXIST:
      return absl::StatusCode::kAlreadyExists;
    case ENOSPC:
    case EDQUOT:
      return absl::StatusCode::kResourceExhausted;
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::StatusCode::kPermissionDenied;
    default:
      return absl::StatusCode::kInternal;
  }
}

absl::Status ErrnoStatus(int error, std::string_view call, const std::string& path) {
  return absl::Status(CodeOf(error),
                      fmt::format("{} {}: {}", call, path, std::generic_category().message(error)));
}

/// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

absl::StatusOr<Descriptor> Open(const std::string& path, int flags, mode_t mode = 0) {
  for (;;) {
    const int fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
    if (fd >= 0) return Descriptor(fd);
    if (errno != EINTR) return ErrnoStatus(errno, "open", path);
  }
}

class PosixWritableFile final : public WritableFile {
 public:
  PosixWritableFile(Descriptor fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  absl::Status Append(std::span<const std::string_view> pieces) override {
    // One system call takes kMaxVector pieces; `first_done` bytes of the first piece are written already.
    size_t first_done = 0;
    while (!pieces.empty()) {
      if (pieces.front().size() == first_done) {
        pieces = pieces.subspan(1);
        first_done = 0;
        continue;
      }
      iovec vector[kMaxVector];
      const size_t count = std::min(pieces.size(), kMaxVector);
      for (size_t i = 0; i < count; ++i) {
        vector[i] = {const_cast<char*>(pieces[i].data()), pieces[i].size()};
      }
      vector[0].iov_base = static_cast<char*>(vector[0].iov_base) + first_done;
      vector[0].iov_len -= first_done;
      const ssize_t n = ::pwritev(fd_.get(), vector, static_cast<int>(count), static_cast<off_t>(position_));
      if (n < 0) {
        if (errno == EINTR) continue;
        return ErrnoStatus(errno, "write", path_);
      }
      position_ += static_cast<uint64_t>(n);
      for (auto left = static_cast<size_t>(n); left > 0;) {
        const size_t rest = pieces.front().size() - first_done;
        if (left < rest) {
          first_done += left;
          break;
        }
        left -= rest;
        pieces = pieces.subspan(1);
        first_done = 0;
      }
    }
    return absl::OkStatus();
  }

  absl::Status Sync() override {
    if (::fdatasync(fd_.get()) != 0) return ErrnoStatus(errno, "fdatasync", path_);
    return absl::OkStatus();
  }

  absl::Status Truncate(uint64_t size) override {
    while (::ftruncate(fd_.get(), static_cast<off_t>(size)) != 0) {
      if (errno != EINTR) return ErrnoStatus(errno, "ftruncate", path_);
    }
    return absl::OkStatus();
  }

  absl::Status Allocate(uint64_t size) override {
    if (::fallocate(fd_.get(), 0, 0, static_cast<off_t>(size)) == 0) return absl::OkStatus();
    // Some file systems cannot reserve, and a large reservation may be interrupted again and again.
    if (errno != EOPNOTSUPP && errno != EINTR) return ErrnoStatus(errno, "fallocate", path_);
    KVORUM_ASSIGN_OR_RETURN(const uint64_t old_size, Size());
    return old_size >= size ? absl::OkStatus() : Truncate(size);
  }

  uint64_t position() const override { return position_; }
  absl::Status Seek(uint64_t position) override {
    position_ = position;
    return absl::OkStatus();
  }

  absl::StatusOr<uint64_t> Size() const override {
    struct stat info;
    if (::fstat(fd_.get(), &info) != 0) return ErrnoStatus(errno, "fstat", path_);
    return static_cast<uint64_t>(info.st_size);
  }

  absl::Status Close() override {
    const int fd = fd_.Release();
    // On Linux the descriptor is gone even where close was interrupted.
    if (fd >= 0 && ::close(fd) != 0 && errno != EINTR) return ErrnoStatus(errno, "close", path_);
    return absl::OkStatus();
  }

 private:
  static constexpr size_t kMaxVector = std::min(IOV_MAX, 1024);

  Descriptor fd_;
  const std::string path_;
  uint64_t position_ = 0;
};

/// Appends [offset, offset + size) of the file to `*out`, less where the file ends.
absl::Status Read(const Descriptor& fd, const std::string& path, uint64_t offset, size_t size,
                  std::string* out) {
  const size_t begin = out->size();
  out->resize(begin + size);
  size_t done = 0;
  while (done < size) {
    const ssize_t n =
        ::pread(fd.get(), out->data() + begin + done, size - done, static_cast<off_t>(offset + done));
    if (n == 0) break;
    if (n < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus(errno, "read", path);
    }
    done += static_cast<size_t>(n);
  }
  out->resize(begin + done);
  return absl::OkStatus();
}

/// The lock goes with the last descriptor of the open file.
class PosixFileLock final : public FileLock {
 public:
  explicit PosixFileLock(Descriptor fd) : fd_(std::move(fd)) {}

 private:
  const Descriptor fd_;
};

class RealEnv final : public Env {
 public:
  absl::StatusOr<std::unique_ptr<WritableFile>> OpenForWriting(const std::string& path, Create create,
                                                               mode_t mode) override {
    int flags = O_WRONLY;
    switch (create) {
      case Create::kNever:
        break;
      case Create::kIfMissing:
        flags |= O_CREAT;
        break;
      case Create::kMustBeNew:
        flags |= O_CREAT | O_EXCL;
        break;
      case Create::kTruncate:
        flags |= O_CREAT | O_TRUNC;
        break;
    }
    KVORUM_ASSIGN_OR_RETURN(Descriptor fd, Open(path, flags, mode));
    return std::make_unique<PosixWritableFile>(std::move(fd), path);
  }

  absl::StatusOr<std::string> ReadFile(const std::string& path) override {
    KVORUM_ASSIGN_OR_RETURN(const Descriptor fd, Open(path, O_RDONLY));
    struct stat info;
    if (::fstat(fd.get(), &info) != 0) return ErrnoStatus(errno, "fstat", path);
    std::string content;
    // One byte more than expected, so that the end shows without another allocation.
    for (size_t want = static_cast<size_t>(info.st_size) + 1;; want *= 2) {
      const size_t before = content.size();
      KVORUM_RETURN_IF_ERROR(Read(fd, path, before, want, &content));
      if (content.size() < before + want) return content;
    }
  }

  absl::Status ReadRange(const std::string& path, uint64_t offset, size_t size, std::string* out) override {
    KVORUM_ASSIGN_OR_RETURN(const Descriptor fd, Open(path, O_RDONLY));
    return Read(fd, path, offset, size, out);
  }

  absl::StatusOr<std::vector<std::string>> ListDirectory(const std::string& path) override {
    DIR* directory = ::opendir(path.c_str());
    if (directory == nullptr) return ErrnoStatus(errno, "opendir", path);
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(directory)) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
      errno = 0;
    }
    const int error = errno;
    ::closedir(directory);
    if (error != 0) return ErrnoStatus(error, "readdir", path);
    std::sort(names.begin(), names.end());
    return names;
  }

  bool Exists(const std::string& path) override {
    struct stat info;
    return ::stat(path.c_str(), &info) == 0;
  }

  absl::StatusOr<uint64_t> FileSize(const std::string& path) override {
    struct stat info;
    if (::stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, "stat", path);
    return static_cast<uint64_t>(info.st_size);
  }

  absl::Status CreateDirectories(const std::string& path, mode_t mode) override {
    for (size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
      const std::string part = path.substr(0, end);
      if (::mkdir(part.c_str(), mode) == 0) {
        KVORUM_RETURN_IF_ERROR(SyncDirectory(ParentDirectory(part)));
      } else {
        const int error = errno;
        struct stat info;
        // What exists may also show as EROFS, EACCES and the like.
        if (::stat(part.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
          return ErrnoStatus(error, "mkdir", part);
        }
      }
      if (end == std::string::npos) return absl::OkStatus();
    }
  }

  absl::Status SyncDirectory(const std::string& path) override {
    KVORUM_ASSIGN_OR_RETURN(const Descriptor fd, Open(path, O_RDONLY | O_DIRECTORY));
    if (::fsync(fd.get()) != 0) return ErrnoStatus(errno, "fsync", path);
    return absl::OkStatus();
  }

  absl::Status Rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) {
      return ErrnoStatus(errno, "rename", fmt::format("{} {}", from, to));
    }
    return absl::OkStatus();
  }

  absl::Status RemoveFile(const std::string& path) override {
    if (::unlink(path.c_str()) != 0) return ErrnoStatus(errno, "unlink", path);
    return absl::OkStatus();
  }

  absl::Status RemoveTree(const std::string& path) override {
    std::error_code error;
    std::filesystem::remove_all(path, error);
    if (error) return ErrnoStatus(error.value(), "remove", path);
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<FileLock>> LockFile(const std::string& path) override {
    KVORUM_ASSIGN_OR_RETURN(Descriptor fd, Open(path, O_WRONLY | O_CREAT, 0600));
    struct flock whole_file = {};
    whole_file.l_type = F_WRLCK;
    whole_file.l_whence = SEEK_SET;
    int result = ::fcntl(fd.get(), F_OFD_SETLK, &whole_file);
    if (result != 0 && errno == EINVAL) result = ::flock(fd.get(), LOCK_EX | LOCK_NB);
    if (result == 0) return std::make_unique<PosixFileLock>(std::move(fd));
    if (errno == EAGAIN || errno == EACCES) {
      return absl::UnavailableError(fmt::format("lock {}: file already locked", path));
    }
    return ErrnoStatus(errno, "lock", path);
  }
};

}  // namespace

Env& PosixEnv() {
  static RealEnv env;
  return env;
}

std::string ParentDirectory(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace kvorum
