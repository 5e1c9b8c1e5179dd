#include "http/url.h"

#include <gtest/gtest.h>

namespace kvorum::http {
namespace {

TEST(UrlTest, TakesApartWhatARequestNeeds) {
  const HttpUrl url = ParseHttpUrl("http://127.0.0.1:2380/members?a=b#c").value();
  EXPECT_EQ(url.host, "127.0.0.1");
  EXPECT_EQ(url.port, "2380");
  EXPECT_EQ(url.authority, "127.0.0.1:2380");
  EXPECT_EQ(url.target, "/members?a=b");
}

TEST(UrlTest, HasDefaults) {
  const HttpUrl url = ParseHttpUrl("HTTP://node1").value();
  EXPECT_EQ(url.port, "80");
  EXPECT_EQ(url.target, "/");
  EXPECT_EQ(ParseHttpUrl("http://node1?x").value().target, "/?x");
}

TEST(UrlTest, KnowsHttps) {
  EXPECT_FALSE(ParseHttpUrl("http://node1").value().secure);
  EXPECT_TRUE(ParseHttpUrl("HTTPS://node1").value().secure);
  EXPECT_EQ(ParseHttpUrl("https://node1").value().port, "443");
  EXPECT_EQ(ParseHttpUrl("https://node1:2379").value().port, "2379");
}

TEST(UrlTest, TakesTheBracketsOffAnIpv6Address) {
  const HttpUrl url = ParseHttpUrl("http://[::1]:2380/raft").value();
  EXPECT_EQ(url.host, "::1");
  EXPECT_EQ(url.port, "2380");
  EXPECT_EQ(url.authority, "[::1]:2380");
}

TEST(UrlTest, RefusesWhatItCannotDial) {
  for (const char* bad :
       {"", "node1:2380", "unix://sock", "http://", "http://:2380", "http://a:b", "http://a:99999",
        "http://[::1", "http://[::1]x", "http://u@a/", "http://a/b c", "http://a/\r\nx: y"}) {
    EXPECT_EQ(ParseHttpUrl(bad).status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

}  // namespace
}  // namespace kvorum::http
