#include "member/request.h"

#include <cstring>

#include "absl/strings/escaping.h"
#include "base/wire.h"
#include "gtest/gtest.h"
#include "member/range_view.h"
#include "member/request_view.h"
#include "proto/raft_internal.pb.h"

namespace kvorum::member {
namespace {

std::string Hex(std::string_view bytes) { return absl::BytesToHexString({bytes.data(), bytes.size()}); }

TEST(Entry, IsAsEtcdWritesIt) {
  etcdserverpb::PutRequest put;
  put.set_key("k");
  put.set_value("v");
  EXPECT_EQ(
      Hex(BuildEntry(RequestKind::kPut, put.SerializeAsString(), RequestId(0x0102030405060708), {}).view()),
      "22060a016b120176a2060a08888e98a8c0e0808101");
  membershippb::ClusterVersionSetRequest version;
  version.set_ver("3.6.0");
  EXPECT_EQ(
      Hex(BuildEntry(RequestKind::kClusterVersionSet, version.SerializeAsString(), RequestId(7), {}).view()),
      "a206020807a251070a05332e362e30");
}

TEST(Entry, IsReadBack) {
  const Bytes entry = BuildEntry(RequestKind::kTxn, "abc", RequestId(9), {"user", 5});
  const std::optional<EntryView> view = ParseEntry(entry.view());
  ASSERT_TRUE(view);
  EXPECT_EQ(view->kind, 6u);
  EXPECT_EQ(view->body, "abc");
  EXPECT_EQ(view->id, RequestId(9));
  EXPECT_EQ(view->username, "user");
  EXPECT_EQ(view->auth_revision, 5u);
}

TEST(Entry, RequestsOfTheV2StoreAreToldApart) {
  std::string put = absl::HexStringToBytes("08071203505554");
  put += absl::HexStringToBytes(
      "1a0a2f302f76657273696f6e2205332e352e3028003200380048005000580060006800700078"
      "00800100");
  for (const char* method : {"PUT", "POST", "QGET", "SYNC", "DELETE"}) {
    std::string entry = put;
    entry.replace(3, 4, std::string(1, static_cast<char>(std::strlen(method))) + method);
    EXPECT_FALSE(ParseEntry(entry)) << method;
    const std::optional<v2store::RequestView> request = V2RequestOf(entry, std::nullopt);
    ASSERT_TRUE(request);
    EXPECT_EQ(request->method, method);
    EXPECT_EQ(request->path, "/0/version");
    EXPECT_EQ(request->value, "3.5.0");
    EXPECT_EQ(request->id, 7u);
    // The other place for one.
    std::string wrapped;
    wire::AppendBytes(wrapped, kV2Kind, entry);
    const std::optional<EntryView> view = ParseEntry(wrapped);
    ASSERT_TRUE(view);
    EXPECT_EQ(V2RequestOf(wrapped, view), request);
  }
  EXPECT_FALSE(ParseEntry(absl::HexStringToBytes("1203505554")));
}

TEST(Entry, LegacyPutsAreWhatEtcdWrites) {
  const Bytes entry = BuildLegacyPut(kLegacyVersionPath, "3.5.0", RequestId(7));
  EXPECT_EQ(absl::BytesToHexString(std::string(entry.view())),
            "080712035055541a0a2f302f76657273696f6e2205332e352e302800320038004800500058006000680070007800"
            "800100");
  EXPECT_EQ(LegacyAttributesPath(MemberId(0xabc)), "/0/members/abc/attributes");
}

TEST(RequestView, RefusesAKnownFieldOfTheWrongType) {
  EXPECT_FALSE(ParsePutRequest(std::string("\x08\x01", 2)));          // key as a number
  EXPECT_FALSE(ParsePutRequest(std::string("\x1a\x01x", 3)));         // lease as bytes
  EXPECT_TRUE(ParsePutRequest(std::string("\xa2\x06\x01x", 4)));      // an unknown field
  EXPECT_FALSE(ParseTxnRequest(std::string("\x12\x02\x12\x00", 3)));  // cut off
}

TEST(RequestView, RefusesTransactionsNestedTooDeeply) {
  const auto nested = [](int depth) {
    std::string encoded;
    for (int i = 1; i < depth; ++i) {
      std::string op;
      wire::AppendBytes(op, 4, encoded);
      encoded.clear();
      wire::AppendBytes(encoded, 2, op);
    }
    return encoded;
  };
  EXPECT_TRUE(ParseTxnRequest(nested(kMaxTxnDepth)));
  EXPECT_FALSE(ParseTxnRequest(nested(kMaxTxnDepth + 1)));
  EXPECT_FALSE(ParseTxnRequest(nested(3 * kMaxTxnDepth)));
}

TEST(QuotaCost, IsThatOfTheDearerBranch) {
  etcdserverpb::TxnRequest txn;
  txn.add_success()->mutable_request_range()->set_key("a");
  std::string encoded = txn.SerializeAsString();
  EXPECT_EQ(QuotaCost(*ParseTxnRequest(encoded)), 0);
  txn.add_success()->mutable_request_put()->set_key("ab");
  etcdserverpb::TxnRequest* nested = txn.add_failure()->mutable_request_txn();
  nested->add_success()->mutable_request_put()->set_key("a");
  nested->add_success()->mutable_request_put()->set_value("abc");
  encoded = txn.SerializeAsString();
  EXPECT_EQ(QuotaCost(*ParseTxnRequest(encoded)), 2 * 256 + 4);
}

mvccpb::KeyValue Kv(const std::string& key, int64_t mod, const std::string& value) {
  mvccpb::KeyValue kv;
  kv.set_key(key);
  kv.set_create_revision(mod - 1);
  kv.set_mod_revision(mod);
  kv.set_version(2);
  kv.set_value(value);
  kv.set_lease(9);
  return kv;
}

etcdserverpb::RangeResponse Answer(const RangeRequestView& request, const std::vector<std::string>& records) {
  std::vector<std::string_view> views(records.begin(), records.end());
  const RangeSelection selection = SelectRecords(request, std::move(views), 77);
  std::string body;
  AppendRangeBody(body, request, selection);
  EXPECT_EQ(body.size(), RangeBodySize(request, selection));
  etcdserverpb::RangeResponse response;
  EXPECT_TRUE(response.ParseFromString(body));
  return response;
}

TEST(Range, LeavesValuesOutOnlyAfterSorting) {
  const std::vector<std::string> records = {Kv("a", 5, "z").SerializeAsString(),
                                            Kv("b", 6, "y").SerializeAsString(),
                                            Kv("c", 7, std::string(300, 'x')).SerializeAsString()};
  const auto response = Answer({.key = "a",
                                .limit = 2,
                                .sort_order = RangeRequestView::Order::kAscend,
                                .sort_target = RangeRequestView::Target::kValue,
                                .keys_only = true},
                               records);
  ASSERT_EQ(response.kvs_size(), 2);
  EXPECT_EQ(response.kvs(0).key(), "c");
  EXPECT_EQ(response.kvs(0).value(), "");
  EXPECT_EQ(response.kvs(0).lease(), 9);
  EXPECT_EQ(response.kvs(1).key(), "b");
  EXPECT_TRUE(response.more());
  EXPECT_EQ(response.count(), 77);
}

TEST(Range, FiltersBeforeTheLimit) {
  std::vector<std::string> records;
  for (int i = 0; i < 10; ++i) {
    records.push_back(Kv(std::string(1, static_cast<char>('a' + i)), 10 + i, "").SerializeAsString());
  }
  const RangeRequestView request{
      .key = "a", .limit = 2, .min_mod_revision = 13, .max_mod_revision = 15, .max_create_revision = 13};
  EXPECT_EQ(FetchLimit(request), 0);
  const auto response = Answer(request, records);
  ASSERT_EQ(response.kvs_size(), 2);
  EXPECT_EQ(response.kvs(0).key(), "d");
  EXPECT_EQ(response.kvs(1).key(), "e");
  EXPECT_FALSE(response.more());
}

TEST(Range, AsksForOneMoreThanTheLimit) {
  EXPECT_EQ(FetchLimit({.limit = 5}), 6);
  EXPECT_EQ(FetchLimit({.limit = 0}), 0);
  EXPECT_EQ(FetchLimit({.limit = INT64_MAX}), 0);
  EXPECT_EQ(FetchLimit({.limit = 5, .sort_order = RangeRequestView::Order::kAscend}), 0);
}

}  // namespace
}  // namespace kvorum::member
