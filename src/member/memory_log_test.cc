#include "member/memory_log.h"

#include "gtest/gtest.h"

namespace kvorum::member {
namespace {

using raft::Index;

class MemoryLogTest : public ::testing::Test {
 protected:
  void Append(uint64_t last, size_t bytes) {
    const Bytes data = Bytes::Copy(std::string(bytes, 'x'));
    for (uint64_t i = log_->storage().LastIndex().value() + 1; i <= last; ++i) {
      log_->Append({{.term = raft::Term(1), .index = Index(i), .data = data}});
      if (i % 100 == 0) Cut(i);
    }
  }
  void Cut(uint64_t applied) {
    log_->Cut({.index = Index(applied), .term = raft::Term(1), .conf_state = {}, .data = {}}, followers_,
              now_);
  }
  uint64_t first() const { return log_->storage().FirstIndex().value(); }

  std::unique_ptr<MemoryLog> NewLog(uint64_t catch_up_entries) {
    return std::make_unique<MemoryLog>(std::make_unique<raft::MemoryStorage>(), catch_up_entries);
  }

  std::unique_ptr<MemoryLog> log_ = NewLog(50);
  MemoryLog::Followers followers_{.any = true, .needed = std::nullopt};
  MonotonicTime now_;
};

TEST_F(MemoryLogTest, KeepsTheCatchUpEntries) {
  Append(1000, 10);
  EXPECT_EQ(first(), 951u);
}

TEST_F(MemoryLogTest, KeepsWhatAFollowerNeeds) {
  followers_.needed = Index(120);
  Append(1000, 10);
  EXPECT_EQ(first(), 120u);
  followers_.needed = Index(990);
  Append(1100, 10);
  EXPECT_EQ(first(), 990u);
  followers_.needed.reset();
  Append(1200, 10);
  EXPECT_EQ(first(), 1151u);
}

TEST_F(MemoryLogTest, NeverKeepsMoreThanItsBytes) {
  followers_.needed = Index(1);
  Append(1000, 1 << 20);
  EXPECT_GT(first(), 700u);
  EXPECT_LT(first(), 951u);
}

TEST_F(MemoryLogTest, KeepsLittleWhereNobodyAsks) {
  log_ = NewLog(5000);
  followers_.any = false;
  Append(1000, 1 << 20);
  EXPECT_EQ(first(), 901u);
}

TEST_F(MemoryLogTest, KeepsWhatComesAfterASnapshotOnItsWay) {
  Append(200, 10);
  log_->Pin(raft::NodeId(2), Index(200));
  Append(1000, 10);
  EXPECT_EQ(first(), 201u);
  log_->ArrivedAt(raft::NodeId(2), now_ + std::chrono::seconds(30));
  Append(1100, 10);
  EXPECT_EQ(first(), 201u);
  now_ += std::chrono::seconds(31);
  Append(1200, 10);
  EXPECT_EQ(first(), 1151u);
  log_->Pin(raft::NodeId(2), Index(1200));
  log_->Unpin(raft::NodeId(2));
  Append(1300, 10);
  EXPECT_EQ(first(), 1251u);
}

TEST_F(MemoryLogTest, BeginsBehindWhatWasInstalled) {
  Append(200, 10);
  log_->Install({.data = {}, .metadata = {.conf_state = {}, .index = Index(5000), .term = raft::Term(2)}});
  EXPECT_EQ(first(), 5001u);
  Cut(150);  // of before
  EXPECT_EQ(first(), 5001u);
}

}  // namespace
}  // namespace kvorum::member
