#include "mvcc/store.h"

#include "backend/memory_backend.h"
#include "gtest/gtest.h"
#include "mvcc/record_format.h"
#include "mvcc/testing/fake_lessor.h"

namespace kvorum::mvcc {
namespace {

using backend::MemoryBackend;

constexpr std::string_view kZero("\0", 1);
const KeyRange kAll{kZero, kZero};

struct StoreTest : ::testing::Test {
  StoreTest() { Open(); }

  void Open() {
    auto opened = Store::Open({.backend = backend.get(), .leases = &lessor});
    ASSERT_TRUE(opened.ok()) << opened.status();
    store = *std::move(opened);
    store->CheckInvariants();
  }
  void Reopen() {
    backend->CommitNow();
    store.reset();
    backend = backend->Crash();
    lessor.attached.clear();
    Open();
  }
  void Put(std::string_view key, std::string_view value, int64_t lease = 0) {
    auto txn = store->Begin();
    txn->Put(key, value, LeaseId(lease));
  }
  int64_t Delete(KeyRange range) { return store->Begin()->DeleteRange(range); }
  void Compact(int64_t revision, size_t step = 1000) {
    ASSERT_TRUE(store->StartCompaction(revision).ok());
    while (store->CompactStep(step)) store->CheckInvariants();
    store->CheckInvariants();
  }
  uint32_t Hash(int64_t revision) {
    auto hash = store->Hash(revision);
    EXPECT_TRUE(hash.ok()) << hash.status();
    return hash.ok() ? hash->hash : 0;
  }
  /// "key=value@create,mod,version" of each record.
  std::vector<std::string> Get(RangeOptions options) {
    auto result = store->Range(options);
    if (!result.ok()) return {std::string(result.status().message())};
    return Texts(*result);
  }
  static std::vector<std::string> Texts(const RangeResult& result) {
    std::vector<std::string> texts;
    for (std::string_view encoded : result.records) {
      const Record r = ParseRecord(encoded).value();
      texts.push_back(
          fmt::format("{}={}@{},{},{}", r.key, r.value, r.create_revision, r.mod_revision, r.version));
    }
    return texts;
  }
  using Strings = std::vector<std::string>;

