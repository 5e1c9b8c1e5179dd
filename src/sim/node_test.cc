#include "sim/node.h"

#include <set>

#include "gtest/gtest.h"
#include "member/errors.h"
#include "sim/client.h"

namespace kvorum::sim {
namespace {

constexpr Instant kSecond = 1'000'000'000;

/// Machines alone, with nobody who looks after them.
struct Group {
  explicit Group(uint64_t members, uint64_t snapshot_count = 10'000)
      : scheduler(1), network(&scheduler, NetworkManner(), &recorder) {
    Node::Options options;
    options.member.snapshot_count = snapshot_count;
    options.member.snapshot_catchup_entries = 5;
    for (uint64_t i = 1; i <= members; ++i) {
      options.initial_cluster[fmt::format("m{}", i)] = {fmt::format("http://m{}:2380", i)};
    }
    for (const auto& [name, urls] : options.initial_cluster) {
      options.name = name;
      options.peer_url = urls.front();
      nodes.push_back(std::make_unique<Node>(&scheduler, &network, options));
    }
    for (const auto& node : nodes) EXPECT_TRUE(node->Start().ok());
    scheduler.RunUntil(5 * kSecond);
    for (const auto& node : nodes) EXPECT_TRUE(node->ready());
  }

  /// Whether a put is acknowledged by that member within 5 s.
  bool Puts(Node& node, const std::string& key) {
    etcdserverpb::PutRequest put;
    put.set_key(key);
    auto good = std::make_shared<bool>(false);
    Ask(*node.member(), put,
        [good](const absl::StatusOr<Operation::Response>& answer) { *good = answer.ok(); });
    scheduler.RunUntil(scheduler.now() + 5 * kSecond);
    return *good;
  }

  Scheduler scheduler;
  History history;
  Recorder recorder{&history};
  Network network;
  std::vector<std::unique_ptr<Node>> nodes;
};

TEST(SimNode, AWipedMachineDoesNotComeBackUnderItsOldId) {
  Group group(3);
  Node& node = *group.nodes[0];
  node.Kill(false);
  node.Wipe();
  const absl::Status status = node.Start();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_NE(status.message().find("has already been bootstrapped"), std::string::npos) << status;
  EXPECT_FALSE(node.up());
}

TEST(SimNode, ARemovedMemberEndsAndStaysEnded) {
  Group group(3);
  Node& gone = *group.nodes[0];
  absl::Status status = absl::UnknownError("no answer");
  group.nodes[1]->member()->RemoveMember(gone.id(), MonotonicTime::max(),
                                         [&](const auto& members) { status = members.status(); });
  group.scheduler.RunUntil(15 * kSecond);
  EXPECT_TRUE(status.ok()) << status;
  ASSERT_TRUE(gone.up() && gone.ended() && gone.removed());
  gone.CommitDatabase();
  gone.Kill(false);
  EXPECT_EQ(gone.Start(), member::RemovedError());
}

TEST(SimNode, OneThatWasDownHearsOfItsRemovalFromTheOthers) {
  Group group(3);
  Node& gone = *group.nodes[0];
  group.network.ExpectChanges();
  gone.Kill(false);
  group.scheduler.RunUntil(15 * kSecond);  // there is a leader again, if it was that one
  absl::Status status = absl::UnknownError("no answer");
  group.nodes[1]->member()->RemoveMember(gone.id(), MonotonicTime::max(),
                                         [&](const auto& members) { status = members.status(); });
  group.scheduler.RunUntil(20 * kSecond);
  ASSERT_TRUE(status.ok()) << status;
  ASSERT_TRUE(gone.Start().ok());  // it does not know yet
  EXPECT_FALSE(gone.ended());
  group.scheduler.RunUntil(30 * kSecond);
  EXPECT_TRUE(gone.removed());
}

TEST(SimNode, FlippedBitsOfTheLogKeepAMemberFromStarting) {
  Group group(1);
  Node& node = *group.nodes[0];
  ASSERT_TRUE(group.Puts(node, "a"));
  node.Kill(false);
  const std::string directory = "/data/member/wal";
  const std::string path = directory + "/" + node.disk().env().ListDirectory(directory)->front();
  const std::string content = node.disk().env().Get(path);
  const size_t last = content.find_last_not_of('\0');
  for (size_t at = 0; at <= last; ++at) {
    node.disk().env().Flip(path, at, 0x10);
    // What a record is padded with says nothing.
    if (node.Start().ok()) {
      EXPECT_EQ(content[at], '\0') << at;
      node.Kill(false);
    }
    node.disk().env().Put(path, content);
  }
  EXPECT_TRUE(node.Start().ok());
}

TEST(SimNode, AMemberDoesNotStartFromADatabaseThatTheLogDoesNotReachBackTo) {
  Group group(1, 10);
  Node& node = *group.nodes[0];
  node.CommitDatabase();
  std::unique_ptr<backend::MemoryBackend> old = node.CopyDatabase();
  ASSERT_GT(old->applied().index, 0u);
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(group.Puts(node, "a"));
  node.CommitDatabase();
  node.Kill(false);
  std::unique_ptr<backend::MemoryBackend> current = node.CopyDatabase();
  node.PutDatabase(std::move(old));
  EXPECT_TRUE(absl::IsDataLoss(node.Start()));
  node.PutDatabase(std::move(current));
  EXPECT_TRUE(node.Start().ok());
}

// The v2 store is nowhere else.
TEST(SimNode, AMemberDoesNotStartWithoutItsSnapshotsWhereTheyAreDamaged) {
  Group group(1, 10);
  Node& node = *group.nodes[0];
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(group.Puts(node, "a"));
  node.CommitDatabase();
  node.Kill(false);
  const std::string directory = "/data/member/snap/";
  size_t flipped = 0;
  const std::vector<std::string> names = node.disk().env().ListDirectory(directory).value();
  for (const std::string& name : names) {
    if (!name.ends_with(".snap")) continue;
    node.disk().env().Flip(directory + name, 40, 1);
    ++flipped;
  }
  ASSERT_GT(flipped, 0u);
  EXPECT_TRUE(absl::IsDataLoss(node.Start()));
  EXPECT_TRUE(absl::IsDataLoss(node.Start()));  // nor when it is tried again
}

TEST(SimNode, AMemberDoesNotStartWithADatabaseAndNoLog) {
  Group group(1);
  Node& node = *group.nodes[0];
  node.CommitDatabase();
  node.Kill(false);
  node.disk().LoseLog();
  EXPECT_TRUE(absl::IsFailedPrecondition(node.Start()));
}

TEST(SimNode, AFullDiskAcknowledgesNothingAndComesBack) {
  Group group(1);
  Node& node = *group.nodes[0];
  node.disk().env().SetFull(true);
  etcdserverpb::PutRequest put;
  put.set_key("a");
  put.set_value(std::string(100'000, 'v'));  // more than the rest of the segment
  size_t acknowledged = 0;
  for (int i = 0; i < 3; ++i) {
    Ask(*node.member(), put,
        [&](const absl::StatusOr<Operation::Response>& answer) { acknowledged += answer.ok() ? 1 : 0; });
  }
  group.scheduler.RunUntil(group.scheduler.now() + 5 * kSecond);
  EXPECT_EQ(acknowledged, 0u);
  EXPECT_TRUE(node.ended());
  node.Kill(false);
  node.disk().env().SetFull(false);
  ASSERT_TRUE(node.Start().ok());
  group.scheduler.RunUntil(group.scheduler.now() + 5 * kSecond);
  EXPECT_TRUE(group.Puts(node, "b"));
}

TEST(SimNode, RequestsHaveNewIdsThoughTheWallClockShowsTheSameTimeAtEachStart) {
  Group group(1);
  Node& node = *group.nodes[0];
  std::set<member::RequestId> ids;
  for (int start = 0; start < 3; ++start) {
    node.Kill(false);
    node.clock().SetWallOffset(-group.scheduler.now());
    ASSERT_TRUE(node.Start().ok());
    for (int i = 0; i < 1000; ++i) EXPECT_TRUE(ids.insert(node.member()->NextRequestId()).second);
    group.scheduler.RunUntil(group.scheduler.now() + 5 * kSecond);
  }
}

TEST(SimNode, AWallClockThatJumpsEndsNoLease) {
  Group group(1);
  Node& node = *group.nodes[0];
  const std::string grant = [] {
    etcdserverpb::LeaseGrantRequest request;
    request.set_id(7);
    request.set_ttl(100);
    return request.SerializeAsString();
  }();
  const member::RequestId id = node.member()->NextRequestId();
  node.member()->Propose(id, member::BuildEntry(member::RequestKind::kLeaseGrant, grant, id, {}),
                         MonotonicTime::max(), [](const member::ApplyResult&) {});
  group.scheduler.RunUntil(group.scheduler.now() + kSecond);
  ASSERT_EQ(node.member()->lessor().List().size(), 1u);
  for (const Instant offset : {1'000'000 * kSecond, -1'000'000 * kSecond}) {
    node.clock().SetWallOffset(offset);
    group.scheduler.RunUntil(group.scheduler.now() + 20 * kSecond);
    EXPECT_EQ(node.member()->lessor().List().size(), 1u);
  }
  group.scheduler.RunUntil(group.scheduler.now() + 70 * kSecond);
  EXPECT_TRUE(node.member()->lessor().List().empty());
}

}  // namespace
}  // namespace kvorum::sim
