#include "config/config_file.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kvorum::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Value Only(const std::string& content) {
  auto values = ParseConfigFile(content).value();
  EXPECT_EQ(values.size(), 1u);
  return values.at(0).second;
}

std::string ErrorOf(const std::string& content) {
  return std::string(ParseConfigFile(content).status().message());
}

TEST(ConfigFile, ReadsEveryKind) {
  EXPECT_EQ(Only("name: a"), Value(std::string("a")));
  EXPECT_EQ(Only("name: \"1\""), Value(std::string("1")));
  EXPECT_EQ(Only("pre-vote: false"), Value(false));
  EXPECT_EQ(Only("snapshot-count: 5"), Value(uint64_t{5}));
  EXPECT_EQ(Only("quota-backend-bytes: -1"), Value(int64_t{-1}));
  EXPECT_EQ(Only("grpc-keepalive-timeout: 5000000000"), Value(Duration(std::chrono::seconds(5))));
  EXPECT_EQ(Only("log-outputs: [stderr, a.log]"), Value(std::vector<std::string>{"a.log", "stderr"}));
  EXPECT_EQ(Only("cors: http://a:1,http://b:2"), Value(std::vector<std::string>{"http://a:1", "http://b:2"}));
  EXPECT_EQ(std::get<std::vector<Url>>(Only("listen-client-urls: http://b:1,http://a:1")).size(), 2u);
}

TEST(ConfigFile, NestedKeysAndJson) {
  EXPECT_EQ(Only("socket-options:\n  reuse-port: true\n"), Value(true));
  EXPECT_EQ(Only(R"({"client-transport-security": {"cert-file": "x"}})"), Value(std::string("x")));
}

TEST(ConfigFile, IgnoresUnknownKeysAndEmptyValues) {
  EXPECT_TRUE(ParseConfigFile("").value().empty());
  EXPECT_TRUE(
      ParseConfigFile("nonsense: 1\nname:\nlisten-client-urls: ''\nraft-read-timeout: 1\n").value().empty());
}

TEST(ConfigFile, RefusesInEtcdsWords) {
  EXPECT_EQ(ErrorOf("peer-transport-security: x"), "invalid peer-transport-security");
  EXPECT_EQ(
      ErrorOf("listen-peer-urls: 1.2.3.4:5"),
      "unexpected error setting up listen-peer-urls: parse \"1.2.3.4:5\": first path segment in URL cannot "
      "contain colon");
  EXPECT_EQ(
      ErrorOf("heartbeat-interval: soon"),
      "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal string into Go struct field "
      "configYAML.heartbeat-interval of type uint");
  EXPECT_THAT(ErrorOf("name: 5"), HasSubstr("cannot unmarshal number into Go struct field configYAML.name"));
  EXPECT_THAT(ErrorOf("grpc-keepalive-timeout: 5s"), HasSubstr("cannot unmarshal string"));
  EXPECT_THAT(ErrorOf("snapshot-count: -1"), HasSubstr("cannot unmarshal number -1"));
  EXPECT_THAT(ErrorOf("a: [1"), HasSubstr("error converting YAML to JSON: yaml: line"));
  EXPECT_THAT(ErrorOf("[1]"), HasSubstr("cannot unmarshal array"));
  EXPECT_THAT(ErrorOf("{? [a] : b, log-outputs: [{}]}"), HasSubstr("cannot unmarshal object"));
}

}  // namespace
}  // namespace kvorum::config
