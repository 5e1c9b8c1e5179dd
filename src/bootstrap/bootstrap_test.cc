#include "bootstrap/bootstrap.h"

#include "backend/memory_backend.h"
#include "base/testing/fault_env.h"
#include "gtest/gtest.h"
#include "raft/codec.h"
#include "snap/snapshotter.h"

namespace kvorum::bootstrap {
namespace {

using raft::Index;
using raft::Term;

class BootstrapTest : public ::testing::Test {
 protected:
  BootstrapTest() {
    options_.data_dir = "data";
    options_.initial_cluster = {{"default", {"http://127.0.0.1:42380"}}};
    options_.advertise_peer_urls = {"http://127.0.0.1:42380"};
    options_.wal.env = &env_;
    options_.wal.segment_size_bytes = 64 << 10;
  }

  absl::StatusOr<Prepared> Start() {
    absl::StatusOr<Prepared> prepared = Prepare(options_);
    if (!prepared.ok()) return prepared;
    if (absl::Status status = Finish(options_, *backend_, *prepared); !status.ok()) return status;
    return prepared;
  }
  /// What is wrong, and nothing was made on the way.
  std::string Refusal() {
    const bool was_there = env_.Exists("data");
    const absl::StatusOr<Prepared> prepared = Start();
    EXPECT_FALSE(prepared.ok());
    EXPECT_EQ(env_.Exists("data"), was_there);
    return std::string(prepared.status().message());
  }
  /// A first run that got as far as `commit` and then ended.
  void RunFirst(uint64_t commit) {
    absl::StatusOr<Prepared> first = Start();
    ASSERT_TRUE(first.ok()) << first.status();
    const std::vector<raft::Entry> entries = {{.term = Term(1), .index = Index(1), .data = Bytes::Copy("a")},
                                              {.term = Term(1), .index = Index(2), .data = Bytes::Copy("b")}};
    const wal::Batch batch{.hard_state = {.term = Term(1), .commit = Index(commit)}, .entries = entries};
    ASSERT_TRUE(first->wal->Save(std::span(&batch, 1)).ok());
    ASSERT_TRUE(first->wal->Sync().ok());
  }

