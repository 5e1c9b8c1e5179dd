#include "member/member.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "member/testing/world.h"
#include "mvcc/watch.h"
#include "proto/membership.pb.h"

namespace kvorum::member {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

class MemberTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(world_.Start().ok()); }
  void Restart() {
    world_.Crash();
    ASSERT_TRUE(world_.Start().ok());
  }
  int64_t Grant(int64_t id, int64_t ttl) {
    etcdserverpb::LeaseGrantRequest request;
    request.set_id(id);
    request.set_ttl(ttl);
    return Decode<etcdserverpb::LeaseGrantResponse>(world_.Do(RequestKind::kLeaseGrant, request)).ttl();
  }
  ApplyResult SetAlarm(etcdserverpb::AlarmRequest::AlarmAction action, etcdserverpb::AlarmType type) {
    etcdserverpb::AlarmRequest request;
    request.set_action(action);
    request.set_memberid(World::kId.value());
    request.set_alarm(type);
    return world_.Do(RequestKind::kAlarm, request);
  }
  ApplyResult Compact(int64_t revision) {
    etcdserverpb::CompactionRequest request;
    request.set_revision(revision);
    return world_.Do(RequestKind::kCompaction, request);
  }

  World world_;
};

TEST_F(MemberTest, LeadsAloneAtOnceAndPublishesItself) {
  const MemberStatus status = world_.member().status();
  EXPECT_TRUE(status.is_leader);
  EXPECT_TRUE(status.ready);
  EXPECT_EQ(status.leader, World::kId);
  const std::vector<cluster::Member> members = world_.member().cluster().members();
  ASSERT_EQ(members.size(), 1u);
  EXPECT_EQ(members[0].name, "m1");
  EXPECT_EQ(members[0].client_urls, std::vector<std::string>{"http://127.0.0.1:2379"});
  EXPECT_EQ(world_.member().cluster().version(), "3.7.0");
  EXPECT_LT(world_.clock().Now().time_since_epoch(), std::chrono::hours(1) + milliseconds(100));
}

TEST_F(MemberTest, AnswersAPutWithItsRevision) {
  const ApplyResult first = world_.Put("a", "1");
  EXPECT_EQ(first.revision, 2);
  EXPECT_EQ(first.term, world_.member().status().term);
  EXPECT_EQ(world_.Put("a", "2").revision, 3);
  EXPECT_EQ(world_.Get("a"), "2");
}

TEST_F(MemberTest, NothingIsAcknowledgedBeforeItIsOnDisk) {
  world_.HoldDisk(true);
  std::optional<ApplyResult> result;
  etcdserverpb::PutRequest request;
  request.set_key("a");
  world_.Propose(RequestKind::kPut, request, &result);
  world_.Settle();
  EXPECT_FALSE(result);
  EXPECT_EQ(world_.Get("a"), std::nullopt);
  world_.HoldDisk(false);
  world_.Settle();
  EXPECT_TRUE(result);
}

TEST_F(MemberTest, ABurstIsOneWrite) {
  world_.HoldDisk(true);
  std::vector<std::optional<ApplyResult>> results(50);
  for (size_t i = 0; i < results.size(); ++i) {
    etcdserverpb::PutRequest request;
    request.set_key(std::to_string(i));
    world_.Propose(RequestKind::kPut, request, &results[i]);
  }
  world_.Settle();
  EXPECT_EQ(world_.disk().waiting(), 1u);
  world_.HoldDisk(false);
  world_.Settle();
  for (const auto& result : results) EXPECT_TRUE(result && result->status.ok());
}

TEST_F(MemberTest, HeartbeatsDoNotWaitForTheDisk) {
  world_.HoldDisk(true);
  world_.Advance(seconds(30));
  EXPECT_TRUE(world_.member().status().is_leader);
}

