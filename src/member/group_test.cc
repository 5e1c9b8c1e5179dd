#include "gtest/gtest.h"
#include "member/testing/fake_calls.h"
#include "member/testing/world.h"

namespace kvorum::member {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// Three members that exchange raft messages.
class GroupTest : public ::testing::Test {
 protected:
  void SetUp() override {
    calls_.version = "3.7.1";
    std::vector<cluster::Member> members;
    for (uint64_t id = 1; id <= 3; ++id) {
      members.push_back({.id = MemberId(id), .peer_urls = {"http://m" + std::to_string(id)}});
    }
    for (size_t i = 0; i < 3; ++i) {
      worlds_[i].Join(MemberId(i + 1), members, &port_);
      worlds_[i].set_calls(&calls_);
      ASSERT_TRUE(worlds_[i].Begin().ok());
    }
    Pass(seconds(6));
    ASSERT_NE(Leader(), nullptr);
  }

  void Pass(milliseconds time) {
    for (milliseconds passed(0); passed < time; passed += milliseconds(10)) {
      for (World& world : worlds_) world.Advance(milliseconds(10));
      Exchange();
    }
  }
  void Exchange() {
    while (std::optional<raft::Message> message = network_.Next()) {
      World& to = worlds_[message->to.value() - 1];
      to.member().Receive(*std::move(message));
      for (World& world : worlds_) world.Settle();
    }
  }
  World* Leader() {
    for (World& world : worlds_) {
      if (world.member().status().is_leader && !IsCutOff(world)) return &world;
    }
    return nullptr;
  }
  World& Follower() {
    for (World& world : worlds_) {
      if (!world.member().status().is_leader && !IsCutOff(world)) return world;
    }
    return worlds_[0];
  }
  void CutOff(World& world) {
    cut_off_ = &world;
    network_.CutOff(raft::NodeId(world.member().id().value()));
  }
  bool IsCutOff(const World& world) const { return cut_off_ == &world; }

  std::optional<ApplyResult> Put(World& world, const std::string& key, milliseconds patience) {
    etcdserverpb::PutRequest request;
    request.set_key(key);
    auto result = std::make_shared<std::optional<ApplyResult>>();
    results_.push_back(result);
    world.Propose(RequestKind::kPut, request, result.get());
    Pass(patience);
    return *result;
  }
  std::optional<absl::Status> Read(World& world, milliseconds patience) {
    auto result = std::make_shared<std::optional<absl::Status>>();
    absl::AnyInvocable<void(absl::Status)> done = [result](absl::Status status) { *result = status; };
    if (world.member().ConfirmRead(MonotonicTime::max(), &done)) return absl::OkStatus();
    Pass(patience);
    return *result;
  }

  FakeNetwork network_;
  FakeNetwork::Port port_{&network_};
  FakeCalls calls_;
  std::vector<std::shared_ptr<std::optional<ApplyResult>>> results_;  // shared with what runs in the members
  World* cut_off_ = nullptr;
  World worlds_[3];
};

TEST_F(GroupTest, AllMembersPublishAndApplyTheSame) {
  EXPECT_TRUE(Put(Follower(), "a", milliseconds(500))->status.ok());
  for (World& world : worlds_) {
    EXPECT_TRUE(world.ready());
    EXPECT_TRUE(world.Get("a"));
    EXPECT_EQ(world.member().cluster().members().size(), 3u);
    EXPECT_EQ(world.member().status().leader, Leader()->member().id());
  }
}

TEST_F(GroupTest, AReadOnAFollowerSeesWhatWasAcknowledged) {
  ASSERT_TRUE(Put(*Leader(), "a", milliseconds(500))->status.ok());
  EXPECT_EQ(Read(Follower(), milliseconds(500)), absl::OkStatus());
  EXPECT_TRUE(Follower().Get("a"));
}

TEST_F(GroupTest, ALeaderOfSeveralAsksBeforeItAnswersReads) {
  World& leader = *Leader();
  CutOff(leader);
  EXPECT_EQ(Read(leader, milliseconds(100)), std::nullopt);
  Pass(seconds(10));
  EXPECT_FALSE(leader.member().status().is_leader);
}

TEST_F(GroupTest, AnotherLeaderTakesOverAndNothingIsLost) {
  ASSERT_TRUE(Put(*Leader(), "a", milliseconds(500))->status.ok());
  World& old = *Leader();
  CutOff(old);
  EXPECT_EQ(Put(old, "lost", milliseconds(100)), std::nullopt);
  Pass(seconds(5));
  ASSERT_NE(Leader(), nullptr);
  EXPECT_TRUE(Leader()->Get("a"));
  EXPECT_TRUE(Put(*Leader(), "b", milliseconds(500))->status.ok());
  Pass(seconds(5));
  EXPECT_EQ(std::string((*results_[1])->status.message()), "etcdserver: request timed out");
  EXPECT_FALSE(old.member().lessor().primary());
  network_.CutOff(raft::kNoNode);
  cut_off_ = nullptr;
  Pass(seconds(3));
  EXPECT_TRUE(old.Get("b"));
  EXPECT_FALSE(old.Get("lost"));
}

TEST_F(GroupTest, AProposalWaitsForALeader) {
  World& follower = Follower();
  CutOff(*Leader());
  const std::optional<ApplyResult> result = Put(follower, "a", seconds(8));
  ASSERT_TRUE(result);
  EXPECT_TRUE(result->status.ok() || result->status.code() == absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace kvorum::member
