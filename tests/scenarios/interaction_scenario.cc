#include <algorithm>
#include <array>
#include <limits>

#include "absl/strings/match.h"
#include "base/status.h"
#include "cluster.h"
#include "describe.h"
#include "fmt/format.h"
#include "raft/errors.h"
#include "raft/raft.h"
#include "scenario.h"

// Nodes that exchange messages. Source: reference raft.md §15.

namespace kvorum::scenarios {
namespace {

using raft::ConfChangeTransition;
using raft::Index;
using raft::MessageType;
using raft::NodeId;

constexpr std::array<std::string_view, 6> kLevelNames = {"DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE"};

raft::Config DefaultConfig() {
  raft::Config config;
  config.election_ticks = 3;
  config.heartbeat_ticks = 1;
  config.max_size_per_message = std::numeric_limits<uint64_t>::max();
  config.max_inflight_messages = std::numeric_limits<int32_t>::max();
  return config;
}

class InteractionScenario : public Scenario {
 public:
  absl::StatusOr<std::string> Run(const Directive& directive) override {
    const absl::Status status = RunCommand(directive);
    if (IsMalformed(status)) return status;
    std::string output = output_.Take();
    // An error is shown at every level.
    if (!status.ok()) output += std::string(status.message());
    return output.empty() ? "ok" : output;
  }

 private:
  using Handler = absl::Status (InteractionScenario::*)(const Directive&);
  struct Command {
    std::string_view name;
    Handler handler;
  };

  absl::Status RunCommand(const Directive& directive);

  absl::Status Breakpoint(const Directive&) { return absl::OkStatus(); }
  absl::Status AddNodes(const Directive& directive);
  absl::Status Campaign(const Directive& directive);
  absl::Status Compact(const Directive& directive);
  absl::Status DeliverMessages(const Directive& directive);
  absl::Status ProcessReady(const Directive& directive);
  absl::Status ProcessAppendThread(const Directive& directive);
  absl::Status ProcessApplyThread(const Directive& directive);
  absl::Status LogLevel(const Directive& directive);
  absl::Status RaftLog(const Directive& directive);
  absl::Status RaftState(const Directive& directive);
  absl::Status SetRandomizedElectionTimeout(const Directive& directive);
  absl::Status Stabilize(const Directive& directive);
  absl::Status Status(const Directive& directive);
  absl::Status TickElection(const Directive& directive);
  absl::Status TickHeartbeat(const Directive& directive);
  absl::Status TransferLeadership(const Directive& directive);
  absl::Status ForgetLeader(const Directive& directive);
  absl::Status SendSnapshot(const Directive& directive);
  absl::Status Propose(const Directive& directive);
  absl::Status ProposeConfChange(const Directive& directive);
  absl::Status ReportUnreachable(const Directive& directive);

  /// The id of a node that exists.
  absl::StatusOr<uint64_t> ToId(const std::string& text) const {
    KVORUM_ASSIGN_OR_RETURN(const uint64_t id, ToUint(text));
    if (id == 0 || id > cluster_.size()) return Malformed(fmt::format("there is no node {}", id));
    return id;
  }
  absl::StatusOr<uint64_t> FirstId(const Directive& directive) const {
    if (directive.args.empty() || !directive.args[0].values.empty()) {
      return Malformed("the first argument must be a node");
    }
    return ToId(directive.args[0].key);
  }
  /// All arguments without a value.
  absl::StatusOr<std::vector<uint64_t>> Ids(const Directive& directive) const {
    std::vector<uint64_t> ids;
    for (const Arg& arg : directive.args) {
      if (!arg.values.empty()) continue;
      KVORUM_ASSIGN_OR_RETURN(const uint64_t id, ToId(arg.key));
      ids.push_back(id);
    }
    return ids;
  }

  absl::Status SetLevel(const std::string& name);
  absl::Status PrintLog(uint64_t id);
  absl::Status Tick(uint64_t id, int ticks);
  /// Runs `body` for each node; under a header where there are several.
  absl::Status ForEach(const Directive& directive, std::string_view what,
                       absl::FunctionRef<absl::Status(uint64_t)> body);

