#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/random.h"
#include "raft/raw_node.h"

namespace kvorum::raft {

/// One node whose network is the test: it says what arrives and looks at what leaves. Its log starts behind a
/// snapshot at index 1 of term 1.
class TestMember {
 public:
  explicit TestMember(uint64_t id, ConfState conf_state, Config config = {});
  /// Of a group of `voters` nodes, 1 to `voters`.
  static ConfState Voters(uint64_t voters);

  RawNode& node() { return *node_; }
  const Raft& raft() const { return node_->raft(); }
  MemoryStorage& storage() { return storage_; }

  /// Processes what is ready until nothing is; gives what left, and keeps what was applied and read.
  std::vector<Message> Run();
  /// Steps `message`, addressed to this node, and runs.
  std::vector<Message> Receive(Message message);
  /// Wins the next election by the votes of everybody.
  std::vector<Message> Lead();
  /// Ticks until an election starts.
  std::vector<Message> TimeOut();
  /// Puts entries of these terms into the log, from index 2 on, as written in an earlier life. Starts anew.
  void RestartWithLog(std::vector<uint64_t> terms, HardState state);

  const std::vector<Entry>& applied() const { return applied_; }
  const std::vector<ReadState>& reads() const { return reads_; }
  std::vector<uint64_t> LogTerms() const;

 private:
  void Start();

  Random random_{1};
  MemoryStorage storage_;
  Config config_;
  ConfState conf_state_;
  std::unique_ptr<RawNode> node_;
  std::vector<Entry> applied_;
  std::vector<ReadState> reads_;
};

/// Those of `type` among `messages`.
std::vector<Message> OfType(const std::vector<Message>& messages, MessageType type);

}  // namespace kvorum::raft
