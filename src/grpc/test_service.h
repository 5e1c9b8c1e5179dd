#pragma once

#include <atomic>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/synchronization/notification.h"
#include "fmt/format.h"
#include "grpc/client.h"
#include "grpc/metadata.h"
#include "grpc/server.h"
#include "http/server.h"
#include "http/session_driver.h"

// For tests: a gRPC server on a port of its own, and blocking calls to it.

namespace kvorum::grpc {

using http::RunOn;

/// A copy that shares nothing: the system's absl::Status counts its references where ThreadSanitizer does not
/// see it.
inline absl::Status Detach(const absl::Status& status) {
  return MakeStatus(status.code(), std::string(Message(status)));
}

/// Methods of test.Echo: Say (unary) echoes, Fail (unary) fails, Drop (unary) answers nothing, Hold (unary)
/// keeps the call, Big (unary) answers with as many bytes as the request says, Drip (unary) does so from a
/// source that fails behind the bytes of the request's second number, Many (server stream) counts to
/// the request, Sum (client stream) answers with all messages joined, Chat (bidirectional) echoes.
class TestService {
 public:
  explicit TestService(Server* server) {
    server->AddUnary("/test.Echo/Say", [](std::unique_ptr<UnaryCall> call) {
      const std::string_view request = call->request();
      call->Reply(request.size(), [&](char* out) { std::memcpy(out, request.data(), request.size()); });
    });
    server->AddUnary("/test.Echo/Fail", [](std::unique_ptr<UnaryCall> call) {
      call->Fail(absl::FailedPreconditionError("100% wrong: " + std::string(call->request())));
    });
    server->AddUnary("/test.Echo/Drop", [](std::unique_ptr<UnaryCall>) {});
    server->AddUnary("/test.Echo/Meta", [](std::unique_ptr<UnaryCall> call) {
      const std::string_view* token = call->info().Find("token");
      call->Reply({fmt::format("{} {} {} {}", call->info().method, token == nullptr ? "none" : *token,
                               call->info().FindBinary("blob-bin").value_or("none"),
                               call->info().Find("grpc-timeout") == nullptr),
                   {}});
    });
    server->AddUnary("/test.Echo/Hold", [this](std::unique_ptr<UnaryCall> call) {
      call->OnCancel([this] { cancelled.Notify(); });
      held = std::move(call);
      holding.Notify();
    });
    server->AddUnary("/test.Echo/Big", [](std::unique_ptr<UnaryCall> call) {
      Payload payload{"head", {}};
      for (int i = 0; i < std::atoi(std::string(call->request()).c_str()); ++i) {
        payload.shared.push_back(Bytes::Copy(std::string(1000, 'x')));
      }
      call->Reply(std::move(payload));
    });
    server->AddUnary("/test.Echo/Drip", [this](std::unique_ptr<UnaryCall> call) {
      size_t size = 0;
      size_t sound = 0;
      std::istringstream(std::string(call->request())) >> size >> sound;
      call->Reply(std::make_unique<Drops>(this, size, sound));
    });
    server->AddStream("/test.Echo/Many", MethodKind::kServerStream,
                      [this](StreamWriter& writer) { return std::make_unique<Many>(this, writer); });
    server->AddStream("/test.Echo/Sum", MethodKind::kClientStream,
                      [](StreamWriter& writer) { return std::make_unique<Sum>(writer); });
    server->AddStream("/test.Echo/Chat", MethodKind::kBidiStream,
                      [this](StreamWriter& writer) { return std::make_unique<Chat>(this, writer); });
  }

  static char DropAt(size_t i) { return static_cast<char>(i % 251); }

  std::unique_ptr<UnaryCall> held;  // of the server's loop
  std::atomic<size_t> drops{0};     // bytes that Drip's sources gave
  std::atomic<int> counted{0};      // messages that Many sent
  std::atomic<int> sources{0};      // of Drip that are there
  absl::Notification holding;
  absl::Notification cancelled;
  absl::Notification chat_cancelled;

