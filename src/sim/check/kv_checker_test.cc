#include "sim/check/kv_checker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/check/testing/story.h"

namespace kvorum::sim {
namespace {

using etcdserverpb::Compare;
using etcdserverpb::DeleteRangeResponse;
using etcdserverpb::PutResponse;
using etcdserverpb::RangeRequest;
using etcdserverpb::RangeResponse;
using etcdserverpb::TxnRequest;
using etcdserverpb::TxnResponse;
using ::testing::AllOf;
using testing::Compact;
using testing::Delete;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Put;
using testing::Range;
using testing::SerializableRange;
using testing::Story;

const std::string kAll(1, '\0');
constexpr char kCompacted[] = "etcdserver: mvcc: required revision has been compacted";
constexpr char kFuture[] = "etcdserver: mvcc: required revision is a future revision";

/// Where "a" has the value: puts `then`; else reads "a" and deletes `otherwise`.
TxnRequest Swap(const std::string& value, const std::string& then, const std::string& otherwise) {
  TxnRequest txn;
  Compare& compare = *txn.add_compare();
  compare.set_target(Compare::VALUE);
  compare.set_key("a");
  compare.set_value(value);
  *txn.add_success()->mutable_request_put() = Put("a", then);
  *txn.add_success()->mutable_request_put() = Put("z", then + "z");
  *txn.add_failure()->mutable_request_range() = Range("a");
  *txn.add_failure()->mutable_request_delete_range() = Delete(otherwise);
  return txn;
}

TEST(KvChecker, FindsNothingInAGoodHistory) {
  Story story;
  story.Do(Put("a", "1"));
  story.Do(Put("b", "2", 7));
  story.Do(Swap("1", "3", "b"));
  story.Do(Swap("1", "4", "b"));
  story.Do(Delete("b"));
  story.Do(Range("a", kAll, 3));
  story.Do(Compact(4));
  story.Refuse(Range("a", kAll, 3), kCompacted);
  story.Refuse(Range("a", kAll, 100), kFuture);
  story.Refuse(Compact(4), kCompacted);
  story.Do(SerializableRange("a"), 2);
  story.Do(Put("c", "5", 7));
  story.EndLease(7);
  story.DoUnknown(Put("u", "6"));
  story.Lose(Put("v", "7"));
  EXPECT_THAT(story.Violated(), IsEmpty());
}

TEST(KvChecker, TellsWhoMadeEachRevision) {
  Story story;
  const size_t put = story.Do(Put("a", "1", 7));
  story.EndLease(7);
  const size_t unknown = story.DoUnknown(Put("a", "2"));
  const KvVerdict verdict = story.Check();
  EXPECT_THAT(verdict.makers, ElementsAre(put, kNobody, unknown));
  ASSERT_EQ(verdict.lease_ends.size(), 1U);
  EXPECT_EQ(verdict.lease_ends[0].lease, 7);
  EXPECT_EQ(verdict.lease_ends[0].revision, 3);
}

// The sequence of revisions.

TEST(KvChecker, CatchesAVersionThatDoesNotFollow) {
  Story story;
  story.Do(Put("a", "1"));
  story.Do(Put("a", "2"));
  story.event(3).mutable_kv()->set_version(1);
  EXPECT_THAT(story.Violated(),
              ::testing::Contains(HasSubstr("which should be \"a\"=\"2\" create 2 mod 3 version 2")));
}

TEST(KvChecker, CatchesAGapAndADeletionOfNothing) {
  Story story;
  story.Do(Put("a", "1"));
  story.Do(Put("a", "2"));
  Story gap = story;
  gap.history.revisions.erase(gap.history.revisions.begin());
  EXPECT_THAT(gap.Violated(), ::testing::Contains("revision 3 follows revision 1"));
  story.event(2).set_type(mvccpb::Event::DELETE);
  EXPECT_THAT(story.Violated(), ::testing::Contains("revision 2 deletes \"a\", which is not there"));
}

// Writes.

TEST(KvChecker, CatchesALostWrite) {
  Story story;
  story.Do(Put("a", "1"));
  story.Do(Put("a", "2"));
  story.history.revisions.pop_back();
  EXPECT_THAT(story.Violated(),
              ElementsAre(AllOf(HasSubstr("#1"), HasSubstr("revision 3, the last one is 2"))));
}

TEST(KvChecker, CatchesTwoWritesAtOneRevision) {
  Story story;
  story.Do(Put("a", "1"));
  story.Do(Put("a", "1"));
  story.history.revisions.pop_back();
  story.response<PutResponse>(1).mutable_header()->set_revision(2);
  EXPECT_THAT(story.Violated(), ElementsAre(AllOf(HasSubstr("claimed by #0"), HasSubstr("by #1"))));
}

TEST(KvChecker, CatchesAnotherValueThanTheOneAskedFor) {
  Story story;
  story.Do(Put("a", "1"));
  story.event(2).mutable_kv()->set_value("2");
  EXPECT_THAT(story.Violated(),
              ElementsAre(AllOf(HasSubstr("#0"), HasSubstr("it should do put \"a\"=\"1\""))));
}

TEST(KvChecker, CatchesAWrongPreviousPair) {
  Story story;
  story.Do(Put("a", "1"));
  etcdserverpb::PutRequest put = Put("a", "2");
  put.set_prev_kv(true);
  const size_t i = story.Do(put);
  ASSERT_EQ(story.response<PutResponse>(i).prev_kv().value(), "1");
  story.response<PutResponse>(i).mutable_prev_kv()->set_value("0");
  EXPECT_THAT(story.Violated(), ElementsAre(HasSubstr("#1")));
}

TEST(KvChecker, CatchesAWrongCountOfDeletions) {
  Story story;
  story.Do(Put("a", "1"));
  story.Do(Put("b", "2"));
  story.Do(Delete("a", kAll));
  story.response<DeleteRangeResponse>(2).set_deleted(1);
  EXPECT_THAT(story.Violated(), ElementsAre(HasSubstr("#2")));
}

TEST(KvChecker, CatchesADeletionThatFoundNothing) {
  Story story;
  story.Do(Put("a", "1"));
  story.Do(Delete("b"));
  story.history.operations[1].request = Delete("a");
  EXPECT_THAT(story.Violated(),
              ::testing::Contains(AllOf(HasSubstr("#1"), HasSubstr("as if it changed nothing"))));
}

TEST(KvChecker, CatchesTheWrongBranchOfATransaction) {
  Story story;
  story.Do(Put("a", "1"));
  story.Do(Swap("1", "2", "q"));
  std::get<TxnRequest>(story.op(1).request).mutable_compare(0)->set_value("0");
  EXPECT_THAT(story.Violated(), ::testing::Contains(HasSubstr("#1")));
}

TEST(KvChecker, CatchesATransactionThatWasTornApart) {
  Story story;
  story.Do(Put("a", "1"));
  story.Do(Swap("1", "2", "q"));
  story.history.revisions[1].events.pop_back();
  EXPECT_THAT(story.Violated(), ElementsAre(AllOf(HasSubstr("#1"), HasSubstr("it should do put \"a\""))));
}

TEST(KvChecker, CatchesEventsOfARevisionOutOfOrder) {
  Story story;
  story.Do(Put("a", "1"));
  story.Do(Swap("1", "2", "q"));
  std::swap(story.event(3, 0), story.event(3, 1));
  EXPECT_THAT(story.Violated(), ElementsAre(HasSubstr("#1")));
}

// Unknown outcomes.

TEST(KvChecker, CatchesARevisionOfARefusedRequest) {
  Story story;
  story.Do(Put("a", "1"));
  story.op(0).outcome = Operation::Outcome::kRefused;
  story.op(0).error = "etcdserver: too many requests";
  EXPECT_THAT(story.Violated(), ElementsAre(AllOf(HasSubstr("revision 2 was made by nobody"), HasSubstr("#0"),
                                                  HasSubstr("refused"))));
}

TEST(KvChecker, CatchesARequestThatHappenedTwice) {
  Story story;
  story.DoUnknown(Put("a", "1"));
  story.DoUnknown(Put("a", "1"));
  story.history.operations.pop_back();
  EXPECT_THAT(story.Violated(), ElementsAre(AllOf(HasSubstr("revision 3 was made by nobody"), HasSubstr("#0"),
                                                  HasSubstr("which made revision 2"))));
}

TEST(KvChecker, CatchesAnUnknownWriteThatHappenedBeforeItWasAskedFor) {
  Story story;
  story.DoUnknown(Put("a", "1"));
  story.Do(Range("a"));
  std::swap(story.history.operations[0].invoked, story.history.operations[1].invoked);
  EXPECT_THAT(story.Violated(), IsEmpty());
  story.op(0).invoked = story.op(1).returned + 1;
  EXPECT_THAT(story.Violated(), ElementsAre(HasSubstr("revision 2 was made by nobody")));
}

TEST(KvChecker, FindsTheMatchingOfUnknownDeletions) {
  // The first deletion could have been either, the second only the wider one.
  Story story;
  story.Do(Put("a", "1"));
  story.Do(Put("c", "2"));
  const size_t wide = story.Lose(Delete("a", "d"));
  const size_t narrow = story.DoUnknown(Delete("a", "b"));
  story.DoUnknown(Delete("c", "d"));
  story.history.operations.pop_back();
  const KvVerdict verdict = story.Check();
  EXPECT_THAT(verdict.violations, IsEmpty());
  EXPECT_THAT(verdict.makers, ElementsAre(0, 1, narrow, wide));
}

TEST(KvChecker, LeavesToNobodyWhatALeaseOrARequestDeleted) {
  Story story;
  story.Do(Put("a", "1", 7));
  story.DoUnknown(Delete("a"));
  const KvVerdict verdict = story.Check();
  EXPECT_THAT(verdict.violations, IsEmpty());
  EXPECT_THAT(verdict.lease_ends, IsEmpty());
  EXPECT_THAT(verdict.makers, ElementsAre(0, kNobody));
}

TEST(KvChecker, CatchesALeaseThatLeavesAKeyBehind) {
  Story story;
  story.Do(Put("a", "1", 7));
  story.Do(Put("b", "2", 7));
  story.EndLease(7);
  story.history.revisions.back().events.pop_back();
  EXPECT_THAT(story.Violated(), ElementsAre(HasSubstr("revision 4 was made by nobody: delete \"a\"@4")));
}

// Real time.

TEST(KvChecker, CatchesAStaleRead) {
  Story story;
  story.Do(Put("a", "1"));
  const size_t read = story.Do(Range("a"));
  story.Do(Put("a", "2"));
  EXPECT_THAT(story.Violated(), IsEmpty());
  story.op(read).invoked = story.now() + 1;
  story.op(read).returned = story.now() + 2;
  EXPECT_THAT(
      story.Violated(),
      ElementsAre(AllOf(HasSubstr("#1"), HasSubstr("at revision 2, although revision 3"), HasSubstr("#2"))));
}

TEST(KvChecker, CatchesAStaleReadByWhatAMemberApplied) {
  Story story;
  story.DoUnknown(Put("a", "1"));
  story.history.revisions[0].seen = story.now();
  story.Do(Range("a"));
  EXPECT_THAT(story.Violated(), IsEmpty());
  story.response<RangeResponse>(1).Clear();
  story.response<RangeResponse>(1).mutable_header()->set_revision(1);
  EXPECT_THAT(story.Violated(), ElementsAre(AllOf(HasSubstr("#1"), HasSubstr("revision 2 was seen"))));
}

TEST(KvChecker, CatchesWritesInTheWrongOrder) {
  Story story;
  story.Do(Put("a", "1"));
  story.Do(Put("b", "2"));
  story.op(0).returned = story.op(1).returned + 2;
  story.op(0).invoked = story.op(1).returned;
  EXPECT_THAT(story.Violated(), IsEmpty());
  story.op(0).invoked = story.op(1).returned + 1;
  EXPECT_THAT(story.Violated(), ElementsAre(AllOf(HasSubstr("#0"), HasSubstr("answered to #1"))));
}

TEST(KvChecker, CatchesAReadOfWhatWasNotAskedForYet) {
  Story story;
  story.Do(Put("a", "1"));
  const size_t read = story.Do(SerializableRange("a"), 2);
  story.op(read).invoked = 1;
  story.op(read).returned = 2;
  EXPECT_THAT(story.Violated(), ElementsAre(AllOf(HasSubstr("#0"), HasSubstr("answered to #1"))));
}

// Reads.

TEST(KvChecker, CatchesWrongContent) {
  Story story;
  for (int i = 0; i < 5; ++i) story.Do(Put(fmt::format("k{}", i), fmt::format("{}", 9 - i)));
  RangeRequest request = Range("k", "l");
  request.set_limit(2);
  request.set_sort_order(RangeRequest::ASCEND);
  request.set_sort_target(RangeRequest::VALUE);
  const size_t i = story.Do(request);
  RangeResponse& answer = story.response<RangeResponse>(i);
  ASSERT_EQ(answer.kvs(0).key(), "k4");
  ASSERT_EQ(answer.count(), 5);
  ASSERT_TRUE(answer.more());
  EXPECT_THAT(story.Violated(), IsEmpty());
  const RangeResponse good = answer;
  const auto expect_caught = [&](auto change) {
    change(answer);
    EXPECT_THAT(story.Violated(), ElementsAre(HasSubstr("#5")));
    answer = good;
  };
  expect_caught([](RangeResponse& r) { r.set_more(false); });
  expect_caught([](RangeResponse& r) { r.set_count(4); });
  expect_caught([](RangeResponse& r) { r.mutable_kvs(0)->set_value("x"); });
  expect_caught([](RangeResponse& r) { r.mutable_kvs(0)->set_lease(3); });
  expect_caught([](RangeResponse& r) { r.mutable_kvs()->SwapElements(0, 1); });
  expect_caught([](RangeResponse& r) { r.mutable_kvs()->RemoveLast(); });
}

TEST(KvChecker, CatchesAnOldRangeWithNewContent) {
  Story story;
  story.Do(Put("a", "1"));
  story.Do(Put("a", "2"));
  const size_t i = story.Do(Range("a", "", 2));
  ASSERT_EQ(story.response<RangeResponse>(i).kvs(0).value(), "1");
  std::get<RangeRequest>(story.op(i).request).set_revision(3);
  EXPECT_THAT(story.Violated(), ElementsAre(HasSubstr("#2")));
  std::get<RangeRequest>(story.op(i).request).set_revision(4);
  EXPECT_THAT(story.Violated(), ElementsAre(AllOf(HasSubstr("#2"), HasSubstr("future revision"))));
}

TEST(KvChecker, CatchesASerializableReadThatGoesBack) {
  Story story;
  story.Do(Put("a", "1"));
  const size_t old = story.Do(SerializableRange("a"), 2);
  story.Do(Put("a", "2"));
  story.Do(SerializableRange("a"), 2);
  story.op(old).invoked = story.now() + 1;
  story.op(old).returned = story.now() + 2;
  EXPECT_THAT(story.Violated(),
              ElementsAre(AllOf(HasSubstr("#1"), HasSubstr("#3"), HasSubstr("by the same member"))));
  story.op(old).member = MemberId(3);
  EXPECT_THAT(story.Violated(), IsEmpty());
}

TEST(KvChecker, TakesATransactionOfSerializableRangesForOne) {
  Story story;
  TxnRequest txn;
  *txn.add_success()->mutable_request_range() = SerializableRange("a");
  const size_t old = story.Do(txn, 2);
  story.Do(Put("a", "1"));
  story.op(old).invoked = story.now() + 1;
  story.op(old).returned = story.now() + 2;
  EXPECT_THAT(story.Violated(), IsEmpty());
  std::get<TxnRequest>(story.op(old).request)
      .mutable_success(0)
      ->mutable_request_range()
      ->set_serializable(false);
  EXPECT_THAT(story.Violated(), ElementsAre(HasSubstr("#0")));
}

// Compactions and refusals.

TEST(KvChecker, CatchesARefusalWithoutACompaction) {
  Story story;
  for (int i = 0; i < 5; ++i) story.Do(Put("a", fmt::format("{}", i)));
  story.Do(Compact(4));
  story.Refuse(Range("a", "", 3), kCompacted);
  story.Refuse(Compact(4), kCompacted);
  EXPECT_THAT(story.Violated(), IsEmpty());
  story.Refuse(Range("a", "", 4), kCompacted);
  story.Refuse(Compact(5), kCompacted);
  EXPECT_THAT(story.Violated(), ElementsAre(HasSubstr("#8"), HasSubstr("#9")));
}

TEST(KvChecker, CatchesARefusalBeforeTheCompaction) {
  Story story;
  for (int i = 0; i < 5; ++i) story.Do(Put("a", fmt::format("{}", i)));
  story.Refuse(Range("a", "", 3), kCompacted);
  story.Do(Compact(4));
  EXPECT_THAT(story.Violated(), ElementsAre(HasSubstr("#5")));
}

TEST(KvChecker, CatchesAReadOfWhatWasCompacted) {
  Story story;
  for (int i = 0; i < 5; ++i) story.Do(Put("a", fmt::format("{}", i)));
  story.Do(Compact(4));
  story.Do(Range("a", "", 4));
  EXPECT_THAT(story.Violated(), IsEmpty());
  story.Do(Range("a", "", 3));
  EXPECT_THAT(story.Violated(), ElementsAre(AllOf(HasSubstr("#7"), HasSubstr("although #5"))));
}

TEST(KvChecker, CatchesACompactionThatGoesBackOrAhead) {
  Story story;
  for (int i = 0; i < 5; ++i) story.Do(Put("a", fmt::format("{}", i)));
  story.Do(Compact(4));
  story.Do(Compact(3));
  story.Do(Compact(7));
  EXPECT_THAT(story.Violated(), ElementsAre(AllOf(HasSubstr("#6"), HasSubstr("although #5")),
                                            AllOf(HasSubstr("#7"), HasSubstr("before what it compacts"))));
}

TEST(KvChecker, CatchesAFutureThatWasPast) {
  Story story;
  for (int i = 0; i < 3; ++i) story.Do(Put("a", fmt::format("{}", i)));
  story.Refuse(Range("a", "", 5), kFuture);
  EXPECT_THAT(story.Violated(), IsEmpty());
  story.Refuse(Range("a", "", 4), kFuture);
  story.Refuse(Compact(3), kFuture);
  EXPECT_THAT(story.Violated(), ElementsAre(HasSubstr("#4"), HasSubstr("#5")));
}

TEST(KvChecker, CatchesAMissingKeyThatWasThere) {
  Story story;
  etcdserverpb::PutRequest put = Put("a", "");
  put.set_ignore_value(true);
  story.Refuse(put, "etcdserver: key not found");
  story.Do(Put("a", "1"));
  EXPECT_THAT(story.Violated(), IsEmpty());
  story.Refuse(put, "etcdserver: key not found");
  EXPECT_THAT(story.Violated(), ElementsAre(HasSubstr("#2")));
}

}  // namespace
}  // namespace kvorum::sim