TEST_F(MemberTest, ReadsOfALoneLeaderNeedNoRound) {
  absl::AnyInvocable<void(absl::Status)> done = [](const absl::Status&) { FAIL(); };
  world_.HoldDisk(true);
  EXPECT_TRUE(world_.member().ConfirmRead(MonotonicTime::max(), &done));
}

TEST_F(MemberTest, GoesOnAfterACrashWithEverythingAcknowledged) {
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(world_.Put("k" + std::to_string(i), "v").status.ok());
  EXPECT_EQ(Grant(7, 60), 60);
  EXPECT_TRUE(world_.Put("leased", "v", 7).status.ok());
  Restart();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(world_.Get("k" + std::to_string(i)), "v");
  EXPECT_EQ(world_.member().lessor().Get(LeaseId(7), true)->keys, std::vector<std::string>{"leased"});
  EXPECT_EQ(world_.Put("a", "1").revision, 23);
}

TEST_F(MemberTest, ReplaysWhatTheDatabaseHasNot) {
  world_.Put("a", "1");
  world_.backend().CommitNow();
  world_.Put("b", "2");
  Restart();
  EXPECT_EQ(world_.Get("a"), "1");
  EXPECT_EQ(world_.Get("b"), "2");
  EXPECT_EQ(world_.member().store().current_revision(), 3);
}

// ---- Limits and times.

TEST_F(MemberTest, RefusesARequestThatIsTooLarge) {
  EXPECT_EQ(Error(world_.Put("a", std::string(world_.options().max_request_bytes, 'x'))),
            "etcdserver: request is too large");
}

TEST_F(MemberTest, RefusesMoreThanItCanHold) {
  world_.Crash();
  world_.options().max_pending_bytes = 10'000;
  ASSERT_TRUE(world_.Start().ok());
  world_.HoldDisk(true);
  std::vector<std::optional<ApplyResult>> results(12);
  etcdserverpb::PutRequest request;
  request.set_key("a");
  request.set_value(std::string(1000, 'x'));
  for (auto& result : results) world_.Propose(RequestKind::kPut, request, &result);
  world_.Settle();
  ASSERT_TRUE(results.back());
  EXPECT_EQ(Error(*results.back()), "etcdserver: too many requests");
  EXPECT_FALSE(results.front());
  world_.HoldDisk(false);
  world_.Settle();
  EXPECT_TRUE(results.front() && results.front()->status.ok());
  EXPECT_TRUE(world_.Put("a", "again").status.ok());
}

TEST_F(MemberTest, TimesOutWhatDoesNotGetThrough) {
  world_.Advance(seconds(10));
  world_.HoldDisk(true);
  std::optional<ApplyResult> result;
  etcdserverpb::PutRequest request;
  request.set_key("a");
  world_.Propose(RequestKind::kPut, request, &result);
  world_.Advance(milliseconds(6900));
  EXPECT_FALSE(result);
  world_.Advance(milliseconds(200));
  ASSERT_TRUE(result);
  EXPECT_EQ(Error(*result), "etcdserver: request timed out");
}

TEST_F(MemberTest, StoppingFailsThoseWhoWait) {
  world_.HoldDisk(true);
  std::optional<ApplyResult> waiting;
  std::optional<ApplyResult> late;
  etcdserverpb::PutRequest request;
  request.set_key("a");
  world_.Propose(RequestKind::kPut, request, &waiting);
  bool stopped = false;
  world_.member().Stop([&stopped] { stopped = true; });
  world_.Settle();
  EXPECT_TRUE(stopped);
  world_.Propose(RequestKind::kPut, request, &late);
  world_.Settle();
  EXPECT_EQ(Error(waiting.value()), "etcdserver: server stopped");
  EXPECT_EQ(Error(late.value()), "etcdserver: server stopped");
}

