#include "api/v3/errors.h"
#include "api/v3/testing/test_server.h"
#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "member/testing/fake_member.h"
#include "proto/rpc.pb.h"

namespace kvorum::api_v3 {
namespace {

using etcdserverpb::RangeRequest;
using etcdserverpb::RangeResponse;
using member::testing::FakeMember;
using ::testing::ElementsAre;
using testing::TestServer;

template <typename Message>
Message FromText(const std::string& text) {
  Message message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message)) << text;
  return message;
}

class ApiV3Kv : public ::testing::Test {
 protected:
  RangeResponse Range(const std::string& request) {
    auto response = server_.Call<RangeResponse>("/etcdserverpb.KV/Range", FromText<RangeRequest>(request));
    EXPECT_TRUE(response.ok()) << request << ": " << response.status();
    return response.value_or(RangeResponse());
  }
  absl::Status RangeError(const std::string& request) {
    return server_.Call<RangeResponse>("/etcdserverpb.KV/Range", FromText<RangeRequest>(request)).status();
  }
  template <typename Response, typename Request>
  absl::StatusOr<Response> Call(const std::string& method, const std::string& request,
                                const http::Headers& metadata = {}) {
    return server_.Call<Response>("/etcdserverpb.KV/" + method, FromText<Request>(request), metadata);
  }
  absl::StatusOr<etcdserverpb::PutResponse> Put(const std::string& request) {
    return Call<etcdserverpb::PutResponse, etcdserverpb::PutRequest>("Put", request);
  }
  absl::StatusOr<etcdserverpb::TxnResponse> Txn(const std::string& request) {
    return Call<etcdserverpb::TxnResponse, etcdserverpb::TxnRequest>("Txn", request);
  }

  static std::vector<std::string> Keys(const RangeResponse& response) {
    std::vector<std::string> keys;
    for (const auto& kv : response.kvs()) keys.push_back(kv.key());
    return keys;
  }

  metrics::Registry registry_;
  FakeMember member_;
  TestServer server_{{.member = &member_, .metrics = &registry_}};
};

TEST_F(ApiV3Kv, AnswersAGetWithItsHeader) {
  member_.Put({{"k", "v"}});
  const RangeResponse response = Range("key: 'k'");
  ASSERT_EQ(response.kvs_size(), 1);
  EXPECT_EQ(response.kvs(0).value(), "v");
  EXPECT_EQ(response.kvs(0).mod_revision(), 2);
  EXPECT_EQ(response.count(), 1);
  EXPECT_FALSE(response.more());
  EXPECT_EQ(response.header().member_id(), 0xabcu);
  EXPECT_EQ(response.header().cluster_id(), 0xdefu);
  EXPECT_EQ(response.header().raft_term(), 2u);
  EXPECT_EQ(response.header().revision(), 2);
  EXPECT_EQ(Range("key: 'none'").count(), 0);
}

TEST_F(ApiV3Kv, SelectsAsTheRangeAsks) {
  member_.Put({{"a", "3"}, {"b", "1"}, {"c", "2"}});
  member_.Put({{"a", "3"}});
  const std::tuple<std::string, std::vector<std::string>, bool, int64_t> cases[] = {
      {"range_end: 'c'", {"a", "b"}, false, 2},
      {"range_end: '\\0'", {"a", "b", "c"}, false, 3},
      {"range_end: '\\0' limit: 2", {"a", "b"}, true, 3},
      {"range_end: '\\0' limit: 3", {"a", "b", "c"}, false, 3},
      {"range_end: '\\0' limit: 2 sort_order: ASCEND", {"a", "b"}, true, 3},
      {"range_end: '\\0' limit: 2 sort_order: DESCEND", {"c", "b"}, true, 3},
      {"range_end: '\\0' sort_order: ASCEND sort_target: VALUE", {"b", "c", "a"}, false, 3},
      {"range_end: '\\0' sort_order: DESCEND sort_target: VERSION limit: 1", {"a"}, true, 3},
      {"range_end: '\\0' max_mod_revision: 2", {"b", "c"}, false, 3},
      {"range_end: '\\0' min_mod_revision: 3", {"a"}, false, 3},
      {"range_end: '\\0' count_only: true limit: 1", {}, false, 3},
      {"range_end: '\\0' revision: 2 limit: 1", {"a"}, true, 3},
      {"range_end: 'a'", {}, false, 0},
  };
  for (const auto& [request, keys, more, count] : cases) {
    const RangeResponse response = Range("key: 'a' " + request);
    EXPECT_EQ(Keys(response), keys) << request;
    EXPECT_EQ(response.more(), more) << request;
    EXPECT_EQ(response.count(), count) << request;
    EXPECT_EQ(response.header().revision(), 3) << request;
  }
}

