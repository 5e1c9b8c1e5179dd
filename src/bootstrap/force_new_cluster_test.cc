#include "bootstrap/force_new_cluster.h"

#include "backend/memory_backend.h"
#include "base/testing/fault_env.h"
#include "gtest/gtest.h"
#include "raft/codec.h"

namespace kvorum::bootstrap {
namespace {

using cluster::Cluster;
using raft::Index;
using raft::Term;

/// Member "a" of a cluster of three, whose log has the three members, and then `kData` entries.
class ForceNewClusterTest : public ::testing::Test {
 protected:
  static constexpr uint64_t kData = 4;

  ForceNewClusterTest() {
    options_.name = "a";
    options_.data_dir = "data";
    options_.initial_cluster = {{"a", {"http://a:1"}}, {"b", {"http://b:1"}}, {"c", {"http://c:1"}}};
    options_.advertise_peer_urls = {"http://a:1"};
    options_.wal.env = &env_;
    options_.wal.segment_size_bytes = 64 << 10;
  }

  absl::StatusOr<Prepared> Start() {
    absl::StatusOr<Prepared> prepared = Prepare(options_);
    if (!prepared.ok()) return prepared;
    if (absl::Status status = Finish(options_, *backend_, *prepared); !status.ok()) return status;
    return prepared;
  }
  /// A first run, whose log knows of `commit`, and whose database has everything up to `applied`.
  void Run(uint64_t commit, uint64_t applied) {
    absl::StatusOr<Prepared> first = Start();
    ASSERT_TRUE(first.ok()) << first.status();
    self_ = first->start.id;
    std::vector<raft::Entry> entries;
    for (const cluster::Member& member : first->start.bootstrap_members) {
      const raft::ConfChange change{.node_id = raft::NodeId(member.id.value()),
                                    .context = Bytes::Copy(cluster::ToJson(member))};
      entries.push_back({.type = raft::EntryType::kConfChange, .data = Bytes::Copy(raft::Encode(change))});
    }
    for (uint64_t i = 0; i < kData; ++i) entries.push_back({.data = Bytes::Copy("x")});
    for (size_t i = 0; i < entries.size(); ++i) {
      entries[i].term = Term(2);
      entries[i].index = Index(i + 1);
    }
    const wal::Batch batch{.hard_state = {.term = Term(2), .commit = Index(commit)}, .entries = entries};
    ASSERT_TRUE(first->wal->Save(std::span(&batch, 1)).ok());
    ASSERT_TRUE(first->wal->Sync().ok());
    Cluster cluster(self_, first->start.cluster_id, backend_.get());
    for (uint64_t i = 1; i <= applied; ++i) {
      backend_->BeginEntry();
      if (i <= 3) cluster.AddMember(first->start.bootstrap_members[i - 1], Cluster::Persist::kYes);
      backend_->EndEntry({.index = i, .term = 2});
    }
  }
  /// The members in the database.
  std::vector<cluster::Member> Members() {
    Cluster cluster(self_, ClusterId(1), backend_.get());
    EXPECT_TRUE(cluster.Load().ok());
    removed_ = cluster.removed().size();
    return cluster.members();
  }
  static raft::HardState HardStateOf(const Prepared& prepared) {
    return prepared.start.log->GetInitialState()->hard_state;
  }

  kvorum::testing::FaultEnv env_;
  Options options_;
  MemberId self_;
  size_t removed_ = 0;
  std::unique_ptr<backend::MemoryBackend> backend_ = backend::MemoryBackend::Create();
};

TEST_F(ForceNewClusterTest, TakesTheOthersOutAndDropsWhatIsNotCommitted) {
  Run(/*commit=*/4, /*applied=*/5);
  options_.force_new_cluster = true;
  {
    const absl::StatusOr<Prepared> forced = Start();
    ASSERT_TRUE(forced.ok()) << forced.status();
    EXPECT_EQ(forced->start.log->LastIndex(), Index(7));  // 5 applied, two members taken out
    EXPECT_EQ(HardStateOf(*forced).commit, Index(7));
    const auto entries = forced->start.log->Entries(Index(6), Index(8), raft::kNoLimit);
    ASSERT_EQ(entries->size(), 2u);
    for (const raft::Entry& entry : *entries) {
      EXPECT_EQ(entry.term, Term(2));
      const absl::StatusOr<raft::ConfChange> change = raft::DecodeConfChange(entry.data.view());
      EXPECT_EQ(change->type, raft::ConfChangeType::kRemoveNode);
      EXPECT_NE(change->node_id, raft::NodeId(self_.value()));
    }
    const std::vector<cluster::Member> members = Members();
    ASSERT_EQ(members.size(), 1u);
    EXPECT_EQ(members[0].id, self_);
    EXPECT_EQ(members[0].name, "a");
    EXPECT_EQ(removed_, 2u);
  }
  for (const bool again : {true, false}) {
    options_.force_new_cluster = again;
    const absl::StatusOr<Prepared> next = Start();
    ASSERT_TRUE(next.ok()) << next.status();
    EXPECT_EQ(next->start.log->LastIndex(), Index(7));
    EXPECT_EQ(HardStateOf(*next).commit, Index(7));
    EXPECT_EQ(next->start.id, self_);
  }
}

TEST_F(ForceNewClusterTest, ADatabaseWithoutAPastLearnsItFromTheLog) {
  Run(/*commit=*/7, /*applied=*/0);
  options_.force_new_cluster = true;
  const absl::StatusOr<Prepared> forced = Start();
  ASSERT_TRUE(forced.ok()) << forced.status();
  EXPECT_EQ(forced->start.log->LastIndex(), Index(9));
  EXPECT_TRUE(Members().empty());
}

TEST_F(ForceNewClusterTest, AMemberThatIsAloneKeepsItsWholeLog) {
  options_.initial_cluster = {{"a", {"http://a:1"}}};
  Run(/*commit=*/2, /*applied=*/1);
  options_.force_new_cluster = true;
  const absl::StatusOr<Prepared> forced = Start();
  ASSERT_TRUE(forced.ok()) << forced.status();
  EXPECT_EQ(forced->start.log->LastIndex(), Index(1 + kData));
  EXPECT_EQ(Members().size(), 1u);
}

TEST_F(ForceNewClusterTest, ALearnerBecomesTheVoter) {
  Run(/*commit=*/7, /*applied=*/7);
  cluster::Member self;
  for (const cluster::Member& member : Members()) {
    if (member.id == self_) self = member;
  }
  self.is_learner = true;
  Cluster(self_, ClusterId(1), backend_.get()).AddMember(self, Cluster::Persist::kYes);
  options_.force_new_cluster = true;
  const absl::StatusOr<Prepared> forced = Start();
  ASSERT_TRUE(forced.ok()) << forced.status();
  EXPECT_EQ(forced->start.log->LastIndex(), Index(10));  // promoted, and two taken out
  ASSERT_EQ(Members().size(), 1u);
  EXPECT_FALSE(Members()[0].is_learner);
}

TEST_F(ForceNewClusterTest, WithoutALogItIsANewClusterAsConfigured) {
  options_.force_new_cluster = true;
  const absl::StatusOr<Prepared> prepared = Start();
  ASSERT_TRUE(prepared.ok()) << prepared.status();
  EXPECT_EQ(prepared->start.bootstrap_members.size(), 3u);
}

}  // namespace
}  // namespace kvorum::bootstrap