TEST_F(MemberTest, AFailedWriteEndsTheMember) {
  world_.disk().FailFrom(absl::InternalError("fdatasync: input/output error"));
  std::optional<ApplyResult> result;
  etcdserverpb::PutRequest request;
  request.set_key("a");
  world_.Propose(RequestKind::kPut, request, &result);
  world_.Settle();
  EXPECT_EQ(std::string(world_.fatal().message()), "fdatasync: input/output error");
  EXPECT_FALSE(result);
  std::optional<ApplyResult> later;
  world_.Propose(RequestKind::kPut, request, &later);
  world_.Advance(seconds(20));
  EXPECT_FALSE(later && later->status.ok());
}

// ---- Alarms and quota.

TEST_F(MemberTest, NoSpaceStopsWritesUntilItIsDisarmed) {
  using etcdserverpb::AlarmRequest;
  world_.Put("a", "1");
  const auto raised =
      Decode<etcdserverpb::AlarmResponse>(SetAlarm(AlarmRequest::ACTIVATE, etcdserverpb::NOSPACE));
  ASSERT_EQ(raised.alarms_size(), 1);
  EXPECT_EQ(raised.alarms(0).memberid(), World::kId.value());
  EXPECT_EQ(Error(world_.Put("a", "2")), "etcdserver: no space");
  etcdserverpb::DeleteRangeRequest erase;
  erase.set_key("a");
  EXPECT_TRUE(world_.Do(RequestKind::kDeleteRange, erase).status.ok());
  Restart();
  EXPECT_EQ(Error(world_.Put("a", "2")), "etcdserver: no space");
  EXPECT_EQ(world_.member().alarms(),
            (std::vector<Alarm>{{.member = World::kId, .type = AlarmType::kNoSpace}}));
  EXPECT_TRUE(SetAlarm(AlarmRequest::DEACTIVATE, etcdserverpb::NOSPACE).status.ok());
  EXPECT_TRUE(world_.Put("a", "2").status.ok());
}

TEST_F(MemberTest, CorruptStopsEverythingButAlarms) {
  using etcdserverpb::AlarmRequest;
  EXPECT_TRUE(SetAlarm(AlarmRequest::ACTIVATE, etcdserverpb::CORRUPT).status.ok());
  EXPECT_EQ(Error(world_.Put("a", "2")), "etcdserver: corrupt cluster");
  EXPECT_EQ(Error(Compact(1)), "etcdserver: corrupt cluster");
  EXPECT_TRUE(SetAlarm(AlarmRequest::DEACTIVATE, etcdserverpb::CORRUPT).status.ok());
  EXPECT_TRUE(world_.Put("a", "2").status.ok());
}

TEST_F(MemberTest, TheWriteThatCrossesTheQuotaIsAppliedAndRaisesTheAlarm) {
  world_.Crash();
  world_.options().quota_bytes = 16 << 10;
  ASSERT_TRUE(world_.Start().ok());
  ApplyResult result;
  int puts = 0;
  while (world_.member().alarms().empty() && puts < 100) {
    result = world_.Put("k" + std::to_string(puts++), std::string(1000, 'x'));
    EXPECT_TRUE(result.status.ok()) << result.status;
    world_.Settle();
  }
  ASSERT_FALSE(world_.member().alarms().empty());
  EXPECT_TRUE(result.status.ok()) << result.status;
  EXPECT_TRUE(world_.Get("k" + std::to_string(puts - 1)));
  EXPECT_EQ(Error(world_.Put("more", "x")), "etcdserver: no space");
  EXPECT_EQ(std::string(world_.member().CheckQuota(1000).message()), "etcdserver: no space");
  EXPECT_TRUE(world_.member().CheckQuota(0).ok());
}

// ---- Leases.

