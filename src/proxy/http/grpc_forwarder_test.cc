#include "proxy/http/grpc_forwarder.h"

#include <gtest/gtest.h>

#include "grpc/test_client.h"

namespace kvorum::proxy_http {
namespace {

/// A forwarder behind a server.
class GrpcForwarderTest : public ::testing::Test {
 protected:
  ~GrpcForwarderTest() override {
    client_.reset();
    server_.reset();
  }
  void Start(bool readonly) {
    forwarder_.emplace(
        GrpcForwarder::Options{.loops = &loops_, .max_request_bytes = 1000, .readonly = readonly});
    server_.emplace(&loops_, http::ServerOptions{.grpc_handler = &forwarder_->handler()});
    client_.emplace(grpc::ChannelOptions{.endpoints = {*server_->Listen({"http://127.0.0.1:0"})}});
    server_->Start();
  }

  http::LoopGroup loops_{2};
  std::optional<GrpcForwarder> forwarder_;
  std::optional<http::Server> server_;
  std::optional<grpc::Client> client_;
};

TEST_F(GrpcForwarderTest, GoesToTheMembersThereAre) {
  Start(/*readonly=*/false);
  EXPECT_EQ(client_->Call("/test.Echo/Say", "a").status.code(), absl::StatusCode::kUnavailable);
  grpc::TestServer member;
  forwarder_->SetEndpoints({"http://" + grpc::DeadEndpoint(), "http://" + member.address});
  EXPECT_EQ(client_->Call("/test.Echo/Say", "hello").text, "hello");
  EXPECT_EQ(client_->Call("/test.Echo/Say", std::string(1001, 'x')).status.code(),
            absl::StatusCode::kResourceExhausted);
}

TEST_F(GrpcForwarderTest, PassesOnlyReadsOnWhereItIsReadOnly) {
  grpc::TestServer member;
  Start(/*readonly=*/true);
  forwarder_->SetEndpoints({"http://" + member.address});
  const grpc::Client::Reply refused = client_->Call("/etcdserverpb.KV/Put", "a");
  EXPECT_EQ(refused.status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_NE(grpc::Message(refused.status).find("read-only"), std::string::npos);
  // The member itself does not know this one.
  const grpc::Client::Reply passed = client_->Call("/etcdserverpb.KV/Range", "a");
  EXPECT_EQ(grpc::Message(passed.status).find("read-only"), std::string::npos);
}

TEST(GrpcForwarder, KnowsWhatMayWrite) {
  for (const std::string_view method :
       {"/etcdserverpb.KV/Put", "/etcdserverpb.KV/Txn", "/etcdserverpb.KV/Compact",
        "/etcdserverpb.Lease/LeaseKeepAlive", "/etcdserverpb.Maintenance/Alarm", "/v3lockpb.Lock/Lock",
        "/etcdserverpb.Auth/AuthEnable", "/etcdserverpb.KV/Range/", "/something.New/Read"}) {
    EXPECT_FALSE(IsReadMethod(method)) << method;
  }
  EXPECT_TRUE(IsReadMethod("/etcdserverpb.Watch/Watch"));
}

}  // namespace
}  // namespace kvorum::proxy_http