  std::unique_ptr<MemoryBackend> backend = MemoryBackend::Create();
  testing::FakeLessor lessor{{0x1234, 7, 8}};
  std::unique_ptr<Store> store;
};

TEST_F(StoreTest, KeepsTheHashesOfCompactionsAsTheyWereBefore) {
  for (int i = 0; i < 4; ++i) Put("a", std::to_string(i));  // revisions 2 to 5
  Put("b", "x");
  const uint32_t before_4 = Hash(4);
  ASSERT_TRUE(store->StartCompaction(4).ok());
  ASSERT_TRUE(store->HashCompaction().ok());
  while (store->CompactStep(1)) {
  }
  EXPECT_EQ(store->Hash(4)->hash, before_4);
  EXPECT_EQ(store->Hash(4)->compact_revision, -1);
  EXPECT_EQ(store->Hash(4)->current_revision, 6);

  const uint32_t before_5 = Hash(5);
  ASSERT_TRUE(store->StartCompaction(5).ok());
  ASSERT_TRUE(store->HashCompaction().ok());
  ASSERT_TRUE(store->StartCompaction(6).ok());
  EXPECT_TRUE(store->HashCompaction().ok());
  while (store->CompactStep(1)) {
  }
  const std::vector<HashResult> kept = store->compaction_hashes();
  ASSERT_EQ(kept.size(), 2u) << "6 came while another compaction was under way";
  EXPECT_EQ(kept[0].hash, before_5);
  EXPECT_EQ(kept[0].compact_revision, 4);
  EXPECT_EQ(kept[1].revision, 4);
  EXPECT_EQ(Hash(5), before_5) << "though it is compacted";
}

TEST_F(StoreTest, HashesAsEtcdDoes) {
  EXPECT_EQ(Hash(0), 1084519789u);
  Put("a", "b");
  EXPECT_EQ(Hash(0), 3628877040u);
  Put("foo", "bar");
  EXPECT_EQ(Hash(0), 3238934629u);
  Put("foo", "");
  EXPECT_EQ(Hash(0), 508313475u);
  Put("k", "v", 0x1234);
  EXPECT_EQ(Hash(0), 674962981u);
  Delete({"foo", ""});
  EXPECT_EQ(Hash(0), 2282153457u);
  EXPECT_EQ(Hash(5), 674962981u) << "a past revision";
  ASSERT_TRUE(store->StartCompaction(4).ok());
  EXPECT_EQ(Hash(6), 1540165665u) << "before anything is removed";
  while (store->CompactStep(1)) EXPECT_EQ(Hash(5), 3570806264u);
  EXPECT_EQ(Hash(6), 1540165665u);
  EXPECT_EQ(Hash(5), 3570806264u);
  EXPECT_EQ(store->Hash(6)->compact_revision, 4);
  Put("foo", "again");
  EXPECT_EQ(Hash(0), 2034456376u);
  Reopen();
  EXPECT_EQ(Hash(0), 2034456376u);
  EXPECT_EQ(store->Hash(3).status(), CompactedError());
  EXPECT_EQ(store->Hash(8).status(), FutureRevisionError());
}

TEST_F(StoreTest, ReadsAtRevisions) {
  Put("a", "1");
  Put("a", "2");
  Delete({"a", ""});
  Put("a", "3");
  EXPECT_EQ(store->current_revision(), 5);
  EXPECT_EQ(Get({.range = {"a", ""}}), (Strings{"a=3@5,5,1"}));
  EXPECT_EQ(Get({.range = {"a", ""}, .revision = 3}), (Strings{"a=2@2,3,2"}));
  EXPECT_EQ(Get({.range = {"a", ""}, .revision = 4}), Strings{});
  EXPECT_EQ(Get({.range = {"a", ""}, .revision = 6}),
            (Strings{"mvcc: required revision is a future revision"}));
}

TEST_F(StoreTest, RangesInKeyOrderWithLimitAndCount) {
  for (const char* key : {"c", "a", "d", "b"}) Put(key, "");
  const auto result = store->Range({.range = {"b", kZero}, .limit = 2});
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->count, 3);
  EXPECT_EQ(result->revision, 5);
  EXPECT_EQ(Texts(*result), (Strings{"b=@5,5,1", "c=@2,2,1"}));
  EXPECT_EQ(Get({.range = {"a", "c"}}), (Strings{"a=@3,3,1", "b=@5,5,1"}));
  EXPECT_EQ(Get({.range = {"c", "a"}}), Strings{});
  const auto count = store->Range({.range = kAll, .count_only = true});
  EXPECT_EQ(count->count, 4);
  EXPECT_TRUE(count->records.empty());
}

TEST_F(StoreTest, ReadsMoreThanOneHoldOfTheLockInOrder) {
  {
    auto txn = store->Begin();
    for (int i = 0; i < 9000; ++i) txn->Put(fmt::format("{:05}", i), "", LeaseId(0));
  }
  const auto result = store->Range({.range = kAll});
  ASSERT_EQ(result->records.size(), 9000u);
  for (int i = 0; i < 9000; ++i) EXPECT_EQ(ParseRecord(result->records[i])->key, fmt::format("{:05}", i));
}

TEST_F(StoreTest, ATransactionSeesItselfAndOthersSeeItWhole) {
  Put("a", "1");
  auto txn = store->Begin();
  EXPECT_EQ(txn->revision(), 2);
  txn->Put("b", "2", LeaseId(0));
  EXPECT_EQ(txn->DeleteRange({"a", ""}), 1);
  txn->Put("a", "3", LeaseId(0));
  EXPECT_EQ(txn->revision(), 3);
  EXPECT_EQ(Texts(*txn->Range({.range = kAll})), (Strings{"a=3@3,3,1", "b=2@3,3,1"}));
  EXPECT_EQ(Get({.range = kAll}), (Strings{"a=1@2,2,1"}));
  EXPECT_EQ(store->Range({.range = kAll})->count, 1);
  txn->End();
  EXPECT_EQ(Get({.range = kAll}), (Strings{"a=3@3,3,1", "b=2@3,3,1"}));
  EXPECT_EQ(Get({.range = kAll, .revision = 2}), (Strings{"a=1@2,2,1"}));
}

TEST_F(StoreTest, ATransactionWithoutChangesTakesNoRevision) {
  EXPECT_EQ(Delete({"nothing", ""}), 0);
  EXPECT_EQ(store->current_revision(), 1);
}

TEST_F(StoreTest, NumbersDeletionsInKeyOrder) {
  for (const char* key : {"b", "a", "c"}) Put(key, "");
  EXPECT_EQ(Delete({"a", "c"}), 2);
  const auto view = backend->NewReadView();
  EXPECT_EQ(*view->Get(backend::Bucket::kKey, RevisionKey({5, 0}, true).view()).value(),
            EncodeTombstone("a").view());
  EXPECT_EQ(*view->Get(backend::Bucket::kKey, RevisionKey({5, 1}, true).view()).value(),
            EncodeTombstone("b").view());
}

TEST_F(StoreTest, BindsKeysToTheirLatestLease) {
  using Attached = std::set<std::pair<int64_t, std::string>>;
  Put("a", "", 7);
  EXPECT_EQ(lessor.attached, (Attached{{7, "a"}}));
  Put("a", "", 8);
  EXPECT_EQ(lessor.attached, (Attached{{8, "a"}}));
  Put("b", "", 7);
  Put("a", "");
  EXPECT_EQ(lessor.attached, (Attached{{7, "b"}}));
  Put("c", "", 8);
  Delete({"b", ""});
  EXPECT_EQ(lessor.attached, (Attached{{8, "c"}}));
  Reopen();
  EXPECT_EQ(lessor.attached, (Attached{{8, "c"}}));
}

TEST_F(StoreTest, ForgetsLeasesThatAreGoneAtStart) {
  Put("a", "", 7);
  lessor.leases.erase(7);
  Reopen();
  EXPECT_TRUE(lessor.attached.empty());
  Put("a", "");
  EXPECT_EQ(lessor.detached_unknown, 0);
}

TEST_F(StoreTest, RefusesReadsUnderTheCompactedRevision) {
  Put("a", "1");
  Put("a", "2");
  Put("a", "3");
  Compact(3);
  EXPECT_EQ(store->compact_revision(), 3);
  EXPECT_EQ(Get({.range = {"a", ""}, .revision = 2}),
            (Strings{"mvcc: required revision has been compacted"}));
  EXPECT_EQ(Get({.range = {"a", ""}, .revision = 3}), (Strings{"a=2@2,3,2"}));
  EXPECT_EQ(store->StartCompaction(3), CompactedError());
  EXPECT_EQ(store->StartCompaction(5), FutureRevisionError());
}

TEST_F(StoreTest, KeepsVersionsAcrossCompactionAndRestart) {
  for (int i = 0; i < 5; ++i) Put("a", "x");
  Compact(6);
  Reopen();
  Put("a", "y");
  EXPECT_EQ(Get({.range = {"a", ""}}), (Strings{"a=y@2,7,6"}));
}

size_t RecordCount(backend::Backend& backend) {
  size_t count = 0;
  (void)backend.NewReadView()->Scan(backend::Bucket::kKey, "", "", [&](auto, auto) { return ++count > 0; });
  return count;
}

TEST_F(StoreTest, GoesOnWithACompactionThatAnEndInterrupted) {
  for (int i = 0; i < 20; ++i) Put("a", "x");
  Put("b", "x");
  Delete({"b", ""});
  ASSERT_TRUE(store->StartCompaction(23).ok());
  store->CompactStep(1000);
  EXPECT_TRUE(store->CompactStep(3));
  EXPECT_EQ(RecordCount(*backend), 19u);
  Reopen();
  EXPECT_TRUE(store->compacting());
  EXPECT_EQ(store->compact_revision(), 23);
  EXPECT_EQ(store->current_revision(), 23);
  while (store->CompactStep(1000)) {
  }
  EXPECT_EQ(RecordCount(*backend), 2u) << "the newest of a, and the deletion at the compacted revision";
  EXPECT_EQ(Get({.range = kAll}), (Strings{"a=x@2,21,20"}));
  Reopen();
  EXPECT_FALSE(store->compacting());
}

TEST_F(StoreTest, TakesACompactionIntoTheNext) {
  for (int i = 0; i < 20; ++i) Put("a", "x");
  ASSERT_TRUE(store->StartCompaction(5).ok());
  store->CompactStep(1000);
  store->CompactStep(1);
  Compact(20);
  EXPECT_EQ(RecordCount(*backend), 2u);
}

TEST_F(StoreTest, RefusesMalformedRecords) {
  backend->Put(backend::Bucket::kKey, "short", Bytes::Copy("x"));
  store.reset();
  EXPECT_TRUE(absl::IsDataLoss(Store::Open({.backend = backend.get()}).status()));
  backend->Delete(backend::Bucket::kKey, "short");
  backend->Put(backend::Bucket::kKey, RevisionKey({2, 0}).view(), Bytes::Copy("\xff"));
  EXPECT_TRUE(absl::IsDataLoss(Store::Open({.backend = backend.get()}).status()));
}

TEST_F(StoreTest, CountsWhatItDoes) {
  metrics::Registry registry;
  auto opened = Store::Open({.backend = backend.get(), .metrics = &registry});
  (*opened)->Begin()->Put("a", "xyz", LeaseId(0));
  (*opened)->Begin()->DeleteRange({"b", ""});
  {
    auto txn = (*opened)->Begin();
    txn->Put("b", "", LeaseId(0));
    (void)txn->Range({.range = {"a", ""}});
  }
  const std::string text = registry.Text();
  for (const char* line :
       {"\netcd_mvcc_put_total 2\n", "\netcd_mvcc_delete_total 1\n", "\netcd_mvcc_range_total 1\n",
        "\netcd_mvcc_txn_total 1\n", "\netcd_debugging_mvcc_keys_total 2\n",
        "\netcd_debugging_mvcc_current_revision 3\n", "\netcd_debugging_mvcc_compact_revision -1\n",
        "\netcd_debugging_mvcc_total_put_size_in_bytes 5\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
}

}  // namespace
}  // namespace kvorum::mvcc