  kvorum::testing::FaultEnv env_;
  Options options_;
  std::unique_ptr<backend::MemoryBackend> backend_ = backend::MemoryBackend::Create();
};

TEST_F(BootstrapTest, MakesAClusterOfOne) {
  const absl::StatusOr<Prepared> prepared = Start();
  ASSERT_TRUE(prepared.ok()) << prepared.status();
  EXPECT_FALSE(prepared->initialized);
  EXPECT_EQ(cluster::IdText(prepared->start.id.value()), "667880157b8812c8");
  EXPECT_EQ(cluster::IdText(prepared->start.cluster_id.value()), "dc50b8daae93b3e0");
  ASSERT_EQ(prepared->start.bootstrap_members.size(), 1u);
  EXPECT_NE(prepared->wal, nullptr);
  EXPECT_TRUE(wal::Exists(env_, "data/member/wal"));
}

TEST_F(BootstrapTest, GoesOnWhereTheLogEnds) {
  RunFirst(2);
  options_.initial_cluster.clear();  // ignored from now on
  const absl::StatusOr<Prepared> again = Start();
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->initialized);
  EXPECT_TRUE(again->start.bootstrap_members.empty());
  EXPECT_EQ(cluster::IdText(again->start.id.value()), "667880157b8812c8");
  EXPECT_EQ(again->start.log->LastIndex(), Index(2));
  EXPECT_EQ(again->start.log->GetInitialState()->hard_state.commit, Index(2));
}

TEST_F(BootstrapTest, AStartThatEndedBeforeItsFirstWriteBeginsAnew) {
  { ASSERT_TRUE(Start().ok()); }
  {
    const absl::StatusOr<Prepared> again = Start();
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_TRUE(again->initialized);
    EXPECT_EQ(again->start.bootstrap_members.size(), 1u);
  }
  options_.initial_cluster_token = "another";
  EXPECT_NE(Refusal().find("the empty log in data/member/wal is of member 667880157b8812c8"),
            std::string::npos);
}

TEST_F(BootstrapTest, ADiscoveryServiceTellsTheMembers) {
  options_.initial_cluster_token = "http://service/token";
  std::vector<std::pair<std::string, Attempt>> asked;
  ClusterMap told = {{"default", {"http://127.0.0.1:42380"}}, {"b", {"http://127.0.0.1:42381"}}};
  options_.discover = [&](MemberId own, Attempt attempt) -> absl::StatusOr<ClusterMap> {
    asked.emplace_back(cluster::IdText(own.value()), attempt);
    return told;
  };
  const MemberId own = cluster::MemberIdOf({"http://127.0.0.1:42380"}, "http://service/token");
  for (const Attempt attempt : {Attempt::kFirst, Attempt::kAgain}) {
    const absl::StatusOr<Prepared> prepared = Start();
    ASSERT_TRUE(prepared.ok()) << prepared.status();
    EXPECT_EQ(prepared->start.id, own);
    EXPECT_EQ(prepared->start.bootstrap_members.size(), 2u);
    EXPECT_EQ(asked.back(), std::pair(cluster::IdText(own.value()), attempt));
  }
  RunFirst(2);
  asked.clear();
  EXPECT_TRUE(Start().ok());
  EXPECT_TRUE(asked.empty());  // a restart has the log
}

TEST_F(BootstrapTest, ADiscoveredClusterMustBeOneWithThisMemberInIt) {
  absl::StatusOr<ClusterMap> told = absl::FailedPreconditionError("it is full");
  options_.discover = [&](MemberId, Attempt) { return told; };
  EXPECT_EQ(Refusal(), "it is full");
  told = ClusterMap{{"default", {"http://127.0.0.1:42380"}}, {"b", {"http://127.0.0.1:42380"}}};
  EXPECT_EQ(Refusal(),
            "discovery cluster b=http://127.0.0.1:42380,default=http://127.0.0.1:42380 has duplicate url");
  for (const char* name : {"b", "default"}) {
    told = ClusterMap{{name, {"http://127.0.0.1:1"}}};
    EXPECT_EQ(Refusal(), fmt::format("couldn't find local name \"default\" with its URLs in the discovery "
                                     "cluster {}=http://127.0.0.1:1",
                                     name));
  }
  options_.initial_cluster_state = ClusterState::kExisting;
  EXPECT_EQ(Refusal(), "discovery URL should not be set when joining existing initial cluster");
}

TEST_F(BootstrapTest, BeginsAtTheNewestSnapshotThatTheLogVouchesFor) {
  RunFirst(2);
  const raft::ConfState voters{.voters = {raft::NodeId(0x667880157b8812c8)}};
  {
    absl::StatusOr<Prepared> run = Start();
    ASSERT_TRUE(run.ok());
    snap::Snapshotter files(&env_, "data/member/snap", &NullLogger(), nullptr);
    ASSERT_TRUE(files.Save({.data = Bytes::Copy("{}"), .metadata = {voters, Index(2), Term(1)}}).ok());
    ASSERT_TRUE(run->wal->SaveSnapshot({Index(2), Term(1), voters}).ok());
  }
  backend_->BeginEntry();
  backend_->EndEntry({.index = 2, .term = 1});
  for (const bool with_file : {true, false}) {
    if (!with_file) {
      ASSERT_TRUE(env_.RemoveFile("data/member/snap/0000000000000001-0000000000000002.snap").ok());
    }
    const absl::StatusOr<Prepared> again = Start();
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->start.log->FirstIndex(), Index(3));
    EXPECT_EQ(again->start.log->GetInitialState()->conf_state, voters);
  }
}

TEST_F(BootstrapTest, OneProcessOwnsTheDirectory) {
  const absl::StatusOr<Prepared> first = Start();
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(Refusal(), "the data directory data is in use by another process");
}

TEST_F(BootstrapTest, RefusesDirectoriesOfOthers) {
  ASSERT_TRUE(env_.CreateDirectories("data/member/snap", 0700).ok());
  ASSERT_TRUE(env_.CreateDirectories("data/proxy", 0700).ok());
  EXPECT_EQ(Refusal(), "invalid datadir. Both member and proxy directories exist.");
}