  Output output_;
  Cluster cluster_{output_};
};

absl::Status InteractionScenario::RunCommand(const Directive& directive) {
  using Self = InteractionScenario;
  static constexpr Command kCommands[] = {
      {"_breakpoint", &Self::Breakpoint},
      {"add-nodes", &Self::AddNodes},
      {"campaign", &Self::Campaign},
      {"compact", &Self::Compact},
      {"deliver-msgs", &Self::DeliverMessages},
      {"process-ready", &Self::ProcessReady},
      {"process-append-thread", &Self::ProcessAppendThread},
      {"process-apply-thread", &Self::ProcessApplyThread},
      {"log-level", &Self::LogLevel},
      {"raft-log", &Self::RaftLog},
      {"raft-state", &Self::RaftState},
      {"set-randomized-election-timeout", &Self::SetRandomizedElectionTimeout},
      {"stabilize", &Self::Stabilize},
      {"status", &Self::Status},
      {"tick-election", &Self::TickElection},
      {"tick-heartbeat", &Self::TickHeartbeat},
      {"transfer-leadership", &Self::TransferLeadership},
      {"forget-leader", &Self::ForgetLeader},
      {"send-snapshot", &Self::SendSnapshot},
      {"propose", &Self::Propose},
      {"propose-conf-change", &Self::ProposeConfChange},
      {"report-unreachable", &Self::ReportUnreachable},
  };
  for (const Command& command : kCommands) {
    if (command.name == directive.command) return (this->*command.handler)(directive);
  }
  return absl::InvalidArgumentError("unknown command");
}

absl::Status TakeNodeOption(const std::string& key, const std::string& value, raft::Config* config,
                            raft::Snapshot* snapshot) {
  const auto take_id = [&value](std::vector<NodeId>* ids) -> absl::Status {
    KVORUM_ASSIGN_OR_RETURN(const uint64_t id, ToUint(value));
    ids->push_back(NodeId(id));
    return absl::OkStatus();
  };
  const auto take_bool = [&value](bool* flag) -> absl::Status {
    KVORUM_ASSIGN_OR_RETURN(*flag, ToBool(value));
    return absl::OkStatus();
  };
  if (key == "voters") return take_id(&snapshot->metadata.conf_state.voters);
  if (key == "learners") return take_id(&snapshot->metadata.conf_state.learners);
  if (key == "async-storage-writes") return take_bool(&config->async_storage_writes);
  if (key == "prevote") return take_bool(&config->pre_vote);
  if (key == "checkquorum") return take_bool(&config->check_quorum);
  if (key == "disable-conf-change-validation") return take_bool(&config->disable_conf_change_validation);
  if (key == "step-down-on-removal") return take_bool(&config->step_down_on_removal);
  if (key == "content") {
    snapshot->data = Bytes::Copy(value);
  } else if (key == "inflight") {
    KVORUM_ASSIGN_OR_RETURN(config->max_inflight_messages, ToInt(value));
  } else if (key == "index") {
    KVORUM_ASSIGN_OR_RETURN(const uint64_t index, ToUint(value));
    snapshot->metadata.index = config->applied = Index(index);
  } else if (key == "max-committed-size-per-ready") {
    KVORUM_ASSIGN_OR_RETURN(config->max_committed_size_per_ready, ToUint(value));
  } else if (key == "read-only") {
    if (value != "safe" && value != "lease-based") {
      return absl::InvalidArgumentError(fmt::format("invalid read-only option {}", GoQuoted(value)));
    }
    config->read_only = value == "safe" ? raft::ReadOnlyOption::kSafe : raft::ReadOnlyOption::kLeaseBased;
  }
  return absl::OkStatus();
}

absl::Status InteractionScenario::AddNodes(const Directive& directive) {
  if (directive.args.empty()) return Malformed("how many nodes?");
  KVORUM_ASSIGN_OR_RETURN(const int count, ToInt(directive.args[0].key));
  raft::Config config = DefaultConfig();
  raft::Snapshot snapshot;
  for (const Arg& arg : directive.args) {
    for (const std::string& value : arg.values) {
      KVORUM_RETURN_IF_ERROR(TakeNodeOption(arg.key, value, &config, &snapshot));
    }
  }
  return cluster_.AddNodes(count, config, std::move(snapshot));
}

absl::Status InteractionScenario::Campaign(const Directive& directive) {
  KVORUM_ASSIGN_OR_RETURN(const uint64_t id, FirstId(directive));
  return cluster_.node(id).Campaign();
}

absl::Status InteractionScenario::Compact(const Directive& directive) {
  KVORUM_ASSIGN_OR_RETURN(const uint64_t id, FirstId(directive));
  if (directive.args.size() < 2) return Malformed("up to which index?");
  KVORUM_ASSIGN_OR_RETURN(const uint64_t index, ToUint(directive.args[1].key));
  KVORUM_RETURN_IF_ERROR(cluster_.storage(id).Compact(Index(index)));
  return PrintLog(id);
}

absl::StatusOr<MessageType> ToMessageType(std::string_view name) {
  for (int type = 0; type <= static_cast<int>(MessageType::kForgetLeader); ++type) {
    if (raft::MessageTypeName(static_cast<MessageType>(type)) == name) return static_cast<MessageType>(type);
  }
  return Malformed(fmt::format("unknown message type {}", name));
}

absl::Status InteractionScenario::DeliverMessages(const Directive& directive) {
  std::vector<Cluster::Recipient> recipients;
  std::optional<MessageType> type;
  for (const Arg& arg : directive.args) {
    if (arg.values.empty()) {
      KVORUM_ASSIGN_OR_RETURN(const uint64_t id, ToId(arg.key));
      recipients.push_back({.id = id});
    }
    for (const std::string& value : arg.values) {
      if (arg.key == "type") {
        KVORUM_ASSIGN_OR_RETURN(type, ToMessageType(value));
      } else if (arg.key == "drop") {
        // The node need not exist yet.
        KVORUM_ASSIGN_OR_RETURN(const uint64_t id, ToUint(value));
        for (const Cluster::Recipient& known : recipients) {
          if (known.id == id) return Malformed(fmt::format("can't both deliver and drop msgs to {}", id));
        }
        recipients.push_back({.id = id, .drop = true});
      }
    }
  }
  if (cluster_.Deliver(recipients, type) == 0) output_.Print("no messages\n");
  return absl::OkStatus();
}

absl::Status InteractionScenario::ForEach(const Directive& directive, std::string_view what,
                                          absl::FunctionRef<absl::Status(uint64_t)> body) {
  KVORUM_ASSIGN_OR_RETURN(const std::vector<uint64_t> ids, Ids(directive));
  for (const uint64_t id : ids) {
    absl::Status status;
    if (ids.size() > 1) {
      output_.Print(fmt::format("> {} {}\n", id, what));
      output_.Indented([&] { status = body(id); });
    } else {
      status = body(id);
    }
    KVORUM_RETURN_IF_ERROR(status);
  }
  return absl::OkStatus();
}

absl::Status InteractionScenario::ProcessReady(const Directive& directive) {
  return ForEach(directive, "handling Ready", [this](uint64_t id) { return cluster_.ProcessReady(id); });
}

absl::Status InteractionScenario::ProcessAppendThread(const Directive& directive) {
  return ForEach(directive, "processing append thread",
                 [this](uint64_t id) { return cluster_.ProcessAppend(id); });
}

absl::Status InteractionScenario::ProcessApplyThread(const Directive& directive) {
  return ForEach(directive, "processing apply thread", [this](uint64_t id) {
    cluster_.ProcessApply(id);
    return absl::OkStatus();
  });
}

absl::Status InteractionScenario::SetLevel(const std::string& name) {
  for (size_t i = 0; i < kLevelNames.size(); ++i) {
    if (absl::EqualsIgnoreCase(absl::string_view(kLevelNames[i].data(), kLevelNames[i].size()), name)) {
      output_.set_level(static_cast<Level>(i));
      return absl::OkStatus();
    }
  }
  return absl::InvalidArgumentError("log levels must be either of [DEBUG INFO WARN ERROR FATAL NONE]");
}

absl::Status InteractionScenario::LogLevel(const Directive& directive) {
  if (directive.args.empty()) return Malformed("which level?");
  return SetLevel(directive.args[0].key);
}

absl::Status InteractionScenario::PrintLog(uint64_t id) {
  const raft::MemoryStorage& storage = cluster_.storage(id);
  const Index first = storage.FirstIndex();
  const Index last = storage.LastIndex();
  if (last < first) {
    output_.Print(fmt::format("log is empty: first index={}, last index={}", first, last));
    return absl::OkStatus();
  }
  KVORUM_ASSIGN_OR_RETURN(const auto entries, storage.Entries(first, last + 1, raft::kNoLimit));
  output_.Print(DescribeEntries(entries));
  return absl::OkStatus();
}

absl::Status InteractionScenario::RaftLog(const Directive& directive) {
  KVORUM_ASSIGN_OR_RETURN(const uint64_t id, FirstId(directive));
  return PrintLog(id);
}

absl::Status InteractionScenario::RaftState(const Directive&) {
  for (uint64_t id = 1; id <= cluster_.size(); ++id) {
    const raft::Raft& raft = cluster_.node(id).raft();
    const bool voter = raft.membership().voters.Contains(NodeId(id));
    output_.Print(fmt::format("{}: {} ({}) Term:{} Lead:{}\n", id, raft::RoleName(raft.role()),
                              voter ? "Voter" : "Non-Voter", raft.term(), raft.lead()));
  }
  return absl::OkStatus();
}

absl::Status InteractionScenario::SetRandomizedElectionTimeout(const Directive& directive) {
  KVORUM_ASSIGN_OR_RETURN(const uint64_t id, FirstId(directive));
  int ticks = 0;
  for (const Arg& arg : directive.args) {
    if (arg.key != "timeout" || arg.values.size() != 1) continue;
    KVORUM_ASSIGN_OR_RETURN(ticks, ToInt(arg.values[0]));
  }
  if (ticks <= 0) return Malformed("timeout=TICKS, above 0");
  cluster_.node(id).raft().SetRandomizedElectionTimeout(ticks);
  return absl::OkStatus();
}

absl::Status InteractionScenario::Stabilize(const Directive& directive) {
  KVORUM_ASSIGN_OR_RETURN(std::vector<uint64_t> ids, Ids(directive));
  const Level before = output_.level();
  absl::Status status;
  for (const Arg& arg : directive.args) {
    for (const std::string& value : arg.values) {
      if (arg.key == "log-level" && status.ok()) status = SetLevel(value);
    }
  }
  if (ids.empty()) {
    for (uint64_t id = 1; id <= cluster_.size(); ++id) ids.push_back(id);
  }
  if (status.ok()) status = cluster_.Stabilize(ids);
  output_.set_level(before);
  return status;
}

absl::Status InteractionScenario::Status(const Directive& directive) {
  KVORUM_ASSIGN_OR_RETURN(const uint64_t id, FirstId(directive));
  output_.Print(raft::ToString(cluster_.node(id).GetStatus().progress));
  return absl::OkStatus();
}

absl::Status InteractionScenario::Tick(uint64_t id, int ticks) {
  for (int i = 0; i < ticks; ++i) cluster_.node(id).Tick();
  return absl::OkStatus();
}

absl::Status InteractionScenario::TickElection(const Directive& directive) {
  KVORUM_ASSIGN_OR_RETURN(const uint64_t id, FirstId(directive));
  return Tick(id, cluster_.config(id).election_ticks);
}

absl::Status InteractionScenario::TickHeartbeat(const Directive& directive) {
  KVORUM_ASSIGN_OR_RETURN(const uint64_t id, FirstId(directive));
  return Tick(id, cluster_.config(id).heartbeat_ticks);
}

absl::Status InteractionScenario::TransferLeadership(const Directive& directive) {
  uint64_t from = 0;
  uint64_t to = 0;
  for (const Arg& arg : directive.args) {
    if (arg.values.size() != 1) continue;
    if (arg.key == "from") {
      KVORUM_ASSIGN_OR_RETURN(from, ToId(arg.values[0]));
    } else if (arg.key == "to") {
      KVORUM_ASSIGN_OR_RETURN(to, ToUint(arg.values[0]));
    }
  }
  if (from == 0 || to == 0) return Malformed("from=ID to=ID");
  cluster_.node(from).TransferLeader(NodeId(to));
  return absl::OkStatus();
}

absl::Status InteractionScenario::ForgetLeader(const Directive& directive) {
  KVORUM_ASSIGN_OR_RETURN(const uint64_t id, FirstId(directive));
  cluster_.node(id).ForgetLeader().IgnoreError();
  return absl::OkStatus();
}

absl::Status InteractionScenario::SendSnapshot(const Directive& directive) {
  KVORUM_ASSIGN_OR_RETURN(const std::vector<uint64_t> ids, Ids(directive));
  if (ids.size() != 2) return Malformed("from which node to which?");
  raft::Message message{.type = MessageType::kSnap,
                        .to = NodeId(ids[1]),
                        .from = NodeId(ids[0]),
                        .term = cluster_.node(ids[0]).term(),
                        .snapshot = cluster_.newest_snapshot(ids[0])};
  output_.Print(DescribeMessage(message));
  cluster_.AddMessage(std::move(message));
  return absl::OkStatus();
}

absl::Status InteractionScenario::Propose(const Directive& directive) {
  KVORUM_ASSIGN_OR_RETURN(const uint64_t id, FirstId(directive));
  if (directive.args.size() != 2 || !directive.args[1].values.empty()) {
    return Malformed("expected exactly one word to propose");
  }
  return cluster_.node(id).Propose(Bytes::Copy(directive.args[1].key));
}

absl::Status InteractionScenario::ProposeConfChange(const Directive& directive) {
  KVORUM_ASSIGN_OR_RETURN(const uint64_t id, FirstId(directive));
  bool v1 = false;
  ConfChangeTransition transition = ConfChangeTransition::kAuto;
  for (const Arg& arg : directive.args) {
    for (const std::string& value : arg.values) {
      if (arg.key == "v1") {
        KVORUM_ASSIGN_OR_RETURN(v1, ToBool(value));
      } else if (arg.key != "transition") {
        return absl::InvalidArgumentError(fmt::format("unknown command {}", arg.key));
      } else if (value == "auto") {
        transition = ConfChangeTransition::kAuto;
      } else if (value == "implicit") {
        transition = ConfChangeTransition::kJointImplicit;
      } else if (value == "explicit") {
        transition = ConfChangeTransition::kJointExplicit;
      } else {
        return absl::InvalidArgumentError(fmt::format("unknown transition {}", value));
      }
    }
  }
  KVORUM_ASSIGN_OR_RETURN(auto changes, ParseChanges(directive.input));
  if (!v1) {
    return cluster_.node(id).ProposeConfChange(
        raft::ConfChangeV2{.transition = transition, .changes = std::move(changes)});
  }
  if (changes.size() > 1 || transition != ConfChangeTransition::kAuto) {
    return absl::InvalidArgumentError("v1 conf change can only have one operation and no transition");
  }
  if (changes.empty()) return Malformed("a v1 conf change needs an operation");
  return cluster_.node(id).ProposeConfChange(
      raft::ConfChange{.type = changes[0].type, .node_id = changes[0].node_id});
}

absl::Status InteractionScenario::ReportUnreachable(const Directive& directive) {
  KVORUM_ASSIGN_OR_RETURN(const std::vector<uint64_t> ids, Ids(directive));
  if (ids.size() != 2) {
    return absl::InvalidArgumentError(
        "must specify exactly two node indexes: node on which to report, and reported node");
  }
  cluster_.node(ids[0]).ReportUnreachable(NodeId(ids[1]));
  return absl::OkStatus();
}

}  // namespace

std::unique_ptr<Scenario> MakeInteractionScenario() { return std::make_unique<InteractionScenario>(); }

}  // namespace kvorum::scenarios
