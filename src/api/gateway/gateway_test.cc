#include "api/gateway/gateway.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/gateway/routes.h"
#include "base/check.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "grpc/server.h"
#include "gtest/gtest.h"
#include "http/server.h"
#include "proto/rpc.pb.h"

namespace kvorum::api_gateway {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

/// An HTTP/1.1 connection of one request. Reads block with a bound.
class Exchange {
 public:
  Exchange(const std::string& address, const std::string& method, const std::string& path,
           const std::string& headers, const std::string& body) {
    const int port = std::stoi(address.substr(address.rfind(':') + 1));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fd_ = socket(AF_INET, SOCK_STREAM, 0);
    const timeval patience{.tv_sec = 20, .tv_usec = 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    KVORUM_CHECK(connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
    Write(fmt::format("{} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{}\r\n{}", method, path,
                      headers, body));
  }
  ~Exchange() { close(fd_); }

  void Write(const std::string& text) {
    KVORUM_CHECK(send(fd_, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  }
  /// Everything that came, until `text` was among it or the server closed.
  const std::string& ReadUntil(const std::string& text) {
    char buffer[4096];
    while (received_.find(text) == std::string::npos) {
      const ssize_t n = recv(fd_, buffer, sizeof buffer, 0);
      if (n <= 0) break;
      received_.append(buffer, n);
    }
    return received_;
  }

 private:
  int fd_;
  std::string received_;
};

/// A KV of three methods behind a gateway.
class ApiGateway : public ::testing::Test {
 protected:
  void SetUp() override {
    grpc_.AddUnary("/etcdserverpb.KV/Range", [this](std::unique_ptr<grpc::UnaryCall> call) {
      etcdserverpb::RangeRequest request;
      ASSERT_TRUE(request.ParseFromString(std::string(call->request())));
      for (const auto& [name, value] : call->info().metadata)
        metadata_ += fmt::format("{}: {}\n", name, value);
      has_deadline_ = call->info().deadline.has_value();
      if (request.key().empty())
        return call->Fail(absl::InvalidArgumentError("etcdserver: key is not provided"));
      if (request.key() == "secret")
        return call->Fail(absl::UnauthenticatedError("etcdserver: invalid auth token"));
      etcdserverpb::RangeResponse response;
      response.add_kvs()->set_key(request.key());
      response.mutable_kvs(0)->set_value(std::string(request.limit(), 'x'));
      response.set_count(1);
      call->Reply(grpc::Payload{.head = response.SerializeAsString(), .shared = {}});
    });
    grpc_.AddStream("/etcdserverpb.Watch/Watch", grpc::MethodKind::kBidiStream,
                    [](grpc::StreamWriter& writer) { return std::make_unique<Watch>(writer); });
    http::ServerOptions options;
    options.grpc_handler = &grpc_;
    options.handler = gateway_.get();
    server_ = std::make_unique<http::Server>(&loops_, options);
    address_ = *server_->Listen({"http://127.0.0.1:0"});
    server_->Start();
  }
  void TearDown() override { server_->Shutdown(std::chrono::seconds(5)); }

  /// Answers each request with its key, and ends when it is asked to.
  class Watch final : public grpc::StreamHandler {
   public:
    explicit Watch(grpc::StreamWriter& writer) : writer_(writer) {}
    void OnMessage(std::string_view message) override {
      etcdserverpb::WatchRequest request;
      KVORUM_CHECK(request.ParseFromString(std::string(message)));
      const std::string& key = request.create_request().key();
      if (key == "fail") return writer_.Finish(absl::UnavailableError("etcdserver: no leader"));
      etcdserverpb::WatchResponse response;
      response.set_cancel_reason(key);
      writer_.Send({.head = response.SerializeAsString(), .shared = {}});
    }
    void OnHalfClose() override { writer_.Finish(absl::OkStatus()); }
    void OnCancel() override {}

   private:
    grpc::StreamWriter& writer_;
  };

  std::string Ask(const std::string& method, const std::string& path, const std::string& body,
                  const std::string& headers = "") {
    Exchange exchange(address_, method, path, headers + fmt::format("Content-Length: {}\r\n", body.size()),
                      body);
    return exchange.ReadUntil("\n\n\n");
  }

  http::LoopGroup loops_{1};
  grpc::Server grpc_{grpc::ServerOptions()};
  std::unique_ptr<http::Handler> gateway_ = NewGateway({.grpc = &grpc_, .max_request_bytes = 1000});
  std::unique_ptr<http::Server> server_;
  std::string address_;
  std::string metadata_;
  bool has_deadline_ = false;
};

TEST_F(ApiGateway, AnswersAUnaryCall) {
  const std::string response = Ask("POST", "/v3/kv/range", R"({"key":"Zm9v","limit":"3"})");
  EXPECT_THAT(response, HasSubstr("HTTP/1.1 200 "));
  EXPECT_THAT(response, ::testing::ContainsRegex("[Cc]ontent-[Tt]ype: application/json\r\n"));
  EXPECT_THAT(response,
              ::testing::ContainsRegex("[Gg]rpc-[Mm]etadata-[Cc]ontent-[Tt]ype: application/grpc\r\n"));
  EXPECT_THAT(response, HasSubstr(R"({"kvs":[{"key":"Zm9v","value":"eHh4"}],"count":"1"})"));
}

TEST_F(ApiGateway, AnswersErrorsWithTheirStatus) {
  const std::tuple<const char*, const char*, const char*, const char*, const char*> cases[] = {
      {"POST", "/v3/kv/range", "{}", "400 ", R"({"code":3,"message":"etcdserver: key is not provided"})"},
      {"POST", "/v3/kv/range", "", "400 ", R"({"code":3,"message":"etcdserver: key is not provided"})"},
      {"POST", "/v3/kv/range", R"({"key":"c2VjcmV0"})", "401 ",
       R"({"code":16,"message":"etcdserver: invalid auth token"})"},
      {"POST", "/v3/kv/range", R"({"key")", "400 ", R"({"code":3,"message":"unexpected EOF"})"},
      {"POST", "/v3/kv/range", "nonsense", "400 ", R"({"code":3,"message":)"},
      {"GET", "/v3/kv/range", "", "501 ", R"({"code":12,"message":"Method Not Allowed"})"},
      {"POST", "/v3/kv/nothing", "", "404 ", R"({"code":5,"message":"Not Found"})"},
      {"POST", "/v3/kv/put", "{}", "501 ",
       R"({"code":12,"message":"unknown method Put for service etcdserverpb.KV"})"},
  };
  for (const auto& [method, path, body, status, answer] : cases) {
    const std::string response = Ask(method, path, body);
    EXPECT_THAT(response, HasSubstr(std::string("HTTP/1.1 ") + status)) << path << body;
    EXPECT_THAT(response, HasSubstr(answer)) << path << body;
  }
  EXPECT_THAT(Ask("POST", "/v3/kv/range", R"({"key":"c2VjcmV0"})"),
              ::testing::ContainsRegex("[Ww][Ww][Ww]-[Aa]uthenticate: etcdserver: invalid auth token\r\n"));
}

TEST_F(ApiGateway, BoundsARequest) {
  EXPECT_THAT(Ask("POST", "/v3/kv/range", "{\"key\":\"" + std::string(2000, 'A') + "\"}"),
              HasSubstr("HTTP/1.1 429 "));
}

TEST_F(ApiGateway, HandsHeadersOver) {
  Ask("POST", "/v3/kv/range", R"({"key":"Zm9v"})",
      "Authorization: token.5\r\nGrpc-Metadata-HasLeader: true\r\nGrpc-Timeout: 5S\r\nAccept: */*\r\n");
  EXPECT_THAT(metadata_, HasSubstr("authorization: token.5\n"));
  EXPECT_THAT(metadata_, HasSubstr("hasleader: true\n"));
  EXPECT_THAT(metadata_, HasSubstr("grpcgateway-accept: */*\n"));
  EXPECT_THAT(metadata_, HasSubstr("x-forwarded-for: 127.0.0.1\n"));
  EXPECT_TRUE(has_deadline_);
  EXPECT_THAT(Ask("POST", "/v3/kv/range", "{}", "Grpc-Timeout: soon\r\n"),
              HasSubstr(R"({"code":3,"message":"invalid grpc-timeout: soon"})"));
}

TEST_F(ApiGateway, MakesALargeResponse) {
  const std::string response = Ask("POST", "/v3/kv/range", R"({"key":"Zm9v","limit":"300000"})");
  EXPECT_THAT(response, HasSubstr("HTTP/1.1 200 "));
  EXPECT_GT(response.size(), 400'000u);
  EXPECT_TRUE(response.ends_with(R"("}],"count":"1"})"));
}

TEST_F(ApiGateway, StreamsBothWays) {
  const std::string first = R"({"create_request":{"key":"YQ=="}})";
  Exchange exchange(address_, "POST", "/v3/watch", "Transfer-Encoding: chunked\r\n",
                    fmt::format("{:x}\r\n{}\r\n", first.size(), first));
  EXPECT_THAT(exchange.ReadUntil("\"a\""), HasSubstr("{\"result\":{\"cancel_reason\":\"a\"}}\n"));
  // Two more objects, cut in the middle.
  const std::string more = R"({"create_request":{"key":"Yg=="}} {"create_request":{"key":"Yw=="}})";
  exchange.Write(fmt::format("{:x}\r\n{}\r\n", 10, more.substr(0, 10)));
  exchange.Write(fmt::format("{:x}\r\n{}\r\n", more.size() - 10, more.substr(10)));
  EXPECT_THAT(exchange.ReadUntil("\"c\""), HasSubstr("{\"result\":{\"cancel_reason\":\"b\"}}\n"));
  exchange.Write("0\r\n\r\n");
  EXPECT_TRUE(exchange.ReadUntil("\r\n0\r\n\r\n").ends_with("\r\n0\r\n\r\n"));
}

TEST_F(ApiGateway, EndsAStreamWithItsError) {
  const std::string fail = R"({"create_request":{"key":"ZmFpbA=="}})";
  const std::string error = R"({"code":14,"message":"etcdserver: no leader"})";
  EXPECT_THAT(Ask("POST", "/v3/watch", fail), ::testing::AllOf(HasSubstr("HTTP/1.1 503 "), HasSubstr(error)))
      << "before the first message";
  const std::string late = Ask("POST", "/v3/watch", R"({"create_request":{"key":"YQ=="}})" + fail);
  EXPECT_THAT(late, HasSubstr("HTTP/1.1 200 "));
  EXPECT_THAT(late, HasSubstr("{\"error\":" + error + "}\n"));
  const std::string broken = Ask("POST", "/v3/watch", R"({"create_request":{"key":"YQ=="}}nonsense)");
  EXPECT_THAT(broken, HasSubstr("{\"error\":{\"code\":3,"));
}

TEST_F(ApiGateway, OutlivesAClientThatGoesAway) {
  { Exchange exchange(address_, "POST", "/v3/watch", "Transfer-Encoding: chunked\r\n", ""); }
  EXPECT_THAT(Ask("POST", "/v3/kv/range", R"({"key":"Zm9v"})"), HasSubstr("HTTP/1.1 200 "));
}

TEST(ApiGatewayRoutes, KnowsItsPathsAndNoOthers) {
  ASSERT_NE(FindRoute("/v3/kv/lease/timetolive"), nullptr);
  EXPECT_EQ(FindRoute("/v3/kv/lease/timetolive")->method, "/etcdserverpb.Lease/LeaseTimeToLive");
  EXPECT_TRUE(FindRoute("/v3/election/observe")->server_streams);
  EXPECT_FALSE(FindRoute("/v3/election/observe")->client_streams);
  EXPECT_EQ(FindRoute("/v3/kv/rangestream"), nullptr);
  EXPECT_EQ(FindRoute("/v3/kv/range/"), nullptr);
}

}  // namespace
}  // namespace kvorum::api_gateway
