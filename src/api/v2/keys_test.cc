#include "api/v2/keys.h"

#include "api/v2/key_request.h"
#include "api/v2/testing/served.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kvorum::api_v2 {
namespace {

using testing::Connection;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::Response;
using testing::Served;
using ::testing::StartsWith;
using testing::TakeApart;

constexpr char kSet[] =
    R"({"action":"set","node":{"key":"/foo","value":"bar","modifiedIndex":1,"createdIndex":1}})"
    "\n";
constexpr char kGet[] =
    R"({"action":"get","node":{"key":"/foo","value":"bar","modifiedIndex":1,"createdIndex":1}})"
    "\n";

class V2Keys : public ::testing::Test {
 protected:
  /// Status and body.
  static std::pair<int, std::string> Brief(const Response& response) {
    return {response.status, response.body};
  }
  void FailWrites(const std::string& text) { served_.member.v2_status = absl::UnavailableError(text); }

  Served served_;
};

TEST_F(V2Keys, WritesAndReads) {
  const Response put = served_.Put("/v2/keys/foo", "value=bar");
  EXPECT_EQ(Brief(put), std::pair(201, std::string(kSet)));
  const Response get = served_.Get("/v2/keys/foo/");
  EXPECT_EQ(Brief(get), std::pair(200, std::string(kGet)));
  for (const Response& response : {put, get}) {
    EXPECT_EQ(response.Header("content-type"), "application/json");
    EXPECT_EQ(response.Header("x-etcd-cluster-id"), "def");
    EXPECT_EQ(response.Header("x-etcd-index"), "1");
    EXPECT_EQ(response.Header("x-raft-index"), "9");
    EXPECT_EQ(response.Header("x-raft-term"), "2");
  }
  EXPECT_EQ(served_.Put("/v2/keys/foo", "value=other").status, 200);
}

TEST_F(V2Keys, AnswersManyWritesAtOnceEachToItsOwn) {
  std::vector<std::unique_ptr<Connection>> writers;
  for (int i = 0; i < 100; ++i) {
    writers.push_back(std::make_unique<Connection>(served_.address()));
    const std::string form = fmt::format("value=v{}", i);
    writers[i]->Request(
        "PUT", fmt::format("/v2/keys/k{}", i),
        fmt::format("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
                    form.size()));
    writers[i]->Send(form);
    if (i % 3 == 0) writers[i]->Close();  // and does not wait for the answer
  }
  for (int i = 0; i < 100; ++i) {
    if (i % 3 == 0) continue;
    EXPECT_THAT(writers[i]->ReadUntil("}}\n"), HasSubstr(fmt::format(R"("key":"/k{0}","value":"v{0}")", i)));
  }
}

TEST_F(V2Keys, TellsTheStoresIndexWithItsErrors) {
  served_.Put("/v2/keys/foo", "value=bar");
  const Response missing = served_.Get("/v2/keys/a/b");
  EXPECT_EQ(Brief(missing),
            std::pair(404, std::string(R"({"errorCode":100,"message":"Key not found","cause":"/a","index":1})"
                                       "\n")));
  EXPECT_EQ(missing.Header("x-etcd-index"), "1");
  EXPECT_EQ(missing.Header("x-etcd-cluster-id"), "def");
  EXPECT_EQ(missing.Header("x-raft-index"), "-");
  const Response root = served_.Put("/v2/keys", "value=1");
  EXPECT_EQ(
      Brief(root),
      std::pair(400, std::string(R"({"errorCode":107,"message":"Root is read only","cause":"/","index":1})"
                                 "\n")));
}

TEST_F(V2Keys, TellsNoIndexWithBadParameters) {
  const Response response = served_.Get("/v2/keys/foo?recursive");
  EXPECT_EQ(
      Brief(response),
      std::pair(400, std::string(R"({"errorCode":209,"message":"Invalid field","cause":"invalid value for )"
                                 R"(\"recursive\"","index":0})"
                                 "\n")));
  EXPECT_EQ(response.Header("x-etcd-index"), "0");
}

