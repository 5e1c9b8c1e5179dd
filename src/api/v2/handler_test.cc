#include "api/v2/handler.h"

#include "api/v2/testing/served.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kvorum::api_v2 {
namespace {

using testing::Connection;
using ::testing::HasSubstr;
using testing::Response;
using testing::Served;
using testing::TakeApart;

class V2Handler : public ::testing::Test {
 protected:
  Served served_;
};

TEST_F(V2Handler, MatchesTheDecodedPath) {
  served_.Put("/v2/keys/a/b", "value=1");
  for (const char* target :
       {"/v2/keys/a%2Fb", "/v2%2fkeys/a/b", "/%762/keys/a/b/", "/v2/keys/a/b?", "/v2/keys/%61/b"}) {
    EXPECT_EQ(served_.Get(target).status, 200) << target;
  }
  EXPECT_EQ(served_.Get("/v2/keys").body, served_.Get("/v2/keys/").body);
  EXPECT_THAT(served_.Put("/v2/keys/%C3%A9%00%3C", "value=1").body,
              HasSubstr("\"key\":\"/é\\u0000\\u003c\""));
}

TEST_F(V2Handler, SendsUncleanPathsElsewhere) {
  const std::pair<std::string, std::string> cases[] = {
      {"/v2/keys//a", "/v2/keys/a"},
      {"/v2//keys/a/", "/v2/keys/a/"},
      {"//v2/keys", "/v2/keys"},
      {"/v2/keys/./a", "/v2/keys/a"},
      {"/v2/keys/a/..", "/v2/keys"},
      {"/v2/keys/%2e%2e/2/x", "/v2/2/x"},
      {"/v2/keys/..%2f..%2f..%2f..", "/"},
      {"/v2/keys/a/../../../version", "/version"},
      {"/v2/keys/a%20b//%3F?x=1&y=%zz", "/v2/keys/a%20b/%3F?x=1&y=%zz"},
  };
  for (const auto& [target, location] : cases) {
    const Response get = served_.Get(target);
    EXPECT_EQ(get.status, 301) << target;
    EXPECT_EQ(get.Header("location"), location);
    EXPECT_EQ(get.Header("content-type"), "text/html; charset=utf-8");
    EXPECT_THAT(get.body, HasSubstr("\">Moved Permanently</a>.\n\n"));
    const Response put = served_.Put(target, "value=1");
    EXPECT_EQ(put.status, 301) << target;
    EXPECT_EQ(put.Header("location"), location);
    EXPECT_EQ(put.Header("content-type"), "-");
    EXPECT_EQ(put.body, "");
    EXPECT_EQ(served_.Ask("HEAD", target).body, "");
  }
  EXPECT_EQ(served_.Get("/v2/keys//b?x=1&y='<").body,
            "<a href=\"/v2/keys/b?x=1&amp;y=&#39;&lt;\">Moved Permanently</a>.\n\n");
}

TEST_F(V2Handler, DoesNotKnowOtherPaths) {
  for (const char* target : {"/v2", "/v2/", "/v2/stats", "/v2/stats/", "/v2/stats/self/", "/v2/machines/",
                             "/v2/leader", "/v2/peers", "/v2/admin/machines", "/v2/auth/enable/", "/v2/auth",
                             "/v2/keysfoo", "/v2/membersfoo", "/V2/keys"}) {
    const Response response = served_.Get(target);
    EXPECT_EQ(response.status, 404) << target;
    EXPECT_EQ(response.body, "404 page not found\n");
    EXPECT_EQ(response.Header("content-type"), "text/plain; charset=utf-8");
    EXPECT_EQ(response.Header("x-content-type-options"), "nosniff");
  }
}

TEST_F(V2Handler, RefusesWhatIsNoPath) {
  for (const char* target : {"/v2/keys/%zz", "/v2/keys/%", "/v2/keys/%4"}) {
    const Response response = served_.Get(target);
    EXPECT_EQ(response.status, 400) << target;
    EXPECT_EQ(response.body, "400 Bad Request");
    EXPECT_EQ(response.Header("connection"), "close");
  }
}

TEST_F(V2Handler, TellsWhichMethodsThereAre) {
  const std::pair<std::string, std::string> cases[] = {
      {"/v2/keys/a", "HEAD,GET,PUT,POST,DELETE"},
      {"/v2/members", "GET,POST,DELETE,PUT"},
      {"/v2/machines", "GET,HEAD"},
      {"/v2/stats/self", "GET"},
      {"/v2/stats/leader", "GET"},
      {"/v2/stats/store", "GET"},
      {"/v2/auth/enable", "GET,PUT,DELETE"},
      {"/v2/auth/users", "GET"},
      {"/v2/auth/users/", "GET"},
      {"/v2/auth/roles/r", "GET,PUT,DELETE"},
  };
  for (const auto& [target, allow] : cases) {
    const Response response = served_.Ask("PATCH", target);
    EXPECT_EQ(response.status, 405) << target;
    EXPECT_EQ(response.body, "Method Not Allowed\n");
    EXPECT_EQ(response.Header("allow"), allow) << target;
  }
}

}  // namespace
}  // namespace kvorum::api_v2
