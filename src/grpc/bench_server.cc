// A server with nothing behind it, to measure what the wire costs:
//   grpc_bench_server LOOPS URL…
// Prints each address and serves /bench.Echo/Fixed (unary, a 300-byte reply), /bench.Echo/Echo
// (bidirectional), and "hello" to every plain request. Ends with standard input.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "grpc/server.h"
#include "http/server.h"

namespace {

using namespace kvorum;

class Hello final : public http::Handler {
 public:
  std::unique_ptr<http::RequestSink> Start(const http::Request&, http::ResponseWriter& writer) override {
    return http::CollectBody(writer, 1 << 20, [&writer](std::string body) {
      writer.Reply(200, {{"content-type", "text/plain"}}, "hello " + body + "\n");
    });
  }
};

class Echo final : public grpc::StreamHandler {
 public:
  explicit Echo(grpc::StreamWriter& writer) : writer_(writer) {}
  void OnMessage(std::string_view message) override { writer_.Send({std::string(message), {}}); }
  void OnHalfClose() override { writer_.Finish(absl::OkStatus()); }
  void OnCancel() override {}

 private:
  grpc::StreamWriter& writer_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: %s LOOPS URL...\n", argv[0]);
    return 1;
  }
  http::LoopGroup loops(static_cast<size_t>(std::atoi(argv[1])));
  grpc::Server methods({});
  methods.AddUnary("/bench.Echo/Fixed", [](std::unique_ptr<grpc::UnaryCall> call) {
    call->Reply(300, [](char* out) { std::memset(out, 'x', 300); });
  });
  methods.AddStream("/bench.Echo/Echo", grpc::MethodKind::kBidiStream,
                    [](grpc::StreamWriter& writer) { return std::make_unique<Echo>(writer); });
  grpc::HealthService health(&methods);
  grpc::AddReflection(&methods);
  Hello hello;
  http::ServerOptions options;
  options.grpc_handler = &methods;
  options.handler = &hello;
  http::Server server(&loops, options);
  for (int i = 2; i < argc; ++i) {
    auto address = server.Listen({argv[i]});
    if (!address.ok()) {
      std::fprintf(stderr, "%s\n", std::string(address.status().message()).c_str());
      return 1;
    }
    std::printf("%s\n", address->c_str());
  }
  std::fflush(stdout);
  server.Start();
  char byte;
  while (::read(STDIN_FILENO, &byte, 1) > 0) {
  }
  server.Shutdown(std::chrono::seconds(1));
}
