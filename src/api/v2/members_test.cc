#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/v2/testing/served.h"

namespace kvorum::api_v2 {
namespace {

using ::testing::HasSubstr;
using testing::Response;

constexpr const char* kJson = "Content-Type: application/json; charset=utf-8\r\n";

std::string Message(const std::string& text) { return "{\"message\":\"" + text + "\"}"; }

class V2Members : public ::testing::Test {
 protected:
  Response Ask(const std::string& method, const std::string& target, const std::string& body = "",
               const std::string& headers = kJson) {
    return served_.Ask(method, target, headers, body);
  }
  std::string Refusal(const std::string& body) {
    const Response response = Ask("POST", "/v2/members", body);
    EXPECT_EQ(response.status, 400) << body;
    return response.body;
  }

  testing::Served served_;
  const std::string local_ =
      R"({"id":"abc","name":"m1","peerURLs":["http://127.0.0.1:2380"],"clientURLs":["http://127.0.0.1:2379"]})";
};

TEST_F(V2Members, ListsByNumber) {
  served_.member.mutable_cluster().AddMember({.id = MemberId(0x9), .peer_urls = {"http://b:1", "http://c:1"}},
                                             cluster::Cluster::Persist::kNo);
  const std::string list = "{\"members\":[" +
                           std::string(R"({"id":"9","name":"","peerURLs":["http://b:1","http://c:1"],)"
                                       R"("clientURLs":[]},)") +
                           local_ + "]}\n";
  for (const char* target : {"/v2/members", "/v2/members/"}) {
    const Response response = Ask("GET", target);
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.body, list);
    EXPECT_EQ(response.Header("content-type"), "application/json");
    EXPECT_EQ(response.Header("x-etcd-cluster-id"), "def");
  }
}

TEST_F(V2Members, KnowsTheLeader) {
  EXPECT_EQ(Ask("GET", "/v2/members/leader").body, local_ + "\n");
  member::MemberStatus status = served_.member.status();
  status.leader = MemberId(0);
  served_.member.SetStatus(status);
  const Response response = Ask("GET", "/v2/members/leader");
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(response.body, Message("During election"));
  EXPECT_EQ(Ask("GET", "/v2/members/abc").body, Message("Not found"));
}

TEST_F(V2Members, Adds) {
  const Response response =
      Ask("POST", "/v2/members", R"({"peerURLs":["http://d:2"," http://a:1 "],"name":"ignored"})");
  EXPECT_EQ(response.status, 201);
  EXPECT_THAT(response.body,
              HasSubstr(R"(","name":"","peerURLs":["http://a:1","http://d:2"],"clientURLs":[]})"
                        "\n"));
  EXPECT_EQ(response.Header("x-etcd-cluster-id"), "def");
  EXPECT_EQ(served_.member.cluster().members().size(), 2u);
}

