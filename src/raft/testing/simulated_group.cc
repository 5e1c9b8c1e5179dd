#include "raft/testing/simulated_group.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "raft/codec.h"
#include "raft/membership.h"
#include "raft/raft.h"

namespace kvorum::raft {
namespace {

/// The log as the node sees it, and as a crash would leave it.
class SimulatedDisk {
 public:
  MemoryStorage& live() { return *live_; }

  void Sync() {
    const auto state = live_->GetInitialState();
    durable_state_ = state->hard_state;
    durable_snapshot_ = *live_->GetSnapshot();
    const Index first = live_->FirstIndex();
    durable_entries_.clear();
    if (first <= live_->LastIndex()) {
      durable_entries_ = *live_->Entries(first, live_->LastIndex() + 1, kNoLimit);
    }
  }

  void Crash() {
    live_ = std::make_unique<MemoryStorage>();
    if (!durable_snapshot_.empty()) KVORUM_CHECK(live_->ApplySnapshot(durable_snapshot_).ok());
    live_->SetHardState(durable_state_);
    live_->Append(durable_entries_);
  }

 private:
  std::unique_ptr<MemoryStorage> live_ = std::make_unique<MemoryStorage>();
  HardState durable_state_;
  Snapshot durable_snapshot_;
  std::vector<Entry> durable_entries_;
};

Bytes DigestBytes(uint64_t digest) {
  return Bytes::Build(sizeof(digest), [&](char* out) { std::memcpy(out, &digest, sizeof(digest)); });
}
uint64_t ToDigest(const Bytes& data) {
  uint64_t digest = 0;
  KVORUM_CHECK(data.size() == sizeof(digest));
  std::memcpy(&digest, data.data(), sizeof(digest));
  return digest;
}

constexpr uint64_t kInitialDigest = 7;

}  // namespace

struct SimulatedGroup::Node {
  NodeId id;
  SimulatedDisk disk;
  std::unique_ptr<Random> random;
  std::unique_ptr<RawNode> raw;
  bool was_leader = false;
  // The state machine; volatile.
  Index applied;
  uint64_t digest = kInitialDigest;
  ConfState conf_state;
  // Work of the threads, with asynchronous writes; volatile.
  std::deque<Message> append_work;
  std::deque<Message> apply_work;
};

SimulatedGroup::SimulatedGroup(const Options& options) : options_(options), random_(options.seed) {
  Snapshot start{.data = DigestBytes(kInitialDigest), .metadata = {.index = Index(1), .term = Term(1)}};
  for (int i = 1; i <= options.voters; ++i) {
    start.metadata.conf_state.voters.push_back(NodeId(static_cast<uint64_t>(i)));
  }
  for (int i = 1; i <= options.voters + options.spares; ++i) {
    auto node = std::make_unique<Node>();
    node->id = NodeId(static_cast<uint64_t>(i));
    if (i <= options.voters) KVORUM_CHECK(node->disk.live().ApplySnapshot(start).ok());
    node->disk.Sync();
    nodes_.push_back(std::move(node));
    Start(*nodes_.back());
  }
  side_.assign(nodes_.size(), 0);
}

SimulatedGroup::~SimulatedGroup() = default;

void SimulatedGroup::Start(Node& node) {
  node.random = std::make_unique<Random>(random_.Next());
  const Snapshot snapshot = *node.disk.live().GetSnapshot();
  node.applied = snapshot.metadata.index;
  node.digest = snapshot.empty() ? kInitialDigest : ToDigest(snapshot.data);
  node.conf_state = snapshot.metadata.conf_state;
  Config config{.id = node.id,
                .election_ticks = 5,
                .storage = &node.disk.live(),
                .applied = node.applied,
                .max_size_per_message = 100,
                .max_committed_size_per_ready = 150,
                .max_uncommitted_entries_size = 300,
                .max_inflight_messages = 4,
                .check_quorum = options_.check_quorum || !faults_,
                .pre_vote = options_.pre_vote || !faults_,
                .async_storage_writes = options_.async_storage_writes,
                // One that was removed and leads on would hold the others up for ever.
                .step_down_on_removal = !faults_ || options_.seed % 2 == 0,
                .random = node.random.get()};
  node.raw = *RawNode::Create(config);
  node.was_leader = false;
  checker_.Restarted(node.id);
}

void SimulatedGroup::Crash(Node& node) {
  node.append_work.clear();
  node.apply_work.clear();
  node.raw.reset();
  node.disk.Crash();
  Start(node);
}

void SimulatedGroup::Observe(Node& node) {
  checker_.Observe(*node.raw);
  const bool leads = node.raw->raft().role() == Role::kLeader;
  if (leads && !node.was_leader) ++leaders_elected_;
  node.was_leader = leads;
}

void SimulatedGroup::RunWithFaults(int steps) {
  for (int i = 0; i < steps && violation().empty(); ++i) Step();
}

void SimulatedGroup::Step() {
  const uint64_t dice = random_.Below(100);
  Node& node = *nodes_[random_.Below(nodes_.size())];
  if (dice < 45) {
    DeliverOne();
  } else if (dice < 93) {
    StepNode(node);
  } else {
    StepRarely(node);
  }
}

void SimulatedGroup::StepNode(Node& node) {
  const uint64_t dice = random_.Below(10);
  if (dice < 2) {
    node.raw->Tick();
  } else if (dice < 3) {
    ProposeRandom(node);
  } else if (dice < 5 && !node.append_work.empty()) {
    ProcessAppendWork(node);
  } else if (dice < 7 && !node.apply_work.empty()) {
    ProcessApplyWork(node);
  } else if (node.raw->HasReady()) {
    ProcessReady(node);
  }
  Observe(node);
}

void SimulatedGroup::StepRarely(Node& node) {
  switch (random_.Below(24)) {
    case 0:
      Crash(node);
      break;
    case 1:
      for (int& side : side_) side = random_.Below(3) == 0 ? 1 : 0;
      break;
    case 2:
    case 3:
      std::fill(side_.begin(), side_.end(), 0);
      break;
    case 4:
      node.raw->Campaign().IgnoreError();
      break;
    case 5:
      node.raw->TransferLeader(NodeId(1 + random_.Below(nodes_.size())));
      break;
    case 6:
      node.raw->ForgetLeader().IgnoreError();
      break;
    case 7:
      node.raw->ReportUnreachable(NodeId(1 + random_.Below(nodes_.size())));
      break;
    case 8:
    case 9:
    case 10:
      Compact(node);
      break;
    case 11:
    case 12:
    case 13:
    case 14:
    case 15: {
      const std::string context = fmt::format("read-{}", next_value_++);
      checker_.ReadRequested(context);
      node.raw->ReadIndex(Bytes::Copy(context));
      break;
    }
    default:
      if (options_.membership_changes) ChangeMembership(node);
      break;
  }
  Observe(node);
}

void SimulatedGroup::DeliverOne() {
  if (network_.empty()) return;
  // Mostly about in order.
  const size_t at = random_.Below(faults_ ? std::min<size_t>(network_.size(), 8) : 1);
  Message message = network_[at];
  if (!faults_ || !Chance(20)) network_.erase(network_.begin() + static_cast<ptrdiff_t>(at));
  const bool cut = side_[message.from.value() - 1] != side_[message.to.value() - 1];
  const bool lost = faults_ && (cut || Chance(15));
  if (message.type == MessageType::kSnap) {
    const bool told_so = faults_ && Chance(4) ? !lost : lost;
    nodes_[message.from.value() - 1]->raw->ReportSnapshot(
        message.to, told_so ? RawNode::SnapshotResult::kFailed : RawNode::SnapshotResult::kFinished);
  }
  if (!lost) Deliver(std::move(message));
}

void SimulatedGroup::Deliver(Message message) {
  Node& to = *nodes_[message.to.value() - 1];
  to.raw->Step(std::move(message)).IgnoreError();
  Observe(to);
}

void SimulatedGroup::Send(Node& node, std::vector<Message> messages) {
  for (Message& message : messages) {
    if (message.to == kAppendThread) {
      node.append_work.push_back(std::move(message));
      continue;
    }
    if (message.to == kApplyThread) {
      node.apply_work.push_back(std::move(message));
      continue;
    }
    checker_.Sent(message);
    if (message.to.value() > nodes_.size()) continue;
    if (message.to == node.id || message.from == kAppendThread || message.from == kApplyThread) {
      Deliver(std::move(message));
      continue;
    }
    // Through the wire form and back.
    std::string wire;
    AppendEncoded(wire, message, WireVersion::kV3_6);
    network_.push_back(*DecodeMessage(wire));
  }
  // A flood is no test: what is older is lost.
  if (network_.size() > 300) network_.erase(network_.begin(), network_.begin() + 100);
}

void SimulatedGroup::ProcessReady(Node& node) {
  Ready ready = node.raw->GetReady();
  for (const ReadState& state : ready.read_states) {
    checker_.ReadAnswered(state);
    ++reads_answered_;
  }
  Send(node, std::move(ready.messages));
  if (options_.async_storage_writes) return;
  if (!PersistReady(node, ready)) return;
  Send(node, std::move(ready.messages_after_persist));
  if (faults_ && Chance(100)) {
    Crash(node);
    return;
  }
  Apply(node, ready.committed_entries);
  node.raw->Advance();
}

/// False where the node crashed instead.
bool SimulatedGroup::PersistReady(Node& node, Ready& ready) {
  if (faults_ && Chance(100)) {
    Crash(node);
    return false;
  }
  Persist(node, ready.hard_state, std::move(ready.entries), ready.snapshot);
  if (ready.must_sync || !ready.snapshot.empty() || !ready.messages_after_persist.empty()) {
    node.disk.Sync();
  }
  return true;
}

void SimulatedGroup::Persist(Node& node, const HardState& state, std::vector<Entry> entries,
                             const Snapshot& snapshot) {
  MemoryStorage& storage = node.disk.live();
  if (!snapshot.empty()) {
    KVORUM_CHECK(storage.ApplySnapshot(snapshot).ok());
    node.applied = snapshot.metadata.index;
    node.digest = ToDigest(snapshot.data);
    node.conf_state = snapshot.metadata.conf_state;
    checker_.SnapshotApplied(node.id, node.applied, node.digest);
    ++snapshots_applied_;
  }
  if (!state.empty()) storage.SetHardState(state);
  storage.Append(std::move(entries));
}

void SimulatedGroup::ProcessAppendWork(Node& node) {
  Message work = std::move(node.append_work.front());
  node.append_work.pop_front();
  Persist(node, {.term = work.term, .vote = work.vote, .commit = work.commit}, std::move(work.entries),
          work.snapshot ? *work.snapshot : Snapshot{});
  if (work.responses.empty()) return;
  node.disk.Sync();
  Send(node, std::move(work.responses));
}

void SimulatedGroup::ProcessApplyWork(Node& node) {
  Message work = std::move(node.apply_work.front());
  node.apply_work.pop_front();
  Apply(node, work.entries);
  Send(node, std::move(work.responses));
}

void SimulatedGroup::Apply(Node& node, const std::vector<Entry>& entries) {
  for (const Entry& entry : entries) {
    // With asynchronous writes, a snapshot may come in ahead of entries that were handed out before it.
    if (options_.async_storage_writes && entry.index <= node.applied) continue;
    KVORUM_CHECK(entry.index == node.applied + 1, "{} applied behind {}", entry.index, node.applied);
    node.digest = checker_.Applied(node.id, entry, node.digest);
    node.applied = entry.index;
    if (entry.type == EntryType::kConfChange) {
      node.conf_state = node.raw->ApplyConfChange(*DecodeConfChange(entry.data.view()));
      ++conf_changes_applied_;
    } else if (entry.type == EntryType::kConfChangeV2) {
      node.conf_state = node.raw->ApplyConfChange(*DecodeConfChangeV2(entry.data.view()));
      ++conf_changes_applied_;
    }
  }
}

void SimulatedGroup::Compact(Node& node) {
  MemoryStorage& storage = node.disk.live();
  const Index newest = storage.GetSnapshot()->metadata.index;
  // Not past what is written: with asynchronous writes, an entry may be applied before.
  const Index index = std::min(node.applied, storage.LastIndex());
  if (index != node.applied || index <= newest || node.raw->raft().log().applied() < index) return;
  // The membership is ahead of the state machine until the snapshot is there.
  if (node.raw->raft().log().HasUnstableSnapshot()) return;
  // The commit index must not fall behind the snapshot in a crash.
  if (storage.GetInitialState()->hard_state.commit < index) return;
  KVORUM_CHECK(storage.CreateSnapshot(index, &node.conf_state, DigestBytes(node.digest)).ok());
  const Index keep(random_.Below(4));
  if (index - keep.value() >= storage.FirstIndex() && index > keep) {
    KVORUM_CHECK(storage.Compact(index - keep.value()).ok());
  }
  node.disk.Sync();
}

void SimulatedGroup::ProposeRandom(Node& node) {
  std::vector<Bytes> batch;
  for (uint64_t n = 1 + random_.Below(3); n > 0; --n) {
    batch.push_back(Bytes::Copy(fmt::format("value-{}", next_value_++)));
  }
  node.raw->ProposeBatch(std::move(batch)).IgnoreError();
}

void SimulatedGroup::ChangeMembership(Node& node) {
  const Raft& raft = node.raw->raft();
  if (raft.role() != Role::kLeader) return;
  ConfChangeV2 change;
  if (!raft.membership().voters.joint()) {
    change.transition = static_cast<ConfChangeTransition>(random_.Below(3));
    for (uint64_t n = 1 + random_.Below(3); n > 0; --n) {
      change.changes.push_back(
          {static_cast<ConfChangeType>(random_.Below(4)), NodeId(1 + random_.Below(nodes_.size()))});
    }
  }
  // What cannot be applied is the proposer's to keep out.
  const Inflights window(4, 0);
  const MembershipChanger changer(raft.membership(), Index(1), window);
  const bool possible = LeavesJoint(change)   ? changer.LeaveJoint().ok()
                        : EntersJoint(change) ? changer.EnterJoint(true, change.changes).ok()
                                              : changer.Simple(change.changes).ok();
  if (possible) node.raw->ProposeConfChange(change).IgnoreError();
}

SimulatedGroup::Node* SimulatedGroup::Leader() {
  Node* leader = nullptr;
  for (const auto& node : nodes_) {
    if (node->raw->raft().role() != Role::kLeader) continue;
    if (leader == nullptr || leader->raw->term() < node->raw->term()) leader = node.get();
  }
  return leader;
}

bool SimulatedGroup::RunUntilProgress() {
  faults_ = false;
  std::fill(side_.begin(), side_.end(), 0);
  for (const auto& node : nodes_) Crash(*node);
  // What must be applied everywhere, once a leader has taken it.
  Index target;
  for (int round = 0; round < 2000 && violation().empty(); ++round) {
    for (const auto& node : nodes_) {
      node->raw->Tick();
      while (node->raw->HasReady()) ProcessReady(*node);
      while (!node->append_work.empty()) ProcessAppendWork(*node);
      while (!node->apply_work.empty()) ProcessApplyWork(*node);
      Observe(*node);
    }
    for (size_t n = network_.size(); n > 0; --n) DeliverOne();
    Node* leader = Leader();
    if (leader == nullptr) continue;
    // A new member takes no snapshot of a group that it was not in yet.
    Compact(*leader);
    const Raft& raft = leader->raw->raft();
    const Membership& membership = raft.membership();
    if (membership.voters.joint() && !membership.auto_leave) {
      leader->raw->ProposeConfChange(ConfChangeV2{}).IgnoreError();
    }
    if (target == Index(0) || raft.log().LastIndex() < target) {
      if (leader->raw->Propose(Bytes::Copy("last")).ok()) target = raft.log().LastIndex();
      continue;
    }
    const auto has_applied = [&](const auto& member) {
      return nodes_[member.first.value() - 1]->applied >= target;
    };
    if (std::all_of(membership.progress.begin(), membership.progress.end(), has_applied)) return true;
  }
  return IsStrandedByRemoval();
}

bool SimulatedGroup::IsStrandedByRemoval() const {
  const auto last = [](const Node& node) {
    const EntryId id = node.raw->raft().log().LastEntryId();
    return std::pair(id.term, id.index);
  };
  const auto is_voter = [](const Node& node) {
    return node.raw->raft().membership().voters.Contains(node.id);
  };
  std::pair<Term, Index> longest_of_voters;
  for (const auto& node : nodes_) {
    if (is_voter(*node)) longest_of_voters = std::max(longest_of_voters, last(*node));
  }
  return std::any_of(nodes_.begin(), nodes_.end(),
                     [&](const auto& node) { return !is_voter(*node) && last(*node) > longest_of_voters; });
}

}  // namespace kvorum::raft
