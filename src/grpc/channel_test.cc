#include "grpc/channel.h"

#include "base/testing/temp_directory.h"
#include "grpc/test_client.h"
#include "gtest/gtest.h"

namespace kvorum::grpc {
namespace {

using namespace std::chrono_literals;

TEST(ChannelTest, CallsTheOneServerThatAnswers) {
  TestServer server;
  HungServer hung;
  Client client(
      {.endpoints = {DeadEndpoint(), hung.endpoint, "http://" + server.address}, .dial_timeout = 3s});
  EXPECT_EQ(client.Call("/test.Echo/Say", "hello").text, "hello");
  EXPECT_EQ(client.connected_to(), "http://" + server.address);
}

TEST(ChannelTest, GoesToAnotherServerWhenOneDies) {
  auto first = std::make_unique<TestServer>();
  TestServer second;
  Client client({.endpoints = {first->address, second.address}});
  ASSERT_TRUE(client.Call("/test.Echo/Say", "a").status.ok());
  // Whichever it is, the other is left.
  if (client.connected_to() != first->address) {
    RunOn(client.loop, [&] { client.channel->TryAnother(); });
    ASSERT_TRUE(client.Call("/test.Echo/Say", "b").status.ok());
    ASSERT_EQ(client.connected_to(), first->address);
  }
  first.reset();
  absl::Status status;
  for (int i = 0; i < 100; ++i) {
    status = client.Call("/test.Echo/Say", "c").status;
    if (status.ok()) break;
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  }
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(client.connected_to(), second.address);
}

TEST(ChannelTest, WaitsForTheServerToComeBack) {
  const kvorum::testing::TempDirectory folder;  // a port that is let go of is anybody's
  const std::string url = "unix://" + folder.path() + "/socket";
  auto server = std::make_unique<TestServer>(ServerOptions(), url);
  Client client({.endpoints = {"unix:" + server->address}});
  ASSERT_TRUE(client.Call("/test.Echo/Say", "a").status.ok());
  server.reset();
  // A call that leaves by the old connection is lost with it.
  const MonotonicTime latest = client.loop.clock().Now() + 30s;
  while (!client.connected_to().empty()) ASSERT_LT(client.loop.clock().Now(), latest);
  absl::Notification done;
  absl::Status status = absl::UnknownError("");
  Talk talk;
  client.loop.Post([&] {
    client.channel->Unary("/test.Echo/Say", "b", client.loop.clock().Now() + 30s,
                          [&](const absl::Status& end, std::string_view) {
                            status = Detach(end);
                            done.Notify();
                          });
    talk.stream = client.channel->OpenStream("/test.Echo/Sum", talk.Callbacks());
    talk.stream->Send("x");
    talk.stream->Send("y");
    talk.stream->HalfClose();
  });
  TestServer again({}, url);
  done.WaitForNotification();
  talk.ended.WaitForNotification();
  RunOn(client.loop, [&] { talk.stream.reset(); });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(talk.messages, std::vector<std::string>{"xy"});
}

TEST(ChannelTest, SaysWhyThereIsNoConnection) {
  const std::string dead = DeadEndpoint();
  Client client({.endpoints = {dead}, .dial_timeout = 200ms});
  const Client::Reply reply = client.Call("/test.Echo/Say", "a", 300ms);
  EXPECT_EQ(reply.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(Message(reply.status).find("connection refused"), std::string_view::npos) << reply.status;
  Talk talk;
  RunOn(client.loop, [&] { talk.stream = client.channel->OpenStream("/test.Echo/Chat", talk.Callbacks()); });
  talk.ended.WaitForNotification();
  EXPECT_EQ(talk.status.code(), absl::StatusCode::kUnavailable);
  RunOn(client.loop, [&] { talk.stream.reset(); });
}

TEST(ChannelTest, KeepsDeadlinesThatTheServerDoesNot) {
  TestServer server;
  Client client({.endpoints = {server.address}});
  const Client::Reply reply = client.Call("/test.Echo/Hold", "", 50ms);
  EXPECT_EQ(reply.status.code(), absl::StatusCode::kDeadlineExceeded);
  // And it was told: it gave up too.
  server.service.cancelled.WaitForNotification();
}

TEST(ChannelTest, CancelsCallsThatRunAndThatWait) {
  TestServer server;
  HungServer hung;
  Client client({.endpoints = {server.address}});
  Client waiting({.endpoints = {hung.endpoint}});
  for (Client* each : {&client, &waiting}) {
    Channel::CallId id = 0;
    RunOn(each->loop, [&] {
      id = each->channel->Unary("/test.Echo/Hold", "", MonotonicTime::max(),
                                [](const absl::Status&, std::string_view) { FAIL(); });
    });
    if (each == &client) server.service.holding.WaitForNotification();
    RunOn(each->loop, [&] { each->channel->Cancel(id); });
  }
  server.service.cancelled.WaitForNotification();
}

TEST(ChannelTest, NoticesByPingsThatAServerHangs) {
  TestServer server;
  Client client({.endpoints = {server.address}, .keepalive_time = 20ms, .keepalive_timeout = 100ms});
  Talk talk;
  absl::Notification stopped;
  RunOn(client.loop, [&] {
    talk.stream = client.channel->OpenStream("/test.Echo/Chat", talk.Callbacks());
    talk.stream->Send("hello");
  });
  talk.first.WaitForNotification();
  absl::Notification go_on;
  server.loops.at(0).Post([&] { go_on.WaitForNotification(); });
  talk.ended.WaitForNotification();
  EXPECT_EQ(talk.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Message(talk.status), "keepalive ping failed to receive ACK within timeout");
  go_on.Notify();
  RunOn(client.loop, [&] { talk.stream.reset(); });
}

TEST(ChannelTest, BoundsMessages) {
  TestServer server;
  Client client({.endpoints = {server.address}, .max_receive_bytes = 1000, .max_send_bytes = 100});
  const Client::Reply sent = client.Call("/test.Echo/Say", std::string(101, 'x'));
  EXPECT_EQ(sent.status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(Message(sent.status), "grpc: trying to send message larger than max (101 vs. 100)");
  const Client::Reply received = client.Call("/test.Echo/Big", "1");
  EXPECT_EQ(received.status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(Message(received.status), "grpc: received message larger than max (1004 vs. 1000)");
  EXPECT_TRUE(client.Call("/test.Echo/Say", std::string(100, 'x')).status.ok());
}

TEST(ChannelTest, LeavesServersThatAreNoLongerNamed) {
  TestServer first;
  TestServer second;
  Client client({.endpoints = {first.address}});
  Talk talk;
  RunOn(client.loop, [&] {
    talk.stream = client.channel->OpenStream("/test.Echo/Chat", talk.Callbacks());
    talk.stream->Send("a");
  });
  talk.first.WaitForNotification();
  RunOn(client.loop, [&] { client.channel->SetEndpoints({second.address}); });
  EXPECT_TRUE(client.Call("/test.Echo/Say", "b").status.ok());
  EXPECT_EQ(client.connected_to(), second.address);
  // What began on the old one ends there.
  RunOn(client.loop, [&] { talk.stream->Send("bye"); });
  talk.ended.WaitForNotification();
  EXPECT_EQ(talk.status.code(), absl::StatusCode::kAborted);
  RunOn(client.loop, [&] { talk.stream.reset(); });
}

TEST(ChannelTest, LeavesAServerWithItsCalls) {
  TestServer first;
  TestServer second;
  Client client({.endpoints = {first.address, second.address}});
  Talk talk;
  RunOn(client.loop, [&] {
    talk.stream = client.channel->OpenStream("/test.Echo/Chat", talk.Callbacks());
    talk.stream->Send("a");
  });
  talk.first.WaitForNotification();
  const std::string before = client.connected_to();
  RunOn(client.loop, [&] { client.channel->LeaveServer(); });
  talk.ended.WaitForNotification();
  EXPECT_EQ(talk.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(client.Call("/test.Echo/Say", "b").status.ok());
  EXPECT_NE(client.connected_to(), before);
  RunOn(client.loop, [&] { talk.stream.reset(); });
}

TEST(ChannelTest, HoldsAServerBackWhoseReaderIsBehind) {
  TestServer server;
  Client client({.endpoints = {server.address}});
  constexpr int kCount = 2'000'000;  // far more than a window holds
  Talk talk;
  int count = 0;
  std::unique_ptr<ClientConnection::Stream> stream;
  absl::Notification paused;
  RunOn(client.loop, [&] {
    ClientConnection::StreamCallbacks callbacks;
    callbacks.on_message = [&](std::string_view) {
      if (++count == 1) {
        stream->Pause();
        paused.Notify();
      }
    };
    callbacks.on_end = talk.Callbacks().on_end;
    stream = client.channel->OpenStream("/test.Echo/Many", std::move(callbacks));
    stream->Send(std::to_string(kCount));
    stream->HalfClose();
  });
  paused.WaitForNotification();
  // A call on the same connection goes through, and its answer comes behind what the window let through.
  EXPECT_TRUE(client.Call("/test.Echo/Say", "a").status.ok());
  RunOn(client.loop, [&] {
    EXPECT_LE(count, (1 << 20) / 6 + 1);
    stream->Resume();
  });
  talk.ended.WaitForNotification();
  EXPECT_TRUE(talk.status.ok()) << talk.status;
  EXPECT_EQ(count, kCount);
  RunOn(client.loop, [&] { stream.reset(); });
}

TEST(ChannelTest, EndsItsCallsWhenItGoes) {
  TestServer server;
  Client client({.endpoints = {server.address}});
  absl::Notification done;
  absl::Status status;
  RunOn(client.loop, [&] {
    client.channel->Unary("/test.Echo/Hold", "", MonotonicTime::max(),
                          [&](const absl::Status& end, std::string_view) {
                            status = Detach(end);
                            done.Notify();
                          });
  });
  RunOn(client.loop, [&] { client.channel.reset(); });
  done.WaitForNotification();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace kvorum::grpc
