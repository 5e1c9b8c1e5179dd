#include "raft/storage.h"

#include <gtest/gtest.h>

#include "raft/errors.h"

namespace kvorum::raft {
namespace {

Entry At(uint64_t index, uint64_t term, std::string_view data = "") {
  return {.term = Term(term), .index = Index(index), .data = Bytes::Copy(data)};
}

/// A storage that is compacted through entry 3 and has entries 4 to 6 of terms 4 to 6.
MemoryStorage Compacted() {
  MemoryStorage storage;
  storage.Append({At(1, 1), At(2, 2), At(3, 3), At(4, 4), At(5, 5), At(6, 6)});
  EXPECT_TRUE(storage.Compact(Index(3)).ok());
  return storage;
}

TEST(MemoryStorageTest, KnowsTheTermOfTheEntryBeforeTheFirst) {
  const MemoryStorage storage = Compacted();
  EXPECT_EQ(ErrorCode(storage.GetTerm(Index(2)).status()), Error::kCompacted);
  EXPECT_EQ(storage.GetTerm(Index(3)).value(), Term(3));
  EXPECT_EQ(storage.GetTerm(Index(6)).value(), Term(6));
  EXPECT_EQ(ErrorCode(storage.GetTerm(Index(7)).status()), Error::kUnavailable);
}

TEST(MemoryStorageTest, GivesAtLeastOneEntryAndNoMoreThanTheLimit) {
  const MemoryStorage storage = Compacted();
  EXPECT_EQ(ErrorCode(storage.Entries(Index(3), Index(5), kNoLimit).status()), Error::kCompacted);
  EXPECT_EQ(storage.Entries(Index(4), Index(7), kNoLimit)->size(), 3u);
  EXPECT_EQ(storage.Entries(Index(4), Index(7), 0)->size(), 1u);
  const uint64_t two = EncodedSize(At(4, 4)) + EncodedSize(At(5, 5));
  EXPECT_EQ(storage.Entries(Index(4), Index(7), two)->size(), 2u);
  EXPECT_EQ(storage.Entries(Index(4), Index(7), two - 1)->size(), 1u);
}

TEST(MemoryStorageTest, AppendReplacesTheSuffixAndSkipsWhatIsCompacted) {
  MemoryStorage storage = Compacted();
  storage.Append({At(2, 9), At(3, 9), At(4, 9), At(5, 9)});
  EXPECT_EQ(storage.LastIndex(), Index(5));
  EXPECT_EQ(storage.GetTerm(Index(3)).value(), Term(3));
  EXPECT_EQ(storage.GetTerm(Index(5)).value(), Term(9));
  storage.Append({At(1, 1)});
  EXPECT_EQ(storage.LastIndex(), Index(5));
  EXPECT_DEATH(storage.Append({At(7, 9)}), "missing log entry \\[last: 5, append at: 7\\]");
}

TEST(MemoryStorageTest, CompactsEntryByEntryToTheEnd) {
  MemoryStorage storage;
  for (uint64_t i = 1; i <= 1000; ++i) storage.Append({At(i, 1, "data")});
  for (uint64_t i = 1; i <= 1000; ++i) {
    ASSERT_TRUE(storage.Compact(Index(i)).ok());
    ASSERT_EQ(storage.FirstIndex(), Index(i + 1));
    ASSERT_EQ(storage.LastIndex(), Index(1000));
    if (i < 1000) {
      ASSERT_EQ(storage.Entries(Index(i + 1), Index(1001), kNoLimit)->size(), 1000 - i);
    }
  }
  EXPECT_EQ(ErrorCode(storage.Compact(Index(1000))), Error::kCompacted);
  EXPECT_DEATH(storage.Compact(Index(1001)).IgnoreError(),
               "compact 1001 is out of bound lastindex\\(1000\\)");
  storage.Append({At(1001, 1)});
  EXPECT_EQ(storage.LastIndex(), Index(1001));
}

TEST(MemoryStorageTest, ASnapshotReplacesTheLogUnlessItIsOlder) {
  MemoryStorage storage = Compacted();
  const Snapshot snapshot{
      .metadata = {.conf_state = {.voters = {NodeId(1)}}, .index = Index(9), .term = Term(7)}};
  ASSERT_TRUE(storage.ApplySnapshot(snapshot).ok());
  EXPECT_EQ(storage.FirstIndex(), Index(10));
  EXPECT_EQ(storage.LastIndex(), Index(9));
  EXPECT_EQ(storage.GetTerm(Index(9)).value(), Term(7));
  EXPECT_EQ(storage.GetInitialState()->conf_state, snapshot.metadata.conf_state);
  EXPECT_EQ(ErrorCode(storage.ApplySnapshot(snapshot)), Error::kSnapshotOutOfDate);
}

TEST(MemoryStorageTest, CreatesASnapshotOfTheGivenEntry) {
  MemoryStorage storage = Compacted();
  const ConfState conf_state{.voters = {NodeId(1), NodeId(2)}};
  ASSERT_TRUE(storage.CreateSnapshot(Index(5), &conf_state, Bytes::Copy("state")).ok());
  EXPECT_EQ(storage.GetSnapshot()->metadata.term, Term(5));
  EXPECT_EQ(storage.GetSnapshot()->metadata.conf_state, conf_state);
  EXPECT_EQ(ErrorCode(storage.CreateSnapshot(Index(5), nullptr, Bytes()).status()),
            Error::kSnapshotOutOfDate);
  EXPECT_EQ(storage.FirstIndex(), Index(4)) << "making a snapshot compacts nothing";
}

TEST(ErrorsTest, AnErrorIsKnownByItsStatusAlone) {
  EXPECT_EQ(MakeError(Error::kProposalDropped).message(), "raft proposal dropped");
  EXPECT_EQ(ErrorCode(MakeError(Error::kSnapshotTemporarilyUnavailable)),
            Error::kSnapshotTemporarilyUnavailable);
  EXPECT_EQ(ErrorCode(absl::UnavailableError("something else")), Error::kNone);
  EXPECT_TRUE(MakeError(Error::kNone).ok());
}

}  // namespace
}  // namespace kvorum::raft