 private:
  struct Drops final : MessageSource {
    Drops(TestService* s, size_t whole, size_t good) : service(s), all(whole), sound(good) {
      ++service->sources;
    }
    ~Drops() override { --service->sources; }
    size_t size() const override { return all; }
    absl::Status Fill(char* out, size_t room) override {
      if (given + room > sound) return absl::DataLossError("a drop is missing");
      for (size_t i = 0; i < room; ++i) out[i] = DropAt(given + i);
      given += room;
      service->drops += room;
      return absl::OkStatus();
    }
    TestService* const service;
    const size_t all;
    const size_t sound;
    size_t given = 0;
  };
  struct Many final : StreamHandler {
    Many(TestService* s, StreamWriter& w) : service(s), writer(w) {}
    void OnMessage(std::string_view message) override { count = std::atoi(std::string(message).c_str()); }
    void OnHalfClose() override { OnWritable(); }
    void OnCancel() override {}
    void OnWritable() override {
      while (sent < count && writer.buffered() < http::ResponseWriter::kHighWater) {
        writer.Send({fmt::format("{}", sent++), {}});
        ++service->counted;
      }
      if (sent == count) writer.Finish(absl::OkStatus());
    }
    TestService* const service;
    StreamWriter& writer;
    int count = 0;
    int sent = 0;
  };
  struct Sum final : StreamHandler {
    explicit Sum(StreamWriter& w) : writer(w) {}
    void OnMessage(std::string_view message) override { all += message; }
    void OnHalfClose() override {
      writer.Send({all, {}});
      writer.Finish(absl::OkStatus());
    }
    void OnCancel() override {}
    StreamWriter& writer;
    std::string all;
  };
  struct Chat final : StreamHandler {
    Chat(TestService* s, StreamWriter& w) : service(s), writer(w) {}
    void OnMessage(std::string_view message) override {
      if (message == "bye") return writer.Finish(absl::AbortedError("bye"));
      writer.Send({std::string(message), {}});
    }
    void OnHalfClose() override { writer.Finish(absl::OkStatus()); }
    void OnCancel() override { service->chat_cancelled.Notify(); }
    TestService* const service;
    StreamWriter& writer;
  };
};

/// A server with the test service and a client connection to it, each on a loop of its own.
class TestServer {
 public:
  explicit TestServer(ServerOptions options = {}, const std::string& url = "http://127.0.0.1:0",
                      http::ServerOptions http_options = {})
      : methods(std::move(options)), service(&methods), health(&methods) {
    AddReflection(&methods);
    http_options.grpc_handler = &methods;
    server.emplace(&loops, std::move(http_options));
    address = *server->Listen({url});
    server->Start();
    const bool is_unix = url.starts_with("unix");
    RunOnClientUntil([&](absl::Notification* done) {
      ClientConnection::Connect(client_loop, is_unix ? "unix:" + address : address,
                                [this, done](auto result) {
                                  if (result.ok()) connection = *std::move(result);
                                  done->Notify();
                                });
    });
  }
  ~TestServer() {
    RunOn(client_loop, [&] { connection.reset(); });
    RunOn(loops.at(0), [&] { service.held.reset(); });
    server.reset();
  }

  struct Reply {
    absl::Status status;
    std::vector<std::string> messages;
  };

  Reply Unary(std::string_view method, std::string_view request, const http::Headers& metadata = {}) {
    Reply reply;
    RunOnClientUntil([&](absl::Notification* done) {
      connection->Unary(
          method, request,
          [&reply, done](const absl::Status& status, std::string_view response) {
            reply.status = Detach(status);
            if (status.ok()) reply.messages.emplace_back(response);
            done->Notify();
          },
          metadata);
    });
    return reply;
  }

  /// Sends all of `messages` and the end, and waits for the server's end.
  Reply Stream(std::string_view method, const std::vector<std::string>& messages,
               const http::Headers& metadata = {}) {
    Reply reply;
    std::unique_ptr<ClientConnection::Stream> stream;
    RunOnClientUntil([&](absl::Notification* done) {
      ClientConnection::StreamCallbacks callbacks;
      callbacks.on_message = [&](std::string_view message) { reply.messages.emplace_back(message); };
      callbacks.on_end = [&reply, done](const absl::Status& status) {
        reply.status = Detach(status);
        done->Notify();
      };
      stream = connection->OpenStream(method, std::move(callbacks), metadata);
      for (const std::string& message : messages) stream->Send(message);
      stream->HalfClose();
    });
    RunOn(client_loop, [&] { stream.reset(); });
    return reply;
  }

  template <typename Action>
  void RunOnClientUntil(Action action) {
    absl::Notification done;
    client_loop.Post([&] { action(&done); });
    done.WaitForNotification();
  }

  http::LoopGroup loops{1, "server"};
  http::Loop client_loop{"client"};
  Server methods;
  TestService service;
  HealthService health;
  std::optional<http::Server> server;
  std::string address;
  std::unique_ptr<ClientConnection> connection;  // of client_loop
};

}  // namespace kvorum::grpc
