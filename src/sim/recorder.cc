#include "sim/recorder.h"

#include <algorithm>
#include <functional>
#include <string_view>

#include "base/check.h"

namespace kvorum::sim {

namespace {

/// What it is compared with was made by the same run.
uint64_t HashOf(const raft::Entry& entry) {
  return std::hash<std::string_view>()(entry.data.view()) ^ static_cast<uint64_t>(entry.type);
}

}  // namespace

void Recorder::Started(MemberId member, const raft::MemoryStorage& storage, uint64_t applied,
                       uint64_t durable) {
  const raft::Index base = storage.FirstIndex() - 1;
  const uint64_t base_term = storage.GetTerm(base).value_or(raft::Term(0)).value();
  Log& log = logs_[member];
  log = {.model = LogModel(base.value(), base_term)};
  history_->logs.push_back(
      {.member = member, .kind = LogEvent::Kind::kStarted, .index = base.value(), .entry_term = base_term});
  const auto state = storage.GetInitialState();
  if (state.ok()) log.state = state->hard_state;
  if (storage.LastIndex() > base) {
    const auto entries = storage.Entries(base + 1, storage.LastIndex() + 1, raft::kNoLimit);
    KVORUM_CHECK(entries.ok(), "{}", entries.status().ToString());
    for (const raft::Entry& entry : *entries) NoteEntry(member, entry, &log);
  }
  // Of a write that did not end there may be the entries without the term that they came with; whoever has
  // them may apply them. It has not voted in that term.
  const uint64_t entry_term = storage.GetTerm(storage.LastIndex()).value_or(raft::Term(0)).value();
  const bool ahead = entry_term > log.state.term.value();
  Note(member, DurabilityEvent::Kind::kStarted, log.model.last(), ahead ? entry_term : log.state.term.value(),
       ahead ? 0 : log.state.vote.value());
  history_->applied.push_back(
      {.member = member, .how = AppliedEntry::How::kStart, .index = applied, .durable_index = durable});
}

void Recorder::NoteEntry(MemberId member, const raft::Entry& entry, Log* log) {
  const uint64_t index = entry.index.value();
  KVORUM_CHECK(index > log->model.base() && index <= log->model.last() + 1,
               "{:x} writes entry {} to a log of the entries {} to {}", member.value(), index,
               log->model.base() + 1, log->model.last());
  log->model.Put(index, entry.term.value());
  history_->logs.push_back({.member = member,
                            .kind = LogEvent::Kind::kWrote,
                            .term = log->state.term.value(),
                            .index = index,
                            .entry_term = entry.term.value(),
                            .content = HashOf(entry)});
}

void Recorder::Handed(MemberId member, const Write& write) {
  Log& log = logs_[member];
  const uint64_t last = log.model.last();
  Pending pending{.kept = last};
  if (write.snapshot) {
    const uint64_t index = write.snapshot->index.value();
    const uint64_t term = write.snapshot->term.value();
    if (index >= log.model.base() && !log.model.Has(index, term)) {
      pending.kept = std::min(pending.kept, index);
      history_->logs.push_back(
          {.member = member, .kind = LogEvent::Kind::kInstalled, .index = index, .entry_term = term});
      log.model.Install(index, term);
    }
  }
  const raft::NodeId vote = log.state.vote;
  if (!write.hard_state.empty()) log.state = write.hard_state;
  if (!write.entries.empty()) {
    pending.kept = std::min(pending.kept, write.entries.front().index.value() - 1);
  }
  for (const raft::Entry& entry : write.entries) NoteEntry(member, entry, &log);
  pending.replaces = pending.kept < last;
  pending.last = log.model.last();
  pending.state = log.state;
  if (pending.replaces) Note(member, DurabilityEvent::Kind::kReplaced, pending.kept, 0);
  log.pending.push_back(pending);
  const bool votes = log.state.vote != vote && log.state.vote != raft::kNoNode;
  if (votes || pending.replaces || (write.snapshot && write.snapshot->index.value() == log.model.base())) {
    Rare(member);
  }
}

void Recorder::Synced(MemberId member, size_t writes) {
  Log& log = logs_[member];
  KVORUM_CHECK(writes <= log.pending.size());
  for (; writes > 0; --writes) {
    const Pending done = log.pending.front();
    log.pending.pop_front();
    Note(member, DurabilityEvent::Kind::kSynced, done.last, done.state.term.value(), done.state.vote.value());
  }
  for (const Pending& pending : log.pending) {
    if (pending.replaces) Note(member, DurabilityEvent::Kind::kReplaced, pending.kept, 0);
  }
}

void Recorder::SyncFailed(MemberId member) { Note(member, DurabilityEvent::Kind::kSyncFailed, 0, 0); }

void Recorder::Sent(const raft::Message& message) {
  const MemberId member(message.from.value());
  switch (message.type) {
    case raft::MessageType::kAppResp:
      if (message.reject) return;
      return Note(member, DurabilityEvent::Kind::kAcknowledged, message.index.value(), message.term.value());
    case raft::MessageType::kVoteResp:
      if (message.reject) return;
      return Note(member, DurabilityEvent::Kind::kVoted, 0, message.term.value(), message.to.value());
    case raft::MessageType::kApp:
    case raft::MessageType::kHeartbeat:
    case raft::MessageType::kSnap:
      return NoteLeader(message);
    default:
      return;
  }
}

void Recorder::NoteLeader(const raft::Message& message) {
  const MemberId member(message.from.value());
  const uint64_t term = message.term.value();
  const bool snapshot = message.type == raft::MessageType::kSnap && message.snapshot;
  const uint64_t commit = snapshot ? message.snapshot->metadata.index.value() : message.commit.value();
  Log& log = logs_[member];
  if (log.led == term && commit <= log.committed) return;
  if (log.led != term) {
    Note(member, DurabilityEvent::Kind::kVoted, 0, term, member.value());
    log.committed = 0;
    Rare(member);
  }
  log.led = term;
  log.committed = std::max(log.committed, commit);
  history_->logs.push_back(
      {.member = member, .kind = LogEvent::Kind::kLed, .term = term, .index = log.committed});
}

void Recorder::Applied(MemberId member, uint64_t index, uint64_t term, uint64_t content) {
  history_->applied.push_back({.member = member, .index = index, .term = term, .content = content});
  Note(member, DurabilityEvent::Kind::kApplied, index, term);
}

void Recorder::Installed(MemberId member, uint64_t index, uint64_t term) {
  history_->applied.push_back(
      {.member = member, .how = AppliedEntry::How::kSnapshot, .index = index, .term = term});
}

}  // namespace kvorum::sim
