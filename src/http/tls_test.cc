#include "http/tls.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "absl/synchronization/notification.h"
#include "http/client.h"
#include "http/server.h"
#include "http/session_driver.h"
#include "http/test_certificates.h"

namespace kvorum::http {
namespace {

using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::EndsWith;
using ::testing::HasSubstr;

constexpr auto kLong = std::chrono::seconds(30);

/// Keeps the lines of rejected connections: "remote-addr: error".
class KeepingLogger final : public Logger {
 public:
  bool Enabled(LogLevel) const override { return true; }
  void Write(LogLevel, const char*, int, std::string_view message,
             std::initializer_list<LogField> fields) override {
    absl::MutexLock lock(&mutex_);
    std::string line(message);
    for (const LogField& field : fields) {
      if (field.key() == "error") line += ": " + field.text();
    }
    lines_.push_back(line);
  }
  /// Waits for a line with that end.
  bool Await(const std::string& end) {
    absl::MutexLock lock(&mutex_);
    const auto found = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return std::any_of(lines_.begin(), lines_.end(),
                         [&](const std::string& line) { return line.ends_with(end); });
    };
    const bool there = mutex_.AwaitWithTimeout(absl::Condition(&found), absl::Seconds(30));
    if (!there) ADD_FAILURE() << ::testing::PrintToString(lines_);
    return there;
  }

 private:
  absl::Mutex mutex_;
  std::vector<std::string> lines_ ABSL_GUARDED_BY(mutex_);
};

/// A server with a certificate for localhost and 127.0.0.1, and clients of it.
class TlsTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    files_ = new TestCertificates;
    files_->Make("server", "DNS:localhost,IP:127.0.0.1");
    files_->Make("client", "");
    files_->Make("stranger", "DNS:localhost,IP:127.0.0.1", "other-ca");
  }
  static void TearDownTestSuite() { delete files_; }
  static std::string File(const std::string& name) { return *files_ / name; }

  static TlsOptions ServerTls(const std::string& name = "server") {
    return {.cert_file = File(name + ".pem"), .key_file = File(name + ".key")};
  }
  static TlsOptions ClientTls() { return {.trusted_ca_file = File("ca.pem")}; }
  static TlsOptions ClientTls(const std::string& name) {
    TlsOptions options = ClientTls();
    options.cert_file = File(name + ".pem");
    options.key_file = File(name + ".key");
    return options;
  }

  void Serve(const TlsOptions& tls = ServerTls(), const std::string& url = "https://127.0.0.1:0") {
    options_.handler = &handler_;
    options_.logger = &log_;
    options_.tls = TlsContext::ForServer(tls).value();
    server_ = std::make_unique<Server>(&loops_, options_);
    address_ = server_->Listen({url}).value();
    server_->Start();
  }
  std::string Url(std::string_view path = "/hello") const {
    return fmt::format("https://{}{}", address_, path);
  }
  std::string port() const { return address_.substr(address_.rfind(':') + 1); }

  absl::StatusOr<ClientResponse> Call(ClientRequest request, const TlsOptions& tls = ClientTls()) {
    Client client(&loop_, {.tls = TlsContext::ForClient(tls).value()});
    return Call(client, std::move(request));
  }
  static absl::StatusOr<ClientResponse> Call(Client& client, ClientRequest request,
                                             std::chrono::nanoseconds limit = kLong) {
    absl::StatusOr<ClientResponse> result;
    absl::Notification done;
    client.Call(std::move(request), SystemClock().Now() + limit, [&](absl::StatusOr<ClientResponse> got) {
      result = std::move(got);
      done.Notify();
    });
    done.WaitForNotification();
    return result;
  }
  /// The body, or the error's text.
  std::string Get(const TlsOptions& tls = ClientTls(), const std::string& url = "") {
    absl::StatusOr<ClientResponse> got = Call({.url = url.empty() ? Url() : url}, tls);
    return got.ok() ? got->body : std::string(got.status().message());
  }

  static TestCertificates* files_;
  LoopGroup loops_{1};
  Loop loop_{"client"};
  KeepingLogger log_;
  TestHandler handler_;
  ServerOptions options_;
  std::unique_ptr<Server> server_;
  std::string address_;
};

TestCertificates* TlsTest::files_ = nullptr;

TEST_F(TlsTest, ExchangesARequest) {
  Serve();
  EXPECT_EQ(Get(), "hello");
}

}  // namespace
}  // namespace kvorum::http
