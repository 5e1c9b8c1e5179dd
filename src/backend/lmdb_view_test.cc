#include "backend/lmdb_view.h"

#include "backend/crash_entries.h"
#include "backend/records.h"
#include "base/testing/temp_directory.h"
#include "gtest/gtest.h"

namespace kvorum::backend {
namespace {

using Records = std::vector<std::pair<std::string, std::string>>;

struct NoOwner final : ViewOwner {
  void ViewClosed(const DatabaseState*) override {}
};

std::string Key(uint64_t i) { return CrashRevision(i, 0); }

/// A database at the moment in which a commit of entries 1 to 3 has ended, and nobody has let go of their
/// buffer yet; entry 4 is in the next one.
class LmdbViewTest : public ::testing::Test {
 protected:
  LmdbViewTest() {
    EXPECT_TRUE(LmdbEnv::Create(directory_.path()).ok());
    const std::shared_ptr<LmdbEnv> env =
        LmdbEnv::Open(directory_.path(), 16 << 20, Durability::kOnSync).value();
    const auto committed = std::make_shared<WriteBuffer>("");
    for (uint64_t i = 1; i <= 3; ++i) committed->Put(Bucket::kKey, Key(i), Bytes::Copy("old"), ++changes_);
    MDB_txn* const write = env->BeginWrite().value();
    EXPECT_TRUE(committed
                    ->ForEachChange([&](const BufferedChange& change) {
                      return PutRecord(env->TableOf(write, change.bucket), change.key, *change.value,
                                       Place::kAnywhere);
                    })
                    .ok());
    EXPECT_TRUE(env->CommitWrite(write).ok());
    active_ = std::make_shared<WriteBuffer>(committed->last_key());
    active_->Put(Bucket::kKey, Key(4), Bytes::Copy("old"), ++changes_);
    state_ = std::make_shared<DatabaseState>(DatabaseState{.env = env, .buffers = {committed, active_}});
  }

  Records Scan(const std::string& from, const std::string& to) {
    LmdbView view(owner_, state_, state_->env->BeginRead(), changes_);
    Records records;
    EXPECT_TRUE(view.Scan(Bucket::kKey, from, to,
                          [&](std::string_view key, std::string_view value) {
                            records.emplace_back(key, value);
                            return true;
                          })
                    .ok());
    return records;
  }

  kvorum::testing::TempDirectory directory_;
  NoOwner owner_;
  uint64_t changes_ = 0;
  std::shared_ptr<WriteBuffer> active_;
  std::shared_ptr<DatabaseState> state_;
};

TEST_F(LmdbViewTest, SeesRecordsOnceThatAreInTheFileAndInABuffer) {
  EXPECT_EQ(Scan("", ""), (Records{{Key(1), "old"}, {Key(2), "old"}, {Key(3), "old"}, {Key(4), "old"}}));
  EXPECT_EQ(Scan(Key(2), Key(4)), (Records{{Key(2), "old"}, {Key(3), "old"}}));
}

TEST_F(LmdbViewTest, SeesThemOnceWhereOneWasChangedSince) {
  active_->Put(Bucket::kKey, Key(2), Bytes::Copy("new"), ++changes_);
  EXPECT_EQ(Scan("", ""), (Records{{Key(1), "old"}, {Key(2), "new"}, {Key(3), "old"}, {Key(4), "old"}}));
  EXPECT_EQ(Scan(Key(2), Key(4)), (Records{{Key(2), "new"}, {Key(3), "old"}}));
}

}  // namespace
}  // namespace kvorum::backend
