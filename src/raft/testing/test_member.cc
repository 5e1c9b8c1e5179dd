#include "raft/testing/test_member.h"

#include <utility>

#include "base/check.h"
#include "raft/codec.h"
#include "raft/raft.h"

namespace kvorum::raft {

ConfState TestMember::Voters(uint64_t voters) {
  ConfState state;
  for (uint64_t id = 1; id <= voters; ++id) state.voters.push_back(NodeId(id));
  return state;
}

TestMember::TestMember(uint64_t id, ConfState conf_state, Config config)
    : config_(config), conf_state_(std::move(conf_state)) {
  config_.id = NodeId(id);
  config_.random = &random_;
  RestartWithLog({}, {});
}

void TestMember::RestartWithLog(std::vector<uint64_t> terms, HardState state) {
  storage_ = MemoryStorage();
  KVORUM_CHECK(
      storage_.ApplySnapshot({.metadata = {.conf_state = conf_state_, .index = Index(1), .term = Term(1)}})
          .ok());
  std::vector<Entry> entries;
  for (const uint64_t term : terms) {
    entries.push_back({.term = Term(term), .index = Index(entries.size() + 2)});
  }
  storage_.Append(std::move(entries));
  if (!state.empty()) state.commit = std::max(state.commit, Index(1));
  storage_.SetHardState(state);
  Start();
}

void TestMember::Start() {
  config_.storage = &storage_;
  config_.applied = Index(1);
  node_ = *RawNode::Create(config_);
}

std::vector<Message> TestMember::Run() {
  std::vector<Message> sent;
  while (node_->HasReady()) {
    Ready ready = node_->GetReady();
    if (!ready.hard_state.empty()) storage_.SetHardState(ready.hard_state);
    if (!ready.snapshot.empty()) KVORUM_CHECK(storage_.ApplySnapshot(ready.snapshot).ok());
    storage_.Append(std::move(ready.entries));
    for (auto* list : {&ready.messages, &ready.messages_after_persist}) {
      sent.insert(sent.end(), std::make_move_iterator(list->begin()), std::make_move_iterator(list->end()));
    }
    for (Entry& entry : ready.committed_entries) {
      if (entry.type == EntryType::kConfChangeV2) {
        node_->ApplyConfChange(*DecodeConfChangeV2(entry.data.view()));
      }
      applied_.push_back(std::move(entry));
    }
    for (ReadState& read : ready.read_states) reads_.push_back(std::move(read));
    node_->Advance();
    node_->CheckInvariants();
  }
  return sent;
}

std::vector<Message> TestMember::Receive(Message message) {
  message.to = config_.id;
  node_->Step(std::move(message)).IgnoreError();
  return Run();
}

std::vector<Message> TestMember::TimeOut() {
  const Term before = node_->term();
  std::vector<Message> sent;
  for (int i = 0; i < 2 * config_.election_ticks; ++i) {
    node_->Tick();
    for (Message& message : Run()) sent.push_back(std::move(message));
    if (node_->term() != before || raft().role() == Role::kPreCandidate) break;
  }
  return sent;
}

std::vector<Message> TestMember::Lead() {
  KVORUM_CHECK(node_->Campaign().ok());
  std::vector<Message> sent = Run();
  for (const Message& request : OfType(sent, MessageType::kPreVote)) {
    node_
        ->Step(
            {.type = MessageType::kPreVoteResp, .to = config_.id, .from = request.to, .term = request.term})
        .IgnoreError();
  }
  for (Message& message : Run()) sent.push_back(std::move(message));
  std::vector<Message> after;
  for (const Message& request : OfType(sent, MessageType::kVote)) {
    node_->Step({.type = MessageType::kVoteResp, .to = config_.id, .from = request.to, .term = request.term})
        .IgnoreError();
    for (Message& message : Run()) after.push_back(std::move(message));
  }
  KVORUM_CHECK(raft().role() == Role::kLeader);
  return after;
}

std::vector<uint64_t> TestMember::LogTerms() const {
  std::vector<uint64_t> terms;
  const RaftLog& log = raft().log();
  const auto entries = log.EntriesFrom(log.FirstIndex(), kNoLimit);
  KVORUM_CHECK(entries.ok(), "{}", entries.status().ToString());
  for (const Entry& entry : *entries) terms.push_back(entry.term.value());
  return terms;
}

std::vector<Message> OfType(const std::vector<Message>& messages, MessageType type) {
  std::vector<Message> out;
  for (const Message& message : messages) {
    if (message.type == type) out.push_back(message);
  }
  return out;
}

}  // namespace kvorum::raft
