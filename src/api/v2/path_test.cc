#include "api/v2/path.h"

#include "gtest/gtest.h"

namespace kvorum::api_v2 {
namespace {

TEST(V2Path, IsDecoded) {
  std::string buffer;
  EXPECT_EQ(DecodePath("/v2/keys/a%2Fb%20c+d", &buffer), "/v2/keys/a/b c+d");
  EXPECT_EQ(DecodePath("/v2/keys/a+d", &buffer), "/v2/keys/a+d");
  EXPECT_EQ(DecodePath("/%e2%82%ac%00", &buffer), std::string("/\xe2\x82\xac\0", 5));
  for (const char* bad : {"/%", "/%2", "/%zz", "/a\nb", "/\x7f"}) {
    EXPECT_EQ(DecodePath(bad, &buffer), std::nullopt);
  }
}

TEST(V2Path, IsCleaned) {
  const std::pair<std::string, std::string> cases[] = {
      {"/", "/"},
      {"/v2/keys/", "/v2/keys/"},
      {"//v2///keys", "/v2/keys"},
      {"/v2/keys/../../../x", "/x"},
      {"/v2/keys/..", "/v2"},
      {"/v2/keys/../", "/v2/"},
      {"/v2/keys/./a/.", "/v2/keys/a"},
      {"/a/b/../..", "/"},
      {"/a/b/../../", "/"},
      {"/.../..a/.b", "/.../..a/.b"},
      {"v2", "/v2"},
  };
  for (const auto& [path, clean] : cases) {
    EXPECT_EQ(CleanPath(path), clean) << path;
    EXPECT_EQ(IsCleanPath(path), path == clean) << path;
    EXPECT_TRUE(IsCleanPath(clean)) << clean;
  }
}

TEST(V2Path, IsEncodedForARedirect) {
  EXPECT_EQ(RedirectTarget("/v2/keys/a b?(!)\xc3\xa9~", "x=<1>"), "/v2/keys/a%20b%3F%28%21%29%C3%A9~?x=<1>");
  EXPECT_EQ(LocationHeader("/a?\xc3\xa9"), "/a?%c3%a9");
  EXPECT_EQ(RedirectPage("/a?b&c<'\">"),
            "<a href=\"/a?b&amp;c&lt;&#39;&#34;&gt;\">Moved Permanently</a>.\n\n");
}

}  // namespace
}  // namespace kvorum::api_v2
