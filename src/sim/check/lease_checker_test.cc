#include "sim/check/lease_checker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/check/testing/story.h"

namespace kvorum::sim {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using testing::Delete;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::kSecond;
using testing::Put;
using testing::Story;

/// A lease 7 of 10 s, granted in the first tenth of a second, with the key "a".
class LeaseChecker : public ::testing::Test {
 protected:
  LeaseChecker() {
    story_.history.leases.push_back(
        {.id = 7, .ttl_seconds = 10, .granted_invoked = 0, .granted = kSecond / 10, .renewals = {}});
    story_.Wait(kSecond / 10);
    story_.Do(Put("a", "1", 7));
    rules_.most_late = 2 * kSecond;
    rules_.request_lifetime = 5 * kSecond;
  }

  LeaseHistory& lease() { return story_.history.leases[0]; }
  void At(double seconds) { story_.Wait(Seconds(seconds) - story_.now()); }
  static Instant Seconds(double seconds) { return static_cast<Instant>(seconds * 1e9); }
  void Renew(double invoked, double returned, int64_t ttl = 10) {
    lease().renewals.push_back({Seconds(invoked), returned < 0 ? kNever : Seconds(returned), ttl});
  }
  Violations Check() {
    const KvVerdict kv = story_.Check();
    EXPECT_THAT(kv.violations, IsEmpty());
    Violations none;
    const KvModel model(story_.history.revisions, &none);
    rules_.end_of_run = story_.now();
    return CheckLeases(story_.history, model, kv, rules_);
  }
  void ExpectCaught(const std::string& what) {
    EXPECT_THAT(Check(), ElementsAre(AllOf(HasSubstr("lease 7"), HasSubstr(what))));
  }

