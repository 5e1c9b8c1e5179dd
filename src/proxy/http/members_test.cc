#include "proxy/http/members.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kvorum::proxy_http {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(ProxyMembers, AreReadAsMembersWriteThem) {
  const MemberUrls found =
      ParseMembers(
          R"([{"id":7459176420498197192,"peerURLs":["http://b:2380","http://a:2380"],"name":"m","clientURLs":["http://b:2379"]},
              {"id":1,"peerURLs":["http://c:2380"],"isLearner":true}])")
          .value();
  EXPECT_THAT(found.peer_urls, ElementsAre("http://a:2380", "http://b:2380", "http://c:2380"));
  EXPECT_THAT(found.client_urls, ElementsAre("http://b:2379"));
  EXPECT_FALSE(found.empty);
}

TEST(ProxyMembers, MayBeNone) {
  const MemberUrls found = ParseMembers("[]\n").value();
  EXPECT_TRUE(found.empty);
  EXPECT_THAT(found.peer_urls, IsEmpty());
}

TEST(ProxyMembers, RefusesWhatIsNoList) {
  for (const std::string_view body : {"", "{}", "404 page not found", "[1]", R"([{"peerURLs":"a"}])",
                                      R"([{"clientURLs":[{}]}])", R"([{"peerURLs":["a"]}] trailing)"}) {
    EXPECT_FALSE(ParseMembers(body).ok()) << body;
  }
}

TEST(ProxyMembers, AreThoseOfACluster) {
  http::ClientResponse response = {.status = 500, .body = R"([{"peerURLs":["http://a:1"]}])"};
  EXPECT_FALSE(ReadMembers(response).ok());
  response.headers = {{"x-etcd-cluster-id", "xyz"}};
  EXPECT_FALSE(ReadMembers(response).ok());
  response.headers = {{"x-etcd-cluster-id", "ac5aa2af9d61fc5a"}};
  EXPECT_TRUE(ReadMembers(response).ok());
}

}  // namespace
}  // namespace kvorum::proxy_http