TEST_F(V2Keys, ChoosesTheOperation) {
  const struct {
    std::string method;
    std::string query;
    int status;
    std::string action;
  } steps[] = {
      {"PUT", "prevExist=true&value=1", 404, ""},
      {"PUT", "prevExist=false&value=1", 201, "create"},
      {"PUT", "prevExist=false&value=1&prevIndex=1", 412, ""},
      {"PUT", "prevExist=true&value=2", 200, "update"},
      {"PUT", "prevExist=true&value=3&prevValue=2", 200, "compareAndSwap"},
      {"PUT", "value=4&prevValue=3", 200, "compareAndSwap"},
      {"PUT", "value=5&prevIndex=4", 200, "compareAndSwap"},
      {"PUT", "value=6&prevIndex=1", 412, ""},
      {"PUT", "value=7&prevIndex=0", 200, "set"},
      {"DELETE", "prevValue=1", 412, ""},
      {"DELETE", "prevValue=7", 200, "compareAndDelete"},
      {"PUT", "dir=true", 201, "set"},
      {"POST", "value=1", 201, "create"},
      {"DELETE", "", 403, ""},
      {"DELETE", "dir=true", 403, ""},
      {"DELETE", "recursive=true", 200, "delete"},
  };
  for (const auto& [method, query, status, action] : steps) {
    const Response response = served_.Ask(method, "/v2/keys/k?" + query);
    EXPECT_EQ(response.status, status) << method << " " << query << response.body;
    EXPECT_THAT(response.body,
                StartsWith(action.empty() ? "{\"errorCode\":" : "{\"action\":\"" + action + "\""));
  }
}

TEST_F(V2Keys, ListsAndSorts) {
  for (const char* key : {"b", "a/x", "_hidden"}) served_.Put(std::string("/v2/keys/d/") + key, "value=1");
  EXPECT_THAT(
      served_.Get("/v2/keys/d?sorted=true").body,
      HasSubstr(R"("nodes":[{"key":"/d/a","dir":true,"modifiedIndex":2,"createdIndex":2},{"key":"/d/b",)"));
  const std::string all = served_.Get("/v2/keys/d?recursive=true").body;
  EXPECT_THAT(all, HasSubstr(R"({"key":"/d/a/x","value":"1",)"));
  EXPECT_THAT(all, Not(HasSubstr("hidden")));
}

TEST_F(V2Keys, LeavesTheValueOutOnRequest) {
  EXPECT_EQ(Brief(served_.Put("/v2/keys/foo?noValueOnSuccess=true", "value=1")),
            std::pair(201, std::string("{\"action\":\"set\"}\n")));
  EXPECT_EQ(served_.Get("/v2/keys/foo?noValueOnSuccess=true").body.find("\"node\"") == std::string::npos,
            false);
  EXPECT_THAT(served_.Delete("/v2/keys/foo?noValueOnSuccess=true").body, HasSubstr("\"prevNode\""));
}

TEST_F(V2Keys, HeadHasAllButTheBody) {
  served_.Put("/v2/keys/foo", "value=bar");
  const Response head = served_.Ask("HEAD", "/v2/keys/foo?quorum=true");
  EXPECT_EQ(Brief(head), std::pair(200, std::string()));
  EXPECT_EQ(head.Header("content-length"), std::to_string(std::string(kGet).size()));
  EXPECT_EQ(head.Header("x-raft-term"), "2");
  const Response missing = served_.Ask("HEAD", "/v2/keys/none");
  EXPECT_EQ(Brief(missing), std::pair(404, std::string()));
  EXPECT_EQ(missing.Header("content-length"), "70");
}

TEST_F(V2Keys, OtherMethodsAreNotAllowed) {
  const Response response = served_.Ask("PATCH", "/v2/keys/foo");
  EXPECT_EQ(Brief(response), std::pair(405, std::string("Method Not Allowed\n")));
  EXPECT_EQ(response.Header("allow"), "HEAD,GET,PUT,POST,DELETE");
  EXPECT_EQ(response.Header("content-type"), "text/plain; charset=utf-8");
  EXPECT_EQ(response.Header("x-content-type-options"), "nosniff");
  EXPECT_EQ(response.Header("x-etcd-cluster-id"), "-");
}

