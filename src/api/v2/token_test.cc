#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/v2/testing/served.h"
#include "api/v2/token_endpoint.h"

namespace kvorum::api_v2 {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using testing::Response;

class V2Tokens : public ::testing::Test {
 protected:
  /// The path of a new token's URL.
  std::string NewToken(const Response& made) {
    EXPECT_EQ(made.status, 200) << made.body;
    EXPECT_THAT(made.body, MatchesRegex("http://localhost/v2/keys/_etcd/registry/[0-9a-f]{32}"));
    return made.body.substr(std::string("http://localhost").size());
  }
  std::string SizeOf(const std::string& token) {
    const std::string body = served_.Get(token + "/_config/size").body;
    const size_t at = body.find("\"value\":\"") + 9;
    return body.substr(at, body.find('"', at) - at);
  }

  testing::Served served_{{.discovery_scheme = "http"}};
};

TEST_F(V2Tokens, AreMadeInTheKeySpace) {
  const std::string token = NewToken(served_.Get("/new?size=5"));
  EXPECT_EQ(SizeOf(token), "5");
  EXPECT_EQ(SizeOf(NewToken(served_.Get("/new"))), "3");
  EXPECT_EQ(SizeOf(NewToken(served_.Get("/new?size="))), "3");
  EXPECT_NE(token, NewToken(served_.Get("/new")));
}

TEST_F(V2Tokens, DoNotLiveForEver) {
  const std::string token = NewToken(served_.Get("/new"));
  const std::string body = served_.Get(token).body;
  EXPECT_THAT(body, HasSubstr("\"ttl\":604800"));
  EXPECT_THAT(body, HasSubstr("\"dir\":true"));
}

TEST_F(V2Tokens, AreMadeByPutAndPostToo) {
  EXPECT_EQ(SizeOf(NewToken(served_.Ask("PUT", "/new?size=7"))), "7");
  EXPECT_EQ(SizeOf(NewToken(served_.Form("POST", "/new?size=7", "size=9"))), "9");
  for (const char* method : {"HEAD", "DELETE"}) {
    const Response response = served_.Ask(method, "/new");
    EXPECT_EQ(response.status, 405);
    EXPECT_EQ(response.Header("allow"), "GET,PUT,POST");
  }
}

TEST_F(V2Tokens, AreForClustersOfASensibleSize) {
  for (const auto& [size, text] : std::vector<std::pair<std::string, std::string>>{
           {"x", "strconv.Atoi: parsing \"x\": invalid syntax\n"},
           {"3x", "strconv.Atoi: parsing \"3x\": invalid syntax\n"},
           {"99999999999999999999", "strconv.Atoi: parsing \"99999999999999999999\": value out of range\n"},
           {"0", "size must be between 1 and 100\n"},
           {"-3", "size must be between 1 and 100\n"},
           {"101", "size must be between 1 and 100\n"}}) {
    const Response response = served_.Get("/new?size=" + size);
    EXPECT_EQ(response.status, 400);
    EXPECT_EQ(response.body, text);
  }
  EXPECT_EQ(served_.Get("/v2/keys/_etcd").status, 404);  // nothing was made
  EXPECT_EQ(served_.Form("POST", "/new", "size=" + std::string(5000, '1')).status, 400);
}

TEST_F(V2Tokens, AreNotMadeWithoutEnd) {
  for (size_t i = 0; i < kMaxTokens; ++i) {
    v2store::Request request;
    request.method = "PUT";
    request.path = fmt::format("/1{}/{}", kRegistryKey, i);
    request.dir = true;
    served_.member.v2_store().Apply(request);
  }
  const Response response = served_.Get("/new");
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(response.body, "too many discovery tokens, try again later\n");
}

TEST_F(V2Tokens, AreNotToldWhereTheLogDoesNotHaveThem) {
  served_.member.v2_status = absl::DeadlineExceededError("etcdserver: request timed out");
  const Response response = served_.Get("/new");
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(response.body, "Unable to generate token\n");
}

TEST(V2NoTokens, WhereThereIsNoService) { EXPECT_EQ(testing::Served().Get("/new").status, 404); }

}  // namespace
}  // namespace kvorum::api_v2
