#include "base/log_sink.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "base/clock.h"
#include "base/status.h"

namespace kvorum {
namespace {

constexpr size_t kPieceBytes = 64 << 10;

absl::Status SystemError(std::string_view call, std::string_view path) {
  const int error = errno;
  return absl::Status(absl::ErrnoToStatusCode(error), fmt::format("{} {}: {}", call, path, strerror(error)));
}

absl::Status WriteAll(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t n = write(fd, data.data(), data.size());
    if (n >= 0) {
      data.remove_prefix(n);
    } else if (errno == EAGAIN) {
      pollfd ready{.fd = fd, .events = POLLOUT, .revents = 0};
      poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      return SystemError("write", "log");
    }
  }
  return absl::OkStatus();
}

/// Collects lines until a piece is full or a flush is asked for.
class DescriptorSink : public LogSink {
 public:
  explicit DescriptorSink(int fd) : fd_(fd) {}

  absl::Status Write(LogLevel, std::string_view line) override {
    buffer_.append(line);
    return buffer_.size() < kPieceBytes ? absl::OkStatus() : DescriptorSink::Flush();
  }

  absl::Status Flush() override {
    if (buffer_.empty()) return absl::OkStatus();
    absl::Status status = WriteAll(fd_, buffer_);
    buffer_.clear();
    return status;
  }

 protected:
  int fd_;

 private:
  std::string buffer_;
};

absl::StatusOr<int> OpenForAppending(const std::string& path) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) return SystemError("open", path);
  return fd;
}

class FileSink : public DescriptorSink {
 public:
  explicit FileSink(int fd) : DescriptorSink(fd) {}
  ~FileSink() override { close(fd_); }
};

/// The backups of a rotated file, and their names.
class Backups {
 public:
  Backups(const std::string& path, const LogRotation& rotation) : rotation_(rotation) {
    const size_t slash = path.rfind('/');
    directory_ = slash == std::string::npos ? "." : path.substr(0, slash);
    const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
    const size_t dot = name.rfind('.');
    prefix_ = (dot == std::string::npos ? name : name.substr(0, dot)) + "-";
    extension_ = dot == std::string::npos ? "" : name.substr(dot);
  }

  /// A name that no file has: `now`, or the first free millisecond after it.
  std::string NewName(WallTime now) const {
    while (true) {
      std::string name = fmt::format("{}/{}{}{}", directory_, prefix_, Stamp(now), extension_);
      const bool taken = access(name.c_str(), F_OK) == 0 || access((name + ".gz").c_str(), F_OK) == 0;
      if (!taken) return name;
      now += std::chrono::milliseconds(1);
    }
  }

  /// Removes what is too many or too old and compresses the rest, as the settings ask.
  void Tidy(WallTime now) const {
    std::vector<std::string> names = List();
    std::sort(names.rbegin(), names.rend());  // newest first: the stamp sorts by time
    const std::string oldest =
        rotation_.max_age_days == 0 ? "" : Stamp(now - std::chrono::hours(24) * rotation_.max_age_days);
    for (size_t i = 0; i < names.size(); ++i) {
      const std::string path = directory_ + "/" + names[i];
      const bool too_many = rotation_.max_backups != 0 && i >= rotation_.max_backups;
      const bool too_old = !oldest.empty() && names[i].substr(prefix_.size(), oldest.size()) < oldest;
      if (too_many || too_old) {
        unlink(path.c_str());
      } else if (rotation_.compress && !names[i].ends_with(".gz")) {
        Compress(path);
      }
    }
  }

 private:
  std::string Stamp(WallTime time) const {
    const auto since_epoch = time.time_since_epoch();
    const auto second = std::chrono::floor<std::chrono::seconds>(since_epoch);
    const time_t seconds = second.count();
    tm parts{};
    rotation_.local_time ? localtime_r(&seconds, &parts) : gmtime_r(&seconds, &parts);
    char date[24];
    strftime(date, sizeof(date), "%Y-%m-%dT%H-%M-%S", &parts);
    return fmt::format("{}.{:03}", date,
                       std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch - second).count());
  }

  std::vector<std::string> List() const {
    std::vector<std::string> names;
    DIR* directory = opendir(directory_.c_str());
    if (directory == nullptr) return names;
    while (const dirent* entry = readdir(directory)) {
      const std::string_view name = entry->d_name;
      if (!name.starts_with(prefix_) || name.size() < prefix_.size() + kStampBytes) continue;
      const bool stamped = name[prefix_.size() + 4] == '-' && name[prefix_.size() + 10] == 'T';
      const std::string_view rest = name.substr(prefix_.size() + kStampBytes);
      if (stamped && (rest == extension_ || rest == extension_ + ".gz")) names.emplace_back(name);
    }
    closedir(directory);
    return names;
  }

  static void Compress(const std::string& path) {
    const int in = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (in < 0) return;
    const std::string target = path + ".gz";
    gzFile out = gzopen(target.c_str(), "wb");
    bool good = out != nullptr;
    std::string piece(kPieceBytes, '\0');
    while (good) {
      const ssize_t n = read(in, piece.data(), piece.size());
      if (n == 0) break;
      good = n > 0 && gzwrite(out, piece.data(), static_cast<unsigned>(n)) == n;
    }
    close(in);
    if (out != nullptr) good = gzclose(out) == Z_OK && good;
    unlink(good ? path.c_str() : target.c_str());
  }

  static constexpr size_t kStampBytes = std::string_view("2006-01-02T15-04-05.000").size();

  const LogRotation rotation_;
  std::string directory_;
  std::string prefix_;
  std::string extension_;
};

