#include "api/admin/handlers.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include "base/version.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "http/server.h"
#include "member/testing/fake_member.h"

namespace kvorum::api_admin {
namespace {

using member::testing::FakeMember;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

/// A response as it came, and taken apart.
struct Response {
  int status = 0;
  std::string head;
  std::string body;
};

/// Sends one HTTP/1.1 request on a connection of its own and reads until the server closes it.
Response Ask(const std::string& address, const std::string& method, const std::string& target,
             const std::string& headers = "", const std::string& body = "") {
  const int port = std::stoi(address.substr(address.rfind(':') + 1));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(port));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  KVORUM_CHECK(connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
  const std::string host = headers.find("Host:") == std::string::npos ? "Host: localhost\r\n" : "";
  const std::string request =
      fmt::format("{} {} HTTP/1.1\r\n{}{}Connection: close\r\nContent-Length: {}\r\n\r\n{}", method, target,
                  host, headers, body.size(), body);
  KVORUM_CHECK(send(fd, request.data(), request.size(), 0) == static_cast<ssize_t>(request.size()));
  std::string text;
  char buffer[4096];
  for (ssize_t n = 0; (n = recv(fd, buffer, sizeof buffer, 0)) > 0;) text.append(buffer, n);
  close(fd);
  Response response;
  const size_t end = text.find("\r\n\r\n");
  KVORUM_CHECK(end != std::string::npos, "'{}'", text);
  response.head = text.substr(0, end + 2);
  response.body = text.substr(end + 4);
  response.status = std::stoi(text.substr(text.find(' ')));
  for (char& c : response.head) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return response;
}

/// One handler on a port of its own.
class Listener {
 public:
  explicit Listener(std::unique_ptr<http::Handler> handler) : handler_(std::move(handler)) {
    http::ServerOptions options;
    options.handler = handler_.get();
    server_ = std::make_unique<http::Server>(&loops_, options);
    address_ = *server_->Listen({"http://127.0.0.1:0"});
    server_->Start();
  }
  ~Listener() { server_->Shutdown(std::chrono::seconds(5)); }
  const std::string& address() const { return address_; }

 private:
  http::LoopGroup loops_{1};
  std::unique_ptr<http::Handler> handler_;
  std::unique_ptr<http::Server> server_;
  std::string address_;
};

class ApiAdmin : public ::testing::Test {
 protected:
  HandlerOptions Options() {
    HandlerOptions options;
    options.member = &member_;
    options.metrics = &registry_;
    options.command_line = {"kvorum", "--name=a\"b"};
    options.set_log_level = [this](LogLevel level) { level_ = level; };
    return options;
  }
  Response Get(const std::string& target, const std::string& headers = "") {
    return Ask(listener_.address(), "GET", target, headers);
  }
  Response Do(const std::string& method, const std::string& target, const std::string& body = "") {
    return Ask(listener_.address(), method, target, "", body);
  }
  void LoseTheLeader() {
    member::MemberStatus status = member_.status();
    status.leader = MemberId(0);
    member_.SetStatus(status);
  }
  void FailReads(const std::string& text) {
    member_.confirm_at_once = false;
    member_.read_status = absl::UnavailableError(text);
  }

