#include "bootstrap/import.h"

#include <filesystem>
#include <fstream>

#include "backend/memory_backend.h"
#include "base/status.h"
#include "base/testing/temp_directory.h"
#include "bbolt/bbolt.h"
#include "cluster/v2_store_json.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "member/request.h"
#include "raft/codec.h"
#include "snap/snapshotter.h"

namespace kvorum::bootstrap {
namespace {

using backend::AppliedPosition;
using backend::Bucket;
using cluster::Cluster;
using raft::Index;
using raft::Term;
using ::testing::HasSubstr;

/// A directory whose log has the conf changes of three members at 1 to 3, and entries without content behind.
class ImportTest : public ::testing::Test {
 protected:
  static constexpr uint64_t kLast = 9;

  ImportTest() {
    options_.name = "a";
    options_.data_dir = temp_.path() + "/data";
    options_.initial_cluster = {{"a", {"http://a:1"}}, {"b", {"http://b:1"}}, {"c", {"http://c:1"}}};
    options_.advertise_peer_urls = {"http://a:1"};
    options_.wal.env = &PosixEnv();
    options_.wal.segment_size_bytes = 64 << 10;
  }

  std::string Path(const std::string& name) const { return options_.data_dir + "/member/snap/" + name; }

  absl::Status Start() {
    KVORUM_ASSIGN_OR_RETURN(prepared_, Prepare(options_));
    const absl::Status finished = Finish(options_, *backend_, prepared_);
    const Prepared closed = std::exchange(prepared_, {});
    return finished;
  }

  void WriteLog() {
    absl::StatusOr<Prepared> first = Prepare(options_);
    ASSERT_TRUE(first.ok()) << first.status();
    const auto fresh = backend::MemoryBackend::Create();
    ASSERT_TRUE(Finish(options_, *fresh, *first).ok());
    members_ = first->start.bootstrap_members;
    std::vector<raft::Entry> entries;
    for (uint64_t i = 1; i <= kLast; ++i) {
      raft::Entry entry = {.term = Term(2), .index = Index(i)};
      if (i <= members_.size()) {
        entry.type = raft::EntryType::kConfChange;
        entry.data = Bytes::Copy(
            raft::Encode(raft::ConfChange{.node_id = raft::NodeId(members_[i - 1].id.value()),
                                          .context = Bytes::Copy(cluster::ToJson(members_[i - 1]))}));
      }
      if (i == kLast && !last_data_.is_null()) entry.data = last_data_;
      entries.push_back(std::move(entry));
    }
    const wal::Batch batch{.hard_state = {.term = Term(2), .commit = Index(kLast)}, .entries = entries};
    ASSERT_TRUE(first->wal->Save(std::span(&batch, 1)).ok());
    ASSERT_TRUE(first->wal->Sync().ok());
  }

  /// A snapshot of the log whose file says that there are these members.
  void WriteSnapshot(uint64_t index, const Cluster& members) {
    const raft::Snapshot snapshot = {
        .data = Bytes::Copy(cluster::V2StoreJson(members)),
        .metadata = {.conf_state = members.conf_state(), .index = Index(index), .term = Term(2)}};
    snap::Snapshotter files(&PosixEnv(), Path(""), &NullLogger(), nullptr);
    ASSERT_TRUE(files.Save(snapshot).ok());
    absl::StatusOr<wal::Wal::Opened> opened =
        wal::Wal::Open(options_.data_dir + "/member/wal", wal::SnapshotRecord(), options_.wal);
    ASSERT_TRUE(opened.ok()) << opened.status();
    const wal::SnapshotRecord record = {
        .index = Index(index), .term = Term(2), .conf_state = members.conf_state()};
    ASSERT_TRUE(opened->wal->SaveSnapshot(record).ok());
  }

  /// `name` in the directory of snapshots, with what `theirs_` has.
  void WriteFile(const std::string& name, AppliedPosition position) {
    auto stream = bbolt::FileStream::Create(theirs_->NewReadView(), position);
    ASSERT_TRUE(stream.ok());
    std::ofstream file(Path(name), std::ios::binary);
    while ((*stream)->left_bytes() > 0) file << (*stream)->Next(1 << 20)->view();
  }

  std::string Get(Bucket bucket, std::string_view key) {
    const auto view = backend_->NewReadView();
    return std::string(view->Get(bucket, key)->value_or("(none)"));
  }
  std::vector<cluster::Member> Members() {
    Cluster cluster(MemberId(1), ClusterId(1), backend_.get());
    EXPECT_TRUE(cluster.Load().ok());
    return cluster.members();
  }

