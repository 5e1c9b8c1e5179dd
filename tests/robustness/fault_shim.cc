// Preloaded into a member, it stands between the process and its disk and network:
//
//  - Syncs and writes of files below the data directory fail, or take longer.
//  - Whatever was not synced can be taken back after the process was killed, as by a power cut: before each
//    change the shim writes down what was there, and after each sync what stays from now on. power.py undoes
//    the rest. Nothing is really synced, so that nobody waits for the machine's disk.
//  - Connections to other members' ports go to the ports of relays instead.
//
// The harness tells it what to do in a page of shared memory, at any time. Environment: KVORUM_FAULTS_DATA,
// the data directory; KVORUM_FAULTS, a directory on the same file system with "control" (the page), "undo"
// (the record of changes) and "inodes/" (a further name of each file that was touched: its number). Where
// these are not set, it does nothing.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

namespace {

constexpr uint32_t kAlways = UINT32_MAX;
constexpr size_t kMaxDescriptors = 65'536;
constexpr size_t kMaxRedirects = 64;

/// As in faults.py.
struct Control {
  std::atomic<uint32_t> sync_delay_us;  // how long a sync takes, at most
  std::atomic<uint32_t> fail_syncs;     // so many more fail with EIO; kAlways: all
  std::atomic<uint32_t> fail_writes;    // the same, with ENOSPC
  std::atomic<uint32_t> scope;          // of which files: 0 all, 1 the log's, 2 the others
  std::atomic<uint32_t> lie;            // a sync succeeds and does nothing
  std::atomic<uint32_t> syncs;          // for the harness: how many there were
  std::atomic<uint32_t> faults;         // and how many calls failed
  std::atomic<uint32_t> redirects;
  std::atomic<uint32_t> redirect[kMaxRedirects];  // from << 16 | to
};

/// As in power.py.
enum class Kind : uint32_t {
  kChange = 1,  // `length` bytes of a file at `offset`, which had `size`; the payload is what stood there
  kSynced = 2,  // a file's changes written down before `offset` of the record stay
  kDirectorySynced = 3,  // the same of the names in a directory, `inode`
  kMade = 4,             // the payload's path, in the directory `offset`
  kRemoved = 5,          // likewise; it was `inode`, 0: a directory
  // Two paths, a zero byte between, from directory `offset` to `length`; `inode` was there, or 0.
  kRenamed = 6,
};
struct Record {
  Kind kind;
  uint32_t payload = 0;  // bytes behind it
  uint64_t inode = 0;
  uint64_t offset = 0;
  uint64_t length = 0;
  uint64_t size = 0;
};

struct Descriptor {
  uint64_t inode : 60;
  uint64_t file : 1;
  uint64_t directory : 1;
  uint64_t durable : 1;  // O_DSYNC: each write is synced
  uint64_t log : 1;
};

class Lock {
 public:
  explicit Lock(pthread_mutex_t* mutex) : mutex_(mutex) { pthread_mutex_lock(mutex_); }
  ~Lock() { pthread_mutex_unlock(mutex_); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  pthread_mutex_t* const mutex_;
};

int RawOpen(const char* path, int flags, mode_t mode = 0) {
  return static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, flags, mode));
}

std::string Parent(const std::string& path) { return path.substr(0, path.rfind('/')); }

/// The shim itself cannot go on.
[[noreturn]] void Fail(const char* what) {
  const int error = errno;
  dprintf(STDERR_FILENO, "fault_shim: %s: %s\n", what, strerror(error));
  abort();
}

/// 0: there is none.
uint64_t InodeOf(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 ? info.st_ino : 0;
}

class Shim {
 public:
  static Shim& Get() {
    static Shim* const shim = new Shim;
    return *shim;
  }

  pthread_mutex_t* mutex() { return &mutex_; }

  bool IsData(std::string_view path) const {
    return control_ != nullptr && path.size() > data_.size() && path.substr(0, data_.size()) == data_ &&
           path[data_.size()] == '/';
  }
  /// Of a name in a directory that is open.
  static std::string PathAt(int directory, const char* name) {
    if (name[0] == '/' || directory == AT_FDCWD) return name;
    char path[4096];
    const std::string link = "/proc/self/fd/" + std::to_string(directory);
    const ssize_t size = readlink(link.c_str(), path, sizeof(path));
    return size < 0 ? name : std::string(path, static_cast<size_t>(size)) + "/" + name;
  }

