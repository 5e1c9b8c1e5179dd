#include "http/connecting.h"

#include <errno.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "base/check.h"

namespace kvorum::http {

bool DescriptorWait::Once(absl::AnyInvocable<void()>&& ready) {
  KVORUM_CHECK(!ready_, "a wait beside another");
  if (added_) {
    loop_.poller().Change(fd_, events_, this);
  } else {
    added_ = loop_.poller().Add(fd_, events_, this);
    if (!added_) return false;
  }
  ready_ = std::move(ready);
  return true;
}

void DescriptorWait::Tell() {
  if (absl::AnyInvocable<void()> ready = std::exchange(ready_, nullptr)) ready();
}

void Connecting::Start(const sockaddr* address, socklen_t size, Done done) {
  Cancel();
  absl::AnyInvocable<void()> tell = [this, done = std::move(done)]() mutable {
    wait_.reset();
    failing_ = 0;
    done(Error());
  };
  const auto begin = [&] {
    fd_ = ::socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd_ < 0) return false;
    if (::connect(fd_, address, size) != 0 && errno != EINPROGRESS) return false;
    wait_ = std::make_unique<DescriptorWait>(loop_, fd_, Poller::kOutputOnce);
    return wait_->Once(std::move(tell));
  };
  error_ = begin() ? 0 : errno;
  if (error_ != 0) failing_ = loop_.PostAt(loop_.clock().Now(), std::move(tell));
}

int Connecting::Error() const {
  if (error_ != 0) return error_;
  int error = 0;
  socklen_t size = sizeof error;
  return getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

void Connecting::Cancel() {
  const std::unique_ptr<DescriptorWait> dropped = std::move(wait_);
  if (failing_ != 0) loop_.CancelTimer(std::exchange(failing_, 0));
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

int Connecting::Release() {
  KVORUM_CHECK(wait_ == nullptr, "it is not connected yet");
  return std::exchange(fd_, -1);
}

}  // namespace kvorum::http
