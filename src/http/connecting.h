#pragma once

#include <sys/socket.h>

#include <memory>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "http/loop.h"
#include "http/poller.h"

namespace kvorum::http {

/// Waits for a descriptor that somebody else owns: a listener, a connection that is being made. On the loop
/// only.
class DescriptorWait final : private Poller::Descriptor {
 public:
  /// `events`: Poller::kInputOnce or kOutputOnce.
  DescriptorWait(Loop& loop, int fd, uint32_t events) : loop_(loop), fd_(fd), events_(events) {}
  ~DescriptorWait() { loop_.poller().Remove(fd_, this); }
  DescriptorWait(const DescriptorWait&) = delete;
  DescriptorWait& operator=(const DescriptorWait&) = delete;

  /// Calls `ready` once, not inside this call; also where it was ready before. `ready` may destroy this. One
  /// at a time. False: the system refused (errno), and `ready` is left where it was.
  [[nodiscard]] bool Once(absl::AnyInvocable<void()>&& ready);

 private:
  void OnReadable(bool) override { Tell(); }
  void OnWritable() override { Tell(); }
  void OnLoopEnd() override { const absl::AnyInvocable<void()> dropped = std::exchange(ready_, nullptr); }
  void Tell();

  Loop& loop_;
  const int fd_;
  const uint32_t events_;
  bool added_ = false;
  absl::AnyInvocable<void()> ready_;
};

/// Connects a socket. On the loop only.
class Connecting {
 public:
  using Done = absl::AnyInvocable<void(int error)>;

  explicit Connecting(Loop& loop) : loop_(loop) {}
  ~Connecting() { Cancel(); }

  /// Calls `done` with 0 or an errno, not inside this call, unless Cancel comes first. Cancels what is under
  /// way.
  void Start(const sockaddr* address, socklen_t size, Done done);
  /// Also closes what was connected and not released.
  void Cancel();
  /// The connected socket, which the caller closes from now on.
  int Release();

 private:
  /// Of the attempt.
  int Error() const;

  // Whoever is to be told is owned by what the loop holds: it may own this.
  Loop& loop_;
  int fd_ = -1;
  int error_ = 0;  // before there was anything to wait for
  std::unique_ptr<DescriptorWait> wait_;
  Executor::TimerId failing_ = 0;
};

}  // namespace kvorum::http
