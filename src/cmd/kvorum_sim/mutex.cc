#include "absl/synchronization/mutex.h"

#include "base/check.h"

// absl::Mutex for a program of one thread, which spends a twentieth of its time on them otherwise.
// These definitions stand before the library's. Whoever would wait would wait for ever: that is a broken
// invariant, and so are the calls that wait for something to hold, which are not here.

namespace {

// In the mutex's word, as the library has them.
constexpr intptr_t kWriter = 0x08;
constexpr intptr_t kReader = 0x100;  // counts them

intptr_t Get(const std::atomic<intptr_t>& word) { return word.load(std::memory_order_relaxed); }
void Set(std::atomic<intptr_t>& word, intptr_t value) { word.store(value, std::memory_order_relaxed); }

}  // namespace

namespace absl {
ABSL_NAMESPACE_BEGIN

void Mutex::Lock() {
  KVORUM_CHECK(Get(mu_) == 0, "the only thread waits for itself");
  Set(mu_, kWriter);
}
void Mutex::Unlock() { Set(mu_, 0); }
bool Mutex::TryLock() {
  if (Get(mu_) != 0) return false;
  Set(mu_, kWriter);
  return true;
}
void Mutex::ReaderLock() {
  KVORUM_CHECK(Get(mu_) != kWriter, "the only thread waits for itself");
  Set(mu_, Get(mu_) + kReader);
}
void Mutex::ReaderUnlock() { Set(mu_, Get(mu_) - kReader); }
bool Mutex::ReaderTryLock() {
  if (Get(mu_) == kWriter) return false;
  Set(mu_, Get(mu_) + kReader);
  return true;
}

ABSL_NAMESPACE_END
}  // namespace absl