  metrics::Registry registry_;
  FakeMember member_;
  std::atomic<LogLevel> level_{LogLevel::kInfo};
  Listener listener_{NewClientHandler(Options())};
};

TEST_F(ApiAdmin, HealthIsGood) {
  const Response response = Get("/health");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, R"({"health":"true","reason":""})");
  EXPECT_THAT(response.head, HasSubstr("content-type: text/plain; charset=utf-8\r\n"));
  EXPECT_THAT(registry_.Text(), HasSubstr("\netcd_server_health_success 1\n"));
}

TEST_F(ApiAdmin, HealthNamesTheFirstReason) {
  member_.alarm_list = {{MemberId(1), member::AlarmType::kNoSpace},
                        {MemberId(1), member::AlarmType::kCorrupt}};
  const std::pair<std::string, std::string> cases[] = {
      {"/health", "ALARM NOSPACE"},
      {"/health?exclude=NOSPACE", "ALARM CORRUPT"},
      {"/health?exclude=&exclude=NOSPACE&exclude=CORRUPT", ""},
  };
  for (const auto& [target, reason] : cases) {
    const Response response = Get(target);
    const bool healthy = reason.empty();
    EXPECT_EQ(response.status, healthy ? 200 : 503);
    EXPECT_EQ(response.body,
              fmt::format("{{\"health\":\"{}\",\"reason\":\"{}\"}}{}", healthy, reason, healthy ? "" : "\n"));
  }
}

TEST_F(ApiAdmin, HealthNeedsALeaderAndARead) {
  FailReads("etcdserver: request timed out");
  EXPECT_THAT(Get("/health").body, HasSubstr("\"RANGE ERROR:etcdserver: request timed out\""));
  EXPECT_EQ(Get("/health?serializable=true").status, 200);
  LoseTheLeader();
  EXPECT_THAT(Get("/health").body, HasSubstr("\"RAFT NO LEADER\""));
  EXPECT_EQ(Get("/health?serializable=true").status, 200);
  EXPECT_THAT(registry_.Text(), HasSubstr("\netcd_server_health_failures 2\n"));
}

TEST_F(ApiAdmin, ProbesSayOk) {
  for (const char* path : {"/livez", "/readyz", "/livez/serializable_read", "/readyz/linearizable_read",
                           "/readyz/data_corruption", "/readyz/non_learner", "/readyz?exclude=nothing"}) {
    const Response response = Get(path);
    EXPECT_EQ(response.status, 200) << path;
    EXPECT_EQ(response.body, "ok\n") << path;
  }
  EXPECT_EQ(Get("/livez?verbose").body, "[+]serializable_read ok\nok\n");
  EXPECT_EQ(
      Get("/readyz?verbose=1").body,
      "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\nok\n");
  EXPECT_EQ(Get("/livez/linearizable_read").status, 404) << "no check of livez";
  EXPECT_EQ(Get("/livez/").status, 404);
  EXPECT_EQ(Get("/livezz").status, 404);
}

TEST_F(ApiAdmin, IsNotReadyWithoutALeaderOrWithAStuckDisk) {
  LoseTheLeader();
  EXPECT_EQ(Get("/readyz/linearizable_read").body, "[-]linearizable_read failed: etcdserver: no leader\n\n");
  EXPECT_EQ(Get("/livez").status, 200);
  member::MemberStatus status = member_.status();
  status.leader = MemberId(5);
  status.disk_stalled = true;
  member_.SetStatus(status);
  EXPECT_EQ(Get("/readyz").status, 503);
  EXPECT_EQ(Get("/health").status, 200) << "as etcd's";
  status.disk_stalled = false;
  member_.SetStatus(status);
  EXPECT_EQ(Get("/readyz").status, 200);
}

TEST_F(ApiAdmin, ProbesSayWhatFailed) {
  FailReads("etcdserver: leader changed");
  member_.alarm_list = {{MemberId(1), member::AlarmType::kCorrupt}};
  const Response response = Get("/readyz?exclude=non_learner");
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(response.body,
            "[-]data_corruption failed: alarm activated: CORRUPT\n[+]serializable_read ok\n"
            "[-]linearizable_read failed: etcdserver: leader changed\n\n");
  EXPECT_EQ(Get("/livez").status, 200);
  EXPECT_EQ(Get("/readyz?exclude=linearizable_read&exclude=data_corruption").body, "ok\n");
  const std::string text = registry_.Text();
  EXPECT_THAT(text, HasSubstr("etcd_server_healthcheck{name=\"data_corruption\",type=\"readyz\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("etcd_server_healthchecks_total{name=\"linearizable_read\",status=\"error\","
                              "type=\"readyz\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("etcd_server_healthcheck{name=\"serializable_read\",type=\"livez\"} 1\n"));
}

TEST_F(ApiAdmin, ALearnerIsNotReady) {
  member::MemberStatus status = member_.status();
  status.is_learner = true;
  member_.SetStatus(status);
  EXPECT_EQ(Get("/readyz/non_learner").body, "[-]non_learner failed: not supported for learner\n\n");
}

TEST_F(ApiAdmin, TellsItsVersions) {
  const Response response = Get("/version");
  EXPECT_EQ(response.body, R"({"etcdserver":"3.7.1","etcdcluster":"3.7.0","storage":"3.7.0"})");
  EXPECT_THAT(response.head, HasSubstr("content-type: application/json\r\n"));
  member_.mutable_cluster().SetVersion("", cluster::Cluster::Persist::kNo);
  EXPECT_EQ(Get("/version").body,
            R"({"etcdserver":"3.7.1","etcdcluster":"not_decided","storage":"unknown"})");
}

TEST_F(ApiAdmin, RefusesOtherMethods) {
  for (const char* path : {"/health", "/livez", "/readyz/non_learner", "/version", "/debug/vars"}) {
    const Response response = Do("POST", path);
    EXPECT_EQ(response.status, 405) << path;
    EXPECT_EQ(response.body, "Method Not Allowed\n");
    EXPECT_THAT(response.head, HasSubstr("allow: get\r\n"));
    EXPECT_EQ(Do("HEAD", path).status, 405) << path;
  }
  EXPECT_THAT(Do("GET", "/config/local/log").head, HasSubstr("allow: put\r\n"));
}

TEST_F(ApiAdmin, DoesNotKnowOtherPaths) {
  for (const char* path : {"/", "/v3/kv/range", "/v2/keys", "/healthz", "/debug/pprof/"}) {
    const Response response = Get(path);
    EXPECT_EQ(response.status, 404) << path;
    EXPECT_EQ(response.body, "404 page not found\n");
    EXPECT_THAT(response.head, HasSubstr("x-content-type-options: nosniff\r\n"));
  }
}

TEST_F(ApiAdmin, ServesMetricsAsTextAndGzip) {
  const Response plain = Get("/metrics");
  EXPECT_THAT(plain.head, HasSubstr("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  EXPECT_THAT(plain.body, HasSubstr("\npromhttp_metric_handler_requests_total{code=\"500\"} 0\n"));
  EXPECT_THAT(plain.head, Not(HasSubstr("content-encoding")));
  const Response packed = Get("/metrics", "Accept-Encoding: deflate, gzip;q=1.0\r\n");
  EXPECT_THAT(packed.head, HasSubstr("content-encoding: gzip\r\n"));
  std::string text(1 << 20, '\0');
  z_stream stream{};
  ASSERT_EQ(inflateInit2(&stream, 15 + 16), Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.body.data()));
  stream.avail_in = static_cast<uInt>(packed.body.size());
  stream.next_out = reinterpret_cast<Bytef*>(text.data());
  stream.avail_out = static_cast<uInt>(text.size());
  EXPECT_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
  inflateEnd(&stream);
  EXPECT_THAT(text, HasSubstr("\npromhttp_metric_handler_requests_total{code=\"200\"} 1\n"));
  EXPECT_EQ(Do("POST", "/metrics").status, 200) << "any method";
}

TEST_F(ApiAdmin, ShowsItsVariables) {
  const Response response = Get("/debug/vars");
  EXPECT_THAT(response.body, StartsWith("{\n\"cmdline\": [\"kvorum\",\"--name=a\\\"b\"],\n"));
  EXPECT_THAT(response.body, HasSubstr("\"id\":\"abc\",\"term\":2,"));
  EXPECT_THAT(response.body, HasSubstr("\"raftState\":\"StateLeader\""));
}

TEST_F(ApiAdmin, ChangesTheLogLevel) {
  EXPECT_EQ(Do("PUT", "/config/local/log", R"({"Level":"DEBUG"})").status, 204);
  EXPECT_EQ(level_.load(), LogLevel::kDebug);
  EXPECT_EQ(Do("PUT", "/config/local/log", R"({"level":"warn"})").status, 204);
  EXPECT_EQ(level_.load(), LogLevel::kWarn);
  const std::pair<std::string, std::string> cases[] = {
      {"nonsense", R"({"message":"Invalid json body"})"},
      {"", R"({"message":"Invalid json body"})"},
      {R"({"Level":7})", R"({"message":"Invalid json body"})"},
      {R"({"Level":"loud"})", R"({"message":"Invalid log level loud"})"},
      {"{}", R"({"message":"Invalid log level "})"},
  };
  for (const auto& [body, answer] : cases) {
    const Response response = Do("PUT", "/config/local/log", body);
    EXPECT_EQ(response.status, 400) << body;
    EXPECT_EQ(response.body, answer);
  }
  EXPECT_EQ(level_.load(), LogLevel::kWarn);
}

TEST_F(ApiAdmin, AddsCorsHeaders) {
  const std::string any = "access-control-allow-origin: *\r\n";
  EXPECT_THAT(Get("/version").head, HasSubstr(any));
  EXPECT_THAT(Get("/nothing").head, HasSubstr(any));
  const Response options = Do("OPTIONS", "/any/path");
  EXPECT_EQ(options.status, 200);
  EXPECT_EQ(options.body, "");
  EXPECT_THAT(options.head, HasSubstr("access-control-allow-methods: post, get, options, put, delete\r\n"));
  EXPECT_THAT(options.head,
              HasSubstr("access-control-allow-headers: accept, content-type, authorization\r\n"));

  HandlerOptions limited = Options();
  limited.cors = {"http://a.example"};
  Listener listener(NewClientHandler(limited));
  EXPECT_THAT(Ask(listener.address(), "GET", "/version", "Origin: http://a.example\r\n").head,
              HasSubstr("access-control-allow-origin: http://a.example\r\n"));
  EXPECT_THAT(Ask(listener.address(), "GET", "/version", "Origin: http://b.example\r\n").head,
              Not(HasSubstr("access-control")));
}

TEST_F(ApiAdmin, AnswersOnlyToItsNames) {
  HandlerOptions limited = Options();
  limited.host_whitelist = {"example.com", "::1"};
  Listener listener(NewClientHandler(limited));
  const std::pair<std::string, bool> cases[] = {{"example.com", true}, {"example.com:2379", true},
                                                {"[::1]:2379", true},  {"[::1]", true},
                                                {"evil.com", false},   {"example.com.evil.com", false}};
  for (const auto& [host, allowed] : cases) {
    const Response response = Ask(listener.address(), "GET", "/version", "Host: " + host + "\r\n");
    EXPECT_EQ(response.status, allowed ? 200 : 421) << host;
    if (!allowed) {
      EXPECT_THAT(response.body, StartsWith("\n"));
      EXPECT_THAT(response.body, HasSubstr("\"" + host + "\""));
      EXPECT_THAT(response.body, HasSubstr("host-whitelist"));
      EXPECT_THAT(response.body, HasSubstr("CVE-2018-5702"));
    }
  }
}

/// Says which path it was asked for.
class EchoGateway final : public http::Handler {
 public:
  std::unique_ptr<http::RequestSink> Start(const http::Request& request,
                                           http::ResponseWriter& writer) override {
    std::string path(request.path);
    return http::CollectBody(
        writer, 100, [&writer, path](const std::string& body) { writer.Reply(200, {}, path + " " + body); });
  }
};

TEST_F(ApiAdmin, HandsTheGatewaysPathsOver) {
  EchoGateway gateway;
  HandlerOptions options = Options();
  options.gateway = &gateway;
  Listener listener(NewClientHandler(options));
  for (const char* path : {"/v3/kv/range", "/v3beta/kv/range"}) {
    const Response response = Ask(listener.address(), "POST", path, "", "{}");
    EXPECT_EQ(response.body, "/v3/kv/range {}");
    EXPECT_THAT(response.head, HasSubstr("access-control-allow-origin: *\r\n"));
  }
  EXPECT_EQ(Ask(listener.address(), "POST", "/v3alpha/kv/range").status, 404);
}

TEST_F(ApiAdmin, TheMetricsListenerHasHealthAndMetricsOnly) {
  Listener listener(NewMetricsHandler(Options()));
  for (const auto& [path, status] : {std::pair("/metrics", 200),
                                     {"/health", 200},
                                     {"/livez", 200},
                                     {"/readyz/non_learner", 200},
                                     {"/version", 404},
                                     {"/debug/vars", 404},
                                     {"/config/local/log", 404}}) {
    const Response response = Ask(listener.address(), "GET", path);
    EXPECT_EQ(response.status, status) << path;
    EXPECT_THAT(response.head, Not(HasSubstr("access-control")));
  }
}

TEST_F(ApiAdmin, OnThePeerListenerThereIsTheVersion) {
  Listener listener(NewPeerHandler(Options()));
  EXPECT_EQ(Ask(listener.address(), "GET", "/version").status, 200);
  for (const char* path : {"/", "/raft", "/members", "/health", "/metrics"}) {
    EXPECT_EQ(Ask(listener.address(), "GET", path).status, 404) << path;
  }
}

TEST_F(ApiAdmin, TheStorageVersionIsThatOfTheCluster) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "unknown"}, {"3.7.0", "3.7.0"}, {"3.6.0", "3.6.0"}, {"3.5.0", "3.5.0"}, {"3.4.0", "unknown"}};
  for (const auto& [version, storage] : cases) {
    member_.mutable_cluster().SetVersion(version, cluster::Cluster::Persist::kNo);
    EXPECT_THAT(Get("/version").body, HasSubstr(fmt::format("\"storage\":\"{}\"", storage)));
  }
}

TEST_F(ApiAdmin, MeasuresTheProcess) {
  AddProcessMetrics(&registry_);
  const std::string text = registry_.Text();
  auto value = [&](const std::string& name) {
    const size_t at = text.find("\n" + name + " ");
    return at == std::string::npos ? -1.0 : std::stod(text.substr(at + name.size() + 2));
  };
  EXPECT_GT(value("process_resident_memory_bytes"), 1e6);
  EXPECT_GT(value("process_virtual_memory_bytes"), value("process_resident_memory_bytes"));
  EXPECT_GE(value("process_open_fds"), 3);
  EXPECT_EQ(value("os_fd_limit"), value("process_max_fds"));
  EXPECT_GE(value("process_cpu_seconds_total"), 0);
  const double age = static_cast<double>(time(nullptr)) - value("process_start_time_seconds");
  EXPECT_GE(age, -2);
  EXPECT_LT(age, 86400);
  EXPECT_THAT(text, HasSubstr("# TYPE process_cpu_seconds_total counter\n"));
  EXPECT_THAT(text, HasSubstr("\netcd_server_version{server_version=\"3.7.1\"} 1\n"));
}

}  // namespace
}  // namespace kvorum::api_admin
