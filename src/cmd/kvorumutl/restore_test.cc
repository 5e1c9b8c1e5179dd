#include "cmd/kvorumutl/restore.h"

#include <openssl/sha.h>

#include <filesystem>
#include <fstream>

#include "backend/lmdb_backend.h"
#include "backend/memory_backend.h"
#include "base/testing/temp_directory.h"
#include "bbolt/bbolt.h"
#include "bootstrap/bootstrap.h"
#include "cluster/cluster.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mvcc/record_format.h"

namespace kvorum::utl {
namespace {

using backend::Bucket;
using ::testing::HasSubstr;

class KvorumutlRestore : public ::testing::Test {
 protected:
  KvorumutlRestore() {
    options_.snapshot_path = temp_.path() + "/snapshot.db";
    options_.data_dir = temp_.path() + "/data";
    options_.name = "a";
    options_.initial_cluster = {{"a", {"http://a:1"}}, {"b", {"http://b:1"}}};
    options_.initial_cluster_token = "token";
    options_.advertise_peer_urls = {"http://a:1"};
  }

  static std::string Revision(int64_t main) { return std::string(mvcc::RevisionKey({.main = main}).view()); }

  /// A snapshot of another cluster with one key, and the sum behind it.
  void WriteSnapshot() {
    const auto source = backend::MemoryBackend::Create();
    source->Put(Bucket::kKey, Revision(7),
                mvcc::EncodeRecord({.key = "k", .create_revision = 7, .mod_revision = 7, .version = 1}));
    source->Put(Bucket::kMembersRemoved, "77", Bytes::Copy("removed"));
    cluster::Cluster(MemberId(1), ClusterId(1), source.get())
        .AddMember({.id = MemberId(99), .peer_urls = {"http://old"}}, cluster::Cluster::Persist::kYes);
    auto stream = bbolt::FileStream::Create(source->NewReadView(), {.index = 1000, .term = 9});
    ASSERT_TRUE(stream.ok());
    content_ = (*stream)->Next((*stream)->size_bytes())->view();
    unsigned char sum[SHA256_DIGEST_LENGTH];
    SHA256(reinterpret_cast<const unsigned char*>(content_.data()), content_.size(), sum);
    content_.append(reinterpret_cast<const char*>(sum), sizeof sum);
    Write(content_);
  }
  void Write(const std::string& content) {
    std::ofstream(options_.snapshot_path, std::ios::binary) << content;
  }
  absl::Status Run() { return Restore(options_, PosixEnv(), NullLogger()); }

  const kvorum::testing::TempDirectory temp_;
  RestoreOptions options_;
  std::string content_;
};

TEST_F(KvorumutlRestore, MakesADirectoryThatAMemberStartsFrom) {
  ASSERT_NO_FATAL_FAILURE(WriteSnapshot());
  options_.bump_revision = 100;
  options_.mark_compacted = true;
  const absl::Status restored = Run();
  ASSERT_TRUE(restored.ok()) << restored;

  bootstrap::Options start;
  start.data_dir = options_.data_dir;
  start.wal.env = &PosixEnv();
  auto prepared = bootstrap::Prepare(start);
  ASSERT_TRUE(prepared.ok()) << prepared.status();
  auto opened = backend::OpenLmdbBackend({.directory = prepared->layout.backend_dir});
  ASSERT_TRUE(opened.ok()) << opened.status();
  backend::Backend& database = **opened;
  ASSERT_TRUE(bootstrap::Finish(start, database, *prepared).ok());
  EXPECT_EQ(prepared->start.id, cluster::MemberIdOf({"http://a:1"}, "token"));
  EXPECT_EQ(prepared->start.log->FirstIndex(), raft::Index(3));
  EXPECT_EQ(prepared->start.log->GetInitialState()->conf_state.voters.size(), 2u);
  EXPECT_EQ(database.applied().index, 2u);
  EXPECT_EQ(database.applied().term, 1u);

  cluster::Cluster members(MemberId(1), ClusterId(1), &database);
  ASSERT_TRUE(members.Load().ok());
  ASSERT_EQ(members.members().size(), 2u);
  EXPECT_FALSE(members.Find(MemberId(99)));
  EXPECT_TRUE(members.removed().empty());
  const auto view = database.NewReadView();
  EXPECT_EQ(mvcc::ParseRecord(**view->Get(Bucket::kKey, Revision(7)))->key, "k");
  EXPECT_EQ(*view->Get(Bucket::kKey, Revision(107)), "");
  EXPECT_EQ(*view->Get(Bucket::kMeta, mvcc::kScheduledCompactKey), Revision(107));
}

TEST_F(KvorumutlRestore, RefusesAFileThatIsNotAsItWasSent) {
  ASSERT_NO_FATAL_FAILURE(WriteSnapshot());
  const std::string whole = content_;
  Write(whole.substr(0, whole.size() - 32));
  EXPECT_THAT(std::string(Run().message()), HasSubstr("snapshot missing hash but --skip-hash-check=false"));
  std::string damaged = whole;
  damaged.back() ^= 1;
  Write(damaged);
  EXPECT_THAT(std::string(Run().message()), HasSubstr("expected sha256 ["));
  EXPECT_FALSE(std::filesystem::exists(options_.data_dir));
  options_.sum_check = SumCheck::kSkip;
  EXPECT_TRUE(Run().ok());
}

TEST_F(KvorumutlRestore, RefusesWhatIsThereAlready) {
  ASSERT_NO_FATAL_FAILURE(WriteSnapshot());
  std::filesystem::create_directories(options_.data_dir + "/x");
  EXPECT_EQ(std::string(Run().message()),
            "data-dir \"" + options_.data_dir + "\" not empty or could not be read");
  options_.data_dir += "2";
  options_.wal_dir = temp_.path();
  EXPECT_EQ(std::string(Run().message()), "wal-dir \"" + temp_.path() + "\" exists");
  options_.wal_dir.clear();
  options_.name = "z";
  EXPECT_THAT(std::string(Run().message()), HasSubstr("couldn't find local name \"z\""));
}

}  // namespace
}  // namespace kvorum::utl
