#include "sim/check/watch_checker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/check/testing/story.h"

namespace kvorum::sim {
namespace {

using etcdserverpb::TxnRequest;
using etcdserverpb::WatchCreateRequest;
using etcdserverpb::WatchResponse;
using ::testing::AllOf;
using testing::Compact;
using testing::Delete;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Put;
using testing::Story;

/// Revisions: 2 puts a, 3 puts b, 4 puts a and b in one, 5 puts x, 6 deletes a, 7 puts b.
class WatchChecker : public ::testing::Test {
 protected:
  WatchChecker() {
    story_.Do(Put("a", "1"));
    story_.Do(Put("b", "2"));
    TxnRequest both;
    *both.add_success()->mutable_request_put() = Put("a", "3");
    *both.add_success()->mutable_request_put() = Put("b", "4");
    story_.Do(both);
    story_.Do(Put("x", "5"));
    story_.Do(Delete("a"));
    story_.Do(Put("b", "6"));
    watch().request.set_key("a");
    watch().request.set_range_end("c");
    watch().request.set_start_revision(2);
    watch().open_at_end = true;
    Add(1).set_created(true);
  }

  WatchHistory& watch() {
    if (story_.history.watches.empty()) story_.history.watches.emplace_back();
    return story_.history.watches[0];
  }
  WatchResponse& Add(int64_t revision) {
    watch().received.push_back(story_.now());
    WatchResponse& response = watch().responses.emplace_back();
    response.mutable_header()->set_revision(revision);
    return response;
  }
  /// The events of the watched keys from one revision to another.
  WatchResponse& Send(int64_t from, int64_t to) {
    WatchResponse& response = Add(to);
    for (int64_t revision = from; revision <= to; ++revision) {
      for (const mvccpb::Event& event : story_.history.revisions[static_cast<size_t>(revision - 2)].events) {
        if (event.kv().key() != "x") *response.add_events() = event;
      }
    }
    return response;
  }
  Violations Check() {
    Violations violations;
    const KvModel model(story_.history.revisions, &violations);
    EXPECT_THAT(violations, IsEmpty());
    return CheckWatches(story_.history, model);
  }
  void ExpectCaught(const std::string& what) {
    EXPECT_THAT(Check(), ElementsAre(AllOf(HasSubstr("watch #0"), HasSubstr(what))));
  }