TEST_F(V2Members, RefusesWhatIsNoListOfUrls) {
  EXPECT_EQ(Refusal(""), Message("unexpected end of JSON input"));
  EXPECT_EQ(Refusal("{} x"), Message("invalid character 'x' after top-level value"));
  EXPECT_EQ(Refusal("{}"), Message("no valid URLs given"));
  EXPECT_EQ(Refusal("null"), Message("no valid URLs given"));
  EXPECT_EQ(Refusal(R"({"peerURLs":null})"), Message("no valid URLs given"));
  EXPECT_EQ(Refusal(R"({"peerURLs":"x"})"),
            Message("json: cannot unmarshal string into Go struct field .peerURLs of type []string"));
  EXPECT_EQ(Refusal(R"({"peerURLs":["x",1]})"),
            Message("json: cannot unmarshal number into Go struct field .peerURLs of type string"));
  EXPECT_EQ(Refusal("[1]"), Message("json: cannot unmarshal array into Go value of type struct { PeerURLs "
                                    R"([]string \"json:\\\"peerURLs\\\"\" })"));
  EXPECT_EQ(Refusal(R"({"peerURLs":["ftp://a:1"]})"),
            Message("URL scheme must be http, https, unix, or unixs: ftp://a:1"));
  EXPECT_EQ(Refusal(R"({"peerurls":["http://a"]})"),
            Message(R"(URL address does not have the form \"host:port\": http://a)"));
  EXPECT_EQ(Refusal(R"({"peerURLs":["http://a:1/"]})"), Message("URL must not contain a path: http://a:1/"));
}

TEST_F(V2Members, RefusesOtherContent) {
  for (const char* method : {"POST", "PUT"}) {
    const Response response =
        Ask(method, "/v2/members/abc", "{}", "Content-Type: application/x-www-form-urlencoded\r\n");
    EXPECT_EQ(response.status, 415);
    EXPECT_EQ(response.body,
              Message("Bad Content-Type application/x-www-form-urlencoded, accept application/json"));
  }
  EXPECT_EQ(Ask("POST", "/v2/members", "{}", "").body, Message("Bad Content-Type , accept application/json"));
}

TEST_F(V2Members, Updates) {
  const Response response = Ask("PUT", "/v2/members/abc", R"({"peerURLs":["http://n:2"]})");
  EXPECT_EQ(response.status, 204);
  EXPECT_EQ(response.body, "");
  EXPECT_EQ(served_.member.cluster().Find(MemberId(0xabc))->peer_urls,
            std::vector<std::string>{"http://n:2"});
}

TEST_F(V2Members, Removes) {
  EXPECT_EQ(Ask("DELETE", "/v2/members/abc").status, 204);
  EXPECT_TRUE(served_.member.cluster().members().empty());
}

TEST_F(V2Members, NeedsAnId) {
  for (const char* method : {"PUT", "DELETE"}) {
    for (const char* target : {"/v2/members", "/v2/members/"}) {
      const Response response = Ask(method, target);
      EXPECT_EQ(response.status, 405);
      EXPECT_EQ(response.body, "Method Not Allowed\n");
      EXPECT_EQ(response.Header("allow"), "-");
      EXPECT_EQ(response.Header("x-etcd-cluster-id"), "def");
    }
    for (const char* id : {"zz", "0", "10000000000000000", "-1", "1/"}) {
      const Response response =
          Ask(method, std::string("/v2/members/") + id, R"({"peerURLs":["http://a:1"]})");
      EXPECT_EQ(response.status, 404);
      EXPECT_EQ(response.body, Message(std::string("No such member: ") + id));
    }
  }
}

TEST_F(V2Members, TellsWhyTheClusterRefuses) {
  const std::string body = R"({"peerURLs":["http://n:2"]})";
  const struct {
    const char* refusal;
    const char* method;
    int status;
    const char* text;
  } cases[] = {
      {"membership: peerURL exists", "POST", 409, "membership: peerURL exists"},
      {"membership: ID exists", "POST", 409, "membership: ID exists"},
      {"etcdserver: unhealthy cluster", "POST", 500, "Internal Server Error"},
      {"membership: peerURL exists", "PUT", 409, "membership: peerURL exists"},
      {"membership: ID not found", "PUT", 404, "No such member: 1f"},
      {"membership: ID removed", "PUT", 500, "Internal Server Error"},
      {"membership: ID not found", "DELETE", 404, "No such member: 1f"},
      {"membership: ID removed", "DELETE", 410, "Member permanently removed: 1f"},
      {"etcdserver: request timed out", "DELETE", 500, "Internal Server Error"},
  };
  for (const auto& [refusal, method, status, text] : cases) {
    served_.member.change_status = absl::FailedPreconditionError(refusal);
    const Response response =
        Ask(method, std::string(method) == "POST" ? "/v2/members" : "/v2/members/1F", body);
    EXPECT_EQ(response.status, status) << method << refusal;
    EXPECT_EQ(response.body, Message(text)) << method << refusal;
  }
}

TEST_F(V2Members, OtherMethodsAreNotAllowed) {
  for (const char* method : {"HEAD", "PATCH"}) {
    const Response response = Ask(method, "/v2/members");
    EXPECT_EQ(response.status, 405);
    EXPECT_EQ(response.Header("allow"), "GET,POST,DELETE,PUT");
  }
}

TEST_F(V2Members, MachinesAreClientUrls) {
  auto& cluster = served_.member.mutable_cluster();
  cluster.AddMember({.id = MemberId(9), .peer_urls = {"http://b:1"}}, cluster::Cluster::Persist::kNo);
  cluster.UpdateAttributes(MemberId(9), "m9", {"http://z:1", "http://a:1"}, cluster::Cluster::Persist::kNo);
  const Response response = Ask("GET", "/v2/machines");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "http://127.0.0.1:2379, http://a:1, http://z:1");
  EXPECT_EQ(response.Header("content-type"), "text/plain; charset=utf-8");
  EXPECT_EQ(response.Header("x-etcd-cluster-id"), "-");
  EXPECT_EQ(Ask("HEAD", "/v2/machines").Header("content-length"), "45");
  EXPECT_EQ(Ask("PUT", "/v2/machines").Header("allow"), "GET,HEAD");
  EXPECT_EQ(Ask("GET", "/v2/machines/").status, 404);
}

}  // namespace
}  // namespace kvorum::api_v2
