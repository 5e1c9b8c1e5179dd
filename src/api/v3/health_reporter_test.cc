#include "api/v3/health_reporter.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "member/testing/fake_member.h"
#include "member/testing/fakes.h"

namespace kvorum::api_v3 {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;

class HealthReporterTest : public ::testing::Test {
 protected:
  HealthReporterTest() { reporter_.Start(); }

  template <typename F>
  void Change(F change) {
    member::MemberStatus status = member_.status();
    change(status);
    member_.SetStatus(status);
  }
  void Pass(milliseconds time) {
    for (milliseconds passed(0); passed < time; passed += milliseconds(50)) {
      clock_.Set(clock_.Now() + milliseconds(50));
      while (executor_.RunOne()) {
      }
    }
  }

  member::testing::FakeMember member_;
  member::FakeClock clock_;
  member::ManualExecutor executor_{&clock_};
  std::vector<bool> reports_;
  HealthReporter reporter_{
      {.member = &member_, .executor = &executor_, .logger = &NullLogger(), .report = [this](bool serving) {
         reports_.push_back(serving);
       }}};
};

TEST_F(HealthReporterTest, ServesAtOnceAndUntilTheStop) {
  Pass(milliseconds(5000));
  EXPECT_THAT(reports_, ElementsAre(true));
  reporter_.Stop();
  Pass(milliseconds(5000));
  EXPECT_THAT(reports_, ElementsAre(true, false));
}

TEST_F(HealthReporterTest, AnElectionIsNoReasonButNoLeaderIs) {
  Change([](member::MemberStatus& status) { status.leader = MemberId(0); });
  Pass(milliseconds(700));
  EXPECT_THAT(reports_, ElementsAre(true));
  Pass(milliseconds(1000));
  EXPECT_THAT(reports_, ElementsAre(true, false));
  Change([](member::MemberStatus& status) { status.leader = MemberId(5); });
  Pass(milliseconds(300));
  EXPECT_THAT(reports_, ElementsAre(true, false, true));
}

TEST_F(HealthReporterTest, AStuckDiskIsAReason) {
  Change([](member::MemberStatus& status) { status.disk_stalled = true; });
  Pass(milliseconds(300));
  Change([](member::MemberStatus& status) { status.disk_stalled = false; });
  Pass(milliseconds(300));
  EXPECT_THAT(reports_, ElementsAre(true, false, true));
}

}  // namespace
}  // namespace kvorum::api_v3
