#include "api/v2/key_request.h"

#include <list>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace kvorum::api_v2 {
namespace {

using v2store::Error;
using v2store::ErrorCode;

/// A text that lives as long as the requests that are read from it.
std::string& Kept(std::string_view text) {
  static std::list<std::string> texts;
  return texts.emplace_back(text);
}

std::variant<KeyRequest, Error> Parse(KeyMethod method, std::string_view query, std::string_view form = {},
                                      std::string_view body_error = {}) {
  return ParseKeyRequest({.method = method,
                          .path = "/1/foo/",
                          .query = Kept(query),
                          .body_error = body_error,
                          .form = Kept(form),
                          .now = WallTime(std::chrono::seconds(1'000'000'000))});
}

/// The code and the cause of the error; 0 where there is none.
std::pair<int, std::string> ErrorOf(KeyMethod method, std::string_view query, std::string_view form = {}) {
  const auto parsed = Parse(method, query, form);
  const auto* error = std::get_if<Error>(&parsed);
  if (error == nullptr) return {0, ""};
  EXPECT_EQ(error->index, 0u);
  return {static_cast<int>(error->code), error->cause};
}

KeyRequest Good(KeyMethod method, std::string_view query, std::string_view form = {}) {
  auto parsed = Parse(method, query, form);
  if (const auto* error = std::get_if<Error>(&parsed)) ADD_FAILURE() << query << ": " << error->cause;
  return std::get<KeyRequest>(std::move(parsed));
}

TEST(V2KeyRequest, HasEveryParameter) {
  const KeyRequest put = Good(KeyMethod::kPut, "prevIndex=7&prevExist=true&noValueOnSuccess=1",
                              "value=a+b&prevValue=x&ttl=30&dir=true&refresh=false");
  const v2store::RequestView expected = {.method = "PUT",
                                         .path = "/1/foo",
                                         .value = "a b",
                                         .dir = true,
                                         .prev_value = "x",
                                         .prev_index = 7,
                                         .prev_exist = true,
                                         .expiration = 1'000'000'030'000'000'000,
                                         .refresh = false};
  EXPECT_EQ(put.request, expected);
  EXPECT_TRUE(put.no_value_on_success);
  EXPECT_TRUE(put.IsWrite());
  const KeyRequest get = Good(KeyMethod::kGet, "recursive=T&sorted=1&wait=t&waitIndex=9&stream=true");
  const v2store::RequestView watch = {.method = "GET",
                                      .path = "/1/foo",
                                      .wait = true,
                                      .since = 9,
                                      .recursive = true,
                                      .sorted = true,
                                      .stream = true};
  EXPECT_EQ(get.request, watch);
  EXPECT_TRUE(get.IsWatch());
}

TEST(V2KeyRequest, AQuorumReadIsNoWatch) {
  EXPECT_FALSE(Good(KeyMethod::kGet, "quorum=true&wait=true").IsWatch());
  EXPECT_TRUE(Good(KeyMethod::kGet, "quorum=true&wait=true").IsQuorumRead());
  EXPECT_FALSE(Good(KeyMethod::kHead, "quorum=true").IsQuorumRead());
}

TEST(V2KeyRequest, TheFormComesBeforeTheQueryAndTheFirstValueCounts) {
  EXPECT_EQ(Good(KeyMethod::kPut, "value=1&value=2").request.value, "1");
  EXPECT_EQ(Good(KeyMethod::kPut, "value=1", "value=3&value=4").request.value, "3");
  EXPECT_EQ(Good(KeyMethod::kPut, "value=1", "value=").request.value, "");
  EXPECT_EQ(Good(KeyMethod::kPut, "value=1", "dir=false").request.value, "1");
}

TEST(V2KeyRequest, RefusesBadValuesWithEveryMethod) {
  const struct {
    std::string query;
    int code;
    std::string cause;
  } cases[] = {
      {"prevIndex=", 203, R"(invalid value for "prevIndex")"},
      {"prevIndex=-1", 203, R"(invalid value for "prevIndex")"},
      {"prevIndex=18446744073709551616", 203, R"(invalid value for "prevIndex")"},
      {"waitIndex=%2b1", 203, R"(invalid value for "waitIndex")"},
      {"waitIndex=0x1", 203, R"(invalid value for "waitIndex")"},
      {"recursive", 209, R"(invalid value for "recursive")"},
      {"sorted=", 209, R"(invalid value for "sorted")"},
      {"wait=yes", 209, R"(invalid value for "wait")"},
      {"dir=tRUE", 209, R"(invalid value for "dir")"},
      {"quorum=2", 209, R"(invalid value for "quorum")"},
      {"stream=on", 209, R"(invalid value for "stream")"},
      {"prevValue=", 201, R"("prevValue" cannot be empty)"},
      {"noValueOnSuccess=x", 209, R"(invalid value for "noValueOnSuccess")"},
      {"ttl=1.5", 202, R"(invalid value for "ttl")"},
      {"ttl=-1", 202, R"(invalid value for "ttl")"},
      {"prevExist=", 209, "invalid value for prevExist"},
      {"refresh=x", 209, "invalid value for refresh"},
      {"refresh=true&value=1&ttl=5", 211, "A value was provided on a refresh"},
      {"refresh=true", 212, "No TTL value set"},
      {"refresh=true&value=&ttl=", 212, "No TTL value set"},
      {"x=%zz", 210, R"(invalid URL escape "%zz")"},
  };
  for (const auto& [query, code, cause] : cases) {
    for (const KeyMethod method : {KeyMethod::kHead, KeyMethod::kGet, KeyMethod::kPut, KeyMethod::kDelete}) {
      EXPECT_EQ(ErrorOf(method, query), std::pair(code, cause)) << query;
    }
  }
}

TEST(V2KeyRequest, AcceptsWhatIsAlmostBad) {
  for (const char* query : {"prevIndex=18446744073709551615", "ttl=", "ttl=007",
                            "refresh=true&ttl=1&value=", "prevExist=F", "unknown=x", "recursive=0"}) {
    EXPECT_EQ(ErrorOf(KeyMethod::kPut, query).first, 0) << query;
  }
}

TEST(V2KeyRequest, OnlyAGetWaits) {
  const std::pair<int, std::string> error = {209, R"("wait" can only be used with GET requests)"};
  for (const KeyMethod method : {KeyMethod::kHead, KeyMethod::kPut, KeyMethod::kPost, KeyMethod::kDelete}) {
    EXPECT_EQ(ErrorOf(method, "wait=true"), error);
    EXPECT_EQ(ErrorOf(method, "wait=false").first, 0);
  }
}

TEST(V2KeyRequest, TheFirstErrorInEtcdsOrderCounts) {
  // Each is checked after the ones behind it in this list.
  const std::vector<std::pair<std::string, int>> order = {
      {"refresh=x", 209},   {"prevExist=x", 209}, {"ttl=x", 202},       {"noValueOnSuccess=x", 209},
      {"prevValue=", 201},  {"wait=true", 209},   {"stream=x", 209},    {"quorum=x", 209},
      {"dir=x", 209},       {"sorted=x", 209},    {"recursive=x", 209}, {"waitIndex=x", 203},
      {"prevIndex=x", 203}, {"bad=%", 210}};
  std::string all;
  for (const auto& [text, code] : order) {
    all += all.empty() ? text : "&" + text;
    EXPECT_EQ(ErrorOf(KeyMethod::kPut, all), ErrorOf(KeyMethod::kPut, text)) << all;
    EXPECT_EQ(ErrorOf(KeyMethod::kPut, all).first, code) << all;
  }
}

TEST(V2KeyRequest, TheFormsErrorComesBeforeTheQuerys) {
  EXPECT_EQ(ErrorOf(KeyMethod::kPut, "x=%1", "x=%2").second, R"(invalid URL escape "%2")");
  const auto parsed = Parse(KeyMethod::kPut, "x=%1", "x=%2", "mime: no media type");
  EXPECT_EQ(std::get<Error>(parsed).cause, "mime: no media type");
}

TEST(V2KeyRequest, TimesWrapAroundAsInEtcd) {
  EXPECT_EQ(Good(KeyMethod::kPut, "ttl=0").request.expiration, 1'000'000'000'000'000'000);
  EXPECT_EQ(Good(KeyMethod::kPut, "ttl=18446744073709551615").request.expiration, 999'999'999'000'000'000);
  EXPECT_LT(Good(KeyMethod::kPut, "ttl=9223372036").request.expiration, 0);
  EXPECT_EQ(Good(KeyMethod::kPut, "").request.expiration, 0);
}

TEST(V2KeyRequest, NewKeysAreNotDeep) {
  const auto refused = [](KeyMethod method, std::string_view query, size_t names) {
    std::string path = "/1";
    for (size_t i = 0; i < names; ++i) path += "/d";
    const auto parsed = ParseKeyRequest({.method = method,
                                         .path = path,
                                         .query = Kept(query),
                                         .body_error = {},
                                         .form = Kept(""),
                                         .now = {}});
    const auto* error = std::get_if<Error>(&parsed);
    return error != nullptr && error->cause == "the key has more than 128 names";
  };
  for (const char* query : {"", "prevExist=false", "dir=true"}) {
    EXPECT_FALSE(refused(KeyMethod::kPut, query, 128)) << query;
    EXPECT_TRUE(refused(KeyMethod::kPut, query, 129)) << query;
    EXPECT_TRUE(refused(KeyMethod::kPost, query, 129)) << query;
  }
  for (const char* query : {"prevExist=true", "prevValue=x", "prevIndex=1"}) {
    EXPECT_FALSE(refused(KeyMethod::kPut, query, 129)) << query;
  }
  EXPECT_FALSE(refused(KeyMethod::kGet, "", 30'000));
  EXPECT_FALSE(refused(KeyMethod::kDelete, "", 30'000));
}

TEST(V2KeyRequest, PathsAreTheStores) {
  const std::pair<std::string, std::string> cases[] = {{"/1", "/1"}, {"/1/", "/1"}, {"/1/a/b/", "/1/a/b"}};
  for (const auto& [path, expected] : cases) {
    const auto parsed = ParseKeyRequest({.method = KeyMethod::kGet,
                                         .path = path,
                                         .query = Kept(""),
                                         .body_error = {},
                                         .form = Kept(""),
                                         .now = {}});
    EXPECT_EQ(std::get<KeyRequest>(parsed).request.path, expected);
  }
}

}  // namespace
}  // namespace kvorum::api_v2
