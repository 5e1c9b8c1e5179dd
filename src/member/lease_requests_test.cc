#include "member/lease_requests.h"

#include "gtest/gtest.h"
#include "member/errors.h"
#include "member/testing/fake_calls.h"
#include "member/testing/fake_member.h"
#include "member/testing/fakes.h"

namespace kvorum::member {
namespace {

constexpr LeaseId kLease{7};

class LeaseRequestsTest : public ::testing::Test {
 protected:
  LeaseRequestsTest() {
    member_.mutable_cluster().AddMember({.id = MemberId(2), .peer_urls = {"http://leader"}},
                                        cluster::Cluster::Persist::kNo);
    EXPECT_TRUE(member_.leases().Grant(kLease, 60).ok());
  }
  void Follow(MemberId leader) {
    MemberStatus status = member_.status();
    status.is_leader = false;
    status.leader = leader;
    member_.SetStatus(status);
    member_.leases().Demote();
  }
  void Renew() {
    requests_.Renew(kLease, [this](absl::StatusOr<int64_t> ttl) {
      EXPECT_FALSE(ttl_);
      ttl_ = std::move(ttl);
    });
  }
  void Pass(std::chrono::milliseconds time) {
    clock_.Set(clock_.Now() + time);
    while (executor_.RunOne()) {
    }
  }

  FakeClock clock_;
  testing::FakeMember member_{&clock_};
  ManualExecutor executor_{&clock_};
  FakeCalls calls_;
  Ports ports_{.clock = &clock_, .apply_executor = &executor_, .calls = &calls_, .logger = &NullLogger()};
  LeaseRequests requests_{&member_, &member_.leases(), ports_};
  std::optional<absl::StatusOr<int64_t>> ttl_;
};

TEST_F(LeaseRequestsTest, TheLeaderRenewsByItself) {
  Renew();
  EXPECT_EQ(ttl_->value(), 60);
  EXPECT_EQ(calls_.asked, 0);
}

TEST_F(LeaseRequestsTest, AFollowerAsksTheLeader) {
  Follow(MemberId(2));
  calls_.on_renew = [](const std::string& url, LeaseId id) -> absl::StatusOr<int64_t> {
    EXPECT_EQ(url, "http://leader");
    EXPECT_EQ(id, kLease);
    return 33;
  };
  Renew();
  EXPECT_EQ(ttl_->value(), 33);
}

TEST_F(LeaseRequestsTest, AFollowerTriesUntilTheLeaderAnswers) {
  Follow(MemberId(2));
  Renew();
  Pass(std::chrono::milliseconds(50));
  Pass(std::chrono::milliseconds(50));
  EXPECT_FALSE(ttl_);
  EXPECT_EQ(calls_.asked, 3);
  calls_.on_renew = [](const std::string&, LeaseId) { return lease::NotFoundError(); };
  Pass(std::chrono::milliseconds(50));
  EXPECT_EQ(ttl_->status(), lease::NotFoundError());
}

TEST_F(LeaseRequestsTest, GivesUpWithTheReason) {
  Follow(MemberId(0));
  Renew();
  for (int i = 0; i < 200 && !ttl_; ++i) Pass(std::chrono::milliseconds(50));
  EXPECT_EQ(ttl_->status(), NoLeaderError());
  ttl_.reset();
  Follow(MemberId(2));
  Renew();
  for (int i = 0; i < 200 && !ttl_; ++i) Pass(std::chrono::milliseconds(50));
  EXPECT_EQ(ttl_->status(), TimeoutError());
}

TEST_F(LeaseRequestsTest, GoesToTheNewLeader) {
  Follow(MemberId(0));
  Renew();
  Follow(MemberId(2));
  calls_.on_renew = [](const std::string&, LeaseId) { return 60; };
  Pass(std::chrono::milliseconds(50));
  EXPECT_EQ(ttl_->value(), 60);
}

TEST_F(LeaseRequestsTest, WhatIsEndingIsNotToldToBeOverBeforeItIs) {
  Renew();
  EXPECT_EQ(ttl_->value(), 60);
  ttl_.reset();
  clock_.Set(clock_.Now() + std::chrono::seconds(61));
  Renew();
  EXPECT_FALSE(ttl_);
  ASSERT_TRUE(member_.leases().Remove(kLease).ok());
  Pass(std::chrono::milliseconds(50));
  EXPECT_EQ(ttl_->status(), lease::NotFoundError());
}

TEST_F(LeaseRequestsTest, ALeaderThatIsNotPrimaryYetWaits) {
  member_.leases().Demote();
  Renew();
  EXPECT_FALSE(ttl_);
  member_.leases().Promote(std::chrono::nanoseconds(0));
  Pass(std::chrono::milliseconds(50));
  EXPECT_EQ(ttl_->value(), 60);
}

TEST_F(LeaseRequestsTest, WhatWaitsIsToldOfTheStop) {
  Follow(MemberId(0));
  Renew();
  requests_.Stop();
  EXPECT_EQ(ttl_->status(), StoppedError());
  ttl_.reset();
  Renew();
  EXPECT_EQ(ttl_->status(), StoppedError());
  Pass(std::chrono::milliseconds(100));
}

TEST_F(LeaseRequestsTest, AsksHowLongALeaseLives) {
  auto ask = [this](LeaseId id) {
    std::optional<absl::StatusOr<lease::LeaseView>> view;
    requests_.TimeToLive(id, true, [&view](absl::StatusOr<lease::LeaseView> got) { view = std::move(got); });
    return *view;
  };
  EXPECT_EQ(ask(kLease)->granted_ttl_seconds, 60);
  EXPECT_EQ(ask(LeaseId(8)).status(), lease::NotFoundError());
  Follow(MemberId(2));
  calls_.on_time_to_live = [](const std::string&, LeaseId id) {
    return lease::LeaseView{.id = id, .granted_ttl_seconds = 5};
  };
  EXPECT_EQ(ask(kLease)->granted_ttl_seconds, 5);
}

}  // namespace
}  // namespace kvorum::member
