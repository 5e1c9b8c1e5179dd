#include "sim/check/member_checker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kvorum::sim {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using How = AppliedEntry::How;
using Kind = DurabilityEvent::Kind;

class MemberChecker : public ::testing::Test {
 protected:
  void Apply(uint64_t member, uint64_t index, uint64_t term, uint64_t content) {
    history_.applied.push_back({MemberId(member), How::kEntry, index, term, content, 0});
  }
  void Snapshot(uint64_t member, uint64_t index, uint64_t term) {
    history_.applied.push_back({MemberId(member), How::kSnapshot, index, term, 0, 0});
  }
  void Start(uint64_t member, uint64_t index, uint64_t durable_index) {
    history_.applied.push_back({MemberId(member), How::kStart, index, 0, 0, durable_index});
  }
  void Disk(Kind kind, uint64_t index, uint64_t term, uint64_t vote = 0) {
    history_.durability.push_back({MemberId(1), kind, index, term, vote});
  }
  void ExpectCaught(const std::string& what) {
    EXPECT_THAT(CheckMembers(history_), ElementsAre(HasSubstr(what)));
  }
  void ExpectNothing() { EXPECT_THAT(CheckMembers(history_), IsEmpty()); }

  History history_;
};

TEST_F(MemberChecker, FindsNothingInAGoodRun) {
  for (uint64_t member : {1, 2}) {
    Start(member, 0, 0);
    for (uint64_t index = 1; index < 4; ++index) Apply(member, index, 1, index * 100);
  }
  Start(2, 1, 1);
  Apply(2, 2, 1, 200);
  Start(3, 0, 0);
  Snapshot(3, 3, 1);
  Apply(3, 4, 2, 400);
  history_.hashes = {
      {MemberId(1), 5, -1, 77}, {MemberId(2), 5, -1, 77}, {MemberId(3), 5, 2, 78}, {MemberId(3), 6, 2, 79}};
  Disk(Kind::kStarted, 0, 0);
  Disk(Kind::kSynced, 0, 1, 9);
  Disk(Kind::kVoted, 0, 1, 9);
  Disk(Kind::kSynced, 3, 1, 9);
  Disk(Kind::kAcknowledged, 3, 1);
  Disk(Kind::kSyncFailed, 0, 0);
  Disk(Kind::kStarted, 3, 1, 9);
  Disk(Kind::kAcknowledged, 2, 1);
  ExpectNothing();
}

TEST_F(MemberChecker, CatchesEntriesThatDiffer) {
  Apply(1, 1, 1, 100);
  Apply(2, 1, 1, 101);
  ExpectCaught(
      "member 2 applied entry 1 as of term 1 with content 65; member 1 applied it as of term 1 with content "
      "64");
  history_.applied.pop_back();
  Apply(2, 1, 2, 100);
  ExpectCaught("as of term 2");
}

TEST_F(MemberChecker, CatchesASnapshotOfAnotherTerm) {
  Apply(1, 1, 1, 100);
  Snapshot(2, 1, 2);
  ExpectCaught("a snapshot of entry 1 says that it is of term 2");
}

TEST_F(MemberChecker, CatchesAnEntryThatIsSkippedOrRepeated) {
  Apply(1, 1, 1, 100);
  Apply(1, 3, 1, 300);
  ExpectCaught("member 1 applied entry 3 after entry 1");
  history_.applied.pop_back();
  Apply(1, 1, 1, 100);
  ExpectCaught("member 1 applied entry 1 after entry 1");
}

TEST_F(MemberChecker, CatchesASnapshotThatLeadsBack) {
  Apply(1, 5, 1, 500);
  Snapshot(1, 5, 1);
  ExpectCaught("member 1 installed a snapshot of entry 5, and had applied 5");
}

TEST_F(MemberChecker, CatchesAStartFromTheWrongPlace) {
  Apply(1, 5, 1, 500);
  Start(1, 3, 4);
  ExpectCaught("member 1 started with entry 3 applied, although 4 was on its disk");
  history_.applied.pop_back();
  Start(1, 6, 0);
  ExpectCaught("member 1 started with entry 6 applied, and had applied 5 at most");
}

TEST_F(MemberChecker, CatchesHashesThatDiffer) {
  history_.hashes = {{MemberId(1), 5, 2, 0x77}, {MemberId(2), 5, 2, 0x78}};
  ExpectCaught("member 2 has hash 00000078 at revision 5, compacted at 2; member 1 has 00000077");
}

