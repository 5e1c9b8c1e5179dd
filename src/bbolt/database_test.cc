#include "bbolt/database.h"

#include <string>

#include "absl/strings/escaping.h"
#include "base/log.h"
#include "bbolt/bbolt.h"
#include "bbolt/bbolt_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kvorum::bbolt {
namespace {

using ::testing::HasSubstr;

std::string Page(const std::string& hex, size_t pages = 1) {
  std::string page = absl::HexStringToBytes(hex);
  page.resize(pages * kWrittenPageBytes);
  return page;
}

/// What bbolt writes for a new database.
std::string FreshFile() {
  return Page(
             "00000000000000000400000000000000edda0ced0200000000100000000000000300000000000000000000000000000"
             "002"
             "0000000000000004000000000000000000000000000000eefd8946116e5107") +
         Page(
             "01000000000000000400000000000000edda0ced0200000000100000000000000300000000000000000000000000000"
             "002"
             "00000000000000040000000000000001000000000000000f4879511a354c26") +
         Page("02000000000000001000000000000000") + Page("03000000000000000200000000000000");
}

/// What bbolt copies after {k: v} was put into a new bucket "meta".
std::string OneBucketFile() {
  return Page(
             "00000000000000000400000000000000edda0ced0200000000100000000000000400000000000000000000000000000"
             "0ff"
             "ffffffffffffff050000000000000002000000000000008075b171d1997629") +
         Page(
             "01000000000000000400000000000000edda0ced0200000000100000000000000400000000000000000000000000000"
             "0ff"
             "ffffffffffffff05000000000000000100000000000000e3537f92ecee6686") +
         Page("") + Page("") +
         Page(
             "0400000000000000020001000000000001000000100000000400000032000000"
             "6d65746100000000000000000000000000000000"
             "0000000000000000020001000000000000000000100000000100000001000000"
             "6b76");
}

/// A file with a meta and the pages from the third on.
std::string FileOf(uint64_t root, const std::vector<std::string>& pages) {
  std::string file;
  for (uint64_t id = 0; id < kFirstDataPage; ++id) {
    std::string page = Page("");
    StorePageHeader({.id = id, .flags = static_cast<uint16_t>(PageType::kMeta)}, page.data());
    StoreMeta({.root = root, .end = kFirstDataPage + pages.size(), .txid = 2 - id},
              page.data() + kPageHeaderBytes);
    file += page;
  }
  for (const std::string& page : pages) file += page;
  return file;
}

std::string LeafPage(uint64_t id, const std::vector<std::pair<std::string, std::string>>& records,
                     uint32_t flags = 0, uint32_t overflow = 0) {
  std::string page(kPageHeaderBytes, '\0');
  StorePageHeader({.id = id,
                   .flags = static_cast<uint16_t>(PageType::kLeaf),
                   .count = static_cast<uint16_t>(records.size()),
                   .overflow = overflow},
                  page.data());
  uint32_t position = static_cast<uint32_t>(records.size() * kElementBytes);
  std::string data;
  for (const auto& [key, value] : records) {
    char element[kElementBytes];
    Store(flags, element);
    Store(position, element + 4);
    Store(static_cast<uint32_t>(key.size()), element + 8);
    Store(static_cast<uint32_t>(value.size()), element + 12);
    page.append(element, sizeof element);
    position += static_cast<uint32_t>(key.size() + value.size() - kElementBytes);
    data += key + value;
  }
  page += data;
  page.resize(kWrittenPageBytes * (overflow + 1));
  return page;
}

std::string BranchPage(uint64_t id, const std::vector<std::pair<std::string, uint64_t>>& children) {
  std::string page(kPageHeaderBytes, '\0');
  StorePageHeader({.id = id,
                   .flags = static_cast<uint16_t>(PageType::kBranch),
                   .count = static_cast<uint16_t>(children.size())},
                  page.data());
  uint32_t position = static_cast<uint32_t>(children.size() * kElementBytes);
  std::string data;
  for (const auto& [key, child] : children) {
    char element[kElementBytes];
    Store(position, element);
    Store(static_cast<uint32_t>(key.size()), element + 4);
    Store(child, element + 8);
    page.append(element, sizeof element);
    position += static_cast<uint32_t>(key.size() - kElementBytes);
    data += key;
  }
  page += data;
  page.resize(kWrittenPageBytes);
  return page;
}

std::string BucketAt(uint64_t root) {
  std::string header(kBucketHeaderBytes, '\0');
  Store(root, header.data());
  return header;
}

absl::Status Open(const std::string& file) { return Database::FromBytes(file, "f").status(); }

TEST(BboltDatabase, ReadsAFreshFile) {
  const std::string file = FreshFile();
  const auto database = Database::FromBytes(file, "f");
  ASSERT_TRUE(database.ok()) << database.status();
  EXPECT_TRUE((*database)->buckets().empty());
  EXPECT_EQ((*database)->used_bytes(), 4 * kWrittenPageBytes);
}

TEST(BboltDatabase, ReadsAnInlineBucket) {
  const std::string file = OneBucketFile() + std::string(32, 's');  // a sha256 behind it is left alone
  const auto database = Database::FromBytes(file, "f");
  ASSERT_TRUE(database.ok()) << database.status();
  ASSERT_EQ((*database)->buckets().size(), 1u);
  const Database::Bucket* meta = (*database)->FindBucket("meta");
  ASSERT_NE(meta, nullptr);
  EXPECT_EQ((*database)->Get(*meta, "k"), "v");
  EXPECT_EQ((*database)->Get(*meta, "j"), std::nullopt);
}

TEST(BboltDatabase, TakesTheMetaThatIsWhole) {
  std::string file = OneBucketFile();
  file[20] ^= 1;  // in the first
  EXPECT_TRUE(Open(file).ok());
  file[kWrittenPageBytes + 20] ^= 1;
  EXPECT_EQ(Open(file).code(), absl::StatusCode::kDataLoss);
}

TEST(BboltDatabase, TakesTheNewerMeta) {
  std::string file = OneBucketFile();
  const std::string older = FileOf(3, {Page(""), LeafPage(3, {})});
  file.replace(kWrittenPageBytes, kWrittenPageBytes, older.substr(kWrittenPageBytes, kWrittenPageBytes));
  const auto database = Database::FromBytes(file, "f");
  ASSERT_TRUE(database.ok());
  EXPECT_EQ((*database)->buckets().size(), 1u);
}

TEST(BboltDatabase, FindsKeysBelowBranches) {
  const std::string file =
      FileOf(2, {LeafPage(2, {{"b", BucketAt(3)}}, kBucketElement), BranchPage(3, {{"a", 4}, {"m", 5}}),
                 LeafPage(4, {{"b", "1"}, {"c", "2"}}),
                 LeafPage(5, {{"m", "3"}, {"x", std::string(5000, 'v')}}, 0, 1).substr(0, kWrittenPageBytes),
                 Page("")});
  const auto database = Database::FromBytes(file, "f");
  ASSERT_TRUE(database.ok()) << database.status();
  const Database::Bucket& bucket = (*database)->buckets()[0];
  for (const auto& [key, value] : {std::pair("b", "1"), std::pair("c", "2"), std::pair("m", "3")}) {
    EXPECT_EQ((*database)->Get(bucket, key), value);
  }
  EXPECT_EQ((*database)->Get(bucket, "x")->size(), 5000u);
  for (const char* key : {"0", "a", "d", "n", "z"}) EXPECT_EQ((*database)->Get(bucket, key), std::nullopt);
  std::string keys;
  (*database)->Scan(bucket, "c", "x", [&](std::string_view key, std::string_view) {
    keys += key;
    return true;
  });
  EXPECT_EQ(keys, "cm");
}

struct Damage {
  std::string what;
  std::string file;
};

TEST(BboltDatabase, RefusesDamagedPages) {
  const auto with_bucket = [](std::vector<std::string> pages, uint64_t root = 3) {
    pages.insert(pages.begin(), LeafPage(2, {{"b", BucketAt(root)}}, kBucketElement));
    return FileOf(2, pages);
  };
  std::string beyond = LeafPage(3, {{"a", "1"}});
  Store(uint32_t{9000}, beyond.data() + kPageHeaderBytes + 12);
  std::string many = LeafPage(3, {});
  Store(uint16_t{5000}, many.data() + 10);
  std::string wraps = LeafPage(3, {{"a", "1"}});
  Store(~uint32_t{0}, wraps.data() + kPageHeaderBytes + 4);
  std::string overflows = LeafPage(3, {});
  Store(~uint32_t{0}, overflows.data() + 12);
  const std::vector<Damage> cases = {
      {"out of bounds", with_bucket({LeafPage(3, {})}, 4)},
      {"out of bounds", with_bucket({}, 1)},
      {"identifies as 9", with_bucket({LeafPage(9, {})})},
      {"invalid type", with_bucket({Page("03000000000000001000000000000000")})},
      {"more elements than fit", with_bucket({many})},
      {"beyond the page", with_bucket({beyond})},
      {"beyond the page", with_bucket({wraps})},
      {"overflows the file", with_bucket({overflows})},
      {"empty key", with_bucket({LeafPage(3, {{"", "1"}})})},
      {"out of order", with_bucket({LeafPage(3, {{"b", ""}, {"a", ""}})})},
      {"out of order", with_bucket({LeafPage(3, {{"b", ""}, {"b", ""}})})},
      {"flags 0x1", with_bucket({LeafPage(3, {{"b", BucketAt(2)}}, kBucketElement)})},
      {"without children", with_bucket({BranchPage(3, {})})},
      {"multiple references", with_bucket({BranchPage(3, {{"a", 3}})})},
      {"multiple references", with_bucket({BranchPage(3, {{"a", 4}, {"b", 4}}), LeafPage(4, {})})},
      {"multiple references",
       with_bucket({BranchPage(3, {{"a", 4}, {"b", 5}}), LeafPage(4, {}, 0, 1).substr(0, kWrittenPageBytes),
                    LeafPage(5, {})})},
      {"branch's bounds", with_bucket({BranchPage(3, {{"a", 4}, {"c", 5}}), LeafPage(4, {{"d", ""}}),
                                       LeafPage(5, {{"e", ""}})})},
      {"branch's bounds", with_bucket({BranchPage(3, {{"b", 4}}), LeafPage(4, {{"a", ""}})})},
      {"no header", FileOf(2, {LeafPage(2, {{"b", "short"}}, kBucketElement)})},
      {"flags 0x0", FileOf(2, {LeafPage(2, {{"b", BucketAt(0)}})})},
      {"no leaf page", FileOf(2, {LeafPage(2, {{"b", BucketAt(0)}}, kBucketElement)})},
  };
  for (const Damage& damage : cases) {
    const absl::Status status = Open(damage.file);
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << damage.what;
    EXPECT_THAT(status.message(), HasSubstr(damage.what));
  }
}

TEST(BboltDatabase, RefusesAFileCutShort) {
  const std::string file = OneBucketFile();
  for (const size_t size : {0, 15, 100, 4096, 8192, 5 * 4096 - 1}) {
    EXPECT_EQ(Open(file.substr(0, size)).code(), absl::StatusCode::kDataLoss) << size;
  }
}

TEST(BboltDatabase, SaysWhichFileIsMissing) {
  const auto opened = OpenFile("/nonexistent/db", &NullLogger());
  EXPECT_EQ(opened.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(opened.status().message(), HasSubstr("/nonexistent/db"));
}

}  // namespace
}  // namespace kvorum::bbolt
