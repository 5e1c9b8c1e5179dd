#include "api/v3/core.h"

#include "api/v3/errors.h"
#include "api/v3/testing/test_server.h"
#include "api/v3/utf8.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "member/testing/fake_member.h"
#include "proto/rpc.pb.h"

namespace kvorum::api_v3 {
namespace {

using member::testing::FakeMember;
using ::testing::HasSubstr;
using testing::TestServer;

class ApiV3Core : public ::testing::Test {
 protected:
  absl::Status Status(const http::Headers& metadata = {}) {
    return server_.CallRaw("/etcdserverpb.Maintenance/Status", "", metadata).status();
  }
  void LoseTheLeader() {
    member::MemberStatus status = member_.status();
    status.leader = MemberId(0);
    member_.SetStatus(status);
  }

  metrics::Registry registry_;
  FakeMember member_;
  TestServer server_{{.member = &member_, .metrics = &registry_, .extensive_metrics = true}};
};

TEST_F(ApiV3Core, NeedsAKnownClusterVersion) {
  const std::pair<const char*, bool> cases[] = {{"3.7.0", true},  {"3.0.0", true},  {"3.4.0", true},
                                                {"", true},       {"3.8.0", false}, {"4.0.0", false},
                                                {"2.3.0", false}, {"what", false}};
  for (const auto& [version, capable] : cases) {
    member_.mutable_cluster().SetVersion(version, cluster::Cluster::Persist::kNo);
    EXPECT_EQ(Status(), capable ? absl::OkStatus() : NotCapableError()) << version;
  }
}

TEST_F(ApiV3Core, AsksForALeaderOnlyWhereTheClientDoes) {
  EXPECT_TRUE(Status({{"hasleader", "true"}}).ok());
  LoseTheLeader();
  EXPECT_EQ(Status({{"hasleader", "true"}}), NoLeaderError());
  EXPECT_TRUE(Status({{"hasleader", "yes"}}).ok());
  EXPECT_TRUE(Status().ok());
}

TEST_F(ApiV3Core, ChecksInEtcdsOrder) {
  LoseTheLeader();
  EXPECT_EQ(Status({{"client-api-version", "\xff"}, {"hasleader", "true"}}), InvalidClientApiVersionError());
  member_.mutable_cluster().SetVersion("9.0.0", cluster::Cluster::Persist::kNo);
  EXPECT_EQ(Status({{"client-api-version", "\xff"}, {"hasleader", "true"}}), NotCapableError());
}

TEST_F(ApiV3Core, ALearnerAnswersLittle) {
  member_.mutable_cluster().AddMember(
      {.id = member_.id(), .peer_urls = {"http://127.0.0.1:2380"}, .is_learner = true},
      cluster::Cluster::Persist::kNo);
  EXPECT_TRUE(Status().ok());
  for (const char* method : {"KV/Put", "Lease/LeaseGrant", "Cluster/MemberAdd", "Cluster/MemberList",
                             "Maintenance/MoveLeader", "Maintenance/Downgrade"}) {
    EXPECT_EQ(server_.CallRaw(fmt::format("/etcdserverpb.{}", method), "").status(),
              NotSupportedForLearnerError())
        << method;
  }
}

TEST_F(ApiV3Core, MethodsThatDoNotExistAreUnimplemented) {
  EXPECT_EQ(server_.CallRaw("/etcdserverpb.KV/Nothing", "").status(),
            absl::UnimplementedError("unknown method Nothing for service etcdserverpb.KV"));
  EXPECT_EQ(server_.CallRaw("/etcdserverpb.Nothing/Range", "").status(),
            absl::UnimplementedError("unknown service etcdserverpb.Nothing"));
  EXPECT_EQ(server_.CallRaw("/etcdserverpb.Auth/UserList", "").status().code(),
            absl::StatusCode::kUnimplemented);
}

TEST_F(ApiV3Core, CountsCallsAsGoDoes) {
  EXPECT_TRUE(server_.CallRaw("/etcdserverpb.KV/Range", "\x0a\x01k", {{"client-api-version", "3.5"}}).ok());
  EXPECT_FALSE(server_.CallRaw("/etcdserverpb.KV/Range", "").ok());
  const std::string labels = "grpc_method=\"Range\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} ";
  const std::string with_code = "grpc_server_handled_total{grpc_code=";
  const std::string text = registry_.Text();
  for (const std::string& line : {
           "grpc_server_started_total{" + labels + "2\n",
           "grpc_server_msg_received_total{" + labels + "2\n",
           "grpc_server_msg_sent_total{" + labels + "1\n",
           with_code + "\"OK\"," + labels + "1\n",
           with_code + "\"InvalidArgument\"," + labels + "1\n",
           with_code + "\"DataLoss\"," + labels + "0\n",
           "grpc_server_handling_seconds_count{" + labels + "2\n",
           std::string("grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"UserAdd\",grpc_service="
                       "\"etcdserverpb.Auth\",grpc_type=\"unary\"} 0\n"),
           std::string("etcd_server_client_requests_total{client_api_version=\"3.5\",type=\"unary\"} 1\n"),
           std::string(
               "etcd_server_client_requests_total{client_api_version=\"unknown\",type=\"unary\"} 1\n"),
           std::string("etcd_network_client_grpc_received_bytes_total 3\n"),
           std::string("etcd_server_range_duration_seconds_count{success=\"true\"} 1\n"),
       }) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST_F(ApiV3Core, BoundsTheVersionsThatClientsInvent) {
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(Status({{"client-api-version", std::to_string(i)}}).ok());
  EXPECT_THAT(
      registry_.Text(),
      HasSubstr("etcd_server_client_requests_total{client_api_version=\"other\",type=\"unary\"} 36\n"));
}

/// Keeps the lines of one message.
class KeepingLogger final : public Logger {
 public:
  bool Enabled(LogLevel level) const override { return level >= LogLevel::kInfo; }
  void Write(LogLevel level, const char*, int, std::string_view message,
             std::initializer_list<LogField> fields) override {
    absl::MutexLock lock(&mutex_);
    for (const LogField& field : fields) {
      if (field.key() == "request content") lines_.push_back(fmt::format("{}: {}", message, field.text()));
    }
    EXPECT_EQ(level, LogLevel::kWarn);
  }
  std::vector<std::string> lines() {
    absl::MutexLock lock(&mutex_);
    return lines_;
  }

 private:
  absl::Mutex mutex_;
  std::vector<std::string> lines_ ABSL_GUARDED_BY(mutex_);
};

TEST(ApiV3RequestStats, TellsOfSlowRequestsWithoutTheirValues) {
  KeepingLogger logger;
  metrics::Registry registry;
  FakeMember member;
  TestServer server({.member = &member,
                     .logger = &logger,
                     .metrics = &registry,
                     .warning_unary_request_duration = std::chrono::nanoseconds(0)});
  ASSERT_TRUE(server.CallRaw("/etcdserverpb.KV/Put", "\x0a\x01k\x12\x06secret").ok());
  etcdserverpb::TxnRequest txn;
  txn.add_success()->mutable_request_put()->set_key("j");
  txn.mutable_success(0)->mutable_request_put()->set_value("secret");
  ASSERT_TRUE(server.CallRaw("/etcdserverpb.KV/Txn", txn.SerializeAsString()).ok());
  const std::vector<std::string> lines = logger.lines();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0], "request stats: key:\"k\" value_size:6");
  EXPECT_THAT(lines[1], HasSubstr("value_size:6"));
  EXPECT_EQ(lines[1].find("secret"), std::string::npos);
}

TEST(ApiV3Utf8, TellsWellFormedText) {
  const std::pair<std::string_view, bool> cases[] = {{"", true},
                                                     {"3.6.0", true},
                                                     {"\xc3\xa4", true},
                                                     {"\xe2\x82\xac", true},
                                                     {"\xf0\x9f\x98\x80", true},
                                                     {"\xff", false},
                                                     {"\xc3", false},
                                                     {"\xc0\x80", false},
                                                     {"\xe0\x80\x80", false},
                                                     {"\xed\xa0\x80", false},
                                                     {"\xf4\x90\x80\x80", false},
                                                     {"a\x80", false}};
  for (const auto& [text, good] : cases) EXPECT_EQ(IsUtf8(text), good) << text;
}

}  // namespace
}  // namespace kvorum::api_v3
