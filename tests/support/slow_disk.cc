// Preloaded into a process, it makes each of its syncs take KVORUM_SLOW_DISK_MS milliseconds longer: a disk
// that is there, but slow.
#include <dlfcn.h>
#include <poll.h>

#include <cstdlib>

namespace {

using Sync = int (*)(int);

int SlowSync(const char* name, int fd) {
  static const char* const milliseconds = std::getenv("KVORUM_SLOW_DISK_MS");
  if (milliseconds != nullptr) poll(nullptr, 0, std::atoi(milliseconds));
  return reinterpret_cast<Sync>(dlsym(RTLD_NEXT, name))(fd);
}

}  // namespace

extern "C" int fsync(int fd) { return SlowSync("fsync", fd); }
extern "C" int fdatasync(int fd) { return SlowSync("fdatasync", fd); }
