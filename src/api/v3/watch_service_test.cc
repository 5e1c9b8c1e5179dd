#include "api/v3/errors.h"
#include "api/v3/testing/test_server.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "member/testing/fake_member.h"
#include "proto/rpc.pb.h"

namespace kvorum::api_v3 {
namespace {

using etcdserverpb::WatchRequest;
using etcdserverpb::WatchResponse;
using member::testing::FakeMember;
using testing::TestServer;

class ApiV3Watch : public ::testing::Test {
 protected:
  using Stream = TestServer::Stream<WatchRequest, WatchResponse>;

  static WatchRequest Create(const std::string& fields) {
    WatchRequest request;
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString("create_request { " + fields + " }", &request));
    return request;
  }
  static WatchRequest Cancel(int64_t id) {
    WatchRequest request;
    request.mutable_cancel_request()->set_watch_id(id);
    return request;
  }
  static WatchRequest Progress() {
    WatchRequest request;
    request.mutable_progress_request();
    return request;
  }
  /// Creates a watcher and takes its first response.
  static WatchResponse Open(Stream& stream, const std::string& fields) {
    stream.Send(Create(fields));
    return stream.Next();
  }

  metrics::Registry registry_;
  FakeMember member_;
  TestServer server_{
      {.member = &member_, .metrics = &registry_, .watch_progress_interval = std::chrono::milliseconds(100)}};
  Stream stream_{&server_, "/etcdserverpb.Watch/Watch"};
};

TEST_F(ApiV3Watch, FollowsAKey) {
  const WatchResponse created = Open(stream_, "key: 'k'");
  EXPECT_TRUE(created.created());
  EXPECT_FALSE(created.canceled());
  EXPECT_EQ(created.watch_id(), 0);
  EXPECT_EQ(created.header().revision(), 1);
  EXPECT_EQ(created.header().member_id(), 0xabcu);
  EXPECT_EQ(created.header().raft_term(), 2u);
  member_.Put({{"k", "v"}});
  const WatchResponse put = stream_.Next();
  ASSERT_EQ(put.events_size(), 1);
  EXPECT_EQ(put.events(0).kv().value(), "v");
  EXPECT_EQ(put.header().member_id(), 0xabcu);
  member_.Delete("k");
  const WatchResponse deleted = stream_.Next();
  ASSERT_EQ(deleted.events_size(), 1);
  EXPECT_EQ(deleted.events(0).type(), mvccpb::Event::DELETE);
  EXPECT_EQ(deleted.events(0).kv().mod_revision(), 3);
  EXPECT_GE(deleted.header().revision(), 3);
}

TEST_F(ApiV3Watch, BeginsInThePastWhereAsked) {
  for (int i = 0; i < 5; ++i) member_.Put({{"k", std::to_string(i)}});
  EXPECT_EQ(Open(stream_, "key: 'k' start_revision: 3").header().revision(), 6);
  std::vector<std::string> values;
  while (values.size() < 4) {
    const WatchResponse response = stream_.Next();
    for (const auto& event : response.events()) values.push_back(event.kv().value());
  }
  EXPECT_EQ(values, (std::vector<std::string>{"1", "2", "3", "4"}));
}

TEST_F(ApiV3Watch, PicksAndTakesIds) {
  EXPECT_EQ(Open(stream_, "key: 'k'").watch_id(), 0);
  EXPECT_EQ(Open(stream_, "key: 'k' watch_id: 7").watch_id(), 7);
  EXPECT_EQ(Open(stream_, "key: 'k'").watch_id(), 1);
  const WatchResponse duplicate = Open(stream_, "key: 'k' watch_id: 7");
  EXPECT_TRUE(duplicate.created());
  EXPECT_TRUE(duplicate.canceled());
  EXPECT_EQ(duplicate.watch_id(), -1);
  EXPECT_EQ(duplicate.cancel_reason(), "mvcc: duplicate watch ID provided on the WatchStream");
}

TEST_F(ApiV3Watch, RefusesWithAReason) {
  const std::pair<std::string, std::string> cases[] = {
      {"key: 'b' range_end: 'a'", "mvcc: watcher range is empty"},
      {"key: 'b' range_end: 'b'", "mvcc: watcher range is empty"},
      {"key: 'k' start_revision: -1",
       "rpc error: code = OutOfRange desc = etcdserver: mvcc: required revision has been compacted"},
  };
  for (const auto& [fields, reason] : cases) {
    const WatchResponse refused = Open(stream_, fields);
    EXPECT_TRUE(refused.created()) << fields;
    EXPECT_TRUE(refused.canceled()) << fields;
    EXPECT_EQ(refused.watch_id(), -1) << fields;
    EXPECT_EQ(refused.cancel_reason(), reason);
    EXPECT_EQ(refused.compact_revision(), 0);
  }
  EXPECT_FALSE(Open(stream_, "key: 'b' range_end: '\\0'").canceled()) << "open at its end";
}

TEST_F(ApiV3Watch, CancelsWhatItKnows) {
  Open(stream_, "key: 'k'");
  stream_.Send(Cancel(99));  // unknown: no answer
  stream_.Send(Cancel(0));
  const WatchResponse cancelled = stream_.Next();
  EXPECT_EQ(cancelled.watch_id(), 0);
  EXPECT_TRUE(cancelled.canceled());
  EXPECT_FALSE(cancelled.created());
  EXPECT_EQ(cancelled.cancel_reason(), "");
  EXPECT_EQ(cancelled.header().revision(), 1);
  member_.Put({{"k", "v"}});
  EXPECT_EQ(Open(stream_, "key: 'j'").watch_id(), 1) << "no event of the cancelled one before it";
}

TEST_F(ApiV3Watch, TellsOfACompactedStart) {
  for (int i = 0; i < 4; ++i) member_.Put({{"k", std::to_string(i)}});
  member_.Compact(4);
  const WatchResponse created = Open(stream_, "key: 'k' start_revision: 2");
  EXPECT_TRUE(created.created());
  EXPECT_FALSE(created.canceled());
  const WatchResponse compacted = stream_.Next();
  EXPECT_TRUE(compacted.canceled());
  EXPECT_EQ(compacted.compact_revision(), 4);
  EXPECT_EQ(compacted.header().revision(), 0);
  EXPECT_EQ(compacted.cancel_reason(), "");
  EXPECT_TRUE(Open(stream_, "key: 'k' start_revision: 2 watch_id: 9").created());
  EXPECT_TRUE(stream_.Next().canceled());
  EXPECT_EQ(Open(stream_, "key: 'k' watch_id: 9").watch_id(), -1) << "the id is still in use";
  stream_.Send(Cancel(9));
  EXPECT_TRUE(stream_.Next().canceled()) << "until it is cancelled";
  EXPECT_FALSE(Open(stream_, "key: 'k' start_revision: 4").canceled()) << "the compacted revision itself";
}

TEST_F(ApiV3Watch, FiltersAndAddsThePreviousPair) {
  member_.Put({{"k", "old"}});
  Open(stream_, "key: 'k' filters: NODELETE prev_kv: true");
  member_.Delete("k");
  member_.Put({{"k", "new"}});
  member_.Put({{"k", "newer"}});
  const WatchResponse first = stream_.Next();
  EXPECT_EQ(first.events(0).kv().value(), "new");
  EXPECT_FALSE(first.events(0).has_prev_kv());
  const WatchResponse second = first.events_size() > 1 ? first : stream_.Next();
  EXPECT_EQ(second.events(second.events_size() - 1).prev_kv().value(), "new");
}

TEST_F(ApiV3Watch, AnswersAProgressRequestWhenCaughtUp) {
  stream_.Send(Progress());  // no watchers: no answer
  Open(stream_, "key: 'k'");
  Open(stream_, "key: 'j'");
  member_.Put({{"other", "v"}});
  stream_.Send(Progress());
  const WatchResponse progress = stream_.Next();
  EXPECT_EQ(progress.watch_id(), -1);
  EXPECT_EQ(progress.header().revision(), 2);
  EXPECT_EQ(progress.events_size(), 0);
  Open(stream_, "key: 'k' start_revision: 50");
  stream_.Send(Progress());  // one starts in the future: no answer
  EXPECT_TRUE(Open(stream_, "key: 'k'").created());
}

TEST_F(ApiV3Watch, TellsQuietWatchersOfProgress) {
  Open(stream_, "key: 'k'");
  Open(stream_, "key: 'k' progress_notify: true");
  const WatchResponse progress = stream_.Next();
  EXPECT_EQ(progress.watch_id(), 1);
  EXPECT_EQ(progress.header().revision(), 1);
  EXPECT_EQ(progress.events_size(), 0);
  EXPECT_EQ(stream_.Next().watch_id(), 1) << "again and again, and only that one";
}

TEST_F(ApiV3Watch, OneTransactionIsOneResponse) {
  Open(stream_, "key: '\\0' range_end: '\\0'");
  member_.Put({{"a", "1"}, {"b", "2"}, {"c", "3"}});
  EXPECT_EQ(stream_.Next().events_size(), 3);
}

TEST_F(ApiV3Watch, CutsLargeResponsesWhereAsked) {
  Open(stream_, "key: 'quiet'");                   // it has read the options
  member_.options_value.max_request_bytes = 1000;  // and 512 KiB of overhead
  Stream stream(&server_, "/etcdserverpb.Watch/Watch");
  Open(stream, "key: '\\0' range_end: '\\0' fragment: true");
  Open(stream, "key: '\\0' range_end: '\\0'");
  const std::string big(200 << 10, 'x');
  member_.Put({{"a", big}, {"b", big}, {"c", big}, {"d", big}});
  std::vector<int> pieces;
  int whole = 0;
  while (pieces.size() < 2 || whole == 0) {
    const WatchResponse response = stream.Next();
    if (response.watch_id() == 1) {
      whole = response.events_size();
      EXPECT_FALSE(response.fragment());
    } else {
      pieces.push_back(response.events_size());
      EXPECT_EQ(response.fragment(), pieces.size() == 1);
      EXPECT_EQ(response.header().revision(), 2);
    }
  }
  EXPECT_EQ(whole, 4);
  EXPECT_EQ(pieces, (std::vector<int>{2, 2}));
}

TEST_F(ApiV3Watch, GoesOnAfterTheClientHalfClosed) {
  Open(stream_, "key: 'k'");
  stream_.HalfClose();
  member_.Put({{"k", "v"}});
  EXPECT_EQ(stream_.Next().events_size(), 1);
}

TEST_F(ApiV3Watch, EndsAtWhatIsNoRequestAndIgnoresTheUnknown) {
  stream_.SendRaw("");           // no member of the union
  stream_.SendRaw("\x7a\x01x");  // a field that we do not know
  EXPECT_TRUE(Open(stream_, "key: 'k'").created());
  stream_.SendRaw("\x0a\x05");
  EXPECT_EQ(stream_.End(), MalformedRequestError());
}

TEST_F(ApiV3Watch, EndsWithoutALeaderWhereTheClientAskedForOne) {
  Open(stream_, "key: 'quiet'");  // it has read the options
  member_.options_value.election_timeout = std::chrono::milliseconds(10);
  Stream careless(&server_, "/etcdserverpb.Watch/Watch");
  Stream careful(&server_, "/etcdserverpb.Watch/Watch", {{"hasleader", "true"}});
  Open(careless, "key: 'k'");
  Open(careful, "key: 'k'");
  member::MemberStatus status = member_.status();
  status.leader = MemberId(0);
  member_.SetStatus(status);
  EXPECT_EQ(careful.End(), NoLeaderError());
  Stream refused(&server_, "/etcdserverpb.Watch/Watch", {{"hasleader", "true"}});
  EXPECT_EQ(refused.End(), NoLeaderError());
  member_.Put({{"k", "v"}});
  EXPECT_EQ(careless.Next().events_size(), 1);
}

TEST_F(ApiV3Watch, ManyWatchersShareAStream) {
  constexpr int kWatchers = 2000;
  for (int i = 0; i < kWatchers; ++i) stream_.Send(Create("key: 'k'"));
  for (int i = 0; i < kWatchers; ++i) EXPECT_EQ(stream_.Next().watch_id(), i);
  member_.Put({{"k", "v"}});
  std::vector<bool> told(kWatchers);
  for (int i = 0; i < kWatchers; ++i) {
    const WatchResponse response = stream_.Next();
    EXPECT_EQ(response.events_size(), 1);
    told[response.watch_id()] = true;
  }
  EXPECT_EQ(std::count(told.begin(), told.end(), true), kWatchers);
}

TEST_F(ApiV3Watch, CountsMessagesAsTheyPass) {
  Open(stream_, "key: 'k'");
  EXPECT_NE(registry_.Text().find("grpc_server_msg_sent_total{grpc_method=\"Watch\",grpc_service="
                                  "\"etcdserverpb.Watch\",grpc_type=\"bidi_stream\"} 1"),
            std::string::npos);
}

}  // namespace
}  // namespace kvorum::api_v3
