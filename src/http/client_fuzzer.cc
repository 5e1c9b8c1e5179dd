#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/check.h"
#include "http/client_connection.h"
#include "http/client_fuzzing.h"
#include "http/session_driver.h"

// What a server answers, to one request or to several that are pipelined: whatever it is, each exchange ends
// once or is sent again elsewhere, and little is kept.

namespace kvorum::http {
namespace {

class OneConnection final : public ClientPool {
 public:
  OneConnection(Loop& loop, bool keep) : loop_(loop), keep_(keep) {
    auto stream = std::make_unique<FakeStream>();
    stream_ = stream.get();
    connection_ = std::make_shared<ClientConnection>(this, std::move(stream), "a");
  }
  ~OneConnection() override { connection_->Close(); }

  Loop& loop() override { return loop_; }
  const ClientOptions& options() const override { return options_; }
  std::shared_ptr<ClientConnection> TakeIdle(const std::string&) override {
    return std::exchange(idle_, false) ? connection_ : nullptr;
  }
  std::shared_ptr<ClientConnection> FindPipelined(const std::string&) override {
    return connection_->HasRoom() ? connection_ : nullptr;
  }
  void OnPipelined(const std::shared_ptr<ClientConnection>&) override {}
  std::shared_ptr<ExchangeConnection> FindMultiplexed(const std::string&, const HttpUrl&) override {
    return nullptr;
  }
  void OnIdle(const std::shared_ptr<ClientConnection>& connection) override {
    if (!std::exchange(keep_, false)) return connection->Close();
    idle_ = true;
  }
  void OnClosed(ClientConnection*) override {}
  void OnEnded(ClientExchange*) override {}

  FakeStream& stream() { return *stream_; }

 private:
  Loop& loop_;
  const ClientOptions options_;
  bool keep_;           // the connection, the first time that it is idle
  bool idle_ = true;    // or new
  FakeStream* stream_;  // the connection's
  std::shared_ptr<ClientConnection> connection_;
};

void Answer(Loop& loop, std::string_view data, size_t step, const char* method) {
  OneConnection pool(loop, /*keep=*/false);
  const auto sink = std::make_shared<CountingSink>();
  const auto exchange = std::make_shared<ClientExchange>(
      &pool, ClientRequest{.method = method, .url = "http://a/"}, ExchangeOptions{}, sink, nullptr);
  exchange->Start();
  while (pool.stream().reading()) pool.stream().Feed(&data, step);
  KVORUM_CHECK(sink->ends == 1, "the exchange did not end");
}

/// The connection has answered one request, and now several wait.
void AnswerSeveral(Loop& loop, std::string_view data, size_t step) {
  const ExchangeOptions options = {.pipelined = true};
  OneConnection pool(loop, /*keep=*/true);
  const auto start = [&](const char* method, const std::shared_ptr<CountingSink>& sink) {
    // Nobody listens there, and nobody waits for that to be known.
    const ClientRequest request = {.method = method, .url = "http://127.0.0.1:1/"};
    const auto exchange = std::make_shared<ClientExchange>(&pool, request, options, sink, nullptr);
    exchange->Start();
    return exchange;
  };
  std::string_view first = "HTTP/1.1 204 No Content\r\n\r\n";
  start("GET", std::make_shared<CountingSink>());
  while (!first.empty()) pool.stream().Feed(&first, first.size());
  std::vector<std::shared_ptr<CountingSink>> sinks;
  std::vector<std::shared_ptr<ClientExchange>> exchanges;
  for (const char* method : {"GET", "HEAD", "GET", "GET"}) {
    sinks.push_back(std::make_shared<CountingSink>());
    exchanges.push_back(start(method, sinks.back()));
  }
  if (step % 3 == 0) exchanges[1]->Cancel();
  while (pool.stream().reading()) pool.stream().Feed(&data, step);
  for (const auto& exchange : exchanges) exchange->Cancel();
  for (const auto& sink : sinks) KVORUM_CHECK(sink->ends <= 1, "an exchange ended twice");
  KVORUM_CHECK(sinks[0]->ends == 1 || sinks[0]->heads == 0, "the first one began, and did not end");
}

}  // namespace
}  // namespace kvorum::http

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvorum::http;
  static Loop loop("fuzz");
  if (size < 2) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data + 2), size - 2);
  const size_t step = size_t{data[0]} + 1;
  RunOn(loop, [&] {
    if (data[1] % 4 >= 2) return AnswerSeveral(loop, input, step);
    Answer(loop, input, step, data[1] % 2 == 0 ? "POST" : "HEAD");
  });
  return 0;
}
