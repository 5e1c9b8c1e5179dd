#include <fstream>
#include <map>

#include "backend/backend_format.h"
#include "backend/memory_backend.h"
#include "base/testing/temp_directory.h"
#include "bbolt/bbolt.h"
#include "bbolt/bbolt_format.h"
#include "bbolt/database.h"
#include "gtest/gtest.h"
#include "rapidcheck.h"
#include "rapidcheck/gtest.h"

namespace kvorum::bbolt {
namespace {

using backend::AppliedPosition;
using backend::Bucket;
using kvorum::testing::TempDirectory;

using Table = std::map<std::string, std::string>;
using Tables = std::map<Bucket, Table>;

std::unique_ptr<backend::ReadView> ViewOf(const Tables& tables) {
  const auto backend = backend::MemoryBackend::Create();
  for (const auto& [bucket, table] : tables) {
    for (const auto& [key, value] : table) backend->Put(bucket, key, Bytes::Copy(value));
  }
  return backend->NewReadView();
}

std::string Write(const Tables& tables, AppliedPosition position, size_t chunk = 64 << 10) {
  auto stream = FileStream::Create(ViewOf(tables), position);
  KVORUM_CHECK(stream.ok(), "{}", stream.status().ToString());
  const uint64_t size = (*stream)->size_bytes();
  std::string file;
  for (;;) {
    KVORUM_CHECK((*stream)->left_bytes() == size - file.size(), "{}", (*stream)->left_bytes());
    const auto bytes = (*stream)->Next(chunk);
    KVORUM_CHECK(bytes.ok(), "{}", bytes.status().ToString());
    if (bytes->empty()) break;
    KVORUM_CHECK(bytes->size() <= chunk, "{}", bytes->size());
    file += bytes->view();
  }
  KVORUM_CHECK(file.size() == size, "{} of {}", file.size(), size);
  return file;
}

Tables Read(const std::string& file) {
  const auto database = Database::FromBytes(file, "f");
  KVORUM_CHECK(database.ok(), "{}", database.status().ToString());
  Tables tables;
  for (size_t i = 0; i < backend::kBucketCount; ++i) {
    const Database::Bucket* bucket = (*database)->FindBucket(BucketName(static_cast<Bucket>(i)));
    KVORUM_CHECK(bucket != nullptr, "bucket {} is missing", i);
    Table table;
    (*database)->Scan(*bucket, {}, {}, [&](std::string_view key, std::string_view value) {
      KVORUM_CHECK((*database)->Get(*bucket, key) == value, "{}", key);
      table.emplace(key, value);
      return true;
    });
    if (!table.empty()) tables.emplace(static_cast<Bucket>(i), std::move(table));
  }
  KVORUM_CHECK((*database)->used_bytes() == file.size(), "{}", file.size());
  return tables;
}

Tables WithPosition(Tables tables, AppliedPosition position) {
  Table& meta = tables[Bucket::kMeta];
  for (const auto& [key, number] : {std::pair(backend::kConsistentIndexKey, position.index),
                                    std::pair(backend::kTermKey, position.term)}) {
    meta.erase(std::string(key));
    if (number != 0) meta.emplace(key, backend::BigEndian64(number).view());
  }
  if (meta.empty()) tables.erase(Bucket::kMeta);
  return tables;
}

rc::Gen<std::string> Text(size_t least, std::vector<size_t> sizes) {
  return rc::gen::exec([least, sizes = std::move(sizes)] {
    const size_t size = std::max<size_t>(least, *rc::gen::elementOf(sizes));
    std::string text =
        *rc::gen::container<std::string>(std::min<size_t>(size, 6), rc::gen::arbitrary<char>());
    text.resize(size, 'x');
    return text;
  });
}

RC_GTEST_PROP(BboltFileStream, ReadsBackWhatItWrote, ()) {
  Tables tables;
  for (size_t b = 0; b < backend::kBucketCount; ++b) {
    if (*rc::gen::inRange(0, 3) == 0) continue;
    auto table = *rc::gen::container<Table>(Text(1, {1, 3, 6, 17, 600, 5000}),
                                            Text(0, {0, 0, 1, 40, 300, 1000, 4064, 4096, 20'000, 300'000}));
    if (!table.empty()) tables.emplace(static_cast<Bucket>(b), std::move(table));
  }
  const AppliedPosition position = {.index = *rc::gen::inRange<uint64_t>(0, 5),
                                    .term = *rc::gen::inRange<uint64_t>(0, 3)};
  const size_t chunk = *rc::gen::element<size_t>(1000, 4096, 65'536, 10'000'000);
  RC_ASSERT(Read(Write(tables, position, chunk)) == WithPosition(tables, position));
}

TEST(BboltFileStream, HasAllBucketsOfAnEmptyDatabase) {
  const std::string file = Write({}, {});
  EXPECT_EQ(Read(file), Tables());
  EXPECT_EQ(file.size(), 3 * kWrittenPageBytes);
}

TEST(BboltFileStream, BuildsBranchesOverManyLeaves) {
  Tables tables;
  for (uint64_t i = 0; i < 60'000; ++i) {
    tables[Bucket::kKey].emplace(std::string(backend::BigEndian64(i).view()) + "_revision",
                                 std::string(i % 97, 'v'));
  }
  const std::string file = Write(tables, {});
  EXPECT_EQ(Read(file), tables);
  // More would be pages that are half empty.
  EXPECT_LT(file.size(), 60'000 * (17 + 48 + kElementBytes) * 12 / 10);
}

TEST(BboltFileStream, LongKeysStillMakeBranchesOfTwo) {
  Tables tables;
  for (char c = 'a'; c < 'z'; ++c) tables[Bucket::kMembers].emplace(std::string(30'000, c), "");
  EXPECT_EQ(Read(Write(tables, {})), tables);
}

TEST(BboltFileStream, SaysThePositionThatItIsGiven) {
  Tables tables;
  tables[Bucket::kMeta] = {{"a", "1"}, {"consistent_index", "old"}, {"k", "2"}, {"z", "3"}};
  const AppliedPosition position = {.index = 7, .term = 3};
  const std::string file = Write(tables, position);
  EXPECT_EQ(Read(file), WithPosition(tables, position));

  const TempDirectory directory;
  const std::string path = directory.path() + "/db";
  std::ofstream(path, std::ios::binary) << file;
  const auto view = OpenFile(path, &NullLogger());
  ASSERT_TRUE(view.ok()) << view.status();
  const auto read = PositionOf(**view);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->index, position.index);
  EXPECT_EQ(read->term, position.term);
}

TEST(BboltFileStream, BothMetasAreWhole) {
  const std::string file = Write({}, {});
  Meta first;
  Meta second;
  ASSERT_TRUE(LoadMeta(file.data() + kPageHeaderBytes, &first));
  ASSERT_TRUE(LoadMeta(file.data() + kWrittenPageBytes + kPageHeaderBytes, &second));
  EXPECT_EQ(first.txid, second.txid + 1);
  EXPECT_EQ(first.root, second.root);
  EXPECT_EQ(first.freelist, kNoFreelist);
}

/// Gives the first record of each bucket only, from the second walk on.
class ChangingView final : public backend::ReadView {
 public:
  absl::StatusOr<std::optional<std::string_view>> Get(Bucket, std::string_view) override {
    return std::nullopt;
  }
  absl::Status Scan(Bucket bucket, std::string_view, std::string_view,
                    absl::FunctionRef<bool(std::string_view, std::string_view)> visit) override {
    if (bucket == Bucket::kKey && !std::exchange(first_, false)) visit("k", std::string_view(value_));
    return absl::OkStatus();
  }

 private:
  bool first_ = true;
  const std::string value_ = std::string(9000, 'v');
};

TEST(BboltFileStream, FailsWhereTheViewChanges) {
  auto stream = FileStream::Create(std::make_unique<ChangingView>(), {});
  ASSERT_TRUE(stream.ok());
  EXPECT_EQ((*stream)->Next(1 << 20).status().code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace kvorum::bbolt
