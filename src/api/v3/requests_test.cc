#include "api/v3/requests.h"

#include "api/v3/errors.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

namespace kvorum::api_v3 {
namespace {

template <typename Message>
Message FromText(const std::string& text) {
  Message message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message)) << text;
  return message;
}

std::string Text(const absl::Status& status) { return std::string(status.message()); }

TEST(ApiV3Requests, ChecksRanges) {
  const std::pair<std::string, absl::Status> cases[] = {
      {"key: 'k'", absl::OkStatus()},
      {"key: 'k' sort_order: DESCEND sort_target: VALUE", absl::OkStatus()},
      {"", KeyNotProvidedError()},
      {"range_end: 'z'", KeyNotProvidedError()},
  };
  for (const auto& [text, error] : cases) {
    EXPECT_EQ(ParseRange(FromText<etcdserverpb::RangeRequest>(text).SerializeAsString()).status(), error)
        << text;
  }
}

TEST(ApiV3Requests, RefusesSortNumbersThatAreNone) {
  for (const auto& [order, target] : {std::pair(3, 0), {-1, 0}, {0, 5}, {0, -1}, {100, 100}}) {
    etcdserverpb::RangeRequest range;
    range.set_key("k");
    range.set_sort_order(static_cast<etcdserverpb::RangeRequest::SortOrder>(order));
    range.set_sort_target(static_cast<etcdserverpb::RangeRequest::SortTarget>(target));
    EXPECT_EQ(ParseRange(range.SerializeAsString()).status(), InvalidSortOptionError());
    etcdserverpb::TxnRequest txn;
    *txn.add_failure()->mutable_request_range() = range;
    EXPECT_EQ(CheckTxn(txn, 128), InvalidSortOptionError());
  }
}

TEST(ApiV3Requests, ChecksPuts) {
  const std::pair<std::string, absl::Status> cases[] = {
      {"key: 'k' value: 'v' lease: 7 prev_kv: true", absl::OkStatus()},
      {"key: 'k'", absl::OkStatus()},
      {"value: 'v'", KeyNotProvidedError()},
      {"key: 'k' value: 'v' ignore_value: true", ValueProvidedError()},
      {"key: 'k' lease: 7 ignore_lease: true", LeaseProvidedError()},
      {"key: 'k' lease: 7 ignore_value: true", absl::OkStatus()},
  };
  for (const auto& [text, error] : cases) {
    const auto put = FromText<etcdserverpb::PutRequest>(text);
    EXPECT_EQ(ParsePut(put.SerializeAsString()).status(), error) << text;
    etcdserverpb::TxnRequest txn;
    *txn.add_success()->mutable_request_put() = put;
    EXPECT_EQ(CheckTxn(txn, 128), error) << text;
  }
}

TEST(ApiV3Requests, ReencodesWhatIsNotInOurForm) {
  using namespace std::string_view_literals;
  const auto odd = ParsePut("\x12\x01v\x0a\x01k"sv);
  ASSERT_TRUE(odd.ok());
  EXPECT_EQ(odd->reencoded, "\x0a\x01k\x12\x01v");
  const auto plain = ParsePut("\x0a\x01k\x12\x01v"sv);
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(plain->reencoded, "");
  const auto del = ParseDeleteRange("\x12\x00\x0a\x01k"sv);
  ASSERT_TRUE(del.ok());
  EXPECT_EQ(del->reencoded, "\x0a\x01k");
}

TEST(ApiV3Requests, RefusesWhatIsNoProtocolBuffer) {
  for (const std::string_view bytes : {"\x0a", "\xff\xff", "\x0a\x05k"}) {
    EXPECT_EQ(ParseRange(bytes).status(), MalformedRequestError());
    EXPECT_EQ(ParsePut(bytes).status(), MalformedRequestError());
    EXPECT_EQ(ParseDeleteRange(bytes).status(), MalformedRequestError());
    EXPECT_EQ(ParseTxn(bytes, 128).status(), MalformedRequestError());
  }
}

TEST(ApiV3Requests, ChecksTheShapeOfTransactions) {
  const std::string put = "success { request_put { key: 'k' } } ";
  const std::pair<std::string, absl::Status> cases[] = {
      {"", absl::OkStatus()},
      {"compare {}", KeyNotProvidedError()},
      {"success {}", KeyNotFoundError()},
      {"failure {}", KeyNotFoundError()},
      {"success { request_range {} }", KeyNotProvidedError()},
      {"failure { request_delete_range {} }", KeyNotProvidedError()},
      {"success { request_txn { success {} } }", KeyNotFoundError()},
      {"success { request_txn { compare {} } }", KeyNotProvidedError()},
  };
  for (const auto& [text, error] : cases) {
    EXPECT_EQ(CheckTxn(FromText<etcdserverpb::TxnRequest>(text), 128), error) << text;
  }
}

