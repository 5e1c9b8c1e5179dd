#include "grpc/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "absl/synchronization/mutex.h"
#include "grpc/framing.h"
#include "grpc/metadata.h"
#include "grpc/test_service.h"
#include "http/session_driver.h"

namespace kvorum::grpc {
namespace {

using ::testing::ElementsAre;
using Reply = TestServer::Reply;

TEST(GrpcServer, AnswersUnaryCalls) {
  TestServer server;
  const Reply reply = server.Unary("/test.Echo/Say", "hello");
  EXPECT_TRUE(reply.status.ok()) << reply.status;
  EXPECT_THAT(reply.messages, ElementsAre("hello"));
  EXPECT_THAT(server.Unary("/test.Echo/Say", "").messages, ElementsAre(""));
}

TEST(GrpcServer, AnswersOverAUnixSocket) {
  std::string path = ::testing::TempDir() + "grpcXXXXXX";
  ASSERT_NE(mkdtemp(path.data()), nullptr);
  {
    TestServer server({}, "unix://" + path + "/socket");
    EXPECT_THAT(server.Unary("/test.Echo/Say", "hello").messages, ElementsAre("hello"));
  }
  EXPECT_EQ(::rmdir(path.c_str()), 0) << "the socket's file is left";
}

TEST(GrpcServer, CarriesErrorsToTheLetter) {
  TestServer server;
  EXPECT_EQ(server.Unary("/test.Echo/Fail", "caf\xc3\xa9\n").status,
            absl::FailedPreconditionError("100% wrong: caf\xc3\xa9\n"));
}

TEST(GrpcServer, ACallDroppedUnansweredFails) {
  TestServer server;
  EXPECT_EQ(server.Unary("/test.Echo/Drop", "").status, absl::InternalError("the call was not answered"));
}

TEST(GrpcServer, NamesWhatItDoesNotKnow) {
  TestServer server;
  EXPECT_EQ(server.Unary("/test.Nope/Say", "").status, absl::UnimplementedError("unknown service test.Nope"));
  EXPECT_EQ(server.Unary("/test.Echo/Nope", "").status,
            absl::UnimplementedError("unknown method Nope for service test.Echo"));
  EXPECT_EQ(server.Unary("/nothing", "").status,
            absl::UnimplementedError("malformed method name: \"/nothing\""));
}

TEST(GrpcServer, GivesMetadataToTheMethod) {
  TestServer server;
  const http::Headers metadata{
      {"token", "abc"}, {"blob-bin", std::string("\0\xff", 2)}, {"grpc-timeout", "9S"}};
  EXPECT_THAT(server.Unary("/test.Echo/Meta", "", metadata).messages,
              ElementsAre(std::string("/test.Echo/Meta abc \0\xff true", 27)));
  EXPECT_THAT(server.Unary("/test.Echo/Meta", "").messages, ElementsAre("/test.Echo/Meta none none true"));
}

TEST(GrpcServer, LargeRepliesOfManyPieces) {
  TestServer server;
  const Reply reply = server.Unary("/test.Echo/Big", "20000");
  ASSERT_TRUE(reply.status.ok()) << reply.status;
  EXPECT_EQ(reply.messages[0].size(), 20'000'004u);
}

TEST(GrpcServer, WritesAResponseWhileItIsSent) {
  TestServer server;
  for (const size_t size :
       {size_t{0}, size_t{1}, size_t{65466}, size_t{65467}, size_t{65468}, size_t{5'000'000}}) {
    const Reply reply = server.Unary("/test.Echo/Drip", fmt::format("{} {}", size, size));
    ASSERT_TRUE(reply.status.ok()) << reply.status;
    ASSERT_EQ(reply.messages[0].size(), size);
    for (size_t i = 0; i < size; ++i) ASSERT_EQ(reply.messages[0][i], TestService::DropAt(i)) << i;
  }
}

TEST(GrpcServer, AResponseThatFailsOnItsWayIsNotTakenForWhole) {
  TestServer server;
  for (const size_t sound : {0, 100'000, 4'900'000}) {
    const Reply reply = server.Unary("/test.Echo/Drip", fmt::format("5000000 {}", sound));
    EXPECT_EQ(reply.status, absl::DataLossError("a drop is missing"));
    EXPECT_THAT(reply.messages, ElementsAre());
  }
  EXPECT_EQ(server.service.sources, 0);
}

/// The beginning of a client's connection, with one call whose message is `request`.
std::string OneCall(std::string_view path, std::string_view timeout, std::string_view request) {
  const auto field = [](std::string_view name, std::string_view value) {
    return std::string(1, '\0') + static_cast<char>(name.size()) + std::string(name) +
           static_cast<char>(value.size()) + std::string(value);
  };
  const std::string head = "\x83\x86" + field(":path", path) + field("content-type", "application/grpc") +
                           field("grpc-timeout", timeout);
  const auto frame = [](size_t size, std::string_view rest) {
    return std::string("\0\0", 2) + static_cast<char>(size) + std::string(rest);
  };
  return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(0, {"\4\0\0\0\0\0", 6}) +
         frame(head.size(), {"\1\4\0\0\0\1", 6}) + head +
         frame(kPrefixBytes + request.size(), {"\0\1\0\0\0\1", 6}) + std::string("\0\0\0\0", 4) +
         static_cast<char>(request.size()) + std::string(request);
}

TEST(GrpcServer, ASourceWaitsForItsClientButNotForLong) {
  Server methods({});
  TestService service(&methods);
  http::ServerOptions http_options;
  http_options.grpc_handler = &methods;
  http::Loop loop("test");
  http::SessionDriver driver(loop, http_options, &http::NewHttp2Session);
  constexpr size_t kSize = 20'000'000;
  driver.Feed(OneCall("/test.Echo/Drip", "9H", fmt::format("{} {}", kSize, kSize)));
  EXPECT_GT(service.drops, 0u);
  EXPECT_LT(service.drops, 1'000'000u) << "the client's window is small";
  const absl::Time end = absl::Now() + absl::Seconds(20);
  while (service.sources > 0 && absl::Now() < end) RunOn(loop, [] {});
  EXPECT_EQ(service.drops, kSize);
  EXPECT_EQ(service.sources, 0) << "it holds on to what others wait for";
}

TEST(GrpcServer, ASourceGoesWithItsCall) {
  Server methods({});
  TestService service(&methods);
  http::ServerOptions http_options;
  http_options.grpc_handler = &methods;
  http::Loop loop("test");
  {
    http::SessionDriver driver(loop, http_options, &http::NewHttp2Session);
    driver.Feed(OneCall("/test.Echo/Drip", "9H", "20000000 20000000"));
    EXPECT_EQ(service.sources, 1);
    driver.Feed(std::string("\0\0\4\3\0\0\0\0\1\0\0\0\x8", 13));  // RST_STREAM, CANCEL
    EXPECT_EQ(service.sources, 0);
  }
  http::SessionDriver driver(loop, http_options, &http::NewHttp2Session);
  driver.Feed(OneCall("/test.Echo/Drip", "20m", "20000000 20000000"));
  const absl::Time end = absl::Now() + absl::Seconds(20);
  while (service.sources > 0 && absl::Now() < end) RunOn(loop, [] {});
  EXPECT_LT(service.drops, 2'000'000u) << "the deadline ends it, not the source's patience";
}

TEST(GrpcClient, GivesAResponseInPieces) {
  TestServer server;
  const auto call = [&server](size_t sound) {
    std::string joined;
    Reply reply;
    server.RunOnClientUntil([&](absl::Notification* done) {
      server.connection->UnaryInPieces(
          "/test.Echo/Drip", fmt::format("5000000 {}", sound),
          [&joined](std::string_view piece) { joined += piece; },
          [&reply, done](const absl::Status& status, std::string_view response) {
            reply = {Detach(status), {std::string(response)}};
            done->Notify();
          });
    });
    EXPECT_THAT(reply.messages, ElementsAre("")) << "it had them already";
    return std::pair(reply.status, joined);
  };
  const auto [status, whole] = call(5'000'000);
  EXPECT_TRUE(status.ok()) << status;
  ASSERT_EQ(whole.size(), 5'000'000u);
  for (size_t i = 0; i < whole.size(); ++i) ASSERT_EQ(whole[i], TestService::DropAt(i)) << i;
  const auto [error, part] = call(1'000'000);
  EXPECT_EQ(error, absl::DataLossError("a drop is missing"));
  EXPECT_LE(part.size(), 1'000'000u);
}

TEST(GrpcServer, RefusesAMessageOverTheLimit) {
  TestServer server({.max_receive_bytes = 1000, .admit = nullptr, .finished = nullptr});
  EXPECT_TRUE(server.Unary("/test.Echo/Say", std::string(1000, 'x')).status.ok());
  EXPECT_EQ(server.Unary("/test.Echo/Say", std::string(1001, 'x')).status,
            absl::ResourceExhaustedError("grpc: received message larger than max (1001 vs. 1000)"));
}

TEST(GrpcServer, AnswersEveryKindOfStream) {
  TestServer server;
  EXPECT_THAT(server.Stream("/test.Echo/Many", {"3"}).messages, ElementsAre("0", "1", "2"));
  EXPECT_THAT(server.Stream("/test.Echo/Sum", {"a", "b", "c"}).messages, ElementsAre("abc"));
  EXPECT_THAT(server.Stream("/test.Echo/Chat", {"a", "b"}).messages, ElementsAre("a", "b"));
}

TEST(GrpcServer, AStreamMayEndWithAnErrorAfterMessages) {
  TestServer server;
  const Reply reply = server.Stream("/test.Echo/Chat", {"a", "bye"});
  EXPECT_EQ(reply.status, absl::AbortedError("bye"));
  EXPECT_THAT(reply.messages, ElementsAre("a"));
}

TEST(GrpcServer, AProducerFollowsTheClientsPace) {
  TestServer server;
  const Reply reply = server.Stream("/test.Echo/Many", {"200000"});
  ASSERT_TRUE(reply.status.ok()) << reply.status;
  EXPECT_EQ(reply.messages.size(), 200'000u);
  EXPECT_EQ(reply.messages.back(), "199999");
}

TEST(GrpcServer, WrongNumbersOfMessagesAreErrors) {
  TestServer server;
  EXPECT_EQ(server.Stream("/test.Echo/Say", {"a", "b"}).status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(server.Stream("/test.Echo/Say", {}).status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(server.Stream("/test.Echo/Many", {"1", "2"}).status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(server.Stream("/test.Echo/Many", {}).status.code(), absl::StatusCode::kInternal);
}

TEST(GrpcServer, ADeadlineEndsTheCallAndTellsTheMethod) {
  TestServer server;
  EXPECT_EQ(server.Unary("/test.Echo/Hold", "", {{"grpc-timeout", "20m"}}).status,
            absl::DeadlineExceededError("context deadline exceeded"));
  server.service.cancelled.WaitForNotification();
  RunOn(server.loops.at(0), [&] {
    EXPECT_TRUE(server.service.held->cancelled());
    EXPECT_EQ(server.service.held->info().method, "/test.Echo/Hold");
    server.service.held->Reply({"too late", {}});
  });
}

TEST(GrpcServer, ADeadlineEndsACallWhoseRequestNeverCompletes) {
  absl::Notification ended;
  ServerOptions options;
  options.finished = [&](const ServerOptions::Finished& f) {
    EXPECT_EQ(f.code, absl::StatusCode::kDeadlineExceeded);
    ended.Notify();
  };
  Server methods(options);
  TestService service(&methods);
  http::ServerOptions http_options;
  http_options.grpc_handler = &methods;
  http::Loop loop("test");
  http::SessionDriver driver(loop, http_options, &http::NewHttp2Session);
  std::string cut_short = OneCall("/test.Echo/Say", "20m", "abc");
  cut_short.pop_back();
  driver.Feed(cut_short);
  ended.WaitForNotification();
}

TEST(GrpcServer, AMalformedTimeoutIsAnError) {
  TestServer server;
  EXPECT_EQ(server.Unary("/test.Echo/Say", "", {{"grpc-timeout", "soon"}}).status,
            absl::InternalError("malformed grpc-timeout: \"soon\""));
}

TEST(GrpcServer, ABrokenConnectionCancelsItsCalls) {
  TestServer server;
  absl::Notification ended;
  RunOn(server.client_loop, [&] {
    server.connection->Unary("/test.Echo/Hold", "request", [&](const absl::Status& status, std::string_view) {
      EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
      ended.Notify();
    });
  });
  server.service.holding.WaitForNotification();
  RunOn(server.client_loop, [&] { server.connection.reset(); });
  ended.WaitForNotification();
  server.service.cancelled.WaitForNotification();
  // The call outlives its connection, and what it showed before.
  RunOn(server.loops.at(0), [&] { EXPECT_EQ(server.service.held->request(), "request"); });
}

TEST(GrpcServer, ACancelledStreamTellsItsHandler) {
  TestServer server;
  std::unique_ptr<ClientConnection::Stream> stream;
  server.RunOnClientUntil([&](absl::Notification* done) {
    ClientConnection::StreamCallbacks callbacks;
    callbacks.on_message = [done](std::string_view) { done->Notify(); };
    callbacks.on_end = [](const absl::Status&) { FAIL(); };
    stream = server.connection->OpenStream("/test.Echo/Chat", std::move(callbacks));
    stream->Send("hello");
  });
  RunOn(server.client_loop, [&] { stream.reset(); });
  server.service.chat_cancelled.WaitForNotification();
}

TEST(GrpcServer, ACallAnsweredFromAnotherThreadsPostIsAnswered) {
  TestServer server;
  Reply reply;
  std::thread answerer([&] {
    server.service.holding.WaitForNotification();
    RunOn(server.loops.at(0), [&] { std::exchange(server.service.held, nullptr)->Reply({"late", {}}); });
  });
  reply = server.Unary("/test.Echo/Hold", "");
  answerer.join();
  EXPECT_THAT(reply.messages, ElementsAre("late"));
}

TEST(GrpcServer, AsksBeforeACallAndTellsAfterIt) {
  absl::Mutex mutex;
  std::vector<std::string> told;
  ServerOptions options;
  options.admit = [](const CallInfo& info, MethodKind) {
    return info.Find("token") == nullptr ? absl::UnauthenticatedError("no token") : absl::OkStatus();
  };
  options.finished = [&](const ServerOptions::Finished& f) {
    absl::MutexLock lock(&mutex);
    told.push_back(fmt::format("{} {} {}/{} {}/{}", f.info.method, static_cast<int>(f.code),
                               f.messages_received, f.messages_sent, f.bytes_received, f.bytes_sent));
  };
  TestServer server(options);
  EXPECT_EQ(server.Unary("/test.Echo/Say", "hello").status, absl::UnauthenticatedError("no token"));
  EXPECT_TRUE(server.Unary("/test.Echo/Say", "hello", {{"token", "x"}}).status.ok());
  EXPECT_TRUE(server.Stream("/test.Echo/Sum", {"a", "bc"}, {{"token", "x"}}).status.ok());
  absl::MutexLock lock(&mutex);
  EXPECT_THAT(
      told, ElementsAre("/test.Echo/Say 16 0/0 0/0", "/test.Echo/Say 0 1/1 5/5", "/test.Echo/Sum 0 2/1 3/3"));
}

TEST(GrpcServer, ShutdownLetsRunningCallsFinish) {
  TestServer server;
  absl::Notification ended;
  RunOn(server.client_loop, [&] {
    server.connection->Unary("/test.Echo/Hold", "", [&](const absl::Status& status, std::string_view) {
      EXPECT_TRUE(status.ok()) << status;
      ended.Notify();
    });
  });
  server.service.holding.WaitForNotification();
  std::thread shutdown([&] { server.server->Shutdown(std::chrono::seconds(30)); });
  RunOn(server.loops.at(0), [&] { std::exchange(server.service.held, nullptr)->Reply({"done", {}}); });
  ended.WaitForNotification();
  shutdown.join();
  EXPECT_EQ(server.server->connection_count(), 0u);
}

TEST(GrpcServer, ShutdownCutsCallsAfterItsGrace) {
  TestServer server;
  absl::Notification ended;
  RunOn(server.client_loop, [&] {
    server.connection->Unary("/test.Echo/Hold", "", [&](const absl::Status& status, std::string_view) {
      EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
      ended.Notify();
    });
  });
  server.service.holding.WaitForNotification();
  server.server->Shutdown(std::chrono::milliseconds(10));
  ended.WaitForNotification();
  EXPECT_EQ(server.Unary("/test.Echo/Say", "").status.code(), absl::StatusCode::kUnavailable);
}

TEST(GrpcClient, SaysWhyItCannotConnect) {
  http::Loop loop("test");
  absl::Status status;
  absl::Notification done;
  ClientConnection::Connect(loop, "unix:/nowhere/at/all", [&](auto result) {
    status = Detach(result.status());
    done.Notify();
  });
  done.WaitForNotification();
  EXPECT_EQ(status, absl::UnavailableError("dial unix /nowhere/at/all: connect: no such file or directory"));
}

TEST(GrpcClient, MayCloseTheConnectionInACallback) {
  TestServer server;
  server.RunOnClientUntil([&](absl::Notification* done) {
    for (int i = 0; i < 10; ++i) {
      server.connection->Unary("/test.Echo/Say", "x", [&, done](const absl::Status&, std::string_view) {
        if (server.connection == nullptr) return;
        server.connection.reset();
        done->Notify();
      });
    }
  });
  RunOn(server.client_loop, [&] { EXPECT_EQ(server.connection, nullptr); });
}

}  // namespace
}  // namespace kvorum::grpc
