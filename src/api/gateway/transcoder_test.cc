#include "api/gateway/transcoder.h"

#include "gtest/gtest.h"
#include "proto/rpc.pb.h"

namespace kvorum::api_gateway {
namespace {

using etcdserverpb::RangeRequest;
using etcdserverpb::RangeResponse;

std::string Json(const google::protobuf::Message& message) {
  return *MessageToJson(*message.GetDescriptor(), message.SerializeAsString());
}

TEST(ApiGatewayTranscoder, ReadsEveryFormOfAField) {
  const std::pair<const char*, std::string> cases[] = {
      {R"({"key":"Zm9v"})", "foo"},
      {R"({"key":"Zm8","rangeEnd":"AA"})", "fo"},                           // no padding, camel case
      {R"({"key":"_-8=","limit":"5","revision":7})", "\xff\xef"},           // URL-safe, numbers either way
      {R"({"key":"Zm9v","sort_order":"DESCEND","sort_target":2})", "foo"},  // enums by name and number
      {R"({"key":"Zm9v","no_such_field":{"a":[1]}})", "foo"},               // ignored
      {"{}", ""},
      {"", ""},
  };
  for (const auto& [json, key] : cases) {
    const absl::StatusOr<std::string> message = JsonToMessage(*RangeRequest::descriptor(), json);
    ASSERT_TRUE(message.ok()) << json << message.status();
    RangeRequest request;
    ASSERT_TRUE(request.ParseFromString(*message));
    EXPECT_EQ(request.key(), key) << json;
  }
  for (const char* json : {R"({"key":7)", R"({"limit":"x"})", R"({"key":{}})", "[]"}) {
    EXPECT_EQ(JsonToMessage(*RangeRequest::descriptor(), json).status().code(),
              absl::StatusCode::kInvalidArgument)
        << json;
  }
}

TEST(ApiGatewayTranscoder, WritesEtcdsForm) {
  RangeResponse response;
  EXPECT_EQ(Json(response), "{}");
  response.mutable_header()->set_cluster_id(14841639068965178418u);
  response.mutable_header()->set_raft_term(2);
  auto* kv = response.add_kvs();
  kv->set_key("foo");
  kv->set_create_revision(2);
  kv->set_value("b\xff\xff");
  response.set_more(true);
  response.set_count(1);
  EXPECT_EQ(Json(response),
            R"({"header":{"cluster_id":"14841639068965178418","raft_term":"2"},)"
            R"("kvs":[{"key":"Zm9v","create_revision":"2","value":"Yv//"}],"more":true,"count":"1"})");
}

TEST(ApiGatewayTranscoder, KeepsDeclaredNamesAndSetMembers) {
  etcdserverpb::LeaseTimeToLiveResponse lease;
  lease.set_id(5);
  lease.set_ttl(6);
  lease.set_grantedttl(7);
  EXPECT_EQ(Json(lease), R"({"ID":"5","TTL":"6","grantedTTL":"7"})");
  etcdserverpb::HashKVResponse hash;
  hash.set_hash(4000000000u);
  EXPECT_EQ(Json(hash), R"({"hash":4000000000})");
  etcdserverpb::AlarmResponse alarms;
  alarms.add_alarms()->set_alarm(etcdserverpb::NOSPACE);
  EXPECT_EQ(Json(alarms), R"({"alarms":[{"alarm":"NOSPACE"}]})");
  etcdserverpb::TxnResponse txn;
  txn.add_responses()->mutable_response_put()->mutable_header();
  EXPECT_EQ(Json(txn), R"({"responses":[{"response_put":{"header":{}}}]})");
}

TEST(ApiGatewayTranscoder, RefusesAResponseThatIsNone) {
  EXPECT_EQ(MessageToJson(*RangeResponse::descriptor(), "\x0a\x05").status().code(),
            absl::StatusCode::kInternal);
}

std::vector<std::string> Split(std::string_view stream, size_t piece, size_t limit = 100) {
  JsonSplitter splitter(limit);
  std::vector<std::string> objects;
  while (!stream.empty()) {
    splitter.Feed(stream.substr(0, piece));
    stream.remove_prefix(std::min(piece, stream.size()));
    while (true) {
      const auto object = splitter.Next();
      if (!object.ok()) {
        objects.push_back("!" + std::string(object.status().message()));
        return objects;
      }
      if (!object->has_value()) break;
      objects.push_back(**object);
    }
  }
  if (splitter.mid_object()) objects.push_back("…");
  return objects;
}

TEST(ApiGatewayTranscoder, SplitsObjectsWhereverTheBytesAreCut) {
  const std::pair<const char*, std::vector<std::string>> cases[] = {
      {R"({"a":1}{"b":{"c":[{}]}})", {R"({"a":1})", R"({"b":{"c":[{}]}})"}},
      {" {}\n\r\t{} ", {"{}", "{}"}},
      {R"({"a":"}{"}{"b":"\"}"})", {R"({"a":"}{"})", R"({"b":"\"}"})"}},
      {R"({"a":"\\"}{})", {R"({"a":"\\"})", "{}"}},
      {R"({"a":)", {"…"}},
      {"7", {"!invalid character '7' looking for beginning of value"}},
      {"{}x", {"{}", "!invalid character 'x' looking for beginning of value"}},
      {" ", {}},
  };
  for (const auto& [stream, objects] : cases) {
    for (size_t piece = 1; piece < 8; ++piece) EXPECT_EQ(Split(stream, piece), objects) << stream;
  }
}

TEST(ApiGatewayTranscoder, BoundsAnObject) {
  const std::string fits = "{\"a\":\"" + std::string(92, 'x') + "\"}";
  ASSERT_EQ(fits.size(), 100u);
  EXPECT_EQ(Split(fits + fits, 1000), (std::vector<std::string>{fits, fits}));
  EXPECT_TRUE(
      Split("{\"aa\"" + fits.substr(4), 1000)[0].starts_with("!grpc: received message larger than max"));
  EXPECT_TRUE(
      Split("{" + std::string(200, ' '), 7)[0].starts_with("!grpc: received message larger than max"));
}

TEST(ApiGatewayTranscoder, MapsCodesToHttp) {
  const std::pair<absl::StatusCode, int> cases[] = {{absl::StatusCode::kOk, 200},
                                                    {absl::StatusCode::kCancelled, 499},
                                                    {absl::StatusCode::kUnknown, 500},
                                                    {absl::StatusCode::kInvalidArgument, 400},
                                                    {absl::StatusCode::kDeadlineExceeded, 504},
                                                    {absl::StatusCode::kNotFound, 404},
                                                    {absl::StatusCode::kAlreadyExists, 409},
                                                    {absl::StatusCode::kPermissionDenied, 403},
                                                    {absl::StatusCode::kResourceExhausted, 429},
                                                    {absl::StatusCode::kFailedPrecondition, 400},
                                                    {absl::StatusCode::kAborted, 409},
                                                    {absl::StatusCode::kOutOfRange, 400},
                                                    {absl::StatusCode::kUnimplemented, 501},
                                                    {absl::StatusCode::kInternal, 500},
                                                    {absl::StatusCode::kUnavailable, 503},
                                                    {absl::StatusCode::kDataLoss, 500},
                                                    {absl::StatusCode::kUnauthenticated, 401}};
  for (const auto& [code, http] : cases) EXPECT_EQ(HttpStatusOf(code), http) << static_cast<int>(code);
  EXPECT_EQ(ErrorJson(absl::InvalidArgumentError("a \"b\"")), R"({"code":3,"message":"a \"b\""})");
}

}  // namespace
}  // namespace kvorum::api_gateway
