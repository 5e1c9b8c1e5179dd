#include "grpc/relay.h"

#include "absl/container/flat_hash_map.h"
#include "grpc/test_client.h"
#include "gtest/gtest.h"

namespace kvorum::grpc {
namespace {

using namespace std::chrono_literals;

/// A server that passes everything on to `endpoint`, and a client of it.
class RelayServer {
 public:
  explicit RelayServer(const std::string& endpoint, RelayOptions options = {}) {
    for (size_t i = 0; i < loops.size(); ++i) {
      http::Loop& loop = loops.at(i);
      RunOn(loop, [&] {
        channels_[&loop] = std::make_unique<Channel>(
            loop, ChannelOptions{.endpoints = {endpoint}, .dial_timeout = std::chrono::seconds(1)});
      });
    }
    options.channel = [this](http::Loop& loop) -> Channel& { return *channels_.find(&loop)->second; };
    relay_ = NewRelay(std::move(options));
    server.emplace(&loops, http::ServerOptions{.grpc_handler = relay_.get()});
    address = *server->Listen({"http://127.0.0.1:0"});
    server->Start();
    client.emplace(ChannelOptions{.endpoints = {address}});
  }
  ~RelayServer() {
    client.reset();
    server.reset();
    for (auto& [loop, channel] : channels_) {
      RunOn(*loop, [&channel = channel] { channel.reset(); });
    }
  }

  http::LoopGroup loops{2, "relay"};
  std::optional<http::Server> server;
  std::string address;
  std::optional<Client> client;

