// ThreadSanitizer builds only: tells the sanitizer about absl::Mutex, absl::CondVar, absl::Notification and
// the references of absl::Status, whose code in the system's shared library is not instrumented. These
// definitions stand before the library's, tell, and call them.

#include <dlfcn.h>
#include <sanitizer/tsan_interface.h>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "base/check.h"

namespace {

/// The library's function of that (mangled) name.
template <typename Function>
Function* Real(const char* name) {
  void* found = dlsym(RTLD_NEXT, name);
  KVORUM_CHECK(found != nullptr, "no {}", name);
  return reinterpret_cast<Function*>(found);
}

constexpr unsigned kExclusive = 0;
constexpr unsigned kShared = __tsan_mutex_read_lock;

template <unsigned kFlags, typename Call>
void Locking(absl::Mutex* mutex, Call call) {
  __tsan_mutex_pre_lock(mutex, kFlags);
  call();
  __tsan_mutex_post_lock(mutex, kFlags, 0);
}

template <unsigned kFlags, typename Call>
bool TryLocking(absl::Mutex* mutex, Call call) {
  __tsan_mutex_pre_lock(mutex, kFlags | __tsan_mutex_try_lock);
  const bool locked = call();
  __tsan_mutex_post_lock(mutex, kFlags | __tsan_mutex_try_lock | (locked ? 0 : __tsan_mutex_try_lock_failed),
                         0);
  return locked;
}

template <unsigned kFlags, typename Call>
void Unlocking(absl::Mutex* mutex, Call call) {
  __tsan_mutex_pre_unlock(mutex, kFlags);
  call();
  __tsan_mutex_post_unlock(mutex, kFlags);
}

/// In a waiting call, whose own calls of others are part of it.
thread_local bool waiting = false;

/// A call that lets go of the (exclusively held) mutex and takes it again.
template <typename Call>
auto Waiting(absl::Mutex* mutex, Call call) {
  if (waiting) return call();
  waiting = true;
  __tsan_mutex_pre_unlock(mutex, kExclusive);
  __tsan_mutex_post_unlock(mutex, kExclusive);
  __tsan_mutex_pre_lock(mutex, kExclusive);
  struct Relock {
    absl::Mutex* mutex;
    ~Relock() {
      waiting = false;
      __tsan_mutex_post_lock(mutex, kExclusive, 0);
    }
  } relock{mutex};
  return call();
}

/// A call that takes the mutex when something holds, or the time is over.
template <typename Call>
bool LockingWhen(absl::Mutex* mutex, Call call) {
  if (waiting) return call();
  waiting = true;
  __tsan_mutex_pre_lock(mutex, kExclusive);
  const bool held = call();
  waiting = false;
  __tsan_mutex_post_lock(mutex, kExclusive, 0);
  return held;
}

}  // namespace

