#include <gtest/gtest.h>

#include "support/server.h"

namespace kvorum::test {
namespace {

// The HTTP endpoints as curl sees them.

class Endpoints : public testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = new Server(Server::Kind::kKvorum); }
  static void TearDownTestSuite() { delete server_; }

  /// The status code, a newline, the body.
  static std::string Curl(const std::string& path, const std::string& options = "") {
    return Shell("curl -s -o - -w '\\n%{http_code} %{content_type}' " + options + " " +
                 Quote(server_->url() + path))
        .out;
  }

  static Server* server_;
};

Server* Endpoints::server_ = nullptr;

TEST_F(Endpoints, Health) {
  EXPECT_EQ(Curl("/health"), "{\"health\":\"true\",\"reason\":\"\"}\n200 text/plain; charset=utf-8");
  EXPECT_EQ(Curl("/health", "-X POST"), "Method Not Allowed\n\n405 text/plain; charset=utf-8");
  EXPECT_EQ(Curl("/livez"), "ok\n\n200 text/plain; charset=utf-8");
  EXPECT_EQ(Curl("/readyz"), "ok\n\n200 text/plain; charset=utf-8");
  EXPECT_EQ(Curl("/readyz/linearizable_read"), "ok\n\n200 text/plain; charset=utf-8");
  EXPECT_NE(Curl("/readyz?verbose").find("[+]data_corruption ok\n"), std::string::npos);
}

TEST_F(Endpoints, Version) {
  const std::string answer = Curl("/version");
  EXPECT_EQ(answer.substr(0, 17), "{\"etcdserver\":\"3.") << answer;
  EXPECT_NE(answer.find("\"etcdcluster\":\"3.7.0\""), std::string::npos) << answer;
  EXPECT_NE(answer.find("200 application/json"), std::string::npos) << answer;
}

TEST_F(Endpoints, Metrics) {
  ASSERT_EQ(server_->Etcdctl("put a b").out, "OK\n");
  const std::string metrics = Curl("/metrics");
  for (const char* line :
       {"etcd_server_has_leader 1\n", "etcd_server_is_leader 1\n", "# TYPE etcd_mvcc_put_total counter\n",
        "etcd_cluster_version{cluster_version=\"3.7\"} 1\n",
        "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.001\"} ",
        "etcd_disk_backend_commit_duration_seconds_count ", "etcd_server_proposals_committed_total ",
        "grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\"",
        "process_resident_memory_bytes ", "etcd_server_quota_backend_bytes 2.147483648e+09\n"}) {
    EXPECT_NE(metrics.find(line), std::string::npos) << line;
  }
}

TEST_F(Endpoints, UnknownPath) {
  EXPECT_EQ(Curl("/nothing"), "404 page not found\n\n404 text/plain; charset=utf-8");
}

TEST_F(Endpoints, LogLevelChangesWhileItRuns) {
  EXPECT_NE(Curl("/config/local/log", "-X PUT -d '{\"Level\":\"DEBUG\"}'").find("\n204"), std::string::npos);
  EXPECT_NE(Curl("/config/local/log", "-X PUT -d '{\"Level\":\"LOUD\"}'").find("\n400"), std::string::npos);
  EXPECT_NE(Curl("/config/local/log", "-X PUT -d '{\"Level\":\"INFO\"}'").find("\n204"), std::string::npos);
}

TEST_F(Endpoints, SpeakHttp2WithPriorKnowledge) {
  const CommandResult result =
      Shell("curl -s -o /dev/null -w '%{http_version} %{http_code}' --http2-prior-knowledge " +
            server_->url() + "/health");
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out.substr(0, 2), "2 ") << result.out;
}

}  // namespace
}  // namespace kvorum::test
