#include "cluster.h"

#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "datadriven.h"
#include "describe.h"
#include "raft/codec.h"

namespace kvorum::scenarios {

using raft::Entry;
using raft::Message;
using raft::MessageType;
using raft::NodeId;
using raft::RawNode;
using raft::Snapshot;

namespace {

bool IsStorageThread(NodeId id) { return id == raft::kAppendThread || id == raft::kApplyThread; }

/// Never on the network: between a node and itself, or its disk.
bool IsLocal(const Message& message) {
  return message.from == message.to || IsStorageThread(message.from) || IsStorageThread(message.to);
}

Level LevelOf(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return Level::kDebug;
    case LogLevel::kInfo:
      return Level::kInfo;
    case LogLevel::kWarn:
      return Level::kWarn;
    case LogLevel::kError:
      return Level::kError;
    case LogLevel::kPanic:
    case LogLevel::kFatal:
      return Level::kFatal;
  }
  return Level::kFatal;
}

/// The log in memory, whose snapshot is always what the node has applied.
class Disk : public raft::MemoryStorage {
 public:
  explicit Disk(const std::vector<Snapshot>& history) : history_(history) {}
  absl::StatusOr<Snapshot> GetSnapshot() const override { return history_.back(); }

 private:
  const std::vector<Snapshot>& history_;
};

}  // namespace

void Output::Print(std::string_view text) {
  if (!quiet()) text_ += text;
}

void Output::Indented(absl::FunctionRef<void()> body) {
  std::string before = std::exchange(text_, {});
  body();
  for (const std::string_view line : SplitLines(text_)) before.append("  ").append(line).append("\n");
  text_ = std::move(before);
}

bool Output::Enabled(LogLevel level) const { return level_ <= LevelOf(level); }

void Output::Write(LogLevel level, const char*, int, std::string_view message,
                   std::initializer_list<LogField>) {
  static constexpr std::string_view kNames[] = {"DEBUG", "INFO", "WARN", "ERROR", "FATAL"};
  Print(fmt::format("{} {}\n", kNames[static_cast<size_t>(LevelOf(level))], message));
}

struct Cluster::Node {
  raft::Config config;
  /// The applied state after each entry; the first is what the node started from.
  std::vector<Snapshot> history;
  Disk disk{history};
  std::unique_ptr<RawNode> raw;
  /// Handed out and not done, where storage writes are asynchronous.
  std::deque<Message> append_work;
  std::deque<Message> apply_work;
};

Cluster::Cluster(Output& output) : output_(output) {}
Cluster::~Cluster() = default;

RawNode& Cluster::node(uint64_t id) { return *nodes_.at(id - 1)->raw; }
raft::MemoryStorage& Cluster::storage(uint64_t id) { return nodes_.at(id - 1)->disk; }
const raft::Config& Cluster::config(uint64_t id) const { return nodes_.at(id - 1)->config; }
const Snapshot& Cluster::newest_snapshot(uint64_t id) const { return nodes_.at(id - 1)->history.back(); }

absl::Status Cluster::AddNodes(int count, const raft::Config& config, Snapshot snapshot) {
  const bool bootstrap = snapshot != Snapshot{};
  for (int i = 0; i < count; ++i) {
    auto node = std::make_unique<Node>();
    if (bootstrap) {
      if (snapshot.metadata.index <= raft::Index(1)) {
        return absl::InvalidArgumentError("index must be specified as > 1 due to bootstrap");
      }
      snapshot.metadata.term = raft::Term(1);
    }
    node->history.push_back(snapshot);
    if (bootstrap) KVORUM_RETURN_IF_ERROR(node->disk.ApplySnapshot(snapshot));
    node->config = config;
    node->config.id = NodeId(nodes_.size() + 1);
    node->config.storage = &node->disk;
    node->config.random = &random_;
    node->config.logger = &output_;
    KVORUM_ASSIGN_OR_RETURN(node->raw, RawNode::Create(node->config));
    nodes_.push_back(std::move(node));
  }
  return absl::OkStatus();
}

std::vector<Message> Cluster::TakeMessages(const Recipient& to, std::optional<MessageType> type) {
  std::vector<Message> taken;
  std::vector<Message> left;
  for (Message& message : messages_) {
    const bool wanted =
        message.to == NodeId(to.id) && !(to.drop && IsLocal(message)) && (!type || message.type == *type);
    (wanted ? taken : left).push_back(std::move(message));
  }
  messages_ = std::move(left);
  return taken;
}

size_t Cluster::Deliver(std::span<const Recipient> recipients, std::optional<MessageType> type) {
  size_t count = 0;
  for (const Recipient& to : recipients) {
    for (Message& message : TakeMessages(to, type)) {
      ++count;
      output_.Print(fmt::format("{}{}\n", to.drop ? "dropped: " : "", DescribeMessage(message)));
      // A message may be dropped on its way to a node that is not there yet.
      if (to.drop) continue;
      const absl::Status status = node(to.id).Step(std::move(message));
      if (!status.ok()) output_.Print(fmt::format("{}\n", std::string(status.message())));
    }
  }
  for (const auto& each : nodes_) each->raw->CheckInvariants();
  return count;
}

absl::Status Cluster::Persist(Node& node, const raft::HardState& state, std::vector<Entry> entries,
                              const Snapshot& snapshot) {
  if (!state.empty()) node.disk.SetHardState(state);
  if (!snapshot.empty()) {
    if (!entries.empty()) {
      return absl::InvalidArgumentError("can't apply snapshot and entries at the same time");
    }
    return node.disk.ApplySnapshot(snapshot);
  }
  node.disk.Append(std::move(entries));
  return absl::OkStatus();
}

