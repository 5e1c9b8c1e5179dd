#include "peer/calls.h"

#include "absl/synchronization/notification.h"
#include "base/check.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "http/server.h"
#include "member/errors.h"
#include "member/testing/fake_member.h"
#include "mvcc/types.h"
#include "peer/calls_format.h"
#include "peer/peer_handler.h"

namespace kvorum::peer {
namespace {

using member::testing::FakeMember;
using ::testing::ElementsAre;

constexpr auto kPatience = std::chrono::seconds(20);

/// Runs `start(done)` and waits for what `done` gets.
template <typename T, typename F>
absl::StatusOr<T> Wait(F start) {
  absl::StatusOr<T> result = absl::UnknownError("no answer");
  absl::Notification notified;
  start([&](absl::StatusOr<T> answer) {
    result = std::move(answer);
    notified.Notify();
  });
  KVORUM_CHECK(notified.WaitForNotificationWithTimeout(absl::FromChrono(kPatience)));
  return result;
}

/// Answers every request with the same.
struct CannedHandler final : http::Handler {
  std::unique_ptr<http::RequestSink> Start(const http::Request& request,
                                           http::ResponseWriter& writer) override {
    path = request.path;
    return http::CollectBody(writer, 1024, [this, &writer](const std::string&) {
      writer.Reply(status, {{"content-type", "text/plain"}}, body);
    });
  }
  int status = 200;
  std::string body;
  std::string path;
};

class PeerListener {
 public:
  explicit PeerListener(http::Handler* handler) {
    http::ServerOptions options;
    options.handler = handler;
    server_ = std::make_unique<http::Server>(&loops_, options);
    address_ = *server_->Listen({"http://127.0.0.1:0"});
    server_->Start();
  }
  ~PeerListener() { server_->Shutdown(std::chrono::seconds(1)); }
  std::string Url() const { return "http://" + address_; }

 private:
  http::LoopGroup loops_{1, "peer"};
  std::unique_ptr<http::Server> server_;
  std::string address_;
};

class PeerCallsTest : public ::testing::Test {
 protected:
  ~PeerCallsTest() override { client_.Stop(); }

  MonotonicTime Deadline() const { return SystemClock().Now() + kPatience; }
  http::ClientResponse Raw(std::string method, const std::string& path, std::string body = {},
                           http::Headers headers = {}) {
    http::ClientRequest request = {.method = std::move(method),
                                   .url = listener_.Url() + path,
                                   .headers = std::move(headers),
                                   .body = std::move(body)};
    auto response = Wait<http::ClientResponse>(
        [&](auto done) { client_.Call(std::move(request), Deadline(), std::move(done)); });
    KVORUM_CHECK(response.ok(), "{}", response.status().ToString());
    return *std::move(response);
  }
  absl::StatusOr<int64_t> Renew(std::vector<std::string> urls, int64_t id) {
    return Wait<int64_t>(
        [&](auto done) { calls_->RenewLease(std::move(urls), LeaseId(id), Deadline(), std::move(done)); });
  }
  absl::StatusOr<std::vector<cluster::Member>> Promote(uint64_t id) {
    return Wait<std::vector<cluster::Member>>([&](auto done) {
      calls_->PromoteMember({listener_.Url()}, MemberId(id), Deadline(), std::move(done));
    });
  }
  absl::StatusOr<mvcc::HashResult> Hash(int64_t revision, uint64_t cluster = 0xdef) {
    return Wait<mvcc::HashResult>([&](auto done) {
      calls_->HashKv({listener_.Url()}, ClusterId(cluster), revision, Deadline(), std::move(done));
    });
  }
  absl::StatusOr<bool> DowngradeEnabled(const std::string& url) {
    return Wait<bool>([&](auto done) { calls_->DowngradeEnabled({url}, Deadline(), std::move(done)); });
  }
  void Demote() {
    member::MemberStatus status = member_.status();
    status.is_leader = false;
    member_.SetStatus(status);
    member_.leases().Demote();
  }