TEST_F(ApiV3Kv, KeysOnlyLeavesOutValuesAlone) {
  member_.Put({{"a", "value"}});
  const RangeResponse response = Range("key: 'a' keys_only: true");
  ASSERT_EQ(response.kvs_size(), 1);
  EXPECT_EQ(response.kvs(0).value(), "");
  EXPECT_EQ(response.kvs(0).version(), 1);
}

TEST_F(ApiV3Kv, RefusesRangesWithEtcdsErrors) {
  member_.Put({{"a", "1"}});
  member_.Put({{"a", "2"}});
  member_.Compact(3);
  EXPECT_EQ(RangeError(""), KeyNotProvidedError());
  EXPECT_EQ(RangeError("key: 'a' revision: 9"),
            absl::OutOfRangeError("etcdserver: mvcc: required revision is a future revision"));
  EXPECT_EQ(RangeError("key: 'a' revision: 2"),
            absl::OutOfRangeError("etcdserver: mvcc: required revision has been compacted"));
  EXPECT_TRUE(RangeError("key: 'a' revision: 3").ok()) << "the compacted revision itself can be read";
  EXPECT_EQ(server_.CallRaw("/etcdserverpb.KV/Range", "\x0a").status(), MalformedRequestError());
}

TEST_F(ApiV3Kv, ReadsLaterWhenTheReadIsConfirmedLater) {
  member_.Put({{"k", "v"}});
  member_.confirm_at_once = false;
  EXPECT_EQ(Range("key: 'k'").count(), 1);
  member_.read_status = absl::UnknownError("etcdserver: request timed out");
  EXPECT_EQ(RangeError("key: 'k'"), absl::UnavailableError("etcdserver: request timed out"));
  EXPECT_TRUE(RangeError("key: 'k' serializable: true").ok()) << "nothing to confirm";
}

/// More records than one turn of a loop reads.
class ApiV3LongRange : public ApiV3Kv {
 protected:
  static constexpr int kKeys = 25'000;
  void SetUp() override {
    std::vector<std::pair<std::string, std::string>> pairs;
    for (int i = 0; i < kKeys; ++i) pairs.emplace_back(fmt::format("k{:06}", i), std::to_string(kKeys - i));
    member_.Put(pairs);
  }
};

TEST_F(ApiV3LongRange, ComesWhole) {
  const RangeResponse response = Range("key: 'k' range_end: 'l'");
  ASSERT_EQ(response.kvs_size(), kKeys);
  for (int i = 0; i < kKeys; ++i) ASSERT_EQ(response.kvs(i).key(), fmt::format("k{:06}", i));
  EXPECT_EQ(response.count(), kKeys);
  EXPECT_FALSE(response.more());
  EXPECT_EQ(response.header().revision(), 2);
}

