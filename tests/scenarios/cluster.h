#pragma once

#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "base/random.h"
#include "raft/raw_node.h"

namespace kvorum::scenarios {

/// The order is that of loudness: a line is shown where its level is not below the one that is set.
enum class Level : uint8_t { kDebug, kInfo, kWarn, kError, kFatal, kNone };

/// What the directive under way gives out: its own text and the nodes' log lines. At Level::kNone, nothing.
class Output : public Logger {
 public:
  Level level() const { return level_; }
  void set_level(Level level) { level_ = level; }
  bool quiet() const { return level_ == Level::kNone; }

  void Print(std::string_view text);
  /// What `body` prints, two spaces further right.
  void Indented(absl::FunctionRef<void()> body);
  std::string Take() { return std::exchange(text_, {}); }

  bool Enabled(LogLevel level) const override;
  void Write(LogLevel level, const char* file, int line, std::string_view message,
             std::initializer_list<LogField> fields) override;

 private:
  Level level_ = Level::kDebug;
  std::string text_;
};

/// Nodes numbered from 1, the messages between them, and for each node a disk and a state machine that glues
/// the data of all entries together. Nothing moves but by command. Source: reference raft.md §15.
class Cluster {
 public:
  explicit Cluster(Output& output);
  ~Cluster();

  struct Node;
  size_t size() const { return nodes_.size(); }
  /// REQUIRES: 1 <= id <= size()
  raft::RawNode& node(uint64_t id);
  raft::MemoryStorage& storage(uint64_t id);
  const raft::Config& config(uint64_t id) const;
  /// What the node has applied so far.
  const raft::Snapshot& newest_snapshot(uint64_t id) const;

  /// Adds `count` nodes that start from `snapshot`, or from nothing where it is empty.
  absl::Status AddNodes(int count, const raft::Config& config, raft::Snapshot snapshot);

  struct Recipient {
    uint64_t id;
    bool drop = false;
  };
  /// Delivers what is under way to the recipients, in their order; all types, or one. Gives how many.
  size_t Deliver(std::span<const Recipient> recipients, std::optional<raft::MessageType> type);
  void AddMessage(raft::Message message) { messages_.push_back(std::move(message)); }

  absl::Status ProcessReady(uint64_t id);
  absl::Status ProcessAppend(uint64_t id);
  void ProcessApply(uint64_t id);
  /// Until there is nothing left to do for these nodes.
  absl::Status Stabilize(const std::vector<uint64_t>& ids);

 private:
  absl::Status Persist(Node& node, const raft::HardState& state, std::vector<raft::Entry> entries,
                       const raft::Snapshot& snapshot);
  void Apply(Node& node, std::span<const raft::Entry> entries);
  std::vector<raft::Message> TakeMessages(const Recipient& to, std::optional<raft::MessageType> type);
  void Respond(std::vector<raft::Message> responses);

  Output& output_;
  Random random_{1};
  std::vector<std::unique_ptr<Node>> nodes_;
  /// Under way, over all nodes in the order in which they left.
  std::vector<raft::Message> messages_;
};

}  // namespace kvorum::scenarios