namespace absl {
ABSL_NAMESPACE_BEGIN

void Mutex::Lock() {
  static auto* const real = Real<void(Mutex*)>("_ZN4absl7debian35Mutex4LockEv");
  Locking<kExclusive>(this, [this] { real(this); });
}
void Mutex::Unlock() {
  static auto* const real = Real<void(Mutex*)>("_ZN4absl7debian35Mutex6UnlockEv");
  Unlocking<kExclusive>(this, [this] { real(this); });
}
bool Mutex::TryLock() {
  static auto* const real = Real<bool(Mutex*)>("_ZN4absl7debian35Mutex7TryLockEv");
  return TryLocking<kExclusive>(this, [this] { return real(this); });
}
void Mutex::ReaderLock() {
  static auto* const real = Real<void(Mutex*)>("_ZN4absl7debian35Mutex10ReaderLockEv");
  Locking<kShared>(this, [this] { real(this); });
}
void Mutex::ReaderUnlock() {
  static auto* const real = Real<void(Mutex*)>("_ZN4absl7debian35Mutex12ReaderUnlockEv");
  Unlocking<kShared>(this, [this] { real(this); });
}
bool Mutex::ReaderTryLock() {
  static auto* const real = Real<bool(Mutex*)>("_ZN4absl7debian35Mutex13ReaderTryLockEv");
  return TryLocking<kShared>(this, [this] { return real(this); });
}
void Mutex::LockWhen(const Condition& condition) {
  static auto* const real =
      Real<void(Mutex*, const Condition&)>("_ZN4absl7debian35Mutex8LockWhenERKNS0_9ConditionE");
  Locking<kExclusive>(this, [&] { real(this, condition); });
}
void Mutex::Await(const Condition& condition) {
  static auto* const real =
      Real<void(Mutex*, const Condition&)>("_ZN4absl7debian35Mutex5AwaitERKNS0_9ConditionE");
  Waiting(this, [&] { real(this, condition); });
}
bool Mutex::LockWhenWithTimeout(const Condition& condition, Duration timeout) {
  static auto* const real = Real<bool(Mutex*, const Condition&, Duration)>(
      "_ZN4absl7debian35Mutex19LockWhenWithTimeoutERKNS0_9ConditionENS0_8DurationE");
  return LockingWhen(this, [&] { return real(this, condition, timeout); });
}
bool Mutex::LockWhenWithDeadline(const Condition& condition, Time deadline) {
  static auto* const real = Real<bool(Mutex*, const Condition&, Time)>(
      "_ZN4absl7debian35Mutex20LockWhenWithDeadlineERKNS0_9ConditionENS0_4TimeE");
  return LockingWhen(this, [&] { return real(this, condition, deadline); });
}
bool Mutex::AwaitWithDeadline(const Condition& condition, Time deadline) {
  static auto* const real = Real<bool(Mutex*, const Condition&, Time)>(
      "_ZN4absl7debian35Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE");
  return Waiting(this, [&] { return real(this, condition, deadline); });
}
bool Mutex::AwaitWithTimeout(const Condition& condition, Duration timeout) {
  static auto* const real = Real<bool(Mutex*, const Condition&, Duration)>(
      "_ZN4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE");
  return Waiting(this, [&] { return real(this, condition, timeout); });
}

void CondVar::Wait(Mutex* mutex) {
  static auto* const real = Real<void(CondVar*, Mutex*)>("_ZN4absl7debian37CondVar4WaitEPNS0_5MutexE");
  Waiting(mutex, [&] { real(this, mutex); });
}
bool CondVar::WaitWithTimeout(Mutex* mutex, Duration timeout) {
  static auto* const real = Real<bool(CondVar*, Mutex*, Duration)>(
      "_ZN4absl7debian37CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE");
  return Waiting(mutex, [&] { return real(this, mutex, timeout); });
}
bool CondVar::WaitWithDeadline(Mutex* mutex, Time deadline) {
  static auto* const real =
      Real<bool(CondVar*, Mutex*, Time)>("_ZN4absl7debian37CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE");
  return Waiting(mutex, [&] { return real(this, mutex, deadline); });
}

// Whoever lets the last reference go deletes what all others have read before they let theirs go.
void Status::UnrefNonInlined(uintptr_t rep) {
  static auto* const real = Real<void(uintptr_t)>("_ZN4absl7debian36Status15UnrefNonInlinedEm");
  __tsan_release(reinterpret_cast<void*>(rep));
  __tsan_acquire(reinterpret_cast<void*>(rep));
  real(rep);
}

// What was done before a notification is seen by who waited for it.
void Notification::Notify() {
  static auto* const real = Real<void(Notification*)>("_ZN4absl7debian312Notification6NotifyEv");
  __tsan_release(this);
  real(this);
}
void Notification::WaitForNotification() const {
  static auto* const real =
      Real<void(const Notification*)>("_ZNK4absl7debian312Notification19WaitForNotificationEv");
  real(this);
  __tsan_acquire(const_cast<Notification*>(this));
}
bool Notification::WaitForNotificationWithTimeout(Duration timeout) const {
  static auto* const real = Real<bool(const Notification*, Duration)>(
      "_ZNK4absl7debian312Notification30WaitForNotificationWithTimeoutENS0_8DurationE");
  const bool notified = real(this, timeout);
  if (notified) __tsan_acquire(const_cast<Notification*>(this));
  return notified;
}
bool Notification::WaitForNotificationWithDeadline(Time deadline) const {
  static auto* const real = Real<bool(const Notification*, Time)>(
      "_ZNK4absl7debian312Notification31WaitForNotificationWithDeadlineENS0_4TimeE");
  const bool notified = real(this, deadline);
  if (notified) __tsan_acquire(const_cast<Notification*>(this));
  return notified;
}

ABSL_NAMESPACE_END
}  // namespace absl
