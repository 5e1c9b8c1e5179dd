#include "proxy/grpc/kv_messages.h"

#include "gtest/gtest.h"

namespace kvorum::proxy_grpc {
namespace {

using etcdserverpb::TxnRequest;
using std::string_literals::operator""s;

const KeyPrefix kPrefix("ns/");

/// A transaction with one of everything, nested once.
TxnRequest Everything() {
  TxnRequest inner;
  inner.add_compare()->set_key("c2");
  inner.add_success()->mutable_request_put()->set_key("p2");
  inner.add_failure()->mutable_request_range()->set_key("r2");
  TxnRequest txn;
  auto* compare = txn.add_compare();
  compare->set_key("c1");
  compare->set_range_end("c9");
  txn.add_success()->mutable_request_put()->set_key("p1");
  *txn.add_success()->mutable_request_txn() = inner;
  auto* deletion = txn.add_failure()->mutable_request_delete_range();
  deletion->set_key("d1");
  deletion->set_range_end("\0"s);
  return txn;
}

TEST(KvMessagesTest, PutsTheNamespaceBeforeEveryKey) {
  TxnRequest txn = Everything();
  ASSERT_TRUE(AddPrefix(kPrefix, &txn));
  EXPECT_EQ(txn.compare(0).key(), "ns/c1");
  EXPECT_EQ(txn.compare(0).range_end(), "ns/c9");
  EXPECT_EQ(txn.success(0).request_put().key(), "ns/p1");
  const TxnRequest& inner = txn.success(1).request_txn();
  EXPECT_EQ(inner.compare(0).key(), "ns/c2");
  EXPECT_EQ(inner.compare(0).range_end(), "");
  EXPECT_EQ(inner.success(0).request_put().key(), "ns/p2");
  EXPECT_EQ(inner.failure(0).request_range().key(), "ns/r2");
  EXPECT_EQ(txn.failure(0).request_delete_range().key(), "ns/d1");
  EXPECT_EQ(txn.failure(0).request_delete_range().range_end(), "ns0");
}

TEST(KvMessagesTest, LetsNoEmptyKeyBecomeTheNamespace) {
  TxnRequest txn = Everything();
  txn.mutable_success(1)->mutable_request_txn()->mutable_success(0)->mutable_request_put()->clear_key();
  EXPECT_FALSE(AddPrefix(kPrefix, &txn));
  etcdserverpb::RangeRequest range;
  EXPECT_FALSE(AddPrefix(kPrefix, &range));
}

TEST(KvMessagesTest, TakesTheNamespaceOffEveryKey) {
  etcdserverpb::TxnResponse response;
  response.add_responses()->mutable_response_range()->add_kvs()->set_key("ns/a");
  response.add_responses()->mutable_response_put()->mutable_prev_kv()->set_key("ns/b");
  response.add_responses()->mutable_response_put();
  auto* inner = response.add_responses()->mutable_response_txn();
  inner->add_responses()->mutable_response_delete_range()->add_prev_kvs()->set_key("ns/c");
  StripPrefix(kPrefix, &response);
  EXPECT_EQ(response.responses(0).response_range().kvs(0).key(), "a");
  EXPECT_EQ(response.responses(1).response_put().prev_kv().key(), "b");
  EXPECT_FALSE(response.responses(2).response_put().has_prev_kv());
  EXPECT_EQ(inner->responses(0).response_delete_range().prev_kvs(0).key(), "c");
}

TEST(KvMessagesTest, KnowsWhatATransactionMayWrite) {
  const std::vector<KeyRange> ranges = WrittenRanges(Everything());
  ASSERT_EQ(ranges.size(), 3U);
  EXPECT_EQ(ranges[0].key, "p1");
  EXPECT_EQ(ranges[1].key, "p2");
  EXPECT_EQ(ranges[2].key, "d1");
  EXPECT_EQ(ranges[2].end, "\0"s);
  TxnRequest reads;
  reads.add_success()->mutable_request_range()->set_serializable(true);
  EXPECT_TRUE(WrittenRanges(reads).empty());
  EXPECT_TRUE(IsSerializable(reads));
  reads.add_failure()->mutable_request_range();
  EXPECT_FALSE(IsSerializable(reads));
}

TEST(KvMessagesTest, FindsTheRevisionOfAReply) {
  etcdserverpb::PutResponse response;
  EXPECT_EQ(HeaderRevision(response.SerializeAsString()), 0);
  response.mutable_header()->set_cluster_id(1);
  response.mutable_header()->set_revision(77);
  response.mutable_prev_kv()->set_key("a");
  EXPECT_EQ(HeaderRevision(response.SerializeAsString()), 77);
  EXPECT_EQ(HeaderRevision("\xff"), 0);
}

}  // namespace
}  // namespace kvorum::proxy_grpc
