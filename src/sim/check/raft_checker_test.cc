#include "sim/check/raft_checker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kvorum::sim {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Kind = LogEvent::Kind;

class RaftChecker : public ::testing::Test {
 protected:
  void Start(uint64_t member, uint64_t index = 0, uint64_t entry_term = 0) {
    history_.logs.push_back({MemberId(member), Kind::kStarted, 0, index, entry_term, 0});
  }
  /// An entry of the term that its content says, unless another content is given.
  void Write(uint64_t member, uint64_t term, uint64_t index, uint64_t entry_term, uint64_t content = 0) {
    if (content == 0) content = entry_term * 100 + index;
    history_.logs.push_back({MemberId(member), Kind::kWrote, term, index, entry_term, content});
  }
  void Install(uint64_t member, uint64_t index, uint64_t entry_term) {
    history_.logs.push_back({MemberId(member), Kind::kInstalled, 0, index, entry_term, 0});
  }
  void Lead(uint64_t member, uint64_t term, uint64_t commit) {
    history_.logs.push_back({MemberId(member), Kind::kLed, term, commit, 0, 0});
  }
  void ExpectCaught(const std::string& what) {
    EXPECT_THAT(CheckRaft(history_), ElementsAre(HasSubstr(what)));
  }

  History history_;
};

TEST_F(RaftChecker, FindsNothingInAGoodRun) {
  for (const uint64_t member : {1, 2, 3}) Start(member);
  for (const uint64_t member : {1, 2}) Write(member, 1, 1, 1);
  Lead(1, 1, 1);
  Write(1, 1, 2, 1);  // nobody else has it
  Lead(2, 2, 1);
  Write(2, 2, 2, 2);
  Install(3, 1, 1);
  Write(3, 2, 2, 2);
  Lead(2, 2, 2);
  Write(1, 2, 2, 2);  // replaces what it wrote as the leader of term 1
  Start(1, 1, 1);
  Write(1, 2, 2, 2);
  Lead(1, 3, 2);
  history_.applied.push_back({MemberId(3), AppliedEntry::How::kEntry, 2, 2, 0, 0});
  EXPECT_THAT(CheckRaft(history_), IsEmpty());
}

TEST_F(RaftChecker, FindsTwoLeadersOfATerm) {
  Lead(1, 4, 0);
  Lead(2, 4, 0);
  ExpectCaught("election safety: 1 and 2 both lead term 4");
}

TEST_F(RaftChecker, FindsALeaderThatReplacesAnEntry) {
  Write(1, 1, 1, 1);
  Lead(1, 1, 0);
  Write(1, 1, 1, 1);
  ExpectCaught("leader append-only: 1 leads term 1 and replaced entry 1");
}

TEST_F(RaftChecker, FindsEntriesThatDoNotMatch) {
  Write(1, 1, 1, 1);
  Write(2, 1, 1, 1, 77);
  ExpectCaught("log matching: entry 1 of term 1");
}

TEST_F(RaftChecker, FindsAnEntryBehindAnotherOne) {
  Write(1, 2, 1, 1);
  Write(1, 2, 2, 2);
  Write(2, 2, 1, 2);
  Write(2, 2, 2, 2);
  ExpectCaught("behind term 2 in the log of 2");
}

TEST_F(RaftChecker, FindsFallingTerms) {
  Write(1, 2, 1, 2);
  Write(1, 2, 2, 1);
  ExpectCaught("log matching: the terms in the log of 1 fall at entry 2");
}

TEST_F(RaftChecker, FindsALeaderWithoutACommittedEntry) {
  Write(1, 1, 1, 1);
  Lead(1, 1, 1);
  Lead(2, 2, 0);
  ExpectCaught("leader completeness: 2 leads term 2 without entry 1 of term 1, committed in 1");
}

TEST_F(RaftChecker, LetsALeaderLackWhatALaterOneCommits) {
  Lead(2, 2, 0);
  Write(1, 3, 1, 3);
  Lead(1, 3, 1);
  EXPECT_THAT(CheckRaft(history_), IsEmpty());
}

TEST_F(RaftChecker, FindsTwoCommittedEntries) {
  Write(1, 1, 1, 1);
  Lead(1, 1, 1);
  Write(2, 2, 1, 2);
  Lead(2, 2, 1);
  EXPECT_THAT(CheckRaft(history_),
              Contains(HasSubstr("state machine safety: 2 committed entry 1 of term 2")));
}

TEST_F(RaftChecker, FindsACommitBeyondTheLog) {
  Write(1, 1, 1, 1);
  Lead(1, 1, 2);
  ExpectCaught("1, which leads term 1, told that entry 2 is committed, and has it not");
}

TEST_F(RaftChecker, FindsAnAppliedEntryThatWasNotCommitted) {
  Write(1, 1, 1, 1);
  Lead(1, 1, 1);
  history_.applied.push_back({MemberId(2), AppliedEntry::How::kEntry, 1, 9, 0, 0});
  ExpectCaught("state machine safety: 2 applied entry 1 of term 9");
}

TEST_F(RaftChecker, FindsAGapInALog) {
  Write(1, 1, 3, 1);
  ExpectCaught("1 wrote entry 3 to a log of the entries 1 to 0");
}

}  // namespace
}  // namespace kvorum::sim
