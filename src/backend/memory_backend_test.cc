#include "backend/memory_backend.h"

#include "backend/backend_format.h"
#include "gtest/gtest.h"

namespace kvorum::backend {
namespace {

void Put(Backend& backend, Bucket bucket, std::string_view key, std::string_view value) {
  backend.Put(bucket, key, Bytes::Copy(value));
}

std::string Get(Backend& backend, Bucket bucket, std::string_view key) {
  auto view = backend.NewReadView();
  auto value = view->Get(bucket, key);
  EXPECT_TRUE(value.ok());
  return value->has_value() ? std::string(**value) : "(none)";
}

TEST(BackendMemory, KeepsAnEntryOutOfACommitUntilItsEnd) {
  auto backend = MemoryBackend::Create();
  backend->BeginEntry();
  Put(*backend, Bucket::kKey, "a", "1");
  backend->CommitNow();
  EXPECT_EQ(Get(*backend->Crash(), Bucket::kKey, "a"), "(none)");
  backend->EndEntry({.index = 7, .term = 2});
  EXPECT_EQ(backend->Crash()->applied().index, 0u);
  backend->CommitNow();
  auto crashed = backend->Crash();
  EXPECT_EQ(Get(*crashed, Bucket::kKey, "a"), "1");
  EXPECT_EQ(crashed->applied().index, 7u);
  EXPECT_EQ(crashed->applied().term, 2u);
}

TEST(BackendMemory, WritesThePositionIntoMeta) {
  auto backend = MemoryBackend::Create();
  backend->BeginEntry();
  backend->EndEntry({.index = 258, .term = 3});
  backend->CommitNow();
  EXPECT_EQ(Get(*backend, Bucket::kMeta, kConsistentIndexKey), std::string("\0\0\0\0\0\0\1\2", 8));
  EXPECT_EQ(Get(*backend, Bucket::kMeta, kTermKey), std::string("\0\0\0\0\0\0\0\3", 8));
}

TEST(BackendMemory, ACommitInsideAnEntryIsDoneAtItsEnd) {
  auto backend = MemoryBackend::Create();
  bool done = false;
  backend->BeginEntry();
  Put(*backend, Bucket::kAuth, "a", "1");
  backend->Commit([&](absl::Status status) { done = status.ok(); });
  EXPECT_FALSE(done);
  backend->EndEntry({.index = 1, .term = 1});
  EXPECT_TRUE(done);
  EXPECT_EQ(Get(*backend->Crash(), Bucket::kAuth, "a"), "1");
}

TEST(BackendMemory, AViewStaysAsItWas) {
  auto backend = MemoryBackend::Create();
  Put(*backend, Bucket::kLease, "a", "1");
  auto view = backend->NewReadView();
  Put(*backend, Bucket::kLease, "a", "2");
  Put(*backend, Bucket::kLease, "b", "3");
  backend->CommitNow();
  EXPECT_EQ(view->Get(Bucket::kLease, "a")->value(), "1");
  EXPECT_FALSE(view->Get(Bucket::kLease, "b")->has_value());
  backend->Delete(Bucket::kLease, "a");
  EXPECT_EQ(view->Get(Bucket::kLease, "a")->value(), "1");
  EXPECT_EQ(Get(*backend, Bucket::kLease, "a"), "(none)");
}

TEST(BackendMemory, ScansInOrderFromToUntilToldToStop) {
  auto backend = MemoryBackend::Create();
  for (const char* key : {"d", "a", "c", "b"}) Put(*backend, Bucket::kCluster, key, key);
  auto view = backend->NewReadView();
  const auto scan = [&](std::string_view from, std::string_view to, size_t limit) {
    std::string keys;
    EXPECT_TRUE(view->Scan(Bucket::kCluster, from, to,
                           [&](std::string_view key, std::string_view) {
                             keys += key;
                             return keys.size() < limit;
                           })
                    .ok());
    return keys;
  };
  EXPECT_EQ(scan("", "", 9), "abcd");
  EXPECT_EQ(scan("b", "d", 9), "bc");
  EXPECT_EQ(scan("b", "", 2), "bc");
}

TEST(BackendMemory, SizesKeepTheirHighWaterMarkUntilDefragmented) {
  auto backend = MemoryBackend::Create();
  Put(*backend, Bucket::kKey, "abc", "12345");
  backend->Delete(Bucket::kKey, "abc");
  EXPECT_EQ(backend->sizes().in_use_bytes, 0);
  EXPECT_EQ(backend->sizes().total_bytes, 8);
  backend->Defragment([](absl::Status status) { EXPECT_TRUE(status.ok()); });
  EXPECT_EQ(backend->sizes().total_bytes, 0);
}

TEST(BackendMemory, AReplacementIsCommittedAndDropsWhatWasNot) {
  auto content = MemoryBackend::Create();
  Put(*content, Bucket::kKey, "new", "1");
  Put(*content, Bucket::kMeta, "confState", "{}");
  auto backend = MemoryBackend::Create();
  Put(*backend, Bucket::kKey, "old", "1");
  auto view = backend->NewReadView();
  absl::Status status = absl::UnknownError("not called");
  backend->Replace(content->NewReadView(), {.index = 8, .term = 3}, [&](absl::Status s) { status = s; });
  ASSERT_TRUE(status.ok()) << status;
  backend->CommitNow();
  auto crashed = backend->Crash();
  for (MemoryBackend* b : {backend.get(), crashed.get()}) {
    EXPECT_EQ(Get(*b, Bucket::kKey, "new"), "1");
    EXPECT_EQ(Get(*b, Bucket::kKey, "old"), "(none)");
    EXPECT_EQ(Get(*b, Bucket::kMeta, "confState"), "{}");
    EXPECT_EQ(Get(*b, Bucket::kMeta, kConsistentIndexKey), BigEndian64(8).view());
    EXPECT_EQ(b->applied().index, 8u);
    EXPECT_EQ(b->applied().term, 3u);
  }
  EXPECT_EQ(view->Get(Bucket::kKey, "old")->value(), "1");
}

}  // namespace
}  // namespace kvorum::backend