 private:
  absl::flat_hash_map<http::Loop*, std::unique_ptr<Channel>> channels_;
  std::unique_ptr<http::Handler> relay_;
};

TEST(RelayTest, PassesAnswersErrorsAndMetadataOn) {
  TestServer server;
  RelayServer relay(server.address);
  EXPECT_EQ(relay.client->Call("/test.Echo/Say", "hello").text, "hello");
  EXPECT_EQ(relay.client->Call("/test.Echo/Meta", "", 10s, {{"token", "t"}, {"blob-bin", "\x01\xff"}}).text,
            "/test.Echo/Meta t \x01\xff true");
  const Client::Reply failed = relay.client->Call("/test.Echo/Fail", "\xc3\xa9");
  EXPECT_EQ(failed.status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Message(failed.status), "100% wrong: \xc3\xa9");
  EXPECT_EQ(relay.client->Call("/test.Nothing/Say", "").status.code(), absl::StatusCode::kUnimplemented);
}

TEST(RelayTest, PassesStreamsOn) {
  TestServer server;
  RelayServer relay(server.address);
  Talk chat;
  RunOn(relay.client->loop, [&] {
    chat.stream = relay.client->channel->OpenStream("/test.Echo/Chat", chat.Callbacks());
    chat.stream->Send("a");
  });
  chat.first.WaitForNotification();  // before the client ends its side
  RunOn(relay.client->loop, [&] { chat.stream->Send("bye"); });
  chat.ended.WaitForNotification();
  EXPECT_EQ(chat.messages, std::vector<std::string>{"a"});
  EXPECT_EQ(chat.status.code(), absl::StatusCode::kAborted);

  Talk sum;
  const std::string large(3 << 20, 'x');
  RunOn(relay.client->loop, [&] {
    sum.stream = relay.client->channel->OpenStream("/test.Echo/Sum", sum.Callbacks());
    for (int i = 0; i < 20; ++i) sum.stream->Send(large.substr(0, 1 << 20));
    sum.stream->HalfClose();
  });
  sum.ended.WaitForNotification();
  ASSERT_EQ(sum.messages.size(), 1U);
  EXPECT_EQ(sum.messages[0].size(), 20U << 20);
  RunOn(relay.client->loop, [&] {
    chat.stream.reset();
    sum.stream.reset();
  });
}

TEST(RelayTest, HoldsAServerBackWhoseClientIsBehind) {
  TestServer server;
  RelayServer relay(server.address);
  constexpr int kCount = 5'000'000;
  Talk talk;
  int count = 0;
  RunOn(relay.client->loop, [&] {
    ClientConnection::StreamCallbacks callbacks = talk.Callbacks();
    callbacks.on_message = [&](std::string_view) { ++count; };
    talk.stream = relay.client->channel->OpenStream("/test.Echo/Many", std::move(callbacks));
    talk.stream->Pause();
    talk.stream->Send(std::to_string(kCount));
    talk.stream->HalfClose();
  });
  // Time enough to send all of it, if nobody were held back.
  for (int i = 0; i < 2000; ++i) ASSERT_TRUE(relay.client->Call("/test.Echo/Say", "").status.ok());
  EXPECT_LT(server.service.counted, kCount);
  RunOn(relay.client->loop, [&] { talk.stream->Resume(); });
  talk.ended.WaitForNotification();
  EXPECT_TRUE(talk.status.ok()) << talk.status;
  EXPECT_EQ(count, kCount);
  RunOn(relay.client->loop, [&] { talk.stream.reset(); });
}

TEST(RelayTest, CancelsBothWays) {
  TestServer server;
  RelayServer relay(server.address);
  Talk talk;
  RunOn(relay.client->loop, [&] {
    talk.stream = relay.client->channel->OpenStream("/test.Echo/Chat", talk.Callbacks());
    talk.stream->Send("a");
  });
  talk.first.WaitForNotification();
  RunOn(relay.client->loop, [&] { talk.stream.reset(); });
  server.service.chat_cancelled.WaitForNotification();

  EXPECT_EQ(relay.client->Call("/test.Echo/Hold", "", 100ms).status.code(),
            absl::StatusCode::kDeadlineExceeded);
  server.service.cancelled.WaitForNotification();
}

TEST(RelayTest, EndsCallsWhoseServerDies) {
  auto server = std::make_unique<TestServer>();
  RelayServer relay(server->address);
  Talk talk;
  RunOn(relay.client->loop, [&] {
    talk.stream = relay.client->channel->OpenStream("/test.Echo/Chat", talk.Callbacks());
    talk.stream->Send("a");
  });
  talk.first.WaitForNotification();
  server.reset();
  talk.ended.WaitForNotification();
  EXPECT_EQ(talk.status.code(), absl::StatusCode::kUnavailable);
  // With nobody there a call ends after the time for dialling, and says why.
  const Client::Reply reply = relay.client->Call("/test.Echo/Say", "");
  EXPECT_EQ(reply.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(Message(reply.status).find("refused"), std::string_view::npos) << reply.status;
  RunOn(relay.client->loop, [&] { talk.stream.reset(); });
}

TEST(RelayTest, RefusesMessagesThatAreTooLarge) {
  TestServer server;
  RelayServer relay(server.address, {.max_message_bytes = 2000, .max_request_bytes = 100});
  EXPECT_EQ(Message(relay.client->Call("/test.Echo/Say", std::string(101, 'x')).status),
            "grpc: received message larger than max (101 vs. 100)");
  EXPECT_EQ(Message(relay.client->Call("/test.Echo/Big", "2").status),
            "grpc: received message larger than max (2004 vs. 2000)");
  EXPECT_TRUE(relay.client->Call("/test.Echo/Big", "1").status.ok());
}

TEST(RelayTest, EndsOpenStreamsWhenTheProxyStops) {
  TestServer server;
  RelayServer relay(server.address);
  Talk talk;
  RunOn(relay.client->loop, [&] {
    talk.stream = relay.client->channel->OpenStream("/test.Echo/Chat", talk.Callbacks());
    talk.stream->Send("a");
  });
  talk.first.WaitForNotification();
  relay.server->Shutdown(1h);
  talk.ended.WaitForNotification();
  EXPECT_EQ(talk.status.code(), absl::StatusCode::kUnavailable);
  RunOn(relay.client->loop, [&] { talk.stream.reset(); });
}

}  // namespace
}  // namespace kvorum::grpc
