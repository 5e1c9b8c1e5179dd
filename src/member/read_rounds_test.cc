#include "member/read_rounds.h"

#include "gtest/gtest.h"
#include "member/errors.h"

namespace kvorum::member {
namespace {

using raft::Index;
using std::chrono::milliseconds;

class ReadRoundsTest : public ::testing::Test {
 protected:
  void Add(int id, MonotonicTime deadline = MonotonicTime::max()) {
    PendingRead read{.deadline = deadline,
                     .done = [this, id](absl::Status status) { told_[id] = status; },
                     .overdue = TimeoutError()};
    EXPECT_TRUE(rounds_.Add(read));
  }

  Metrics metrics_{nullptr, MemberId(1), std::make_shared<SharedState>(), 0};
  ReadRounds rounds_{&metrics_, 0};
  MonotonicTime now_;
  std::map<int, absl::Status> told_;
};

TEST_F(ReadRoundsTest, OneRoundServesAllThatWaitedWhenItStarted) {
  EXPECT_TRUE(rounds_.Ask(now_).is_null());
  Add(1);
  Add(2);
  const Bytes first = rounds_.Ask(now_);
  ASSERT_EQ(first.size(), 8u);
  Add(3);
  EXPECT_TRUE(rounds_.Ask(now_).is_null());
  rounds_.OnAnswer({.index = Index(5), .context = first}, Index(0));
  rounds_.OnApplied(Index(4));
  EXPECT_TRUE(told_.empty());
  rounds_.OnApplied(Index(5));
  EXPECT_EQ(told_.size(), 2u);
  const Bytes second = rounds_.Ask(now_);
  EXPECT_NE(second.view(), first.view());
  rounds_.OnAnswer({.index = Index(5), .context = first}, Index(0));
  rounds_.OnApplied(Index(5));
  EXPECT_FALSE(told_.contains(3));
  rounds_.OnAnswer({.index = Index(5), .context = second}, Index(0));
  rounds_.OnApplied(Index(5));
  EXPECT_TRUE(told_.at(3).ok());
}

TEST_F(ReadRoundsTest, AsksAgainWhenNobodyAnswers) {
  Add(1);
  const Bytes context = rounds_.Ask(now_);
  EXPECT_TRUE(rounds_.AskAgain(now_ + milliseconds(499)).is_null());
  EXPECT_TRUE(rounds_.Ask(now_ + milliseconds(500)).is_null());
  const Bytes again = rounds_.AskAgain(now_ + milliseconds(500));
  EXPECT_NE(again.view(), context.view());
  EXPECT_EQ(metrics_.slow_read_indexes.value(), 1u);
  rounds_.OnAnswer({.index = Index(5), .context = context}, Index(5));
  EXPECT_TRUE(told_.at(1).ok()) << "the first answer comes late";
  Add(2);
  EXPECT_FALSE(rounds_.Ask(now_).is_null());
  rounds_.OnAnswer({.index = Index(5), .context = again}, Index(5));
  EXPECT_FALSE(told_.contains(2)) << "it is the answer of the round before";
}

TEST_F(ReadRoundsTest, ANewLeaderFailsTheRoundUnderWayOnly) {
  Add(1);
  (void)rounds_.Ask(now_);
  Add(2);
  rounds_.OnLeaderChange();
  EXPECT_EQ(told_.at(1), LeaderChangedError());
  EXPECT_FALSE(told_.contains(2));
  EXPECT_FALSE(rounds_.Ask(now_).is_null());
}

TEST_F(ReadRoundsTest, WhatIsAppliedAlreadyIsToldAtOnce) {
  Add(1);
  rounds_.OnAnswer({.index = Index(5), .context = rounds_.Ask(now_)}, Index(5));
  EXPECT_TRUE(told_.at(1).ok());
  EXPECT_FALSE(rounds_.waiting());
}

TEST_F(ReadRoundsTest, TakesNothingAfterItsEnd) {
  Add(1);
  rounds_.OnAnswer({.index = Index(5), .context = rounds_.Ask(now_)}, Index(0));
  Add(2);
  (void)rounds_.Ask(now_);
  Add(3);
  rounds_.FailAll(StoppedError());
  ASSERT_EQ(told_.size(), 3u);
  for (const auto& [id, status] : told_) EXPECT_EQ(status, StoppedError()) << id;
  PendingRead late;
  EXPECT_FALSE(rounds_.Add(late));
  EXPECT_TRUE(rounds_.Ask(now_).is_null());
}

TEST_F(ReadRoundsTest, TimesOutWhereverAReadWaits) {
  Add(1, now_ + milliseconds(10));
  rounds_.OnAnswer({.index = Index(5), .context = rounds_.Ask(now_)}, Index(0));
  Add(2, now_ + milliseconds(10));
  (void)rounds_.Ask(now_);
  Add(3, now_ + milliseconds(10));
  rounds_.OnTick(now_ + milliseconds(9));
  EXPECT_TRUE(told_.empty());
  rounds_.OnTick(now_ + milliseconds(10));
  ASSERT_EQ(told_.size(), 3u);
  for (const auto& [id, status] : told_) EXPECT_EQ(status, TimeoutError()) << id;
}

}  // namespace
}  // namespace kvorum::member