class RotatingSink final : public DescriptorSink {
 public:
  RotatingSink(std::string path, const LogRotation& rotation, int fd, uint64_t size)
      : DescriptorSink(fd),
        path_(std::move(path)),
        rotation_(rotation),
        backups_(path_, rotation),
        size_(size) {}
  ~RotatingSink() override { close(fd_); }

  absl::Status Write(LogLevel level, std::string_view line) override {
    if (size_ > 0 && size_ + line.size() > rotation_.max_size_bytes) KVORUM_RETURN_IF_ERROR(Rotate());
    size_ += line.size();
    return DescriptorSink::Write(level, line);
  }

 private:
  absl::Status Rotate() {
    KVORUM_RETURN_IF_ERROR(Flush());
    const WallTime now = SystemClock().WallNow();
    const std::string backup = backups_.NewName(now);
    if (rename(path_.c_str(), backup.c_str()) != 0 && errno != ENOENT) return SystemError("rename", path_);
    KVORUM_ASSIGN_OR_RETURN(const int fd, OpenForAppending(path_));
    close(fd_);
    fd_ = fd;
    size_ = 0;
    backups_.Tidy(now);
    return absl::OkStatus();
  }

  const std::string path_;
  const LogRotation rotation_;
  const Backups backups_;
  uint64_t size_;
};

/// The native protocol of systemd-journald: one datagram of `KEY=value` lines a message.
class JournalSink final : public LogSink {
 public:
  JournalSink(int fd, const sockaddr_un& address) : fd_(fd), address_(address) {}
  ~JournalSink() override { close(fd_); }

  absl::Status Write(LogLevel level, std::string_view line) override {
    if (line.ends_with('\n')) line.remove_suffix(1);
    std::string datagram =
        fmt::format("PRIORITY={}\nSYSLOG_IDENTIFIER=kvorum\nMESSAGE={}\n", Priority(level), line);
    if (Send(datagram.data(), datagram.size(), -1)) return absl::OkStatus();
    if (errno != EMSGSIZE && errno != ENOBUFS) return SystemError("sendmsg", "journal");
    return SendAsFile(datagram);
  }

 private:
  static int Priority(LogLevel level) {
    switch (level) {
      case LogLevel::kDebug:
        return 7;
      case LogLevel::kInfo:
        return 6;
      case LogLevel::kWarn:
        return 4;
      case LogLevel::kError:
        return 3;
      case LogLevel::kPanic:
        return 2;
      case LogLevel::kFatal:
        return 2;
    }
    return 6;
  }

  /// A message over the datagram limit travels as a sealed file in memory.
  absl::Status SendAsFile(std::string_view message) {
    const int file = memfd_create("journal", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (file < 0) return SystemError("memfd_create", "journal");
    absl::Status status = WriteAll(file, message);
    if (status.ok()) {
      fcntl(file, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
      if (!Send(nullptr, 0, file)) status = SystemError("sendmsg", "journal");
    }
    close(file);
    return status;
  }

  bool Send(void* data, size_t size, int file) {
    iovec piece{.iov_base = data, .iov_len = size};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_name = &address_;
    message.msg_namelen = sizeof(address_);
    if (file < 0) {
      message.msg_iov = &piece;
      message.msg_iovlen = 1;
    } else {
      message.msg_control = control;
      message.msg_controllen = sizeof(control);
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(header), &file, sizeof(int));
    }
    return sendmsg(fd_, &message, MSG_NOSIGNAL) >= 0;
  }

  const int fd_;
  sockaddr_un address_;
};

}  // namespace

std::unique_ptr<LogSink> NewDescriptorSink(int fd) { return std::make_unique<DescriptorSink>(fd); }

absl::StatusOr<std::unique_ptr<LogSink>> OpenFileSink(const std::string& path) {
  KVORUM_ASSIGN_OR_RETURN(const int fd, OpenForAppending(path));
  return std::make_unique<FileSink>(fd);
}

absl::StatusOr<std::unique_ptr<LogSink>> OpenRotatingSink(const std::string& path,
                                                          const LogRotation& rotation) {
  KVORUM_ASSIGN_OR_RETURN(const int fd, OpenForAppending(path));
  struct stat status {};
  if (fstat(fd, &status) != 0) {
    absl::Status error = SystemError("stat", path);
    close(fd);
    return error;
  }
  return std::make_unique<RotatingSink>(path, rotation, fd, static_cast<uint64_t>(status.st_size));
}

absl::StatusOr<std::unique_ptr<LogSink>> OpenJournalSink(const std::string& socket_path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(fmt::format("socket path too long: {}", socket_path));
  }
  std::memcpy(address.sun_path, socket_path.data(), socket_path.size());
  if (access(socket_path.c_str(), W_OK) != 0) return SystemError("access", socket_path);
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return SystemError("socket", socket_path);
  return std::make_unique<JournalSink>(fd, address);
}

}  // namespace kvorum