TEST_F(ApiV3Kv, FewRecordsThatAreLargeComeWhole) {
  const auto value = [](int i) { return std::string(100'000, static_cast<char>('a' + i % 26)); };
  for (int i = 0; i < 30; ++i) member_.Put({{fmt::format("k{:02}", i), value(i)}});
  const RangeResponse response = Range("key: 'k' range_end: 'l' limit: 29");
  ASSERT_EQ(response.kvs_size(), 29);
  EXPECT_TRUE(response.more());
  EXPECT_EQ(response.count(), 30);
  for (int i = 0; i < 29; ++i) EXPECT_EQ(response.kvs(i).value(), value(i));
}

TEST_F(ApiV3LongRange, HoldsToItsLimit) {
  for (const int limit : {999, 1000, 1001, 11'000, 20'999, 24'999, 25'000, 30'000}) {
    const RangeResponse response = Range(fmt::format("key: 'k' range_end: 'l' limit: {}", limit));
    EXPECT_EQ(response.kvs_size(), std::min(limit, kKeys));
    EXPECT_EQ(response.more(), limit < kKeys) << limit;
    EXPECT_EQ(response.count(), kKeys);
  }
}

TEST_F(ApiV3LongRange, SortsAndFiltersOverAllOfIt) {
  const RangeResponse last =
      Range("key: 'k' range_end: 'l' limit: 3 sort_order: DESCEND sort_target: KEY keys_only: true");
  EXPECT_THAT(Keys(last), ElementsAre("k024999", "k024998", "k024997"));
  EXPECT_TRUE(last.more());
  EXPECT_EQ(Range("key: 'k' range_end: 'l' min_mod_revision: 3").kvs_size(), 0);
  const RangeResponse keys = Range("key: 'k' range_end: 'l' keys_only: true");
  ASSERT_EQ(keys.kvs_size(), kKeys);
  EXPECT_EQ(keys.kvs(kKeys - 1).key(), "k024999");
  EXPECT_EQ(keys.kvs(kKeys - 1).value(), "");
}

TEST_F(ApiV3LongRange, StreamsInChunks) {
  using Stream = TestServer::Stream<RangeRequest, etcdserverpb::RangeStreamResponse>;
  Stream stream(&server_, "/etcdserverpb.KV/RangeStream");
  stream.Send(FromText<RangeRequest>("key: 'k' range_end: 'l' limit: 24999"));
  stream.HalfClose();
  EXPECT_TRUE(stream.End().ok()) << stream.End();
  int records = 0;
  int chunks = 0;
  while (stream.waiting() > 0) {
    const RangeResponse chunk = stream.Next().range_response();
    const bool last = stream.waiting() == 0;
    if (chunks++ == 0) {
      EXPECT_EQ(chunk.kvs_size(), 10);
    }
    EXPECT_EQ(chunk.has_header(), last);
    EXPECT_EQ(chunk.more(), last);
    EXPECT_EQ(chunk.count(), last ? kKeys : 0);
    for (const auto& kv : chunk.kvs()) ASSERT_EQ(kv.key(), fmt::format("k{:06}", records++));
  }
  EXPECT_EQ(records, 24'999);
  EXPECT_GT(chunks, 3);
}

TEST_F(ApiV3Kv, RangeStreamRefusesSortsAndFilters) {
  using Stream = TestServer::Stream<RangeRequest, etcdserverpb::RangeStreamResponse>;
  const std::pair<std::string, absl::Status> cases[] = {
      {"key: 'k' sort_order: DESCEND",
       absl::UnimplementedError("RangeStream does not support custom sort orders")},
      {"key: 'k' sort_target: VERSION",
       absl::UnimplementedError("RangeStream does not support custom sort orders")},
      {"key: 'k' max_create_revision: 5",
       absl::UnimplementedError("RangeStream does not support revision filters")},
      {"", KeyNotProvidedError()},
      {"key: 'k' revision: 9",
       absl::OutOfRangeError("etcdserver: mvcc: required revision is a future revision")},
  };
  for (const auto& [request, error] : cases) {
    Stream stream(&server_, "/etcdserverpb.KV/RangeStream");
    stream.Send(FromText<RangeRequest>(request));
    stream.HalfClose();
    EXPECT_EQ(stream.End(), error) << request;
  }
}

TEST_F(ApiV3Kv, ProposesTheRequestsOwnBytes) {
  member_.on_propose = [](const member::EntryView& entry) {
    EXPECT_EQ(entry.kind, static_cast<uint32_t>(member::RequestKind::kPut));
    etcdserverpb::PutResponse body;
    body.mutable_prev_kv()->set_key("k");
    return member::ApplyResult{.status = {}, .revision = 12, .term = 4, .body = body.SerializeAsString()};
  };
  const auto response = Put("key: 'k' value: 'v' lease: 3 prev_kv: true");
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->header().revision(), 12);
  EXPECT_EQ(response->header().raft_term(), 4u);
  EXPECT_EQ(response->prev_kv().key(), "k");
  EXPECT_EQ(
      member_.last_proposal(),
      FromText<etcdserverpb::PutRequest>("key: 'k' value: 'v' lease: 3 prev_kv: true").SerializeAsString());
  ASSERT_TRUE(server_.CallRaw("/etcdserverpb.KV/Put", "\x12\x01v\x0a\x01k").ok());
  EXPECT_EQ(member_.last_proposal(), "\x0a\x01k\x12\x01v") << "in our form";
}

TEST_F(ApiV3Kv, ChecksTheQuotaBeforeProposing) {
  member_.quota_status = absl::ResourceExhaustedError("etcdserver: no space");
  member_.on_propose = [](const member::EntryView& entry) {
    EXPECT_EQ(entry.kind, static_cast<uint32_t>(member::RequestKind::kDeleteRange));
    return member::ApplyResult();
  };
  const absl::Status full = absl::ResourceExhaustedError("etcdserver: mvcc: database space exceeded");
  EXPECT_EQ(Put("key: 'k'").status(), full);
  EXPECT_EQ(Txn("success { request_put { key: 'k' } }").status(), full);
  EXPECT_TRUE(
      (Call<etcdserverpb::DeleteRangeResponse, etcdserverpb::DeleteRangeRequest>("DeleteRange", "key: 'k'"))
          .ok());
}

TEST_F(ApiV3Kv, MapsTheErrorsOfTheMember) {
  const std::pair<std::string, absl::Status> cases[] = {
      {"lease not found", absl::NotFoundError("etcdserver: requested lease not found")},
      {"etcdserver: key not found", absl::InvalidArgumentError("etcdserver: key not found")},
      {"etcdserver: too many requests", absl::UnknownError("etcdserver: too many requests")},
      {"etcdserver: request is too large", absl::InvalidArgumentError("etcdserver: request is too large")},
      {"etcdserver: server stopped", absl::UnavailableError("etcdserver: server stopped")},
      {"etcdserver: corrupt cluster", absl::DataLossError("etcdserver: corrupt cluster")},
  };
  for (const auto& [internal, client] : cases) {
    member_.on_propose = [text = internal](const member::EntryView&) {
      return member::ApplyResult{.status = absl::AbortedError(text), .body = {}};
    };
    EXPECT_EQ(Put("key: 'k'").status(), client);
  }
}

TEST_F(ApiV3Kv, AnswersReadOnlyTransactionsWithoutTheLog) {
  member_.Put({{"k", "v"}});
  member_.on_propose = [](const member::EntryView&) {
    ADD_FAILURE() << "proposed";
    return member::ApplyResult();
  };
  const auto response =
      Txn("compare { result: EQUAL target: VALUE key: 'k' value: 'v' } success { request_range { key: 'k' } }"
          " failure { request_range { key: 'none' } }");
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_TRUE(response->succeeded());
  ASSERT_EQ(response->responses_size(), 1);
  EXPECT_EQ(response->responses(0).response_range().kvs(0).value(), "v");
  EXPECT_EQ(response->responses(0).response_range().header().revision(), 2);
  EXPECT_EQ(response->responses(0).response_range().header().member_id(), 0u);
  EXPECT_EQ(response->header().revision(), 2);
  EXPECT_EQ(response->header().member_id(), 0xabcu);

  member_.confirm_at_once = false;
  member_.read_status = absl::UnknownError("etcdserver: request timed out");
  EXPECT_EQ(Txn("success { request_range { key: 'k' } }").status().code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(Txn("success { request_range { key: 'k' serializable: true } }").ok());
  EXPECT_TRUE(Txn("").ok()) << "an empty transaction reads nothing";
}

TEST_F(ApiV3Kv, ProposesOtherTransactions) {
  for (const char* request :
       {"success { request_put { key: 'k' } }", "failure { request_delete_range { key: 'k' } }",
        "success { request_txn {} }"}) {
    member_.on_propose = [](const member::EntryView& entry) {
      EXPECT_EQ(entry.kind, static_cast<uint32_t>(member::RequestKind::kTxn));
      etcdserverpb::TxnResponse body;
      body.set_succeeded(true);
      return member::ApplyResult{.status = {}, .revision = 5, .term = 2, .body = body.SerializeAsString()};
    };
    const auto response = Txn(request);
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_TRUE(response->succeeded());
    EXPECT_EQ(response->header().revision(), 5);
    EXPECT_EQ(member_.last_proposal(), FromText<etcdserverpb::TxnRequest>(request).SerializeAsString());
  }
}

TEST_F(ApiV3Kv, APhysicalCompactionWaitsForTheRemoval) {
  auto compact = [this](const std::string& request) {
    return Call<etcdserverpb::CompactionResponse, etcdserverpb::CompactionRequest>("Compact", request);
  };
  EXPECT_TRUE(compact("revision: 1").ok());
  EXPECT_TRUE(compact("revision: 1 physical: true").ok());
  member_.compacted_status = absl::UnavailableError("etcdserver: server stopped");
  EXPECT_TRUE(compact("revision: 1").ok());
  EXPECT_EQ(compact("revision: 1 physical: true").status(),
            absl::UnavailableError("etcdserver: server stopped"));
}

TEST_F(ApiV3Kv, ALearnerAnswersSerializableRangesOnly) {
  member_.Put({{"k", "v"}});
  member_.mutable_cluster().AddMember(
      {.id = MemberId(0xabc), .peer_urls = {"http://127.0.0.1:2380"}, .is_learner = true},
      cluster::Cluster::Persist::kNo);
  member::MemberStatus status = member_.status();
  status.is_learner = true;
  member_.SetStatus(status);
  EXPECT_EQ(RangeError("key: 'k'"), NotSupportedForLearnerError());
  EXPECT_TRUE(RangeError("key: 'k' serializable: true").ok());
  EXPECT_EQ(Put("key: 'k'").status(), NotSupportedForLearnerError());
  EXPECT_EQ(Txn("").status(), NotSupportedForLearnerError());
}

}  // namespace
}  // namespace kvorum::api_v3