TEST_F(MemberTest, RevokesLeasesThatEnd) {
  Grant(7, 5);
  world_.Put("b", "v", 7);
  world_.Put("a", "v", 7);
  world_.Put("keep", "v");
  const int64_t before = world_.member().store().current_revision();
  world_.Advance(seconds(4));
  EXPECT_TRUE(world_.Get("a"));
  world_.Advance(seconds(5));
  EXPECT_FALSE(world_.Get("a"));
  EXPECT_FALSE(world_.Get("b"));
  EXPECT_TRUE(world_.Get("keep"));
  EXPECT_FALSE(world_.member().lessor().Exists(LeaseId(7)));
  EXPECT_EQ(world_.member().store().current_revision(), before + 1);
}

TEST_F(MemberTest, RenewingKeepsALeaseWithoutALogEntry) {
  Grant(7, 5);
  world_.Settle();
  const uint64_t applied = world_.member().status().applied_index;
  for (int i = 0; i < 10; ++i) {
    world_.Advance(seconds(2));
    std::optional<int64_t> ttl;
    world_.member().RenewLease(LeaseId(7), [&ttl](absl::StatusOr<int64_t> got) { ttl = got.value(); });
    world_.Settle();
    EXPECT_EQ(ttl, 5);
  }
  EXPECT_TRUE(world_.member().lessor().Exists(LeaseId(7)));
  EXPECT_EQ(world_.member().status().applied_index, applied);
}

TEST_F(MemberTest, ManyLeasesThatEndTogetherGoInWindowsWithoutWaiting) {
  for (int64_t i = 1; i <= 1200; ++i) Grant(i, 10);
  world_.Advance(seconds(12));
  EXPECT_EQ(world_.member().lessor().size(), 0u);
}

TEST_F(MemberTest, SaysWhatIsWrongWithALease) {
  Grant(7, 5);
  etcdserverpb::LeaseGrantRequest again;
  again.set_id(7);
  EXPECT_EQ(Error(world_.Do(RequestKind::kLeaseGrant, again)), "lease already exists");
  etcdserverpb::LeaseRevokeRequest revoke;
  revoke.set_id(8);
  EXPECT_EQ(Error(world_.Do(RequestKind::kLeaseRevoke, revoke)), "lease not found");
  EXPECT_EQ(Error(world_.Put("a", "v", 9)), "lease not found");
  absl::Status renewed;
  world_.member().RenewLease(LeaseId(9), [&](absl::StatusOr<int64_t> ttl) { renewed = ttl.status(); });
  world_.Settle();
  EXPECT_EQ(renewed, lease::NotFoundError());
}

// ---- Compaction, hashes, watches.

TEST_F(MemberTest, CompactsBetweenOtherWork) {
  world_.Crash();
  world_.options().compaction_batch_limit = 10;
  ASSERT_TRUE(world_.Start().ok());
  for (int i = 0; i < 200; ++i) world_.Put("k", std::to_string(i));
  const int64_t revision = world_.member().store().current_revision();
  EXPECT_TRUE(Compact(revision).status.ok());
  std::optional<absl::Status> finished;
  world_.member().WaitCompacted(revision, [&finished](absl::Status status) { finished = status; });
  world_.Settle();
  EXPECT_TRUE(world_.member().store().compacting());
  EXPECT_EQ(world_.Put("k", "between").revision, revision + 1);
  EXPECT_FALSE(finished);
  world_.Advance(seconds(2));
  EXPECT_FALSE(world_.member().store().compacting());
  ASSERT_TRUE(finished);
  EXPECT_TRUE(finished->ok());
  EXPECT_EQ(Error(Compact(revision)), "mvcc: required revision has been compacted");
  EXPECT_EQ(Error(Compact(revision + 9)), "mvcc: required revision is a future revision");
}

TEST_F(MemberTest, HashesAsEtcdDoes) {
  const auto hash = [this] {
    std::optional<mvcc::HashResult> result;
    world_.member().HashKv(0, [&result](absl::StatusOr<mvcc::HashResult> got) { result = got.value(); });
    world_.Settle();
    return result.value().hash;
  };
  EXPECT_EQ(hash(), 1084519789u);
  world_.Put("a", "b");
  EXPECT_EQ(hash(), 3628877040u);
  world_.Put("foo", "bar");
  EXPECT_EQ(hash(), 3238934629u);
}

