#include "http/tls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/synchronization/notification.h"
#include "grpc/client.h"
#include "grpc/metadata.h"
#include "grpc/server.h"
#include "http/client.h"
#include "http/server.h"
#include "http/session_driver.h"
#include "http/test_certificates.h"
#include "proto/rpc.pb.h"
#include "support/process.h"

namespace kvorum::test {
namespace {

using ::testing::HasSubstr;

/// Certificates, and Debian's etcd or its client on the other side of TLS.
class TlsInteropTest : public ::testing::Test {
 protected:
  TlsInteropTest() {
    files_.Make("server", "DNS:localhost,IP:127.0.0.1");
    files_.Make("client", "");
  }
  ~TlsInteropTest() override {
    RunOn(loop_, [&] { connection_.reset(); });
  }

  http::TlsOptions ClientTls(bool with_certificate = true) {
    http::TlsOptions options{.trusted_ca_file = files_ / "ca.pem"};
    if (with_certificate) {
      options.cert_file = files_ / "client.pem";
      options.key_file = files_ / "client.key";
    }
    return options;
  }

  /// Starts etcd with TLS for clients; waits until it serves.
  void StartEtcd() {
    const std::string client = fmt::format("https://127.0.0.1:{}", port_);
    const std::string peer = fmt::format("http://127.0.0.1:{}", FreePort());
    etcd_ = std::make_unique<Process>(std::vector<std::string>{"etcd",
                                                               "--data-dir",
                                                               directory_ / "data",
                                                               "--listen-client-urls",
                                                               client,
                                                               "--advertise-client-urls",
                                                               client,
                                                               "--listen-peer-urls",
                                                               peer,
                                                               "--initial-advertise-peer-urls",
                                                               peer,
                                                               "--initial-cluster",
                                                               "default=" + peer,
                                                               "--enable-v2",
                                                               "--logger",
                                                               "zap",
                                                               "--cert-file",
                                                               files_ / "server.pem",
                                                               "--key-file",
                                                               files_ / "server.key",
                                                               "--trusted-ca-file",
                                                               files_ / "ca.pem",
                                                               "--client-cert-auth"});
    ASSERT_TRUE(etcd_->WaitForOutput("serving client traffic securely")) << etcd_->output();
  }
  absl::StatusOr<http::ClientResponse> Call(http::ClientRequest request, const http::TlsOptions& tls) {
    http::Client client(&loop_, {.tls = http::TlsContext::ForClient(tls).value()});
    absl::StatusOr<http::ClientResponse> result;
    absl::Notification done;
    client.Call(std::move(request), SystemClock().Now() + kPatience,
                [&](absl::StatusOr<http::ClientResponse> got) {
                  result = std::move(got);
                  done.Notify();
                });
    done.WaitForNotification();
    return result;
  }
  /// The error's text, or empty.
  std::string Connect(const http::TlsOptions& tls) {
    std::string error;
    absl::Notification done;
    grpc::ConnectOptions options;
    options.tls = http::TlsContext::ForClient(tls).value();
    options.deadline = SystemClock().Now() + kPatience;
    grpc::ClientConnection::Connect(loop_, fmt::format("localhost:{}", port_), options, [&](auto connected) {
      if (connected.ok()) connection_ = *std::move(connected);
      error = grpc::Message(connected.status());
      done.Notify();
    });
    done.WaitForNotification();
    return error;
  }
  template <typename Response, typename Request>
  Response Unary(std::string_view method, const Request& request) {
    Response response;
    absl::Notification done;
    loop_.Post([&] {
      connection_->Unary(method, request.SerializeAsString(),
                         [&](const absl::Status& status, std::string_view bytes) {
                           EXPECT_TRUE(status.ok()) << grpc::Message(status);
                           EXPECT_TRUE(response.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
                           done.Notify();
                         });
    });
    done.WaitForNotification();
    return response;
  }

  http::TestCertificates files_;
  const TempDir directory_;
  const int port_ = FreePort();
  http::Loop loop_{"client"};
  std::unique_ptr<Process> etcd_;
  std::unique_ptr<grpc::ClientConnection> connection_;
};

TEST_F(TlsInteropTest, EtcdServesOurClients) {
  ASSERT_NO_FATAL_FAILURE(StartEtcd());
  const std::string url = fmt::format("https://localhost:{}", port_);
  EXPECT_THAT(Call({.url = url + "/version"}, ClientTls())->body, HasSubstr("etcdserver"));
  const std::string value(1 << 20, 'v');
  EXPECT_EQ(Call({.method = "PUT",
                  .url = url + "/v2/keys/a",
                  .headers = {{"content-type", "application/x-www-form-urlencoded"}},
                  .body = "value=" + value},
                 ClientTls())
                ->status,
            201);
  EXPECT_THAT(Call({.url = url + "/v2/keys/a"}, ClientTls())->body, HasSubstr(value));
  EXPECT_EQ(Call({.url = url + "/version"}, ClientTls(false)).status().message(),
            "remote error: tls: bad certificate");

  ASSERT_EQ(Connect(ClientTls()), "");
  etcdserverpb::PutRequest put;
  put.set_key("k");
  put.set_value(value);
  EXPECT_EQ(Unary<etcdserverpb::PutResponse>("/etcdserverpb.KV/Put", put).header().revision(), 2);
  etcdserverpb::RangeRequest range;
  range.set_key("k");
  EXPECT_EQ(Unary<etcdserverpb::RangeResponse>("/etcdserverpb.KV/Range", range).kvs(0).value(), value);
  EXPECT_THAT(Connect(ClientTls(false)), HasSubstr("remote error: tls: bad certificate"));
}

TEST_F(TlsInteropTest, OurServerServesEtcdsClient) {
  grpc::Server methods({});
  methods.AddUnary("/etcdserverpb.KV/Range", [](std::unique_ptr<grpc::UnaryCall> call) {
    etcdserverpb::RangeResponse response;
    auto* kv = response.add_kvs();
    kv->set_key("k");
    kv->set_value(std::string(1 << 20, 'v'));
    call->Reply({response.SerializeAsString(), {}});
  });
  http::LoopGroup loops(1);
  http::ServerOptions options;
  options.grpc_handler = &methods;
  options.tls = http::TlsContext::ForServer({.cert_file = files_ / "server.pem",
                                             .key_file = files_ / "server.key",
                                             .trusted_ca_file = files_ / "ca.pem"})
                    .value();
  http::Server server(&loops, options);
  const std::string address = server.Listen({"https://127.0.0.1:0"}).value();
  server.Start();
  const auto get = [&](const std::string& flags) {
    return Shell("etcdctl --endpoints https://" + address + " --dial-timeout 1s --command-timeout 20s " +
                     flags + " get k",
                 {{"ETCDCTL_API", "3"}});
  };
  const std::string authority = "--cacert " + files_ / "ca.pem";
  const CommandResult good =
      get(authority + " --cert " + files_ / "client.pem" + " --key " + files_ / "client.key");
  EXPECT_EQ(good.out, "k\n" + std::string(1 << 20, 'v') + "\n") << good.err;
  EXPECT_NE(get(authority + " --command-timeout 1s").exit_code, 0);
  EXPECT_NE(get("--command-timeout 1s").exit_code, 0);
}

}  // namespace
}  // namespace kvorum::test
