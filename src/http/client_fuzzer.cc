#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/check.h"
#include "http/client_connection.h"
#include "http/session_driver.h"

// What a server answers: whatever it is, the exchange ends once, and little is kept.

namespace kvorum::http {
namespace {

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

class OneConnection final : public ClientPool {
 public:
  explicit OneConnection(Loop& loop) : loop_(loop) {
    auto stream = std::make_unique<FakeStream>();
    stream_ = stream.get();
    connection_ = std::make_shared<ClientConnection>(this, std::move(stream), "a");
  }
  ~OneConnection() override { connection_->Close(); }

  Loop& loop() override { return loop_; }
  const ClientOptions& options() const override { return options_; }
  std::shared_ptr<ClientConnection> TakeIdle(const std::string&) override { return connection_; }
  void OnIdle(const std::shared_ptr<ClientConnection>& connection) override { connection->Close(); }
  void OnClosed(ClientConnection*) override {}
  void OnEnded(ClientExchange*) override {}

  FakeStream& stream() { return *stream_; }

 private:
  Loop& loop_;
  const ClientOptions options_;
  FakeStream* stream_;  // the connection's
  std::shared_ptr<ClientConnection> connection_;
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

void Answer(Loop& loop, std::string_view data, size_t step, const char* method) {
  OneConnection pool(loop);
  const auto sink = std::make_shared<CountingSink>();
  const auto exchange = std::make_shared<ClientExchange>(
      &pool, ClientRequest{.method = method, .url = "http://a/"}, ExchangeOptions{}, sink, nullptr);
  exchange->Start();
  while (pool.stream().reading()) pool.stream().Feed(&data, step);
  KVORUM_CHECK(sink->ends == 1, "the exchange did not end");
}

}  // namespace
}  // namespace kvorum::http

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvorum::http;
  static Loop loop("fuzz");
  if (size < 2) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data + 2), size - 2);
  RunOn(loop, [&] { Answer(loop, input, size_t{data[0]} + 1, data[1] % 2 == 0 ? "POST" : "HEAD"); });
  return 0;
}