TEST_F(MemberChecker, CatchesAnAcknowledgementBeforeTheSync) {
  Disk(Kind::kSynced, 3, 2);
  Disk(Kind::kAcknowledged, 4, 2);
  ExpectCaught("member 1 told that it has entry 4 in term 2, with 3 and term 2 on its disk");
  history_.durability.pop_back();
  Disk(Kind::kAcknowledged, 3, 3);
  ExpectCaught("in term 3");
}

TEST_F(MemberChecker, TakesLateAcknowledgementsOfWhatALaterLeaderReplaced) {
  Disk(Kind::kSynced, 6, 2);
  Disk(Kind::kReplaced, 3, 0);
  Disk(Kind::kSynced, 4, 3);
  Disk(Kind::kAcknowledged, 6, 2);
  Disk(Kind::kAcknowledged, 7, 2);  // it never came to the disk
  ExpectNothing();
  Disk(Kind::kApplied, 7, 2);
  ExpectCaught("member 1 applied entry 7 in term 2, with 4 and term 3 on its disk");
  history_.durability.pop_back();
  Disk(Kind::kAcknowledged, 5, 3);
  ExpectCaught("member 1 told that it has entry 5 in term 3, with 4 and term 3 on its disk");
}

TEST_F(MemberChecker, CatchesLateAcknowledgementsOfWhatNobodyReplaced) {
  Disk(Kind::kSynced, 3, 2);
  Disk(Kind::kSynced, 3, 3);
  Disk(Kind::kAcknowledged, 4, 2);
  ExpectCaught("member 1 told that it has entry 4 in term 2, with 3 and term 3 on its disk");
}

TEST_F(MemberChecker, CatchesAVoteThatIsNotOnTheDisk) {
  Disk(Kind::kSynced, 3, 2, 8);
  Disk(Kind::kVoted, 0, 2, 9);
  ExpectCaught("member 1 told 9 that it votes for it in term 2, with a vote for 8 in term 2 on its disk");
  history_.durability.pop_back();
  Disk(Kind::kVoted, 0, 3, 8);
  ExpectCaught("votes for it in term 3");
}

TEST_F(MemberChecker, CatchesTwoVotesInATerm) {
  Disk(Kind::kSynced, 0, 2, 8);
  Disk(Kind::kVoted, 0, 2, 8);
  Disk(Kind::kSynced, 0, 2, 9);
  Disk(Kind::kVoted, 0, 2, 9);
  ExpectCaught("member 1 voted for 8 and for 9 in term 2");
}

TEST_F(MemberChecker, CatchesWordsAfterAFailedSync) {
  Disk(Kind::kSynced, 3, 2, 8);
  Disk(Kind::kSyncFailed, 0, 0);
  Disk(Kind::kAcknowledged, 3, 2);
  ExpectCaught("member 1 told others of entry 3 in term 2 after a write of its log had failed");
  history_.durability.pop_back();
  Disk(Kind::kVoted, 0, 2, 8);
  ExpectCaught("of its vote in term 2 after");
  history_.durability.pop_back();
  Disk(Kind::kSynced, 4, 2, 8);
  ExpectCaught("member 1 wrote to its log after a write of it had failed");
}

TEST_F(MemberChecker, FindsWhatARestartLost) {
  Disk(Kind::kStarted, 0, 0);
  Disk(Kind::kSynced, 5, 2, 7);
  Disk(Kind::kStarted, 4, 2, 7);
  ExpectCaught("started with a log up to 4, although it had 5 on its disk");
}

TEST_F(MemberChecker, FindsAVoteThatARestartLost) {
  Disk(Kind::kStarted, 0, 0);
  Disk(Kind::kSynced, 5, 2, 7);
  Disk(Kind::kStarted, 5, 2, 0);
  ExpectCaught("started with a vote for 0 in term 2, although it had one for 7 in term 2");
}

TEST_F(MemberChecker, LetsAWriteUnderWayReplaceWhatWasSynced) {
  Disk(Kind::kStarted, 0, 0);
  Disk(Kind::kSynced, 5, 2, 7);
  Disk(Kind::kReplaced, 3, 0);
  Disk(Kind::kStarted, 4, 3, 0);
  ExpectNothing();
}

TEST_F(MemberChecker, LetsAPromiseOfAnEarlierTermBeLate) {
  Disk(Kind::kStarted, 0, 0);
  Disk(Kind::kSynced, 5, 2, 7);
  Disk(Kind::kSynced, 3, 3, 0);
  Disk(Kind::kAcknowledged, 5, 2);
  ExpectNothing();
  Disk(Kind::kAcknowledged, 5, 3);
  ExpectCaught("entry 5 in term 3");
}

}  // namespace
}  // namespace kvorum::sim