void Cluster::Apply(Node& node, std::span<const Entry> entries) {
  for (const Entry& entry : entries) {
    Snapshot next = node.history.back();
    Bytes update;
    switch (entry.type) {
      case raft::EntryType::kNormal:
        update = entry.data;
        break;
      case raft::EntryType::kConfChange: {
        const auto change = raft::DecodeConfChange(entry.data.view());
        KVORUM_CHECK(change.ok(), "{}", change.status().ToString());
        update = change->context;
        next.metadata.conf_state = node.raw->ApplyConfChange(*change);
        break;
      }
      case raft::EntryType::kConfChangeV2: {
        const auto change = raft::DecodeConfChangeV2(entry.data.view());
        KVORUM_CHECK(change.ok(), "{}", change.status().ToString());
        update = change->context;
        next.metadata.conf_state = node.raw->ApplyConfChange(*change);
        break;
      }
    }
    next.data = Bytes::Copy(std::string(next.data.view()).append(update.view()));
    next.metadata.index = entry.index;
    next.metadata.term = entry.term;
    node.history.push_back(std::move(next));
  }
}

absl::Status Cluster::ProcessReady(uint64_t id) {
  Node& node = *nodes_.at(id - 1);
  raft::Ready ready = node.raw->GetReady();
  output_.Print(DescribeReady(ready));
  if (!node.config.async_storage_writes) {
    KVORUM_RETURN_IF_ERROR(Persist(node, ready.hard_state, std::move(ready.entries), ready.snapshot));
    Apply(node, ready.committed_entries);
  }
  for (Message& message : ready.messages) {
    if (message.to == raft::kAppendThread) {
      node.append_work.push_back(std::move(message));
    } else if (message.to == raft::kApplyThread) {
      node.apply_work.push_back(std::move(message));
    } else {
      messages_.push_back(std::move(message));
    }
  }
  for (Message& message : ready.messages_after_persist) messages_.push_back(std::move(message));
  if (!node.config.async_storage_writes) node.raw->Advance();
  node.raw->CheckInvariants();
  return absl::OkStatus();
}

void Cluster::Respond(std::vector<Message> responses) {
  output_.Print("Responses:\n");
  for (Message& response : responses) {
    output_.Print(DescribeMessage(response) + "\n");
    messages_.push_back(std::move(response));
  }
}

absl::Status Cluster::ProcessAppend(uint64_t id) {
  Node& node = *nodes_.at(id - 1);
  if (node.append_work.empty()) {
    output_.Print("no append work to perform");
    return absl::OkStatus();
  }
  Message work = std::move(node.append_work.front());
  node.append_work.pop_front();
  std::vector<Message> responses = std::exchange(work.responses, {});
  output_.Print(fmt::format("Processing:\n{}\n", DescribeMessage(work)));
  const raft::HardState state{.term = work.term, .vote = work.vote, .commit = work.commit};
  KVORUM_RETURN_IF_ERROR(
      Persist(node, state, std::move(work.entries), work.snapshot ? *work.snapshot : Snapshot{}));
  Respond(std::move(responses));
  return absl::OkStatus();
}

void Cluster::ProcessApply(uint64_t id) {
  Node& node = *nodes_.at(id - 1);
  if (node.apply_work.empty()) {
    output_.Print("no apply work to perform");
    return;
  }
  Message work = std::move(node.apply_work.front());
  node.apply_work.pop_front();
  std::vector<Message> responses = std::exchange(work.responses, {});
  output_.Print(fmt::format("Processing:\n{}\n", DescribeMessage(work)));
  Apply(node, work.entries);
  Respond(std::move(responses));
}

absl::Status Cluster::Stabilize(const std::vector<uint64_t>& ids) {
  absl::Status status;
  const auto section = [this](uint64_t id, std::string_view what, absl::FunctionRef<void()> body) {
    output_.Print(fmt::format("> {} {}\n", id, what));
    output_.Indented(body);
  };
  for (bool done = false; !done;) {
    done = true;
    for (const uint64_t id : ids) {
      if (!node(id).HasReady()) continue;
      done = false;
      section(id, "handling Ready", [&] { status = ProcessReady(id); });
      KVORUM_RETURN_IF_ERROR(status);
    }
    for (const uint64_t id : ids) {
      const auto waits = [id](const Message& message) { return message.to == NodeId(id); };
      if (std::none_of(messages_.begin(), messages_.end(), waits)) continue;
      done = false;
      const Recipient to{.id = id};
      section(id, "receiving messages", [&] { Deliver(std::span(&to, 1), std::nullopt); });
    }
    for (const uint64_t id : ids) {
      const Node& node = *nodes_.at(id - 1);
      if (node.append_work.empty()) continue;
      done = false;
      output_.Print(fmt::format("> {} processing append thread\n", id));
      while (!node.append_work.empty()) {
        output_.Indented([&] { status = ProcessAppend(id); });
        KVORUM_RETURN_IF_ERROR(status);
      }
    }
    for (const uint64_t id : ids) {
      const Node& node = *nodes_.at(id - 1);
      if (node.apply_work.empty()) continue;
      done = false;
      output_.Print(fmt::format("> {} processing apply thread\n", id));
      while (!node.apply_work.empty()) output_.Indented([&] { ProcessApply(id); });
    }
  }
  return absl::OkStatus();
}

}  // namespace kvorum::scenarios