  int Open(const std::string& path, int flags, mode_t mode) {
    if (!IsData(path) && (control_ == nullptr || path != data_)) return RawOpen(path.c_str(), flags, mode);
    const Lock lock(&mutex_);
    const uint64_t before = InodeOf(path);
    if (before != 0 && (flags & O_TRUNC) != 0) {
      Keep(path, before);
      Change(before, 0, UINT64_MAX);
    }
    const bool makes = before == 0 && (flags & O_CREAT) != 0;
    if (makes) Append({.kind = Kind::kMade, .offset = InodeOf(Parent(path))}, path);
    const int fd = RawOpen(path.c_str(), flags, mode);
    if (fd < 0 || static_cast<size_t>(fd) >= kMaxDescriptors) return fd;
    const bool writes = (flags & O_ACCMODE) != O_RDONLY;
    if (!writes && (flags & O_DIRECTORY) == 0) return fd;
    const uint64_t inode = InodeOf(path);
    if (writes) Keep(path, inode);
    descriptors_[fd] = Descriptor{.inode = inode,
                                  .file = writes,
                                  .directory = !writes,
                                  .durable = (flags & O_DSYNC) != 0,
                                  .log = path.find("/wal") != std::string::npos};
    return fd;
  }
  Descriptor Of(int fd) const {
    const bool known = fd >= 0 && static_cast<size_t>(fd) < kMaxDescriptors;
    return known ? descriptors_[fd].load() : Descriptor{};
  }
  void Forget(int fd) {
    if (fd >= 0 && static_cast<size_t>(fd) < kMaxDescriptors) descriptors_[fd] = Descriptor{};
  }

  /// `write` writes so many bytes at `offset`, or makes the file longer.
  template <typename Write>
  auto Written(Descriptor file, uint64_t offset, uint64_t length, Write write) -> decltype(write()) {
    const Lock lock(&mutex_);
    if (Fails(control_->fail_writes, file)) {
      errno = ENOSPC;
      return -1;
    }
    if (!file.durable || control_->lie != 0) Change(file.inode, offset, length);
    return write();
  }

  int Sync(Descriptor file) {
    uint64_t upto;
    {
      const Lock lock(&mutex_);
      upto = written_;
    }
    const uint32_t number = control_->syncs.fetch_add(1);
    if (const uint32_t most = control_->sync_delay_us; most != 0) {
      const long wait = static_cast<long>(number * 2'654'435'761U % most) * 1000;
      const timespec time = {.tv_sec = wait / 1'000'000'000, .tv_nsec = wait % 1'000'000'000};
      ppoll(nullptr, 0, &time, nullptr);
    }
    if (Fails(control_->fail_syncs, file)) {
      errno = EIO;
      return -1;
    }
    if (control_->lie != 0) return 0;
    const Lock lock(&mutex_);
    Append({.kind = file.directory ? Kind::kDirectorySynced : Kind::kSynced,
            .inode = file.inode,
            .offset = upto});
    return 0;
  }

  /// `remove` takes the name away.
  template <typename Remove>
  int Removed(const std::string& path, Remove remove) {
    const Lock lock(&mutex_);
    struct stat info;
    if (lstat(path.c_str(), &info) == 0) {
      const bool directory = S_ISDIR(info.st_mode);
      if (!directory) Keep(path, info.st_ino);
      Append({.kind = Kind::kRemoved, .inode = directory ? 0 : info.st_ino, .offset = InodeOf(Parent(path))},
             path);
    }
    return remove();
  }

  int Rename(const std::string& from, const std::string& to) {
    const Lock lock(&mutex_);
    const uint64_t there = InodeOf(to);
    if (there != 0) Keep(to, there);
    Append({.kind = Kind::kRenamed,
            .inode = there,
            .offset = InodeOf(Parent(from)),
            .length = InodeOf(Parent(to))},
           from + '\0' + to);
    return static_cast<int>(syscall(SYS_rename, from.c_str(), to.c_str()));
  }

  int MakeDirectory(const std::string& path, mode_t mode) {
    const Lock lock(&mutex_);
    const int result = static_cast<int>(syscall(SYS_mkdir, path.c_str(), mode));
    if (result == 0) Append({.kind = Kind::kMade, .offset = InodeOf(Parent(path))}, path);
    return result;
  }

  uint16_t Redirected(uint16_t port) const {
    if (control_ == nullptr) return port;
    const uint32_t count = std::min<uint32_t>(control_->redirects, kMaxRedirects);
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t redirect = control_->redirect[i];
      if (redirect >> 16 == port) return static_cast<uint16_t>(redirect);
    }
    return port;
  }

