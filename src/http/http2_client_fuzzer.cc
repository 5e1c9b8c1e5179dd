#include <cstddef>
#include <cstdint>
#include <vector>

#include "http/client_connection.h"
#include "http/client_fuzzing.h"
#include "http/http2_client_connection.h"
#include "http/session_driver.h"

// What a server sends over HTTP/2 to several requests at a time: whatever it is, each exchange is told of one
// answer at the most, and ends once, or is sent again elsewhere.

namespace kvorum::http {
namespace {

/// A pool that keeps nothing: what is sent again is dialled, and nobody listens there.
class NoPool final : public ClientPool {
 public:
  explicit NoPool(Loop& loop) : loop_(loop) {}
  Loop& loop() override { return loop_; }
  const ClientOptions& options() const override { return options_; }
  std::shared_ptr<ClientConnection> TakeIdle(const std::string&) override { return nullptr; }
  std::shared_ptr<ClientConnection> FindPipelined(const std::string&) override { return nullptr; }
  void OnPipelined(const std::shared_ptr<ClientConnection>&) override {}
  std::shared_ptr<ExchangeConnection> FindMultiplexed(const std::string&, const HttpUrl&) override {
    return nullptr;
  }
  void OnIdle(const std::shared_ptr<ClientConnection>&) override {}
  void OnClosed(ClientConnection*) override {}
  void OnEnded(ClientExchange*) override {}

 private:
  Loop& loop_;
  const ClientOptions options_;
};

void Answer(Loop& loop, std::string_view data, size_t step, uint8_t what) {
  NoPool pool(loop);
  auto made = std::make_unique<FakeStream>();
  FakeStream& stream = *made;
  const auto connection = std::make_shared<Http2ClientConnection>(&pool, std::move(made), [] {});
  connection->Start();
  const ExchangeOptions options = {.repeat = (what & 1) != 0, .multiplexed = true};
  std::vector<std::shared_ptr<CountingSink>> sinks;
  std::vector<std::shared_ptr<ClientExchange>> exchanges;
  for (const char* method : {"PUT", "GET", "HEAD", "POST"}) {
    const std::string body(method[0] == 'P' ? 1000 : 0, 'b');
    const ClientRequest request = {.method = method, .url = "http://127.0.0.1:1/", .body = body};
    sinks.push_back(std::make_shared<CountingSink>());
    exchanges.push_back(std::make_shared<ClientExchange>(&pool, request, options, sinks.back(), nullptr));
    exchanges.back()->StartOn(connection);
    connection->OnTurnEnd();
  }
  if ((what & 2) != 0) exchanges[1]->Pause();
  if ((what & 4) != 0) exchanges[0]->Cancel();
  while (stream.reading()) {
    const bool over = data.empty();
    stream.Feed(&data, step);
    connection->OnTurnEnd();
    if (data.size() % 5 == 4) exchanges[1]->Resume();
    KVORUM_CHECK(!over || !stream.reading(), "it reads on behind the end");
  }
  connection->Close(absl::UnavailableError("the end"));
  for (const auto& exchange : exchanges) exchange->Cancel();
  for (const auto& sink : sinks) KVORUM_CHECK(sink->ends <= 1, "an exchange ended twice");
}

}  // namespace
}  // namespace kvorum::http

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvorum::http;
  static Loop loop("fuzz");
  if (size < 2) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data + 2), size - 2);
  RunOn(loop, [&] { Answer(loop, input, size_t{data[0]} * 64 + 1, data[1]); });
  return 0;
}
