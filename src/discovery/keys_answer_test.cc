#include "discovery/keys_answer.h"

#include "discovery/registration.h"
#include "gtest/gtest.h"

namespace kvorum::discovery {
namespace {

absl::StatusOr<KeysAnswer> Parse(int status, std::string body) {
  return ParseKeysAnswer({.status = status, .headers = {{"x-etcd-index", "12"}}, .body = std::move(body)});
}

TEST(KeysAnswer, ReadsADirectory) {
  const KeysAnswer answer = *Parse(200, R"({"action":"get","node":{"key":"/a","dir":true,"nodes":[
      {"key":"/a/b","value":"x","modifiedIndex":18446744073709551615,"createdIndex":4},{"key":"/a/c"}],
      "modifiedIndex":3,"createdIndex":2}})");
  EXPECT_FALSE(answer.error.has_value());
  EXPECT_EQ(answer.index, 12u);
  EXPECT_EQ(answer.action, "get");
  EXPECT_EQ(answer.node.key, "/a");
  ASSERT_EQ(answer.node.nodes.size(), 2u);
  EXPECT_EQ(answer.node.nodes[0].value, "x");
  EXPECT_EQ(answer.node.nodes[0].created_index, 4u);
  EXPECT_EQ(answer.node.nodes[0].modified_index, UINT64_MAX);
}

TEST(KeysAnswer, ReadsAnError) {
  const KeysAnswer answer =
      *Parse(404, R"({"errorCode":100,"message":"Key not found","cause":"/_etcd/registry/t","index":8})");
  ASSERT_TRUE(answer.error.has_value());
  EXPECT_EQ(answer.error->code, 100);
  EXPECT_EQ(answer.error->text, "100: Key not found (/_etcd/registry/t) [8]");
}

TEST(KeysAnswer, TakesNothingThatIsNoKeySpaces) {
  for (const char* body : {"404 page not found", "", "[]", "{}", "null", R"({"errorCode":"x"})"}) {
    EXPECT_EQ(Parse(404, body).status().message(), "discovery: bad discovery endpoint") << body;
  }
  for (const char* body : {"<html>", "{}", "7", R"({"action":"get"})", R"({"node":[]})"}) {
    EXPECT_EQ(Parse(200, body).status().message(), "discovery: bad discovery endpoint") << body;
  }
  // Deeper than any answer is: the parser's limit, not the stack's.
  EXPECT_FALSE(Parse(200, std::string(100'000, '[')).ok());
}

TEST(KeysAnswer, AFailingServerMayAnswerLater) {
  EXPECT_TRUE(absl::IsUnavailable(Parse(503, R"({"errorCode":300})").status()));
}

TEST(KeysAnswer, AWatchMayEndWithoutAnEvent) { EXPECT_TRUE(Parse(200, "")->empty); }

TEST(Registration, IsSortedPairs) {
  const Registration self{.name = "n", .peer_urls = {"http://b:1", "http://a:1"}};
  EXPECT_EQ(self.Text(), "n=http://a:1,n=http://b:1");
}

TEST(Registration, FailuresAreKnownInOtherWords) {
  const absl::Status full = Annotated(FullError(), "failed to join discovery cluster (…)");
  EXPECT_EQ(FailureOf(full), Failure::kFull);
  EXPECT_EQ(FailureOf(Annotated(DuplicateIdError(), "x")), Failure::kDuplicateId);
  EXPECT_EQ(FailureOf(DuplicateNameError()), Failure::kDuplicateName);
  EXPECT_EQ(FailureOf(BadSizeError()), Failure::kOther);
  EXPECT_EQ(FailureOf(absl::OkStatus()), Failure::kOther);
}

TEST(Registration, SizesAreDecimalAndPositive) {
  EXPECT_EQ(*ParseSize("3"), 3u);
  for (const char* text : {"", "0", "-1", "x", "3 ", "3x", "99999999999999999999999"}) {
    EXPECT_EQ(ParseSize(text).status().message(), "discovery: size key is bad") << text;
  }
}

TEST(Registration, BacksOffUpToALimit) {
  EXPECT_EQ(BackOff(1), std::chrono::seconds(2));
  EXPECT_EQ(BackOff(3), std::chrono::seconds(8));
  EXPECT_EQ(BackOff(100), std::chrono::seconds(256));
}

}  // namespace
}  // namespace kvorum::discovery