TEST_F(MemberTest, WatchersThatAreBehindAreCaughtUp) {
  for (int i = 0; i < 10; ++i) world_.Put("k", std::to_string(i));
  auto stream = world_.member().store().watch_hub().NewStream([] {});
  ASSERT_TRUE(stream->Watch(0, {.key = "k", .start_revision = 2}).ok());
  world_.Settle();
  size_t events = 0;
  for (int i = 0; i < 20 && events < 10; ++i) {
    for (const mvcc::WatchBatch& batch : stream->Take(1 << 20)) events += batch.event_count;
    world_.Settle();
  }
  EXPECT_EQ(events, 10u);
}

// ---- Snapshots of the log.

TEST_F(MemberTest, SnapshotsAndForgetsTheLogBehindIt) {
  world_.Crash();
  world_.options().snapshot_count = 50;
  world_.options().snapshot_catchup_entries = 10;
  ASSERT_TRUE(world_.Start().ok());
  for (int i = 0; i < 200; ++i) world_.Put("k" + std::to_string(i), "v");
  world_.Settle();
  ASSERT_GE(world_.disk().files().size(), 2u);
  const auto& [index, snapshot] = *world_.disk().files().rbegin();
  EXPECT_EQ(world_.disk().released(), index);
  EXPECT_EQ(snapshot.metadata.conf_state.voters, std::vector<raft::NodeId>{raft::NodeId(0x1234)});
  EXPECT_THAT(std::string(snapshot.data.view()), HasSubstr("/0/members/1234/raftAttributes"));
  EXPECT_THAT(std::string(snapshot.data.view()), HasSubstr("\"Value\":\"3.7.0\""));
  Restart();
  for (int i = 0; i < 200; ++i) EXPECT_EQ(world_.Get("k" + std::to_string(i)), "v");
  EXPECT_TRUE(world_.Put("after", "v").status.ok());
}

TEST_F(MemberTest, EverythingIsThereAgainWhenTheLogInMemoryWasCutByItsSize) {
  const std::string large(1 << 20, 'x');
  for (int i = 0; i < 40; ++i) EXPECT_TRUE(world_.Put("k" + std::to_string(i), large).status.ok());
  world_.backend().CommitNow();
  EXPECT_TRUE(world_.Put("last", "v").status.ok());
  Restart();
  EXPECT_EQ(world_.Get("k0"), large);
  EXPECT_EQ(world_.Get("last"), "v");
}

TEST_F(MemberTest, AFailedSnapshotEndsTheMember) {
  world_.Crash();
  world_.options().snapshot_count = 10;
  ASSERT_TRUE(world_.Start().ok());
  for (int i = 0; i < 8; ++i) world_.Put("k", "v");
  world_.HoldDisk(false);
  std::optional<ApplyResult> result;
  etcdserverpb::PutRequest request;
  request.set_key("k");
  for (int i = 0; i < 3; ++i) {
    result.reset();
    world_.Propose(RequestKind::kPut, request, &result);
    while (!result && world_.Step()) {
    }
  }
  world_.disk().FailFrom(absl::ResourceExhaustedError("no space left on device"));
  world_.Advance(milliseconds(200));
  EXPECT_EQ(std::string(world_.fatal().message()), "no space left on device");
}

// ---- What a log may not hold.

TEST_F(MemberTest, RefusesADatabaseThatIsAheadOfTheLog) {
  world_.Put("a", "1");
  world_.Settle();
  world_.backend().BeginEntry();
  world_.backend().EndEntry({.index = 1000, .term = 9});
  world_.backend().CommitNow();
  world_.Crash();
  EXPECT_THAT(std::string(world_.Begin().message()),
              HasSubstr("the database has the log up to index 1000, but the log ends at"));
}

}  // namespace
}  // namespace kvorum::member
