#include "cmd/kvorum/auto_compactor.h"

#include <map>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kvorum::cmd {
namespace {

using std::chrono::minutes;
using testing::ElementsAre;
using testing::IsEmpty;

/// An executor whose time stands still until it is moved.
class HandExecutor final : public Executor, public Clock {
 public:
  void Post(Task task) override { timers_.emplace(now_, std::move(task)); }
  TimerId PostAt(MonotonicTime deadline, Task task) override {
    timers_.emplace(deadline, std::move(task));
    return 1;
  }
  void CancelTimer(TimerId) override { timers_.clear(); }
  const Clock& clock() const override { return *this; }
  MonotonicTime Now() const override { return now_; }
  WallTime WallNow() const override { return {}; }

  void Advance(std::chrono::nanoseconds by) {
    const MonotonicTime until = now_ + by;
    while (!timers_.empty() && timers_.begin()->first <= until) {
      auto first = timers_.extract(timers_.begin());
      now_ = std::max(now_, first.key());
      first.mapped()();
    }
    now_ = until;
  }

 private:
  MonotonicTime now_{std::chrono::hours(1)};
  std::multimap<MonotonicTime, Task> timers_;
};

class CmdAutoCompactor : public testing::Test {
 protected:
  void Start(const AutoCompactor::Options& options) {
    compactor_ = std::make_unique<AutoCompactor>(
        options,
        AutoCompactor::Store{.current_revision = [this] { return revision_; },
                             .is_leader = [this] { return leader_; },
                             .compact =
                                 [this](int64_t revision, absl::AnyInvocable<void(absl::Status)> done) {
                                   compacted_.push_back(revision);
                                   done(result_);
                                 }},
        &executor_, &NullLogger());
    compactor_->Start();
  }

  HandExecutor executor_;
  int64_t revision_ = 10;
  bool leader_ = true;
  absl::Status result_;
  std::vector<int64_t> compacted_;
  std::unique_ptr<AutoCompactor> compactor_;
};

TEST_F(CmdAutoCompactor, CompactsToTheRevisionOfOnePeriodAgo) {
  Start({.period = minutes(10)});
  executor_.Advance(minutes(5));
  revision_ = 50;
  executor_.Advance(minutes(4));
  EXPECT_THAT(compacted_, IsEmpty());
  executor_.Advance(minutes(1));
  EXPECT_THAT(compacted_, ElementsAre(10));
  executor_.Advance(minutes(9));
  EXPECT_THAT(compacted_, ElementsAre(10));
  executor_.Advance(minutes(1));
  EXPECT_THAT(compacted_, ElementsAre(10, 50));
}

TEST_F(CmdAutoCompactor, LongPeriodsAreCompactedEveryHour) {
  Start({.period = std::chrono::hours(3)});
  for (int i = 0; i < 5; ++i) {
    revision_ += 10;
    executor_.Advance(std::chrono::hours(1));
  }
  EXPECT_THAT(compacted_, ElementsAre(10, 20, 30));
}

TEST_F(CmdAutoCompactor, AnUnchangedRevisionIsLeftAlone) {
  Start({.period = minutes(10)});
  executor_.Advance(minutes(100));
  EXPECT_THAT(compacted_, ElementsAre(10));
}

TEST_F(CmdAutoCompactor, AFailureIsTriedAgainAtTheNextLook) {
  result_ = absl::UnavailableError("no leader");
  Start({.period = minutes(10)});
  executor_.Advance(minutes(11));
  EXPECT_THAT(compacted_, ElementsAre(10, 10));
  result_ = absl::OutOfRangeError("compacted already");
  executor_.Advance(minutes(5));
  EXPECT_THAT(compacted_, ElementsAre(10, 10, 10));
}

TEST_F(CmdAutoCompactor, OnlyTheLeaderCompacts) {
  leader_ = false;
  Start({.period = minutes(10)});
  executor_.Advance(minutes(30));
  EXPECT_THAT(compacted_, IsEmpty());
}

TEST_F(CmdAutoCompactor, ByCountKeepsSoManyRevisions) {
  Start({.revisions = 100});
  executor_.Advance(minutes(5));
  EXPECT_THAT(compacted_, IsEmpty());
  revision_ = 150;
  executor_.Advance(minutes(10));
  EXPECT_THAT(compacted_, ElementsAre(50));
}

}  // namespace
}  // namespace kvorum::cmd
