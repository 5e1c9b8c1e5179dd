#include "bootstrap/join.h"

#include "backend/memory_backend.h"
#include "base/testing/fault_env.h"
#include "gtest/gtest.h"

namespace kvorum::bootstrap {
namespace {

/// Other members, by peer URL. Answers inside the call.
class FakeCalls final : public member::PeerCalls {
 public:
  struct Other {
    member::PeerMembers members;
    member::PeerVersions versions{"3.7.1", "3.7.0"};
    bool downgrades = false;
  };
  std::map<std::string, Other> others;

  void RenewLease(Urls, LeaseId, MonotonicTime, Done<int64_t>) override {}
  void LeaseTimeToLive(Urls, LeaseId, bool, MonotonicTime, Done<lease::LeaseView>) override {}
  void PromoteMember(Urls, MemberId, MonotonicTime, Done<std::vector<cluster::Member>>) override {}
  void HashKv(Urls, ClusterId, int64_t, MonotonicTime, Done<mvcc::HashResult>) override {}
  void Members(Urls urls, MonotonicTime, Done<member::PeerMembers> done) override {
    Ask(urls, &Other::members, std::move(done));
  }
  void Versions(Urls urls, MonotonicTime, Done<member::PeerVersions> done) override {
    Ask(urls, &Other::versions, std::move(done));
  }
  void DowngradeEnabled(Urls urls, MonotonicTime, Done<bool> done) override {
    Ask(urls, &Other::downgrades, std::move(done));
  }

 private:
  template <typename T>
  void Ask(const Urls& urls, T Other::*field, Done<T> done) {
    for (const std::string& url : urls) {
      if (const auto found = others.find(url); found != others.end()) return done(found->second.*field);
    }
    done(absl::UnavailableError("connection refused"));
  }
};

cluster::Member MemberOf(uint64_t id, const std::string& url, const std::string& name) {
  cluster::Member member{.id = MemberId(id), .peer_urls = {url}, .name = name};
  if (!name.empty()) member.client_urls = {"http://client"};
  return member;
}

class JoinTest : public ::testing::Test {
 protected:
  JoinTest() {
    options_.name = "c";
    options_.data_dir = "data";
    options_.initial_cluster = {{"a", {kA}}, {"b", {kB}}, {"c", {kC}}};
    options_.advertise_peer_urls = {kC};
    options_.initial_cluster_state = ClusterState::kExisting;
    options_.calls = &calls_;
    options_.wal.env = &env_;
    options_.wal.segment_size_bytes = 64 << 10;
    running_.cluster_id = ClusterId(0xc1);
    running_.members = {MemberOf(3, kC, ""), MemberOf(1, kA, "a"), MemberOf(2, kB, "b")};
  }

  absl::StatusOr<Prepared> Start() {
    for (const char* url : {kA, kB}) {
      if (up_.contains(url)) calls_.others[url].members = running_;
    }
    absl::StatusOr<Prepared> prepared = Prepare(options_);
    if (!prepared.ok()) return prepared;
    if (absl::Status status = Finish(options_, *backend_, *prepared); !status.ok()) return status;
    return prepared;
  }
  std::string Refusal() {
    const absl::StatusOr<Prepared> prepared = Start();
    EXPECT_FALSE(env_.Exists("data"));
    return std::string(prepared.status().message());
  }