  Story story_;
  LeaseRules rules_;
};

TEST_F(LeaseChecker, FindsNothingInAGoodLife) {
  Renew(5, 5.1);
  At(15.5);
  story_.EndLease(7);
  Renew(16, 16.1, 0);
  At(60);
  story_.Refuse(Put("b", "2", 7), "etcdserver: requested lease not found");
  EXPECT_THAT(Check(), IsEmpty());
}

TEST_F(LeaseChecker, CatchesAnEarlyEnd) {
  Renew(5, 5.1);
  At(14.9);
  story_.EndLease(7);
  ExpectCaught(
      "it ended at revision 3, seen at 14.900000s; alive at 5.000000s, it had to live until 15.000000s");
  rules_.clock_drift = 0.02;
  EXPECT_THAT(Check(), IsEmpty());
}

TEST_F(LeaseChecker, TakesARevocationForAReason) {
  lease().revoke_invoked = Seconds(3);
  At(3.1);
  story_.EndLease(7);
  lease().revoked = Seconds(3.2);
  lease().revoked_revision = 3;
  EXPECT_THAT(Check(), IsEmpty());
}

TEST_F(LeaseChecker, CatchesALateEnd) {
  At(12.2);
  story_.EndLease(7);
  ExpectCaught("it ended at revision 3, seen at 12.200000s; it had to be over by 12.100000s");
  rules_.clock_drift = 0.02;
  EXPECT_THAT(Check(), IsEmpty());
  rules_.clock_drift = 0;
  Renew(4, -1);
  EXPECT_THAT(Check(), IsEmpty());
}

TEST_F(LeaseChecker, CountsAnewAfterADisturbance) {
  At(25);
  story_.EndLease(7);
  ExpectCaught("it had to be over by 12.100000s");
  rules_.disturbances = {{.begin = Seconds(12), .end = Seconds(13)}};
  EXPECT_THAT(Check(), IsEmpty());
  rules_.disturbances = {{.begin = Seconds(13), .end = Seconds(14)}};
  ExpectCaught("it had to be over by 12.100000s");
}

TEST_F(LeaseChecker, CatchesAKeyThatOutlivesItsLease) {
  At(12);
  EXPECT_THAT(Check(), IsEmpty());
  At(13);
  ExpectCaught("it had to be over by 12.100000s, but \"a\" is there to the end");
}

TEST_F(LeaseChecker, CatchesAKeyThatARevocationLeft) {
  story_.Do(Delete("a"));
  story_.Do(Put("b", "2", 7));
  lease().revoke_invoked = Seconds(1);
  lease().revoked = Seconds(1.1);
  lease().revoked_revision = 3;
  ExpectCaught("revision 4 attaches a key to it after it was revoked by revision 3");
  lease().revoked_revision = 4;
  ExpectCaught("it was revoked by revision 4, but \"b\" is still attached");
  lease().revoked_revision = 5;
  ExpectCaught("it was revoked at revision 5, the last one is 4");
}

TEST_F(LeaseChecker, CatchesALeaseRevivedAfterItsRevocation) {
  lease().revoke_invoked = Seconds(1);
  At(1.05);
  story_.EndLease(7);
  lease().revoked = Seconds(1.1);
  Renew(1.2, 1.3);
  EXPECT_THAT(Check(), ElementsAre(HasSubstr("was accepted after it was revoked"),
                                   HasSubstr("was accepted after its end at revision 3")));
}

TEST_F(LeaseChecker, CatchesAnAttachmentToWhatIsOver) {
  At(11);
  story_.EndLease(7);
  story_.Do(Put("b", "2", 7));
  ExpectCaught("revision 4 attaches a key to it after its end at revision 3");
  story_.EndLease(7);
  EXPECT_THAT(Check(), Contains(HasSubstr("it ended at revision 3, and again at revision 5")));
}

TEST_F(LeaseChecker, CatchesAnAttachmentWhenItHadToBeOver) {
  story_.Do(Delete("a"));
  At(13);
  story_.Do(Put("b", "2", 7));
  story_.Do(Delete("b"));
  ExpectCaught("although it had to be over by 12.100000s");
  lease().revoke_invoked = lease().revoked = Seconds(12);
  EXPECT_THAT(Check(), Contains(HasSubstr("revoked by 12.000000s")));
}

TEST_F(LeaseChecker, CatchesARenewalWhenItHadToBeOver) {
  story_.Do(Delete("a"));
  Renew(13, 13.1);
  ExpectCaught("was accepted, although it had to be over by 12.100000s");
}

TEST_F(LeaseChecker, CatchesADenialWithoutAReason) {
  Renew(5, 5.1);
  Renew(14, 14.9, 0);
  ExpectCaught(
      "the renewal of 14.000000s to 14.900000s was told that it is over, at 15.000000s at the earliest");
  lease().renewals[1].returned = Seconds(15);
  EXPECT_THAT(Check(), IsEmpty());
}

TEST_F(LeaseChecker, CatchesARenewalAfterADenial) {
  lease().revoke_invoked = Seconds(1);
  Renew(1, 1.1, 0);
  Renew(1.2, 1.3);
  ExpectCaught("was accepted after the renewal of 1.000000s to 1.100000s was told that it is over");
}

TEST_F(LeaseChecker, CatchesAnotherTtlThanTheOneGranted) {
  Renew(1, 1.1, 9);
  ExpectCaught("was given 9 s");
}

TEST_F(LeaseChecker, CatchesARefusalWithoutAReason) {
  story_.Refuse(Put("b", "2", 7), "etcdserver: requested lease not found");
  EXPECT_THAT(Check(), ElementsAre(AllOf(HasSubstr("#1"), HasSubstr("although its leases were there"))));
  story_.op(1).request = Put("b", "2", 8);
  EXPECT_THAT(Check(), IsEmpty());
}

TEST_F(LeaseChecker, CatchesWhatHappenedBeforeTheGrant) {
  lease().granted_invoked = Seconds(1);
  lease().granted = Seconds(1.1);
  Renew(0.1, 0.2);
  story_.history.revisions[0].seen = Seconds(0.3);
  EXPECT_THAT(Check(), ElementsAre(HasSubstr("was accepted before it was granted"),
                                   HasSubstr("attaches a key to it before it was granted")));
}

TEST_F(LeaseChecker, CatchesALeaseThatNobodyGranted) {
  story_.history.leases.clear();
  At(11);
  story_.EndLease(7);
  EXPECT_THAT(Check(), ElementsAre("revision 3 ends lease 7, which nobody granted",
                                   "revision 2 attaches \"a\" to lease 7, which nobody granted"));
}

}  // namespace
}  // namespace kvorum::sim