 private:
  Shim() {
    const char* const directory = getenv("KVORUM_FAULTS");
    const char* const data = getenv("KVORUM_FAULTS_DATA");
    if (directory == nullptr || data == nullptr) return;
    inodes_ = std::string(directory) + "/inodes/";
    data_ = data;
    const int page = RawOpen((std::string(directory) + "/control").c_str(), O_RDWR | O_CLOEXEC);
    void* const memory = mmap(nullptr, sizeof(Control), PROT_READ | PROT_WRITE, MAP_SHARED, page, 0);
    undo_ = RawOpen((std::string(directory) + "/undo").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (page < 0 || memory == MAP_FAILED || undo_ < 0) Fail("open");
    syscall(SYS_close, page);
    control_ = static_cast<Control*>(memory);
    FindEnd();
  }

  /// Behind the last whole record: a kill may have cut one short.
  void FindEnd() {
    struct stat info;
    if (fstat(undo_, &info) != 0) Fail("fstat");
    Record record{.kind = Kind::kChange};
    while (pread(undo_, &record, sizeof(record), static_cast<off_t>(written_)) == sizeof(record)) {
      const uint64_t end = written_ + sizeof(record) + record.payload;
      if (end > static_cast<uint64_t>(info.st_size)) break;
      written_ = end;
    }
  }

  void Append(Record record, std::string_view payload = {}) {
    record.payload = static_cast<uint32_t>(payload.size());
    const int error = errno;
    const iovec pieces[] = {{.iov_base = &record, .iov_len = sizeof(record)},
                            {.iov_base = const_cast<char*>(payload.data()), .iov_len = payload.size()}};
    const auto size = static_cast<ssize_t>(sizeof(record) + payload.size());
    if (syscall(SYS_pwritev, undo_, pieces, 2, static_cast<off_t>(written_), 0) != size) Fail("record");
    written_ += static_cast<uint64_t>(size);
    errno = error;
  }

  /// A further name, by which its content is found whatever becomes of its own.
  void Keep(const std::string& path, uint64_t inode) const {
    const int error = errno;
    if (link(path.c_str(), (inodes_ + std::to_string(inode)).c_str()) != 0 && errno != EEXIST) Fail("link");
    errno = error;
  }

  /// Writes down what stands where `length` bytes are about to be written or cut off.
  void Change(uint64_t inode, uint64_t offset, uint64_t length) {
    const int file = RawOpen((inodes_ + std::to_string(inode)).c_str(), O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (file < 0 || fstat(file, &info) != 0) Fail("look at a file");
    const auto size = static_cast<uint64_t>(info.st_size);
    std::string old(offset < size ? std::min(length, size - offset) : 0, '\0');
    if (!old.empty() &&
        pread(file, old.data(), old.size(), static_cast<off_t>(offset)) != static_cast<ssize_t>(old.size()))
      Fail("read");
    syscall(SYS_close, file);
    Append({.kind = Kind::kChange,
            .inode = inode,
            .offset = offset,
            .length = std::max<uint64_t>(old.size(), length == UINT64_MAX ? 0 : length),
            .size = size},
           old);
  }

  bool Fails(std::atomic<uint32_t>& left, Descriptor file) {
    const uint32_t scope = control_->scope;
    if (left == 0 || (scope == 1 && !file.log) || (scope == 2 && file.log)) return false;
    for (uint32_t now = left; now != kAlways;) {
      if (now == 0) return false;
      if (left.compare_exchange_weak(now, now - 1)) break;
    }
    ++control_->faults;
    return true;
  }

  std::string data_;
  std::string inodes_;
  Control* control_ = nullptr;  // null: there is nothing to do
  int undo_ = -1;
  uint64_t written_ = 0;  // bytes of the record
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
  std::atomic<Descriptor> descriptors_[kMaxDescriptors] = {};
};

uint64_t Total(const iovec* pieces, int count) {
  uint64_t total = 0;
  for (int i = 0; i < count; ++i) total += pieces[i].iov_len;
  return total;
}

int OpenWith(const std::string& path, int flags, va_list rest) {
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
  return Shim::Get().Open(path, flags, mode);
}

/// Where the next byte of a file goes that is written without a place.
uint64_t PlaceOf(int fd) {
  const bool appends = (fcntl(fd, F_GETFL) & O_APPEND) != 0;
  return static_cast<uint64_t>(lseek(fd, 0, appends ? SEEK_END : SEEK_CUR));
}

template <typename Sync>
int SyncOr(int fd, Sync sync) {
  const Descriptor file = Shim::Get().Of(fd);
  return file.file || file.directory ? Shim::Get().Sync(file) : sync();
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const int fd = OpenWith(path, flags, rest);
  va_end(rest);
  return fd;
}

int openat(int directory, const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const int fd = OpenWith(Shim::PathAt(directory, path), flags, rest);
  va_end(rest);
  return fd;
}

int close(int fd) {
  Shim::Get().Forget(fd);
  return static_cast<int>(syscall(SYS_close, fd));
}

ssize_t write(int fd, const void* data, size_t size) {
  const auto write = [=] { return static_cast<ssize_t>(syscall(SYS_write, fd, data, size)); };
  const Descriptor file = Shim::Get().Of(fd);
  return file.file ? Shim::Get().Written(file, PlaceOf(fd), size, write) : write();
}

ssize_t writev(int fd, const iovec* pieces, int count) {
  const auto write = [=] { return static_cast<ssize_t>(syscall(SYS_writev, fd, pieces, count)); };
  const Descriptor file = Shim::Get().Of(fd);
  return file.file ? Shim::Get().Written(file, PlaceOf(fd), Total(pieces, count), write) : write();
}

ssize_t pwrite(int fd, const void* data, size_t size, off_t offset) {
  const auto write = [=] { return static_cast<ssize_t>(syscall(SYS_pwrite64, fd, data, size, offset)); };
  const Descriptor file = Shim::Get().Of(fd);
  return file.file ? Shim::Get().Written(file, static_cast<uint64_t>(offset), size, write) : write();
}

ssize_t pwritev(int fd, const iovec* pieces, int count, off_t offset) {
  const auto write = [=] { return static_cast<ssize_t>(syscall(SYS_pwritev, fd, pieces, count, offset, 0)); };
  const Descriptor file = Shim::Get().Of(fd);
  if (!file.file) return write();
  return Shim::Get().Written(file, static_cast<uint64_t>(offset), Total(pieces, count), write);
}

int ftruncate(int fd, off_t size) {
  const auto cut = [=] { return static_cast<int>(syscall(SYS_ftruncate, fd, size)); };
  const Descriptor file = Shim::Get().Of(fd);
  return file.file ? Shim::Get().Written(file, static_cast<uint64_t>(size), UINT64_MAX, cut) : cut();
}

int fallocate(int fd, int mode, off_t offset, off_t size) {
  const auto reserve = [=] { return static_cast<int>(syscall(SYS_fallocate, fd, mode, offset, size)); };
  const Descriptor file = Shim::Get().Of(fd);
  return file.file ? Shim::Get().Written(file, UINT64_MAX, 0, reserve) : reserve();
}

int fsync(int fd) {
  return SyncOr(fd, [fd] { return static_cast<int>(syscall(SYS_fsync, fd)); });
}

int fdatasync(int fd) {
  return SyncOr(fd, [fd] { return static_cast<int>(syscall(SYS_fdatasync, fd)); });
}

int rename(const char* from, const char* to) {
  if (Shim::Get().IsData(from) && Shim::Get().IsData(to)) return Shim::Get().Rename(from, to);
  return static_cast<int>(syscall(SYS_rename, from, to));
}

int unlink(const char* path) {
  const auto remove = [=] { return static_cast<int>(syscall(SYS_unlink, path)); };
  return Shim::Get().IsData(path) ? Shim::Get().Removed(path, remove) : remove();
}

int unlinkat(int directory, const char* name, int flags) {
  const auto remove = [=] { return static_cast<int>(syscall(SYS_unlinkat, directory, name, flags)); };
  const std::string path = Shim::PathAt(directory, name);
  return Shim::Get().IsData(path) ? Shim::Get().Removed(path, remove) : remove();
}

int rmdir(const char* path) {
  const auto remove = [=] { return static_cast<int>(syscall(SYS_rmdir, path)); };
  return Shim::Get().IsData(path) ? Shim::Get().Removed(path, remove) : remove();
}

int mkdir(const char* path, mode_t mode) {
  if (Shim::Get().IsData(path)) return Shim::Get().MakeDirectory(path, mode);
  return static_cast<int>(syscall(SYS_mkdir, path, mode));
}

// The same by the names that other compilers' settings give them.
int open64(const char* path, int flags, ...) __attribute__((alias("open")));
int openat64(int directory, const char* path, int flags, ...) __attribute__((alias("openat")));
ssize_t pwrite64(int fd, const void* data, size_t size, off64_t offset) __attribute__((alias("pwrite")));
ssize_t pwritev64(int fd, const iovec* pieces, int count, off64_t offset) __attribute__((alias("pwritev")));
int ftruncate64(int fd, off64_t size) __attribute__((alias("ftruncate")));
int fallocate64(int fd, int mode, off64_t offset, off64_t size) __attribute__((alias("fallocate")));

int connect(int fd, const sockaddr* address, socklen_t size) {
  sockaddr_in other;
  if (address->sa_family != AF_INET || size < sizeof(other)) {
    return static_cast<int>(syscall(SYS_connect, fd, address, size));
  }
  other = *reinterpret_cast<const sockaddr_in*>(address);
  other.sin_port = htons(Shim::Get().Redirected(ntohs(other.sin_port)));
  return static_cast<int>(syscall(SYS_connect, fd, &other, sizeof(other)));
}

}  // extern "C"
