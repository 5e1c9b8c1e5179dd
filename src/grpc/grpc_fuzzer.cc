// Feeds HTTP/2 frames to a server connection with gRPC methods behind it, and gRPC messages to the reader.
// The first byte chooses: 0 reads messages, anything else is frames after the preface, cut into portions of
// that many bytes.
#include "grpc/framing.h"
#include "grpc/server.h"
#include "http/session_driver.h"

using namespace kvorum;

namespace {

class Echo final : public grpc::StreamHandler {
 public:
  explicit Echo(grpc::StreamWriter& writer) : writer_(writer) {}
  void OnMessage(std::string_view message) override { writer_.Send({std::string(message), {}}); }
  void OnHalfClose() override { writer_.Finish(absl::OkStatus()); }
  void OnCancel() override {}

 private:
  grpc::StreamWriter& writer_;
};

grpc::Server* Methods() {
  static grpc::Server methods({.max_receive_bytes = 1 << 16, .admit = nullptr, .finished = nullptr});
  static const bool added = [] {
    methods.AddUnary("/a/U", [](std::unique_ptr<grpc::UnaryCall> call) {
      call->Reply({std::string(call->request()), {}});
    });
    methods.AddStream("/a/S", grpc::MethodKind::kBidiStream,
                      [](grpc::StreamWriter& writer) { return std::make_unique<Echo>(writer); });
    static grpc::HealthService health(&methods);
    grpc::AddReflection(&methods);
    return true;
  }();
  return added ? &methods : nullptr;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] == 0) {
    grpc::MessageReader reader(1 << 16, "gzip");
    while (!input.empty()) {
      const size_t n = std::min<size_t>(input.size(), 7);
      if (!reader.Feed(input.substr(0, n), [](std::string_view message) { return message.size() <= 1 << 16; })
               .ok()) {
        break;
      }
      input.remove_prefix(n);
    }
    return 0;
  }
  static http::Loop loop("fuzz");
  http::ServerOptions options;
  options.grpc_handler = Methods();
  options.max_header_bytes = 4 << 10;
  http::SessionDriver driver(loop, options, &http::NewHttp2Session);
  driver.Feed("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  while (!input.empty() && !driver.finished()) {
    const size_t n = std::min<size_t>(input.size(), data[0]);
    driver.Feed(input.substr(0, n));
    input.remove_prefix(n);
    driver.Take();
  }
  return 0;
}
