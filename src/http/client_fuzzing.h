#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "http/byte_stream.h"
#include "http/client.h"

// For fuzzers of clients: a server that is a string, and who hears of its answers.

namespace kvorum::http {

/// Hands out what it is told to, and takes everything.
class FakeStream final : public ByteStream {
 public:
  void Read(char* buffer, size_t size, std::shared_ptr<User> user) override {
    buffer_ = buffer;
    size_ = size;
    user_ = std::move(user);
  }
  void WaitReadable(std::shared_ptr<User> user) override { waiting_ = std::move(user); }
  ssize_t Write(const iovec* pieces, int count) override {
    ssize_t size = 0;
    for (int i = 0; i < count; ++i) size += static_cast<ssize_t>(pieces[i].iov_len);
    return size;
  }
  void WaitWritable(std::shared_ptr<User>) override {}
  void Close() override {
    user_.reset();
    waiting_.reset();
  }
  void CloseWrite() override {}
  const std::string& remote() const override { return remote_; }

  bool reading() const { return user_ != nullptr || waiting_ != nullptr; }
  /// Empty: the end.
  void Feed(std::string_view* data, size_t step) {
    if (const std::shared_ptr<User> waiting = std::move(waiting_)) return waiting->OnReadable();
    const size_t n = std::min({step, data->size(), size_});
    if (n > 0) std::memcpy(buffer_, data->data(), n);
    data->remove_prefix(n);
    const std::shared_ptr<User> user = std::move(user_);
    user->OnRead(n, /*broken=*/false);
  }

 private:
  const std::string remote_ = "127.0.0.1:80";
  char* buffer_ = nullptr;
  size_t size_ = 0;
  std::shared_ptr<User> user_;     // while it reads
  std::shared_ptr<User> waiting_;  // while it waits for something to read
};

struct CountingSink final : public ResponseSink {
  void OnHead(ClientResponse head) override {
    KVORUM_CHECK(++heads == 1 && ends == 0 && head.status >= 200, "a head after another, or none");
  }
  void OnData(std::string_view) override { KVORUM_CHECK(heads == 1 && ends == 0, "a body without a head"); }
  void OnEnd(absl::Status status) override {
    KVORUM_CHECK(++ends == 1, "a second end");
    KVORUM_CHECK(!status.ok() || heads == 1, "a response without a head");
  }
  int heads = 0;
  int ends = 0;
};

}  // namespace kvorum::http
