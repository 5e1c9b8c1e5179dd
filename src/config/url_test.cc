#include "config/url.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kvorum::config {
namespace {

using testing::ElementsAre;

std::string ErrorOf(std::string_view text) { return std::string(ParseUrls(text).status().message()); }

TEST(ConfigUrl, SortsTrimsAndDropsDoubles) {
  EXPECT_THAT(Texts(ParseUrls(" http://b:1 ,http://a:2,http://b:1").value()),
              ElementsAre("http://a:2", "http://b:1"));
}

TEST(ConfigUrl, TakesSocketsAndIpv6) {
  EXPECT_THAT(Texts(ParseUrls("unix:///tmp/x,unix://a:1,HTTP://[::1]:2379").value()),
              ElementsAre("http://[::1]:2379", "unix:///tmp/x", "unix://a:1"));
  const Url url = ParseUrls("http://[::1]:2379").value()[0];
  EXPECT_EQ(url.Hostname(), "::1");
  EXPECT_EQ(url.Port(), "2379");
}

// What etcd prints: the causes are Go's.
TEST(ConfigUrl, RefusesInEtcdsWords) {
  EXPECT_EQ(ErrorOf("127.0.0.1:2379"),
            "parse \"127.0.0.1:2379\": first path segment in URL cannot contain colon");
  EXPECT_EQ(ErrorOf("localhost:2379"), "URL scheme must be http, https, unix, or unixs: localhost:2379");
  EXPECT_EQ(ErrorOf("127.0.0.1"), "URL scheme must be http, https, unix, or unixs: 127.0.0.1");
  EXPECT_EQ(ErrorOf(""), "URL scheme must be http, https, unix, or unixs: ");
  EXPECT_EQ(ErrorOf(":2379"), "parse \":2379\": missing protocol scheme");
  EXPECT_EQ(ErrorOf("http://a"), "URL address does not have the form \"host:port\": http://a");
  EXPECT_EQ(ErrorOf("http://a:1/"), "URL must not contain a path: http://a:1/");
  EXPECT_EQ(ErrorOf("http://a:b"), "parse \"http://a:b\": invalid port \":b\" after host");
  EXPECT_EQ(ErrorOf("http://::1:1"), "parse \"http://::1:1\": invalid port \"::1:1\" after host");
  EXPECT_EQ(ErrorOf("http://[::1"), "parse \"http://[::1\": missing ']' in host");
  EXPECT_EQ(ErrorOf("http://a b:1"), "parse \"http://a b:1\": invalid character \" \" in host name");
  EXPECT_EQ(ErrorOf("http://%zz:1"), "parse \"http://%zz:1\": invalid URL escape \"%zz\"");
  EXPECT_EQ(ErrorOf("http://a%41:1"), "parse \"http://a%41:1\": invalid URL escape \"%41\"");
  EXPECT_EQ(ErrorOf("http://a\x01:1"),
            "parse \"http://a\\x01:1\": net/url: invalid control character in URL");
  EXPECT_EQ(ErrorOf("ftp://a:1"), "URL scheme must be http, https, unix, or unixs: ftp://a:1");
}

TEST(ConfigUrl, BindsToAddressesOnly) {
  EXPECT_TRUE(CheckBindUrls(ParseUrls("http://localhost:1,http://[::]:1,unix://a").value()).ok());
  EXPECT_EQ(CheckBindUrls(ParseUrls("http://example.com:1").value()).message(),
            "expected IP in URL for binding (http://example.com:1)");
}

TEST(ConfigUrl, AdvertisesNoEmptyHost) {
  EXPECT_EQ(CheckHostUrls(ParseUrls("http://:1").value()).message(), "unexpected empty host (http://:1)");
}

}  // namespace
}  // namespace kvorum::config