TEST(ApiV3Requests, LimitsOperationsOverAllLevels) {
  auto txn = [](int size) {
    etcdserverpb::TxnRequest t;
    for (int i = 0; i < size; ++i) t.add_success()->mutable_request_put()->set_key(std::to_string(i));
    return t;
  };
  EXPECT_TRUE(CheckTxn(txn(4), 4).ok());
  EXPECT_EQ(CheckTxn(txn(5), 4), TooManyOperationsError());
  etcdserverpb::TxnRequest outer;
  *outer.add_success()->mutable_request_txn() = txn(3);
  EXPECT_TRUE(CheckTxn(outer, 4).ok()) << "one outside leaves three";
  *outer.mutable_success(0)->mutable_request_txn() = txn(4);
  EXPECT_EQ(CheckTxn(outer, 4), TooManyOperationsError());
  etcdserverpb::TxnRequest compares;
  for (int i = 0; i < 5; ++i) compares.add_compare()->set_key("k");
  EXPECT_EQ(CheckTxn(compares, 4), TooManyOperationsError());
}

TEST(ApiV3Requests, FindsDuplicateKeys) {
  const std::string put_k = "request_put { key: 'k' }";
  const std::string put_j = "request_put { key: 'j' }";
  const std::string del_k = "request_delete_range { key: 'k' }";
  auto op = [](const std::string& what) { return "success { " + what + " } "; };
  auto nested = [](const std::string& then, const std::string& otherwise) {
    return "request_txn { " + (then.empty() ? "" : "success { " + then + " } ") +
           (otherwise.empty() ? "" : "failure { " + otherwise + " } ") + "}";
  };
  const std::tuple<const char*, std::string, bool> cases[] = {
      {"two puts of a key", op(put_k) + op(put_k), true},
      {"two keys", op(put_k) + op(put_j), false},
      {"one in each branch", op(put_k) + "failure { " + put_k + " }", false},
      {"twice in the other branch", "failure { " + put_k + " } failure { " + put_k + " }", true},
      {"put, then delete", op(put_k) + op(del_k), true},
      {"delete, then put", op(del_k) + op(put_k), true},
      {"put inside a deleted range", op(put_k) + op("request_delete_range { key: 'a' range_end: 'z' }"),
       true},
      {"put at the end of a deleted range",
       op(put_k) + op("request_delete_range { key: 'a' range_end: 'k' }"), false},
      {"an open range is not seen", op(put_k) + op("request_delete_range { key: 'a' range_end: '\\0' }"),
       false},
      {"a range that is none", op(put_k) + op("request_delete_range { key: 'z' range_end: 'a' }"), false},
      {"two deletes", op(del_k) + op(del_k), false},
      {"ranges never clash", op("request_range { key: 'k' }") + op(put_k) + op("request_range { key: 'k' }"),
       false},
      {"both branches of a nested one", op(nested(put_k, put_k)), false},
      {"nested and parent", op(nested(put_k, "")) + op(put_k), true},
      {"parent delete, nested put", op(nested("", put_k)) + op(del_k), true},
      {"two nested ones", op(nested(put_k, "")) + op(nested("", put_k)), true},
      {"nested delete, later put in a sibling", op(nested(del_k, "")) + op(nested(put_k, "")), true},
      {"nested put, later delete in a sibling", op(nested(put_k, "")) + op(nested(del_k, "")), false},
      {"nested delete, parent put before it", op(put_k) + op(nested(del_k, "")), true},
  };
  for (const auto& [what, text, duplicate] : cases) {
    const absl::Status status = CheckTxn(FromText<etcdserverpb::TxnRequest>(text), 128);
    EXPECT_EQ(status, duplicate ? DuplicateKeyError() : absl::OkStatus()) << what;
  }
}

TEST(ApiV3Requests, OverlappingDeletesAreOneRange) {
  std::string text;
  for (const char* range :
       {"key: 'm' range_end: 'p'", "key: 'a' range_end: 'c'", "key: 'b' range_end: 'n'"}) {
    text += std::string("success { request_delete_range { ") + range + " } } ";
  }
  for (const auto& [key, duplicate] : {std::pair("b", true), {"k", true}, {"o", true}, {"p", false}}) {
    const auto txn =
        FromText<etcdserverpb::TxnRequest>(text + "success { request_put { key: '" + key + "' } }");
    EXPECT_EQ(CheckTxn(txn, 128), duplicate ? DuplicateKeyError() : absl::OkStatus()) << key;
  }
}

TEST(ApiV3Requests, KeepsUnknownFieldsOutOfTheLog) {
  auto txn = FromText<etcdserverpb::TxnRequest>("success { request_put { key: 'k' } }");
  const std::string clean = txn.SerializeAsString();
  txn.GetReflection()->MutableUnknownFields(&txn)->AddVarint(90, 1);
  const auto parsed = ParseTxn(txn.SerializeAsString(), 128);
  ASSERT_TRUE(parsed.ok()) << Text(parsed.status());
  EXPECT_EQ((*parsed)->encoded, clean);
  EXPECT_EQ((*parsed)->view.success.size(), 1u);
}

TEST(ApiV3Requests, TakesTransactionsAsDeepAsTheLimitAllows) {
  etcdserverpb::TxnRequest txn;
  for (int depth = 1; depth < 128; ++depth) {
    etcdserverpb::TxnRequest outer;
    *outer.add_success()->mutable_request_txn() = std::move(txn);
    txn = std::move(outer);
  }
  EXPECT_TRUE(ParseTxn(txn.SerializeAsString(), 128).ok());
  EXPECT_EQ(ParseTxn(txn.SerializeAsString(), 100).status(), TooManyOperationsError());
}

}  // namespace
}  // namespace kvorum::api_v3
