#include "v2store/event.h"

#include <gtest/gtest.h>

#include "v2store/error.h"
#include "v2store/event_json.h"
#include "v2store/stats.h"

namespace kvorum::v2store {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

std::string Json(const Event& event, bool with_nodes = true) {
  std::string out;
  AppendJson(out, event, with_nodes);
  return out;
}

std::string TimeText(int64_t nanos) {
  std::string out;
  AppendTime(out, WallTime(nanoseconds(nanos)));
  return out;
}

TEST(V2EventTest, ShowsFieldsInEtcdsOrder) {
  Event event{.action = Action::kSet,
              .node = {.path = "/1/a",
                       .value = Bytes::Copy(""),
                       .expires = WallTime(milliseconds(1'700'000'000'500)),
                       .ttl = -3,
                       .modified_index = 7,
                       .created_index = 6},
              .prev_node = NodeImage{.path = "/1/a", .dir = true, .nodes = {{.path = "/1/a/b", .dir = true}}},
              .refresh = true};
  EXPECT_EQ(Json(event),
            R"({"action":"set","node":{"key":"/a","value":"","expiration":"2023-11-14T22:13:20.5Z",)"
            R"("ttl":-3,"modifiedIndex":7,"createdIndex":6},"prevNode":{"key":"/a","dir":true,)"
            R"("nodes":[{"key":"/a/b","dir":true}]}})");
  EXPECT_EQ(Json(event, false), R"({"action":"set"})");
}

TEST(V2EventTest, ShowsKeysWithoutTheClientsRoot) {
  EXPECT_EQ(Json({.node = {.path = "/1", .dir = true}}), R"({"action":"get","node":{"dir":true}})");
  EXPECT_EQ(Json({.node = {.path = "/2/x", .dir = true}}),
            R"({"action":"get","node":{"key":"/2/x","dir":true}})");
}

TEST(V2EventTest, EscapesAsGoDoes) {
  EXPECT_EQ(Json({.node = {.path = "/1/<\xc3\xbc>", .value = Bytes::Copy("\"\\\n\x01\xff&\xe2\x80\xa8")}}),
            "{\"action\":\"get\",\"node\":{\"key\":\"/\\u003c\xc3\xbc\\u003e\","
            "\"value\":\"\\\"\\\\\\n\\u0001\\ufffd\\u0026\\u2028\"}}");
}

TEST(V2EventTest, IsCreatedWhereNothingWasBefore) {
  EXPECT_TRUE((Event{.action = Action::kCreate}).IsCreated());
  EXPECT_TRUE((Event{.action = Action::kSet}).IsCreated());
  EXPECT_FALSE((Event{.action = Action::kSet, .prev_node = NodeImage()}).IsCreated());
  EXPECT_FALSE((Event{.action = Action::kUpdate}).IsCreated());
}

TEST(V2EventTest, RoundsTheTtlUpWhilePositiveAndTowardZeroAfter) {
  const WallTime now(milliseconds(1'700'000'000'000));
  const auto shown = [now](int64_t millis) { return ShownTtl(now + milliseconds(millis), now); };
  EXPECT_EQ(shown(1), 1);
  EXPECT_EQ(shown(1000), 1);
  EXPECT_EQ(shown(1001), 2);
  EXPECT_EQ(shown(0), 0);
  EXPECT_EQ(shown(-400), 0);
  EXPECT_EQ(shown(-1500), -1);
  EXPECT_EQ(ShownTtl(WallTime::min(), now), -9'223'372'036);
  EXPECT_EQ(ShownTtl(WallTime::max(), WallTime::min()), 9'223'372'037);
}

TEST(V2EventTest, WritesAndReadsTimes) {
  const std::pair<int64_t, const char*> times[] = {
      {0, "1970-01-01T00:00:00Z"},
      {-1, "1969-12-31T23:59:59.999999999Z"},
      {1'709'164'800'100'000'000, "2024-02-29T00:00:00.1Z"},
      {INT64_MAX, "2262-04-11T23:47:16.854775807Z"},
      {INT64_MIN, "1677-09-21T00:12:43.145224192Z"},
  };
  for (const auto& [nanos, text] : times) {
    EXPECT_EQ(TimeText(nanos), text);
    EXPECT_EQ(ParseTime(text), WallTime(nanoseconds(nanos))) << text;
  }
  EXPECT_EQ(ParseTime("2024-02-29T02:30:00.100+02:30"), ParseTime("2024-02-29T00:00:00.1Z"));
  EXPECT_EQ(ParseTime("2024-02-28T22:00:00-02:00"), ParseTime("2024-02-29T00:00:00Z"));
}

TEST(V2EventTest, RefusesWhatIsNoTime) {
  for (const char* text : {"", "2024", "2023-02-29T00:00:00Z", "2024-02-29 00:00:00Z", "2024-02-29T24:00:00Z",
                           "2024-02-29T00:00:00", "2024-02-29T00:00:00.Z", "2024-02-29T00:00:00Zx",
                           "2024-02-29T00:00:00+0200", "9999-01-01T00:00:00Z", "0001-01-01T00:00:01Z",
                           "+024-02-29T00:00:00Z", "2024-02-29T00:00:00+02:60"}) {
    EXPECT_EQ(ParseTime(text), std::nullopt) << text;
  }
}

TEST(V2ErrorTest, HasTheStatusOfEachCode) {
  EXPECT_EQ(HttpStatus(ErrorCode::kKeyNotFound), 404);
  EXPECT_EQ(HttpStatus(ErrorCode::kNotFile), 403);
  EXPECT_EQ(HttpStatus(ErrorCode::kDirNotEmpty), 403);
  EXPECT_EQ(HttpStatus(ErrorCode::kCompareFailed), 412);
  EXPECT_EQ(HttpStatus(ErrorCode::kKeyExists), 412);
  EXPECT_EQ(HttpStatus(ErrorCode::kUnauthorized), 401);
  EXPECT_EQ(HttpStatus(ErrorCode::kRaftInternal), 500);
  EXPECT_EQ(HttpStatus(ErrorCode::kHistoryCleared), 400);
  EXPECT_STREQ(Message(ErrorCode::kHistoryCleared), "The event in requested index is outdated and cleared");
}

}  // namespace
}  // namespace kvorum::v2store