  FakeMember member_;
  std::unique_ptr<http::Handler> calls_handler_ = NewCallsHandler(&member_, &NullLogger());
  CannedHandler canned_;
  std::unique_ptr<http::Handler> handler_ =
      NewPeerHandler({.transport = &canned_, .calls = calls_handler_.get(), .pages = &canned_});
  PeerListener listener_{handler_.get()};
  PeerListener other_{&canned_};
  http::Loop loop_{"calls"};
  http::Client client_{&loop_, {}};
  std::unique_ptr<member::PeerCalls> calls_ = NewCalls(&client_, &NullLogger());
};

TEST_F(PeerCallsTest, ShowsItsMembersAsEtcdDoes) {
  const http::ClientResponse response = Raw("GET", "/members");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body,
            "[{\"id\":2748,\"peerURLs\":[\"http://127.0.0.1:2380\"],\"name\":\"m1\","
            "\"clientURLs\":[\"http://127.0.0.1:2379\"]}]\n");
  EXPECT_EQ(*response.Find("x-etcd-cluster-id"), "def");
  EXPECT_EQ(*response.Find("content-type"), "application/json");
  const auto members = Wait<member::PeerMembers>(
      [&](auto done) { calls_->Members({listener_.Url()}, Deadline(), std::move(done)); });
  ASSERT_TRUE(members.ok()) << members.status();
  EXPECT_EQ(members->cluster_id, ClusterId(0xdef));
  EXPECT_EQ(members->members, member_.cluster().members());
}

TEST_F(PeerCallsTest, RefusesOtherMethods) {
  const std::pair<const char*, const char*> cases[] = {{"/members", "GET"},
                                                       {"/members/promote/1", "POST"},
                                                       {"/members/hashkv", "GET"},
                                                       {"/downgrade/enabled", "GET"}};
  for (const auto& [path, allowed] : cases) {
    const http::ClientResponse response = Raw("PUT", path);
    EXPECT_EQ(response.status, 405) << path;
    EXPECT_EQ(response.body, "Method Not Allowed\n");
    EXPECT_EQ(*response.Find("allow"), allowed);
  }
  EXPECT_EQ(Raw("GET", "/leases").status, 405);
  EXPECT_EQ(Raw("GET", "/leases").Find("allow"), nullptr);
}

TEST_F(PeerCallsTest, HandsEachPathToWhomItBelongs) {
  for (const char* path : {"/raft", "/raft/stream/message/1", "/version", "/members2", "/"}) {
    EXPECT_EQ(Raw("GET", path).status, 200);
    EXPECT_EQ(canned_.path, path);
  }
  for (const char* path : {"/members/1", "/leases/2", "/downgrade"}) {
    EXPECT_EQ(Raw("GET", path).body, "404 page not found\n") << path;
  }
}

TEST_F(PeerCallsTest, RenewsALease) {
  ASSERT_TRUE(member_.leases().Grant(LeaseId(7), 60).ok());
  EXPECT_EQ(*Renew({listener_.Url()}, 7), 60);
  EXPECT_EQ(Renew({listener_.Url()}, 8).status(), lease::NotFoundError());
  EXPECT_EQ(Raw("POST", "/leases", EncodeRenewal(LeaseId(8))).body, "lease not found\n");
  member_.on_renew = [](LeaseId) { return member::TimeoutError(); };
  EXPECT_EQ(Raw("POST", "/leases", EncodeRenewal(LeaseId(7))).status, 408);
  EXPECT_EQ(Raw("POST", "/leases", "\x0a\x05").body, "error unmarshalling request\n");
  EXPECT_EQ(Raw("POST", "/leases", std::string(70'000, 'x')).status, 413);
}

TEST_F(PeerCallsTest, AFollowerRenewsNothingAndAsksNobody) {
  ASSERT_TRUE(member_.leases().Grant(LeaseId(7), 60).ok());
  Demote();
  member_.on_renew = [](LeaseId) -> absl::StatusOr<int64_t> { return absl::InternalError("forwarded"); };
  const http::ClientResponse renewal = Raw("POST", "/leases", EncodeRenewal(LeaseId(7)));
  EXPECT_EQ(renewal.status, 400);
  EXPECT_EQ(renewal.body, "not a primary lessor\n");
  EXPECT_EQ(Raw("POST", "/leases/internal", EncodeLeaseQuestion({.id = LeaseId(7)})).status, 500);
  EXPECT_EQ(Raw("POST", "/leases/internal", EncodeLeaseQuestion({.id = LeaseId(8)})).status, 404);
  EXPECT_TRUE(absl::IsUnavailable(Renew({listener_.Url()}, 7).status()));
}

TEST_F(PeerCallsTest, TellsHowLongALeaseLives) {
  ASSERT_TRUE(member_.leases().Grant(LeaseId(7), 60).ok());
  member_.leases().Attach(LeaseId(7), "k");
  auto ask = [&](int64_t id, bool with_keys) {
    return Wait<lease::LeaseView>([&](auto done) {
      calls_->LeaseTimeToLive({listener_.Url()}, LeaseId(id), with_keys, Deadline(), std::move(done));
    });
  };
  const auto view = ask(7, true);
  ASSERT_TRUE(view.ok()) << view.status();
  EXPECT_EQ(view->granted_ttl_seconds, 60);
  EXPECT_GT(view->remaining_ttl_seconds, 0);
  EXPECT_THAT(view->keys, ElementsAre("k"));
  EXPECT_TRUE(ask(7, false)->keys.empty());
  EXPECT_EQ(ask(8, false).status(), lease::NotFoundError());
}

TEST_F(PeerCallsTest, PromotesALearner) {
  member_.mutable_cluster().AddMember(
      {.id = MemberId(18), .peer_urls = {"http://127.0.0.1:3380"}, .is_learner = true},
      cluster::Cluster::Persist::kNo);
  const auto members = Promote(18);
  ASSERT_TRUE(members.ok()) << members.status();
  EXPECT_EQ(*members, member_.cluster().members());
  EXPECT_FALSE(member_.cluster().Find(MemberId(18))->is_learner);

  for (const absl::Status& status :
       {absl::NotFoundError("membership: ID not found"),
        absl::FailedPreconditionError("membership: can only promote a learner member"),
        absl::FailedPreconditionError(
            "etcdserver: can only promote a learner member which is in sync with leader")}) {
    member_.change_status = status;
    EXPECT_EQ(Promote(18).status(), status);
    const http::ClientResponse response = Raw("POST", "/members/promote/18");
    EXPECT_EQ(response.body, std::string(status.message()) + "\n");
    EXPECT_EQ(response.status, absl::IsNotFound(status) ? 404 : 412);
  }
  member_.change_status = absl::UnavailableError("etcdserver: unhealthy cluster");
  EXPECT_EQ(Raw("POST", "/members/promote/18").body, "{\"message\":\"Internal Server Error\"}");
  EXPECT_EQ(Raw("POST", "/members/promote/x").body, "member x not found in cluster\n");
}

TEST_F(PeerCallsTest, HashesTheHistory) {
  member_.Put({{"a", "b"}});
  const http::ClientResponse response = Raw("GET", "/members/hashkv", "{}");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body,
            "{\"header\":{\"revision\":2},\"hash\":3628877040,\"compact_revision\":-1,\"hash_revision\":2}");
  const auto hash = Hash(1);
  ASSERT_TRUE(hash.ok()) << hash.status();
  EXPECT_EQ(hash->revision, 1);
  EXPECT_EQ(hash->current_revision, 2);
  EXPECT_EQ(hash->compact_revision, -1);
  EXPECT_EQ(Hash(9).status(), mvcc::FutureRevisionError());
  EXPECT_EQ(Hash(0, 0xbad).status(), absl::FailedPreconditionError("cluster ID mismatch"));
  EXPECT_EQ(Raw("GET", "/members/hashkv", "[]").status, 400);
  member_.Put({{"a", "c"}});
  member_.Compact(3);
  EXPECT_EQ(Hash(2).status(), mvcc::CompactedError());
}

TEST_F(PeerCallsTest, ReadsHashesOfReleasesThatDoNotRepeatTheRevision) {
  const auto hash = HashResultFromJson(R"({"header":{"revision":9},"hash":1,"compact_revision":-1})", 5);
  ASSERT_TRUE(hash.ok());
  EXPECT_EQ(hash->revision, 5);
  for (const char* bad :
       {"", "1", R"({"hash":-1})", R"({"hash":4294967296})", R"({"hash":1.5})", R"({"header":[]})"}) {
    EXPECT_FALSE(HashResultFromJson(bad, 5).ok()) << bad;
  }
}

TEST_F(PeerCallsTest, TellsOfADowngradeAfterALinearizableRead) {
  EXPECT_FALSE(*DowngradeEnabled(listener_.Url()));
  member_.mutable_cluster().SetDowngrade({.target_version = "3.6.0", .enabled = true},
                                         cluster::Cluster::Persist::kNo);
  member_.confirm_at_once = false;
  EXPECT_TRUE(*DowngradeEnabled(listener_.Url()));
  member_.read_status = member::LeaderChangedError();
  const http::ClientResponse response = Raw("GET", "/downgrade/enabled");
  EXPECT_EQ(response.status, 500);
  EXPECT_EQ(response.body, "failed linearized read: etcdserver: leader changed\n");
  canned_.status = 404;
  EXPECT_FALSE(*DowngradeEnabled(other_.Url())) << "etcd 3.4";
}

TEST_F(PeerCallsTest, AsksForVersions) {
  canned_.body = R"({"etcdserver":"3.4.23","etcdcluster":"not_decided"})";
  auto ask = [&] {
    return Wait<member::PeerVersions>(
        [&](auto done) { calls_->Versions({other_.Url()}, Deadline(), std::move(done)); });
  };
  ASSERT_TRUE(ask().ok()) << ask().status();
  EXPECT_EQ(canned_.path, "/version");
  EXPECT_EQ(ask()->server, "3.4.23");
  EXPECT_EQ(ask()->cluster, "not_decided");
  canned_.body = "{}";
  EXPECT_TRUE(absl::IsUnavailable(ask().status()));
}

TEST_F(PeerCallsTest, GoesOnToTheNextUrl) {
  ASSERT_TRUE(member_.leases().Grant(LeaseId(7), 60).ok());
  canned_.status = 503;
  canned_.body = "no";
  EXPECT_EQ(*Renew({"http://127.0.0.1:1", other_.Url(), listener_.Url()}, 7), 60);
  EXPECT_EQ(Renew({other_.Url()}, 7).status(), absl::UnavailableError("lease: unknown error(no)"));
  EXPECT_TRUE(absl::IsUnavailable(Renew({}, 7).status()));
}

}  // namespace
}  // namespace kvorum::peer