TEST_F(BootstrapTest, RefusesADatabaseWhoseLogIsGone) {
  backend_->BeginEntry();
  backend_->EndEntry({.index = 7, .term = 1});
  const absl::StatusOr<Prepared> prepared = Start();
  EXPECT_EQ(std::string(prepared.status().message()),
            "the database in data/member/backend has log entries up to index 7, but there is no log in "
            "data/member/wal");
}

TEST_F(BootstrapTest, RefusesConfigurationsWithEtcdsTexts) {
  options_.advertise_peer_urls = {"http://127.0.0.1:1"};
  EXPECT_EQ(Refusal(),
            "--initial-cluster has default=http://127.0.0.1:42380 but missing from "
            "--initial-advertise-peer-urls=http://127.0.0.1:1 (resolved urls: \"http://127.0.0.1:1\" != "
            "\"http://127.0.0.1:42380\")");
  options_.advertise_peer_urls = {"http://127.0.0.1:42380", "http://127.0.0.1:1"};
  EXPECT_EQ(Refusal(),
            "--initial-advertise-peer-urls has http://127.0.0.1:1 but missing from "
            "--initial-cluster=default=http://127.0.0.1:42380 (len([\"http://127.0.0.1:42380\" "
            "\"http://127.0.0.1:1\"]) != len([\"http://127.0.0.1:42380\"]))");
  options_.name = "other";
  EXPECT_EQ(Refusal(), "couldn't find local name \"other\" in the initial cluster configuration");
  options_.initial_cluster.clear();
  EXPECT_EQ(Refusal(), "initial cluster unset and no discovery URL found");
}

TEST_F(BootstrapTest, MakesAClusterOfThree) {
  options_.initial_cluster["two"] = {"http://127.0.0.1:42381"};
  options_.initial_cluster["three"] = {"http://127.0.0.1:42383", "http://127.0.0.1:42382"};
  const absl::StatusOr<Prepared> prepared = Start();
  ASSERT_TRUE(prepared.ok()) << prepared.status();
  const std::vector<cluster::Member>& members = prepared->start.bootstrap_members;
  ASSERT_EQ(members.size(), 3u);
  EXPECT_TRUE(std::is_sorted(members.begin(), members.end(),
                             [](const auto& a, const auto& b) { return a.id < b.id; }));
  EXPECT_EQ(cluster::IdText(prepared->start.id.value()), "667880157b8812c8");
  EXPECT_EQ(prepared->start.cluster_id, cluster::ClusterIdOf({members[2].id, members[0].id, members[1].id}));
  options_.initial_cluster["two"] = {"http://127.0.0.1:42380"};
  options_.data_dir = "other";
  EXPECT_EQ(std::string(Start().status().message()),
            "initial cluster default=http://127.0.0.1:42380,three=http://127.0.0.1:42382,"
            "three=http://127.0.0.1:42383,two=http://127.0.0.1:42380 has duplicate url");
}

TEST_F(BootstrapTest, HostNamesThatMeanTheSameAreTheSame) {
  options_.advertise_peer_urls = {"http://a.example:2380"};
  options_.initial_cluster = {{"default", {"http://b.example:2380"}}};
  options_.resolve = [](const std::string&) { return std::string("10.0.0.1"); };
  EXPECT_TRUE(Start().ok());
}

TEST_F(BootstrapTest, RefusesADamagedLog) {
  RunFirst(2);
  RunFirst(2);
  const std::string path = "data/member/wal/0000000000000000-0000000000000000.wal";
  std::string content = *env_.ReadFile(path);
  content[40] = static_cast<char>(content[40] ^ 1);
  auto file = env_.OpenForWriting(path, Env::Create::kNever, 0600);
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE((*file)->Append(content).ok());
  ASSERT_TRUE((*file)->Sync().ok());
  const absl::StatusOr<Prepared> prepared = Start();
  EXPECT_EQ(prepared.status().code(), absl::StatusCode::kDataLoss) << prepared.status();
}

}  // namespace
}  // namespace kvorum::bootstrap
