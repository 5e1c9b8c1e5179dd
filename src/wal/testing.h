#pragma once

// Helpers for the tests of this folder.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/testing/fault_env.h"
#include "gtest/gtest.h"
#include "raft/types.h"
#include "wal/frame_encoder.h"
#include "wal/record_reader.h"
#include "wal/wal.h"

namespace kvorum::wal {

using kvorum::testing::FaultEnv;

inline constexpr Metadata kMetadata = {.node_id = 0x1122, .cluster_id = 0x3344};

inline raft::Entry MakeEntry(uint64_t term, uint64_t index, std::optional<std::string_view> data) {
  return {.term = raft::Term(term), .index = raft::Index(index), .data = data ? Bytes::Copy(*data) : Bytes()};
}
inline raft::HardState State(uint64_t term, uint64_t vote, uint64_t commit) {
  return {raft::Term(term), raft::NodeId(vote), raft::Index(commit)};
}
inline SnapshotRecord Snap(uint64_t index, uint64_t term) {
  return {raft::Index(index), raft::Term(term), raft::ConfState{.voters = {raft::NodeId(2)}}};
}

/// A log in "wal" of a FaultEnv.
class WalFixture : public ::testing::Test {
 protected:
  void Create() {
    auto wal = Wal::Create("wal", kMetadata, options_);
    ASSERT_TRUE(wal.ok()) << wal.status();
    wal_ = *std::move(wal);
  }
  /// Closes the log and opens it again.
  Recovered Reopen(const SnapshotRecord& start = {}) {
    wal_.reset();
    auto opened = Wal::Open("wal", start, options_);
    EXPECT_TRUE(opened.ok()) << opened.status();
    if (!opened.ok()) return {};
    wal_ = std::move(opened->wal);
    return std::move(opened->recovered);
  }
  absl::Status Save(const raft::HardState& state, const std::vector<raft::Entry>& entries) {
    const Batch batch = {state, entries};
    return wal_->Save(std::span(&batch, 1));
  }
  /// One Save for each entry of [first, last], each of `size` bytes and with the state that commits it.
  void SaveMany(uint64_t first, uint64_t last, size_t size) {
    for (uint64_t i = first; i <= last; ++i) {
      const absl::Status status =
          Save(State(1, 1, i), {MakeEntry(1, i, std::string(size, static_cast<char>('a' + i % 26)))});
      ASSERT_TRUE(status.ok()) << status;
    }
  }
  std::vector<std::string> Files() { return env_.ListDirectory("wal").value(); }

  FaultEnv env_;
  Options options_ = {.env = &env_, .segment_size_bytes = uint64_t{1} << 20};
  std::unique_ptr<Wal> wal_;
};

}  // namespace kvorum::wal
