#include "proxy/grpc/watch_coalescer.h"

#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "proxy/grpc/testing/fake_client.h"
#include "proxy/grpc/testing/fake_cluster.h"

namespace kvorum::proxy_grpc {
namespace {

using etcdserverpb::WatchRequest;
using etcdserverpb::WatchResponse;
using testing::FakeCluster;

class ProxyWatch : public ::testing::Test {
 protected:
  using Client = testing::FakeClient<WatchResponse>;

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
  /// Creates a watcher and takes the answer.
  WatchResponse Open(Client& client, const std::string& fields) {
    client.Ask(Create(fields));
    cluster_.Run();
    return client.Take();
  }
  void Put(const std::string& key, const std::string& value) {
    cluster_.Write({{key, value}});
    cluster_.Run();
  }
  /// The events that came, as "key=value@revision"; "-key@revision" for a delete.
  static std::string Events(Client& client) {
    std::string text;
    for (; !client.received.empty(); client.received.pop_front()) {
      for (const auto& event : client.received.front().events()) {
        if (!text.empty()) text += ' ';
        text += event.type() == mvccpb::Event::DELETE ? "-" + event.kv().key()
                                                      : event.kv().key() + "=" + event.kv().value();
        if (event.has_prev_kv()) text += "(" + event.prev_kv().value() + ")";
        text += "@" + std::to_string(event.kv().mod_revision());
      }
    }
    return text;
  }

