// backend_crash_child DIRECTORY: applies entries to the database there, commits and defragments all the
// while, and reports what is durable, until it is killed (backend_crash_test.cc).

#include <unistd.h>

#include <atomic>

#include "backend/crash_entries.h"

int main(int, char** arguments) {
  using namespace kvorum::backend;
  const auto backend = OpenForCrash(arguments[1]);
  std::atomic<bool> defragmenting{false};
  for (uint64_t i = backend->applied().index + 1;; ++i) {
    ApplyCrashEntry(*backend, i);
    if (i % 16 == 0) {
      backend->Commit([i](absl::Status status) {
        if (!status.ok() || write(kReportFd, &i, sizeof(i)) != sizeof(i)) _exit(1);
      });
    }
    if (!defragmenting.exchange(true)) {
      backend->Defragment([&](absl::Status status) {
        if (!status.ok()) _exit(1);
        defragmenting = false;
      });
    }
  }
}
