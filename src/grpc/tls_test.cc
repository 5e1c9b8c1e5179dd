#include "http/tls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "grpc/test_service.h"
#include "http/raw_server.h"
#include "http/test_certificates.h"

namespace kvorum::grpc {
namespace {

using ::testing::ElementsAre;
using Reply = TestServer::Reply;

class GrpcTlsTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    files_ = new http::TestCertificates;
    files_->Make("server", "DNS:localhost,IP:127.0.0.1");
    files_->Make("client", "");
  }
  static void TearDownTestSuite() { delete files_; }
  static std::string File(const std::string& name) { return *files_ / name; }

  static http::ServerOptions Secure(http::TlsOptions tls = {}) {
    tls.cert_file = File("server.pem");
    tls.key_file = File("server.key");
    http::ServerOptions options;
    options.tls = http::TlsContext::ForServer(tls).value();
    return options;
  }
  static ConnectOptions Client(const std::string& certificate = "", const std::string& authority = "ca") {
    http::TlsOptions tls{.trusted_ca_file = File(authority + ".pem")};
    if (!certificate.empty()) {
      tls.cert_file = File(certificate + ".pem");
      tls.key_file = File(certificate + ".key");
    }
    ConnectOptions options;
    options.tls = http::TlsContext::ForClient(tls).value();
    return options;
  }
  /// Replaces the server's connection; the error's text where there is none.
  static std::string Connect(TestServer& server, const std::string& target, const ConnectOptions& options) {
    std::string error;
    server.RunOnClientUntil([&](absl::Notification* done) {
      server.connection.reset();
      ClientConnection::Connect(server.client_loop, target, options, [&, done](auto result) {
        if (result.ok()) server.connection = *std::move(result);
        error = Message(result.status());
        done->Notify();
      });
    });
    return error;
  }

  static http::TestCertificates* files_;
};

http::TestCertificates* GrpcTlsTest::files_ = nullptr;

TEST_F(GrpcTlsTest, CallsAndStreams) {
  TestServer server({}, "https://127.0.0.1:0", Secure());
  ASSERT_EQ(Connect(server, server.address, Client()), "");
  EXPECT_THAT(server.Unary("/test.Echo/Say", "hello").messages, ElementsAre("hello"));
  EXPECT_EQ(server.Unary("/test.Echo/Big", "20000").messages[0].size(), 20'000'004u);
  EXPECT_EQ(server.Unary("/test.Echo/Say", std::string(1 << 20, 'x')).messages.at(0).size(), 1u << 20);
  EXPECT_EQ(server.Stream("/test.Echo/Sum", {"a", "b", std::string(1 << 20, 'c')}).messages[0].size(),
            (1u << 20) + 2);
  EXPECT_EQ(server.Stream("/test.Echo/Many", {"5000"}).messages.size(), 5000u);
}

TEST_F(GrpcTlsTest, CallsOverAUnixSocket) {
  TestServer server({}, "unixs://" + File("socket"), Secure());
  ASSERT_EQ(Connect(server, "unix:" + File("socket"), Client()), "");
  EXPECT_THAT(server.Unary("/test.Echo/Say", "hello").messages, ElementsAre("hello"));
}

TEST_F(GrpcTlsTest, SaysWhyThereIsNoConnection) {
  TestServer server({}, "https://127.0.0.1:0", Secure({.trusted_ca_file = File("ca.pem")}));
  EXPECT_EQ(Connect(server, server.address, Client("client")), "");
  EXPECT_EQ(
      Connect(server, server.address, Client("client", "other-ca")),
      "transport: authentication handshake failed: tls: failed to verify certificate: x509: certificate "
      "signed by unknown authority");
  EXPECT_EQ(Connect(server, server.address, Client()),
            "error reading from server: remote error: tls: certificate required");
}

TEST_F(GrpcTlsTest, InsistsOnHttp2) {
  TestServer server({}, "https://127.0.0.1:0", Secure({.protocols = {"http/1.1"}}));
  EXPECT_EQ(Connect(server, server.address, Client()),
            "transport: authentication handshake failed: remote error: tls: no application protocol");

  const std::string command = "openssl s_server -www -accept 127.0.0.1:0 -naccept 1 -cert " +
                              File("server.pem") + " -key " + File("server.key") + " </dev/null 2>&1";
  FILE* without = ::popen(command.c_str(), "r");
  char line[256] = "";
  while (::fgets(line, sizeof line, without) != nullptr && std::string_view(line).find("ACCEPT") != 0) {
  }
  std::string address = std::string(line).substr(7);
  address.pop_back();
  EXPECT_EQ(
      Connect(server, address, Client()),
      "transport: authentication handshake failed: credentials: cannot check peer: missing selected ALPN "
      "property");
  ::pclose(without);
}

TEST_F(GrpcTlsTest, GivesAServerThatDoesNotAnswerUpInTime) {
  TestServer server({}, "https://127.0.0.1:0", Secure());
  http::RawListener silent(http::SayNothing);
  ConnectOptions options = Client();
  options.deadline = SystemClock().Now() + std::chrono::milliseconds(50);
  EXPECT_EQ(Connect(server, silent.address(), options),
            "transport: authentication handshake failed: context deadline exceeded");
}

}  // namespace
}  // namespace kvorum::grpc