  FakeCluster cluster_;
  const KeyPrefix prefix_{""};
  metrics::Registry metrics_;
  WatchCoalescer coalescer_{&cluster_, &prefix_, &metrics_, &NullLogger()};
};

TEST_F(ProxyWatch, SharesOneWatcherOfTheClusterAmongClients) {
  Client a(&coalescer_);
  Client b(&coalescer_);
  EXPECT_TRUE(Open(a, "key: 'k'").created());
  EXPECT_TRUE(Open(b, "key: 'k'").created());
  EXPECT_EQ(Open(b, "key: 'k'").watch_id(), 1);
  EXPECT_EQ(cluster_.watchers(), 1);
  Put("k", "1");
  EXPECT_EQ(Events(a), "k=1@2");
  EXPECT_EQ(Events(b), "k=1@2 k=1@2");
  EXPECT_EQ(metrics_.NewGauge("etcd_grpc_proxy_watchers_coalescing_total", "").value(), 2);
  EXPECT_EQ(metrics_.NewCounter("etcd_grpc_proxy_events_coalescing_total", "").value(), 2);
  a.Close();
  b.Close();
  EXPECT_EQ(metrics_.NewGauge("etcd_grpc_proxy_watchers_coalescing_total", "").value(), 0);
}

TEST_F(ProxyWatch, StopsWatchingWhatNobodyWatches) {
  Client a(&coalescer_);
  Client b(&coalescer_);
  Open(a, "key: 'k'");
  Open(b, "key: 'k'");
  a.Ask(Cancel(0));
  b.Close();
  cluster_.Run();
  EXPECT_EQ(cluster_.watchers(), 0);
  const WatchResponse answer = a.Take();
  EXPECT_TRUE(answer.canceled());
  EXPECT_EQ(answer.cancel_reason(), "");
}

TEST_F(ProxyWatch, SaysFromWhichRevisionEventsCome) {
  Client a(&coalescer_);
  Put("k", "1");
  const WatchResponse created = Open(a, "key: 'k'");
  EXPECT_EQ(created.header().revision(), 2);
  EXPECT_EQ(created.header().cluster_id(), 77);
  Put("k", "2");
  EXPECT_EQ(Events(a), "k=2@3");
}

TEST_F(ProxyWatch, ReadsThePastAsideAndThenJoins) {
  Client a(&coalescer_);
  Open(a, "key: 'k'");
  for (const char* value : {"1", "2", "3"}) Put("k", value);
  Client b(&coalescer_);
  EXPECT_TRUE(Open(b, "key: 'k' start_revision: 3").created());
  EXPECT_EQ(Events(b), "k=2@3 k=3@4");
  EXPECT_EQ(cluster_.watchers(), 1) << "the one aside has caught up";
  Put("k", "4");
  EXPECT_EQ(Events(a), "k=1@2 k=2@3 k=3@4 k=4@5");
  EXPECT_EQ(Events(b), "k=4@5");
}

TEST_F(ProxyWatch, JoinsWhatHasNotGonePastItsStart) {
  Client a(&coalescer_);
  Client b(&coalescer_);
  Open(a, "key: 'k'");
  for (int i = 0; i < 5; ++i) Put("other", "x");
  EXPECT_TRUE(Open(b, "key: 'k' start_revision: 4").created());
  EXPECT_EQ(cluster_.watchers(), 1);
  EXPECT_TRUE(Open(b, "key: 'k' start_revision: 100").created());
  EXPECT_EQ(cluster_.watchers(), 1);
  Put("k", "1");
  EXPECT_EQ(Events(b), "k=1@7") << "for the one watcher, not for the one that begins later";
}

TEST_F(ProxyWatch, GivesEachWatcherItsForm) {
  Client a(&coalescer_);
  Open(a, "key: 'k' filters: NOPUT");
  Open(a, "key: 'k' filters: NODELETE watch_id: 9");
  Open(a, "key: 'k' prev_kv: true watch_id: 4");
  Client both(&coalescer_);
  Open(both, "key: 'k' filters: [NOPUT, NODELETE]");
  Put("k", "1");
  Put("k", "2");
  Put("k", "");
  std::map<int64_t, std::string> seen;
  for (const WatchResponse& response : a.received) {
    for (const auto& event : response.events()) {
      seen[response.watch_id()] += event.kv().value() + "(" + event.prev_kv().value() + ")";
    }
  }
  EXPECT_EQ(seen[0], "()");
  EXPECT_EQ(seen[9], "1()2()");
  EXPECT_EQ(seen[4], "1()2(1)(2)");
  EXPECT_EQ(Events(both), "");
  EXPECT_EQ(cluster_.watchers(), 1);
}

TEST_F(ProxyWatch, RefusesAsAMemberDoes) {
  Client a(&coalescer_);
  WatchResponse refused = Open(a, "key: 'b' range_end: 'a'");
  EXPECT_TRUE(refused.created() && refused.canceled());
  EXPECT_EQ(refused.watch_id(), -1);
  EXPECT_EQ(refused.cancel_reason(), "mvcc: watcher range is empty");
  refused = Open(a, "key: 'b' start_revision: -1");
  EXPECT_EQ(refused.cancel_reason(),
            "rpc error: code = OutOfRange desc = etcdserver: mvcc: required revision has been compacted");
  EXPECT_EQ(Open(a, "key: 'b' watch_id: 3").watch_id(), 3);
  EXPECT_EQ(Open(a, "key: 'b' watch_id: 3").cancel_reason(),
            "mvcc: duplicate watch ID provided on the WatchStream");
  EXPECT_EQ(Open(a, "key: 'b'").watch_id(), 0);
}

TEST_F(ProxyWatch, AsksForEachWatchersRight) {
  cluster_.Deny("eve", absl::PermissionDeniedError("etcdserver: permission denied"));
  Client alice(&coalescer_, {{"token", "alice"}});
  Client eve(&coalescer_, {{"token", "eve"}});
  EXPECT_FALSE(Open(alice, "key: 'k'").canceled());
  const WatchResponse refused = Open(eve, "key: 'k'");
  EXPECT_TRUE(refused.created() && refused.canceled());
  EXPECT_EQ(refused.cancel_reason(),
            "rpc error: code = PermissionDenied desc = etcdserver: permission denied");
  Put("k", "1");
  EXPECT_EQ(Events(eve), "");
  // A right that was taken away counts for the next watcher, whatever is shared already.
  cluster_.Deny("alice", absl::PermissionDeniedError("etcdserver: permission denied"));
  Client again(&coalescer_, {{"token", "alice"}});
  EXPECT_TRUE(Open(again, "key: 'k'").canceled());
}

TEST_F(ProxyWatch, SharesNothingBetweenTokens) {
  Client alice(&coalescer_, {{"token", "alice"}});
  Client bob(&coalescer_, {{"token", "bob"}});
  Client too(&coalescer_, {{"token", "bob"}});
  Open(alice, "key: 'k'");
  Open(bob, "key: 'k'");
  Open(too, "key: 'k'");
  EXPECT_EQ(cluster_.watchers(), 2);
  EXPECT_EQ(cluster_.stream_metadata(),
            (std::vector<http::Headers>{{{"token", "alice"}}, {{"token", "bob"}}}));
}

TEST_F(ProxyWatch, ChecksManyWithFewQuestions) {
  Client a(&coalescer_);
  for (int i = 0; i < 100; ++i) a.Ask(Create("key: 'k'"));
  cluster_.Run();
  EXPECT_EQ(cluster_.checks(), 2) << "one for the first, one for all who came meanwhile";
  EXPECT_EQ(a.received.size(), 100);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(a.Take().watch_id(), i) << "answers in the order of the requests";
}

TEST_F(ProxyWatch, GoesOnWhereItWasWhenTheStreamBreaks) {
  Client a(&coalescer_);
  Open(a, "key: 'k'");
  Put("k", "1");
  cluster_.BreakStreams(absl::UnavailableError("gone"));
  cluster_.Write({{"k", "2"}});
  cluster_.Run();
  Put("k", "3");
  EXPECT_EQ(Events(a), "k=1@2 k=2@3 k=3@4");
  EXPECT_FALSE(a.ended.has_value());
}

TEST_F(ProxyWatch, EndsStreamsThatMayNotGoOn) {
  Client a(&coalescer_);
  Open(a, "key: 'k'");
  cluster_.BreakStreams(absl::UnauthenticatedError("etcdserver: invalid auth token"));
  cluster_.Run();
  EXPECT_EQ(a.ended, absl::UnauthenticatedError("etcdserver: invalid auth token"));
}

TEST_F(ProxyWatch, PassesCompactionsOn) {
  for (const char* value : {"1", "2", "3", "4"}) Put("k", value);
  cluster_.Compact(4);
  Client a(&coalescer_);
  EXPECT_FALSE(Open(a, "key: 'k' start_revision: 2").canceled());
  const WatchResponse notice = a.Take();
  EXPECT_TRUE(notice.canceled());
  EXPECT_EQ(notice.compact_revision(), 4);
  EXPECT_EQ(notice.header().revision(), 0);
  // The id stays taken until it is cancelled.
  EXPECT_EQ(Open(a, "key: 'k' watch_id: 7 start_revision: 4").watch_id(), 7);
  EXPECT_EQ(Events(a), "k=3@4 k=4@5");
  a.Ask(Cancel(0));
  cluster_.Run();
  EXPECT_TRUE(a.Take().canceled());
}

TEST_F(ProxyWatch, DropsASlowClientBackAndCatchesUp) {
  Client slow(&coalescer_);
  Client quick(&coalescer_);
  Open(slow, "key: 'k'");
  Open(quick, "key: 'k'");
  slow.MakeRoom(2);
  for (const char* value : {"1", "2", "3", "4", "5"}) Put("k", value);
  EXPECT_EQ(Events(quick), "k=1@2 k=2@3 k=3@4 k=4@5 k=5@6");
  EXPECT_EQ(slow.received.size(), 2);
  EXPECT_EQ(Events(slow), "k=1@2 k=2@3");
  slow.MakeRoom(100);
  cluster_.Run();
  EXPECT_EQ(Events(slow), "k=3@4 k=4@5 k=5@6");
  Put("k", "6");
  EXPECT_EQ(cluster_.watchers(), 1);
  EXPECT_EQ(Events(slow), "k=6@7");
}

TEST_F(ProxyWatch, AnswersProgressRequestsOfStreamsThatAreCaughtUp) {
  Client a(&coalescer_);
  Client none(&coalescer_);
  Client later(&coalescer_);
  Open(a, "key: 'k'");
  Open(later, "key: 'k' start_revision: 1000");
  Put("k", "1");
  Put("other", "1");
  Events(a);
  for (Client* client : {&a, &a, &none, &later}) client->Ask(Progress());
  cluster_.Run();
  ASSERT_EQ(a.received.size(), 2);
  EXPECT_EQ(a.received[0].watch_id(), -1);
  EXPECT_EQ(a.received[0].header().revision(), 3);
  EXPECT_TRUE(none.received.empty());
  EXPECT_TRUE(later.received.empty());
}

TEST_F(ProxyWatch, NotifiesThoseOfProgressWhoAsked) {
  Client a(&coalescer_);
  Open(a, "key: 'k' progress_notify: true watch_id: 5");
  Open(a, "key: 'k'");
  Open(a, "key: 'k' progress_notify: true start_revision: 1000");
  Put("other", "1");
  cluster_.NotifyProgress();
  cluster_.Run();
  ASSERT_EQ(a.received.size(), 1);
  EXPECT_EQ(a.received[0].watch_id(), 5);
  EXPECT_EQ(a.received[0].header().revision(), 2);
  // And nothing before that revision is asked for again.
  cluster_.Compact(2);
  cluster_.BreakStreams(absl::UnavailableError("gone"));
  cluster_.Run();
  Put("k", "1");
  EXPECT_EQ(a.received.size(), 3);
}

TEST_F(ProxyWatch, NotifiesThoseWhoseEventsAreFilteredOut) {
  Client a(&coalescer_);
  Open(a, "key: 'k' progress_notify: true filters: NOPUT");
  Put("k", "1");
  a.received.clear();  // what Run's timers brought
  cluster_.RunTimers();
  ASSERT_EQ(a.received.size(), 1);
  EXPECT_EQ(a.Take().header().revision(), 2);
  cluster_.Write({{"k", ""}});
  while (cluster_.Step(0)) {
  }
  cluster_.RunTimers();
  EXPECT_EQ(a.received.size(), 1) << "who was told of events is told no more";
  EXPECT_EQ(Events(a), "-k@3");
}

TEST_F(ProxyWatch, JoinsFragmentsOfARevision) {
  cluster_.fragment_events = 2;
  Client a(&coalescer_);
  Open(a, "key: 'a' range_end: 'z'");
  cluster_.Write({{"b", "1"}, {"c", "1"}, {"d", "1"}, {"e", "1"}, {"f", "1"}});
  cluster_.Run();
  ASSERT_EQ(a.received.size(), 1);
  EXPECT_EQ(a.received[0].events_size(), 5);
  EXPECT_FALSE(a.received[0].fragment());
}

TEST_F(ProxyWatch, GoesOnAskingWhileNoMemberAnswers) {
  cluster_.Deny("", absl::UnavailableError("no member"));
  Client a(&coalescer_);
  a.Ask(Create("key: 'k'"));
  cluster_.Run();
  EXPECT_TRUE(a.received.empty());
  EXPECT_GT(cluster_.checks(), 3);
  cluster_.Deny("", absl::OkStatus());
  cluster_.Run();
  EXPECT_TRUE(a.Take().created());
}

TEST_F(ProxyWatch, NoNonsenseOfAMemberReachesItsClients) {
  Client a(&coalescer_);
  Open(a, "key: 'k' progress_notify: true");
  Put("k", "1");
  EXPECT_EQ(Events(a), "k=1@2");
  for (const char* text : {
           "watch_id: 999 events { kv { key: 'k' value: 'x' mod_revision: 3 } }",
           "watch_id: 0 events { kv { key: 'k' value: 'x' mod_revision: 3 } }",
           "watch_id: -5 canceled: true",
           "watch_id: 999 canceled: true compact_revision: 9223372036854775807",
           "watch_id: 999 created: true",
           "watch_id: 1 created: true",
           "watch_id: 999 created: true canceled: true",
           "watch_id: -1",
           "watch_id: 1 events { kv { key: 'k' value: 'x' mod_revision: 1 } }",
           "watch_id: 1 events { kv { key: 'k' value: 'x' mod_revision: -7 } }",
           "watch_id: 1 events { kv { key: 'k' value: 'x' mod_revision: 9223372036854775807 } }",
           "watch_id: 1 events { kv { key: 'k' mod_revision: 9 } } events { kv { key: 'k' mod_revision: 8 } "
           "}",
           "watch_id: 1 fragment: true",
           "watch_id: 1 header { cluster_id: 77 revision: -9223372036854775808 }",
           "watch_id: 1 header { cluster_id: 77 revision: 9223372036854775807 }",
           "watch_id: -1 header { cluster_id: 77 revision: 9223372036854775807 }",
       }) {
    WatchResponse response;
    ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &response)) << text;
    cluster_.Say(response.SerializeAsString());
    cluster_.Run();
    const int64_t next = cluster_.revision() + 1;
    Put("k", "2");
    EXPECT_EQ(Events(a), "k=2@" + std::to_string(next)) << text;
    EXPECT_FALSE(a.ended.has_value()) << text;
  }
  cluster_.Say("\x0a\xff");
  cluster_.Say(std::string(100'000, '\xff'));
  cluster_.Run();
  Put("k", "3");
  EXPECT_EQ(Events(a), "k=3@" + std::to_string(cluster_.revision()));
}

TEST_F(ProxyWatch, EndsAStreamThatSendsNonsense) {
  Client a(&coalescer_);
  coalescer_.OnMessage(&a, "\x0a\xff");
  ASSERT_TRUE(a.ended.has_value());
  EXPECT_EQ(a.ended->code(), absl::StatusCode::kInternal);
}

TEST_F(ProxyWatch, KeepsItsClientsInTheirNamespace) {
  const KeyPrefix prefix("ns/");
  WatchCoalescer coalescer(&cluster_, &prefix, &metrics_, &NullLogger());
  Client a(&coalescer);
  Open(a, "key: 'k' prev_kv: true");
  Client all(&coalescer);
  Open(all, "key: '\\000' range_end: '\\000'");
  Put("k", "outside");
  Put("ns/k", "1");
  Put("ns/k", "2");
  Put("nt", "outside");
  EXPECT_EQ(Events(a), "k=1@3 k=2(1)@4");
  EXPECT_EQ(Events(all), "k=1@3 k=2@4");
}

}  // namespace
}  // namespace kvorum::proxy_grpc