  Story story_;
};

TEST_F(WatchChecker, FindsNothingInAGoodHistory) {
  Send(2, 3);
  Send(4, 4);
  Add(5);
  Send(6, 7);
  Add(7);
  EXPECT_THAT(Check(), IsEmpty());
}

TEST_F(WatchChecker, StartsAfterTheRevisionOfCreated) {
  watch().request.set_start_revision(0);
  watch().responses[0].mutable_header()->set_revision(5);
  Send(6, 7);
  EXPECT_THAT(Check(), IsEmpty());
  watch().responses[0].mutable_header()->set_revision(3);
  ExpectCaught("what comes next is put \"a\"=\"3\"");
}

TEST_F(WatchChecker, CatchesALostEvent) {
  Send(2, 3);
  Send(6, 7);
  ExpectCaught("what comes next is put \"a\"=\"3\" create 2 mod 4");
}

TEST_F(WatchChecker, CatchesAnEventLostAtTheEnd) {
  Send(2, 6);
  ExpectCaught("lost put \"b\"=\"6\" create 3 mod 7 version 3 of revision 7");
  watch().open_at_end = false;
  EXPECT_THAT(Check(), IsEmpty());
}

TEST_F(WatchChecker, CatchesAnEventThatIsSentTwice) {
  Send(2, 3);
  Send(3, 7);
  ExpectCaught("has put \"b\"=\"2\"");
  watch().responses.pop_back();
  Send(4, 7);
  Send(7, 7);
  ExpectCaught("again");
}

TEST_F(WatchChecker, CatchesEventsOutOfOrder) {
  WatchResponse& response = Send(2, 7);
  response.mutable_events()->SwapElements(0, 1);
  ExpectCaught("what comes next is put \"a\"=\"1\"");
}

TEST_F(WatchChecker, CatchesARevisionInTwoResponses) {
  Send(2, 4).mutable_events()->RemoveLast();
  ExpectCaught("ends in the middle of revision 4, before put \"b\"=\"4\"");
}

TEST_F(WatchChecker, PutsFragmentsTogether) {
  watch().request.set_fragment(true);
  Send(2, 4).mutable_events()->RemoveLast();
  watch().responses.back().set_fragment(true);
  WatchResponse& rest = Send(4, 4);
  rest.mutable_events()->DeleteSubrange(0, 1);
  Send(6, 7);
  EXPECT_THAT(Check(), IsEmpty());
  watch().request.set_fragment(false);
  ExpectCaught("a fragment that nobody asked for");
}

TEST_F(WatchChecker, CatchesAnEventOfAnotherKeyAndAWrongOne) {
  Send(2, 7);
  *watch().responses.back().add_events() = story_.event(5);
  ExpectCaught("has put \"x\"=\"5\" create 5 mod 5 version 1, which is not to come");
  watch().responses.back().mutable_events()->RemoveLast();
  watch().responses.back().mutable_events(1)->mutable_kv()->set_value("9");
  ExpectCaught("has put \"b\"=\"9\"");
  watch().responses.back().mutable_header()->set_revision(6);
  ExpectCaught("has the events of revision 7, and says that it is at 6");
}

TEST_F(WatchChecker, ObeysFilters) {
  watch().request.add_filters(WatchCreateRequest::NOPUT);
  Send(6, 6);
  EXPECT_THAT(Check(), IsEmpty());
  Send(7, 7);
  ExpectCaught("which is not to come");
  watch().responses.pop_back();
  watch().responses.pop_back();
  ExpectCaught("lost delete \"a\"@6");
}

TEST_F(WatchChecker, CatchesAWrongPreviousPair) {
  watch().request.set_prev_kv(true);
  WatchResponse& response = Send(2, 7);
  *response.mutable_events(2)->mutable_prev_kv() = story_.event(2).kv();
  *response.mutable_events(3)->mutable_prev_kv() = story_.event(3).kv();
  *response.mutable_events(4)->mutable_prev_kv() = story_.event(4, 0).kv();
  *response.mutable_events(5)->mutable_prev_kv() = story_.event(4, 1).kv();
  EXPECT_THAT(Check(), IsEmpty());
  response.mutable_events(4)->mutable_prev_kv()->set_value("0");
  ExpectCaught("with the previous pair \"a\"=\"0\"");
  response.mutable_events(4)->clear_prev_kv();
  ExpectCaught("without the previous pair \"a\"=\"3\"");
  story_.Do(Compact(5));
  ExpectCaught("without the previous pair");
  watch().received.assign(2, story_.now());
  ExpectCaught("without the previous pair");
  story_.Do(Compact(6));
  watch().received.assign(2, story_.now());
  EXPECT_THAT(Check(), IsEmpty());
}

TEST_F(WatchChecker, AllowsForWhatACompactionTookOutOfItsOwnRevision) {
  TxnRequest again;
  *again.add_success()->mutable_request_delete_range() = Delete("b", std::string(1, '\0'));
  *again.add_success()->mutable_request_put() = Put("b", "7");
  story_.Do(again);
  watch().request.set_start_revision(8);
  WatchResponse& response = Send(8, 8);
  ASSERT_EQ(response.events_size(), 2);
  EXPECT_THAT(Check(), IsEmpty());
  response.mutable_events()->DeleteSubrange(0, 1);
  ExpectCaught("what comes next is delete \"b\"@8");
  story_.Do(Compact(8));
  watch().received.back() = story_.now();
  EXPECT_THAT(Check(), IsEmpty());
  response.mutable_events()->Clear();
  ExpectCaught("put \"b\"=\"7\" create 8 mod 8 version 1 of revision 8 was not sent");
}

TEST_F(WatchChecker, CatchesAPreviousPairThatNobodyAskedFor) {
  *Send(2, 7).mutable_events(4)->mutable_prev_kv() = story_.event(4, 0).kv();
  ExpectCaught("it should have none");
}

TEST_F(WatchChecker, CatchesProgressAheadOfTheEvents) {
  Send(2, 3);
  Add(4);
  Send(4, 7);
  ExpectCaught("says that revision 4 was reached, but put \"a\"=\"3\"");
}

TEST_F(WatchChecker, CatchesProgressThatGoesBack) {
  Send(2, 7);
  Add(6);
  ExpectCaught("says that revision 6 was reached, after revision 7 was");
}

TEST_F(WatchChecker, CatchesAnEventBehindAProgress) {
  Send(2, 4);
  Add(5);
  Send(4, 7);
  ExpectCaught("has put \"a\"=\"3\"");
}

TEST_F(WatchChecker, AsksForTheReasonOfAnEnd) {
  Send(2, 3);
  WatchResponse& end = Add(0);
  end.set_canceled(true);
  end.set_compact_revision(5);
  ExpectCaught("a compaction at 5 that nobody asked for");
  story_.Do(Compact(5));
  ExpectCaught("a compaction at 5 that nobody asked for");
  watch().received.back() = story_.now();
  EXPECT_THAT(Check(), IsEmpty());
  end.set_compact_revision(4);
  story_.Do(Compact(4));
  watch().received.back() = story_.now();
  ExpectCaught("although only events from 4 on were to come");
  end.set_compact_revision(0);
  ExpectCaught("which nobody asked for");
  watch().cancel_invoked = story_.now();
  EXPECT_THAT(Check(), IsEmpty());
  Send(4, 7);
  ExpectCaught("comes after the watch's end");
}

TEST_F(WatchChecker, CatchesARevisionThatNeverWas) {
  Send(2, 7);
  Add(8);
  ExpectCaught("is at revision 8, the last one is 7");
}

TEST_F(WatchChecker, CatchesAWatchThatWasNeverCreated) {
  watch().responses.clear();
  ExpectCaught("was never created");
  Send(2, 7);
  ExpectCaught("\"created\" does not come first");
}

}  // namespace
}  // namespace kvorum::sim