  static constexpr const char* kA = "http://10.0.0.1:2380";
  static constexpr const char* kB = "http://10.0.0.2:2380";
  static constexpr const char* kC = "http://10.0.0.3:2380";
  kvorum::testing::FaultEnv env_;
  FakeCalls calls_;
  Options options_;
  member::PeerMembers running_;
  std::set<std::string> up_ = {kB};
  std::unique_ptr<backend::MemoryBackend> backend_ = backend::MemoryBackend::Create();
};

TEST_F(JoinTest, TakesItsPlaceInARunningCluster) {
  const absl::StatusOr<Prepared> prepared = Start();
  ASSERT_TRUE(prepared.ok()) << prepared.status();
  EXPECT_EQ(prepared->start.id, MemberId(3));
  EXPECT_EQ(prepared->start.cluster_id, ClusterId(0xc1));
  EXPECT_TRUE(prepared->start.bootstrap_members.empty());
  EXPECT_EQ(prepared->start.log->LastIndex(), raft::Index(0));
  ASSERT_EQ(prepared->start.known_members.size(), 3u);
  EXPECT_EQ(prepared->start.known_members[0].name, "a");
}

TEST_F(JoinTest, AStartThatWasCutOffKeepsThePlaceEvenWithoutTheOthers) {
  { ASSERT_TRUE(Start().ok()); }
  up_.clear();
  calls_.others.clear();
  const absl::StatusOr<Prepared> again = Start();
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->start.id, MemberId(3));
  EXPECT_EQ(again->start.cluster_id, ClusterId(0xc1));
  EXPECT_TRUE(again->start.known_members.empty());
}

TEST_F(JoinTest, RefusesAClusterThatItDoesNotFit) {
  running_.members.pop_back();
  EXPECT_EQ(Refusal(),
            "error validating peerURLs {ClusterID:c1 Members:[&{ID:3 RaftAttributes:{PeerURLs:"
            "[http://10.0.0.3:2380] IsLearner:false} Attributes:{Name: ClientURLs:[]}} &{ID:1 RaftAttributes:"
            "{PeerURLs:[http://10.0.0.1:2380] IsLearner:false} Attributes:{Name:a ClientURLs:"
            "[http://client]}}] RemovedMemberIDs:[]}: member count is unequal");
  running_.members.push_back(MemberOf(2, "http://10.0.0.9:2380", "b"));
  EXPECT_NE(Refusal().find("PeerURLs: no match found for existing member (2, [http://10.0.0.9:2380]), last "
                           "resolver error (resolved urls: \"http://10.0.0.9:2380\" != "),
            std::string::npos);
  up_.clear();
  calls_.others.clear();
  EXPECT_EQ(Refusal(),
            "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given "
            "URLs");
  options_.name = "d";
  EXPECT_EQ(Refusal(), "couldn't find local name \"d\" in the initial cluster configuration");
}

TEST_F(JoinTest, RefusesAClusterOfAnotherVersion) {
  calls_.others[kB].versions.cluster = "not_decided";
  EXPECT_EQ(Refusal(), "incompatible with current running cluster");
  calls_.others[kB].versions.cluster = "2.3.0";
  EXPECT_EQ(Refusal(), "incompatible with current running cluster");
  calls_.others[kB].versions.cluster = "3.8.0";
  EXPECT_EQ(Refusal(), "incompatible with current running cluster");
  calls_.others[kB].downgrades = true;
  EXPECT_TRUE(Start().ok());
}

TEST_F(JoinTest, RefusesMoreLearnersThanAllowed) {
  running_.members[0].is_learner = true;
  running_.members[1].is_learner = true;
  EXPECT_EQ(Refusal(), "membership: too many learner members in cluster");
  options_.max_learners = 2;
  EXPECT_TRUE(Start().ok());
}

TEST_F(JoinTest, ANewMemberThatRanBeforeIsRefused) {
  options_.initial_cluster_state = ClusterState::kNew;
  const MemberId id = cluster::MemberIdOf({kC}, options_.initial_cluster_token);
  running_.members = {MemberOf(id.value(), kC, "c")};
  EXPECT_EQ(Refusal(), "member " + cluster::IdText(id.value()) + " has already been bootstrapped");
  running_.members[0].client_urls.clear();
  const absl::StatusOr<Prepared> prepared = Start();
  ASSERT_TRUE(prepared.ok()) << prepared.status();
  EXPECT_EQ(prepared->start.id, id);
}

}  // namespace
}  // namespace kvorum::bootstrap