TEST_F(V2Keys, OnlyFormsAreRead) {
  for (const char* type :
       {"", "Content-Type: text/plain\r\n", "Content-Type: multipart/form-data; boundary=x\r\n"}) {
    EXPECT_THAT(served_.Ask("PUT", "/v2/keys/foo", type, "value=1").body, HasSubstr(R"("value":"")")) << type;
  }
  EXPECT_THAT(
      served_
          .Ask("PUT", "/v2/keys/foo", "Content-Type: application/x-www-form-urlencoded; a=b\r\n", "value=1")
          .body,
      HasSubstr(R"("value":"1")"));
  EXPECT_THAT(served_.Ask("PUT", "/v2/keys/foo", "Content-Type: foo bar\r\n", "value=1").body,
              HasSubstr(R"("errorCode":210,"message":"Invalid POST form","cause":"mime: expected slash)"));
  const char* form = "Content-Type: application/x-www-form-urlencoded\r\n";
  EXPECT_EQ(served_.Ask("DELETE", "/v2/keys/foo", form, "prevValue=none").status, 200);
}

TEST_F(V2Keys, TakesAFormInPieces) {
  Connection connection(served_.address());
  connection.Request(
      "PUT", "/v2/keys/foo",
      "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\nConnection: close\r\n"
      "Expect: 100-continue\r\n");
  connection.ReadUntil("100 Continue\r\n\r\n");
  for (const char* piece : {"va", "lue=", "%", "41"}) {
    connection.Send(piece);
  }
  EXPECT_THAT(connection.ReadAll(), HasSubstr(R"("value":"A")"));
}

/// The body that was sent in chunks.
std::string Unchunked(std::string_view body) {
  std::string all;
  for (;;) {
    const size_t end = body.find("\r\n");
    const size_t size = std::stoul(std::string(body.substr(0, end)), nullptr, 16);
    if (size == 0) return all;
    all += body.substr(end + 2, size);
    body.remove_prefix(end + 2 + size + 2);
  }
}

TEST_F(V2Keys, LongAnswersComeInPieces) {
  for (int i = 0; i < 20; ++i) {
    served_.Put(fmt::format("/v2/keys/d/{}", i), "value=" + std::string(100'000, 'x'));
  }
  std::string whole;
  AppendJson(whole, *std::get<v2store::EventPtr>(served_.member.v2_store().Get("/1/d", false, true)));
  whole.push_back('\n');
  for (const char* query : {"", "?quorum=true", "?recursive=true"}) {
    served_.member.confirm_at_once = false;
    const Response response = served_.Get(std::string("/v2/keys/d") + query);
    EXPECT_EQ(response.Header("transfer-encoding"), "chunked");
    EXPECT_EQ(response.Header("x-etcd-index"), "20");
    EXPECT_EQ(Unchunked(response.body), whole) << query;
  }
  EXPECT_EQ(Brief(served_.Ask("HEAD", "/v2/keys/d")), std::pair(200, std::string()));
  const Response past = served_.Get("/v2/keys/d/7?wait=true&waitIndex=8");
  EXPECT_THAT(Unchunked(past.body), StartsWith(R"({"action":"set","node":{"key":"/d/7","value":"xxx)"));
  EXPECT_GT(Unchunked(past.body).size(), 100'000u);
}

TEST_F(V2Keys, AFormHasALimit) {
  const std::string most(kMaxFormBytes - 6, 'x');
  EXPECT_EQ(served_.Put("/v2/keys/foo", "value=" + most).status, 201);
  const Response response = served_.Put("/v2/keys/foo", "value=" + most + "x");
  EXPECT_EQ(Brief(response), std::pair(400, std::string(R"({"errorCode":210,"message":"Invalid POST form",)"
                                                        R"("cause":"http: POST too large","index":0})"
                                                        "\n")));
}

TEST_F(V2Keys, FormsThatComeAreBoundedTogether) {
  served_.member.options_value.max_pending_bytes = 100;
  const std::string head =
      "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 90\r\nExpect: 100-continue\r\n";
  Connection slow(served_.address());
  slow.Request("PUT", "/v2/keys/slow", head);
  slow.ReadUntil("100 Continue\r\n\r\n");
  slow.Send("value=" + std::string(54, 'x'));
  // Once the server has these, another form of 60 bytes does not fit.
  const std::string form = "value=" + std::string(54, 'y');
  Response second;
  const MonotonicTime end = SystemClock().Now() + std::chrono::seconds(20);
  do {
    second = served_.Put("/v2/keys/second", form);
  } while (second.status != 500 && SystemClock().Now() < end);
  EXPECT_THAT(second.body, HasSubstr("etcdserver: too many requests"));
  slow.Send(std::string(30, 'x'));
  EXPECT_THAT(slow.ReadUntil("\"node\""), HasSubstr("201 Created"));
  EXPECT_NE(served_.Put("/v2/keys/second", form).status, 500);
}

TEST_F(V2Keys, AQuorumReadIsConfirmedFirst) {
  served_.Put("/v2/keys/foo", "value=bar");
  served_.member.confirm_at_once = false;
  EXPECT_EQ(Brief(served_.Get("/v2/keys/foo?quorum=true&wait=true")), std::pair(200, std::string(kGet)));
  served_.member.read_status = absl::UnavailableError("etcdserver: request timed out");
  EXPECT_EQ(Brief(served_.Get("/v2/keys/foo?quorum=true")),
            std::pair(500, std::string(R"({"errorCode":300,"message":"Raft Internal Error","cause":)"
                                       R"("etcdserver: request timed out","index":0})"
                                       "\n")));
  EXPECT_EQ(served_.Get("/v2/keys/foo").status, 200);
}

TEST_F(V2Keys, TellsWhyAWriteFailed) {
  FailWrites("etcdserver: request timed out, possibly due to previous leader failure");
  const Response response = served_.Put("/v2/keys/foo", "value=bar");
  EXPECT_EQ(response.status, 500);
  EXPECT_EQ(response.Header("x-etcd-index"), "0");
  EXPECT_THAT(response.body, HasSubstr("possibly due to previous leader failure"));
}

TEST_F(V2Keys, AnswersManyOnOneConnection) {
  Connection connection(served_.address());
  std::string requests;
  for (int i = 0; i < 20; ++i) {
    requests += fmt::format("PUT /v2/keys/k?value={} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", i);
    requests +=
        fmt::format("GET /v2/keys/k HTTP/1.1\r\nHost: x\r\n{}\r\n", i == 19 ? "Connection: close\r\n" : "");
  }
  connection.Send(requests);
  const std::string text = connection.ReadAll();
  for (int i = 0; i < 20; ++i) {
    const std::string get = fmt::format(R"({{"action":"get","node":{{"key":"/k","value":"{}",)", i);
    EXPECT_THAT(text, HasSubstr(get));
  }
}

TEST_F(V2Keys, CountsItself) {
  served_.Put("/v2/keys/foo", "value=1");
  served_.Get("/v2/keys/?recursive=true");
  served_.Get("/v2/keys/none");
  served_.Get("/v2/keys/foo?quorum=true");
  served_.Get("/v2/keys/foo?sorted=x");
  const std::string text = served_.registry.Text();
  for (const char* line :
       {"etcd_http_received_total{method=\"GET\"} 2", "etcd_http_received_total{method=\"PUT\"} 1",
        "etcd_http_received_total{method=\"QGET\"} 1",
        "etcd_http_failed_total{code=\"404\",method=\"GET\"} 1",
        "etcd_http_successful_duration_seconds_count{method=\"PUT\"} 1",
        "etcd_debugging_store_reads_total{action=\"get\"} 1",
        "etcd_debugging_store_reads_total{action=\"getRecursive\"} 1",
        "etcd_debugging_store_writes_total{action=\"set\"} 1", "etcd_debugging_store_watchers 0",
        "etcd_debugging_store_expires_total 0"}) {
    EXPECT_THAT(text, HasSubstr(std::string("\n") + line + "\n"));
  }
  EXPECT_THAT(text, Not(HasSubstr("writes_total{action=\"create\"}")));
}

}  // namespace
}  // namespace kvorum::api_v2