  const kvorum::testing::TempDirectory temp_;
  Options options_;
  Prepared prepared_;
  Bytes last_data_;                       ///< of the log's last entry
  std::vector<cluster::Member> members_;  ///< by id
  std::unique_ptr<backend::MemoryBackend> backend_ = backend::MemoryBackend::Create();
  std::unique_ptr<backend::MemoryBackend> theirs_ = backend::MemoryBackend::Create();
};

TEST_F(ImportTest, TakesEtcdsDatabaseInThePlaceOfTheOwnOne) {
  ASSERT_NO_FATAL_FAILURE(WriteLog());
  theirs_->Put(Bucket::kKey, "k", Bytes::Copy("theirs"));
  theirs_->Put(Bucket::kMeta, "storageVersion", Bytes::Copy("3.6.0"));
  Cluster(MemberId(1), ClusterId(1), theirs_.get()).AddMember(members_[0], Cluster::Persist::kYes);
  ASSERT_NO_FATAL_FAILURE(WriteFile("db", {.index = 6, .term = 2}));
  backend_->Put(Bucket::kKey, "old", Bytes::Copy("ours"));
  ASSERT_TRUE(Start().ok());
  backend_ = backend_->Crash();
  EXPECT_EQ(Get(Bucket::kKey, "k"), "theirs");
  EXPECT_EQ(Get(Bucket::kKey, "old"), "(none)");
  EXPECT_EQ(backend_->applied().index, 6u);
  EXPECT_EQ(Members().size(), 1u);  // since 3.6 what the database says is so
  EXPECT_FALSE(PosixEnv().Exists(Path("db")));
  EXPECT_TRUE(PosixEnv().Exists(Path("db.etcd-imported")));
  backend_->Put(Bucket::kKey, "k", Bytes::Copy("later"));
  ASSERT_TRUE(Start().ok());
  EXPECT_EQ(Get(Bucket::kKey, "k"), "later");
}

TEST_F(ImportTest, MembersOfAnOldDatabaseComeFromTheLog) {
  ASSERT_NO_FATAL_FAILURE(WriteLog());
  Cluster copy(MemberId(1), ClusterId(1), theirs_.get());
  cluster::Member published = members_[0];
  published.name = "published";
  published.is_learner = true;
  copy.AddMember(published, Cluster::Persist::kYes);
  copy.AddMember({.id = MemberId(77), .peer_urls = {"http://zombie"}}, Cluster::Persist::kYes);
  ASSERT_NO_FATAL_FAILURE(WriteFile("db", {.index = 7, .term = 0}));
  ASSERT_TRUE(Start().ok());
  backend_ = backend_->Crash();
  const std::vector<cluster::Member> members = Members();
  ASSERT_EQ(members.size(), 3u);
  EXPECT_EQ(members[0].name, "published");
  EXPECT_FALSE(members[0].is_learner);
  EXPECT_EQ(members[1], members_[1]);
  EXPECT_EQ(backend_->applied().term, 2u);  // by the log
}

TEST_F(ImportTest, MembersOfAnOldDatabaseComeFromTheSnapshotAndTheLogBehindIt) {
  ASSERT_NO_FATAL_FAILURE(WriteLog());
  Cluster known(members_[0].id, ClusterId(1), nullptr);
  known.AddMember(members_[0], Cluster::Persist::kNo);
  known.RemoveMember(MemberId(77), Cluster::Persist::kNo);
  known.SetVersion("3.4.0", Cluster::Persist::kNo);
  ASSERT_NO_FATAL_FAILURE(WriteSnapshot(1, known));
  ASSERT_NO_FATAL_FAILURE(WriteFile("db", {.index = 2}));
  ASSERT_TRUE(Start().ok());
  EXPECT_EQ(Members(), std::vector(members_.begin(), members_.begin() + 2));
  EXPECT_EQ(Get(Bucket::kMembersRemoved, "4d"), "removed");
  EXPECT_EQ(Get(Bucket::kCluster, "clusterVersion"), "3.4.0");
}

TEST_F(ImportTest, TakesTheDatabaseThatCameWithTheSnapshot) {
  for (const bool from_etcd : {false, true}) {
    SCOPED_TRACE(from_etcd);
    std::filesystem::remove_all(options_.data_dir);
    backend_ = backend::MemoryBackend::Create();
    ASSERT_NO_FATAL_FAILURE(WriteLog());
    Cluster known(members_[0].id, ClusterId(1), nullptr);
    known.AddMember(members_[0], Cluster::Persist::kNo);
    ASSERT_NO_FATAL_FAILURE(WriteSnapshot(5, known));
    if (from_etcd) {
      ASSERT_NO_FATAL_FAILURE(WriteFile("db", {.index = 3, .term = 2}));
    }
    EXPECT_TRUE(absl::IsDataLoss(Start()));  // not without the database
    theirs_->Put(Bucket::kKey, "k", Bytes::Copy("received"));
    ASSERT_NO_FATAL_FAILURE(WriteFile("0000000000000005.snap.db", {.index = 4, .term = 2}));
    ASSERT_TRUE(Start().ok());
    EXPECT_EQ(Get(Bucket::kKey, "k"), "received");
    EXPECT_EQ(backend_->applied().index, 5u);
    EXPECT_EQ(backend_->applied().term, 2u);
    EXPECT_FALSE(PosixEnv().Exists(Path("db")));
    backend_->Put(Bucket::kKey, "k", Bytes::Copy("later"));
    ASSERT_TRUE(Start().ok());
    EXPECT_EQ(Get(Bucket::kKey, "k"), "later");
  }
}

TEST_F(ImportTest, RefusesWhatItCannotBeAndLeavesItThere) {
  ASSERT_NO_FATAL_FAILURE(WriteLog());
  const auto refused = [this](absl::StatusCode code, const std::string& text) {
    const absl::Status status = Start();
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(text));
    EXPECT_TRUE(PosixEnv().Exists(Path("db")));
    EXPECT_EQ(backend_->applied().index, 0u);
  };
  ASSERT_NO_FATAL_FAILURE(WriteFile("db", {.index = kLast + 1}));
  refused(absl::StatusCode::kDataLoss, "the log ends at 9");
  theirs_->Put(Bucket::kMeta, "storageVersion", Bytes::Copy("3.8.0"));
  ASSERT_NO_FATAL_FAILURE(WriteFile("db", {.index = 3}));
  refused(absl::StatusCode::kFailedPrecondition, "3.8.0 is newer");
  theirs_->Put(Bucket::kMeta, "storageVersion", Bytes::Copy("3"));
  ASSERT_NO_FATAL_FAILURE(WriteFile("db", {.index = 3}));
  refused(absl::StatusCode::kDataLoss, "bad storage version");
  theirs_->Put(Bucket::kAuth, "authEnabled", Bytes::Copy("\x01"));
  ASSERT_NO_FATAL_FAILURE(WriteFile("db", {.index = 3}));
  refused(absl::StatusCode::kFailedPrecondition, "authentication is enabled");
  std::ofstream(Path("db")) << "no database";
  refused(absl::StatusCode::kDataLoss, "invalid database");
  std::filesystem::remove_all(options_.data_dir + "/member/wal");
  theirs_ = backend::MemoryBackend::Create();
  ASSERT_NO_FATAL_FAILURE(WriteFile("db", {.index = 3}));
  refused(absl::StatusCode::kFailedPrecondition, "there is no log");
}

TEST_F(ImportTest, AnEmptyFileHidesNoDatabaseOfOurOwn) {
  ASSERT_NO_FATAL_FAILURE(WriteLog());
  const std::ofstream empty(Path("db"));
  EXPECT_TRUE(absl::IsDataLoss(Start()));  // it may have been all that there was
  EXPECT_TRUE(PosixEnv().Exists(Path("db")));
  backend_->Put(Bucket::kKey, "k", Bytes::Copy("ours"));
  backend_->BeginEntry();
  backend_->EndEntry({.index = 5, .term = 2});
  ASSERT_TRUE(Start().ok());
  EXPECT_FALSE(PosixEnv().Exists(Path("db")));
  EXPECT_EQ(Get(Bucket::kKey, "k"), "ours");
}

TEST_F(ImportTest, TakesALogWithKeysOfTheV2Api) {
  last_data_ = member::BuildLegacyPut("/1/key", "value", member::RequestId(5));
  ASSERT_NO_FATAL_FAILURE(WriteLog());
  ASSERT_NO_FATAL_FAILURE(WriteFile("db", {.index = kLast}));
  ASSERT_TRUE(Start().ok());
  EXPECT_EQ(Members().size(), 3u);
}

TEST_F(ImportTest, AnEmptyDatabaseWithoutALogIsAFirstStartThatEndedEarly) {
  ASSERT_TRUE(PosixEnv().CreateDirectories(Path("")).ok());
  ASSERT_NO_FATAL_FAILURE(WriteFile("db", {}));
  ASSERT_TRUE(Start().ok());
  EXPECT_FALSE(PosixEnv().Exists(Path("db")));
}

}  // namespace
}  // namespace kvorum::bootstrap
