// backend_crash_child DIRECTORY: applies entries to the database there, commits and defragments all the
// while, now and then takes the database as it is some entries later in place of its own, and reports what is
// durable, until it is killed (backend_crash_test.cc).

#include <unistd.h>

#include <atomic>

#include "backend/crash_entries.h"
#include "backend/memory_backend.h"

namespace kvorum::backend {
namespace {

void Report(uint64_t index) {
  if (write(kReportFd, &index, sizeof(index)) != sizeof(index)) _exit(1);
}

void ReplaceBy(Backend& backend, uint64_t index) {
  const auto later = MemoryBackend::Create();
  for (uint64_t i = index > 2 * kKept ? index - 2 * kKept : 1; i <= index; ++i) ApplyCrashEntry(*later, i);
  std::atomic<bool> done{false};
  backend.Replace(later->NewReadView(), later->applied(), [&](absl::Status status) {
    if (!status.ok()) _exit(1);
    done = true;
    done.notify_all();
  });
  done.wait(false);
  Report(index);
}

}  // namespace
}  // namespace kvorum::backend

int main(int, char** arguments) {
  using namespace kvorum::backend;
  const auto backend = OpenForCrash(arguments[1]);
  std::atomic<bool> defragmenting{false};
  for (uint64_t i = backend->applied().index + 1;; ++i) {
    ApplyCrashEntry(*backend, i);
    if (i % 16 == 0) {
      backend->Commit([i](absl::Status status) {
        if (!status.ok()) _exit(1);
        Report(i);
      });
    }
    if (!defragmenting.exchange(true)) {
      backend->Defragment([&](absl::Status status) {
        if (!status.ok() && !absl::IsCancelled(status)) _exit(1);
        defragmenting = false;
      });
    }
    if (i % 64 == 0) ReplaceBy(*backend, i += 10);
  }
}
