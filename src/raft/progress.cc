#include "raft/progress.h"

#include <algorithm>

#include "base/check.h"

namespace kvorum::raft {

void Inflights::Add(Index last, uint64_t bytes) {
  KVORUM_CHECK(!full(), "cannot add into a full inflights");
  messages_.push_back({last, bytes});
  bytes_ += bytes;
}

void Inflights::FreeThrough(Index index) {
  while (!messages_.empty() && messages_.front().last <= index) {
    bytes_ -= messages_.front().bytes;
    messages_.pop_front();
  }
}

void Inflights::Clear() {
  messages_.clear();
  bytes_ = 0;
}

std::string_view ProgressStateName(ProgressState state) {
  switch (state) {
    case ProgressState::kProbe:
      return "StateProbe";
    case ProgressState::kReplicate:
      return "StateReplicate";
    case ProgressState::kSnapshot:
      return "StateSnapshot";
  }
  return "StateUnknown";
}

void Progress::ResetState(ProgressState new_state) {
  append_flow_paused = false;
  pending_snapshot = Index(0);
  state = new_state;
  inflights.Clear();
}

void Progress::BecomeProbe() {
  // After a snapshot that was delivered, go on behind it; one that failed has had pending_snapshot cleared.
  const Index behind_snapshot = state == ProgressState::kSnapshot ? pending_snapshot + 1 : Index(0);
  ResetState(ProgressState::kProbe);
  next = std::max(match + 1, behind_snapshot);
  sent_commit = std::min(sent_commit, next - 1);
}

void Progress::BecomeReplicate() {
  ResetState(ProgressState::kReplicate);
  next = match + 1;
}

void Progress::BecomeSnapshot(Index snapshot_index) {
  ResetState(ProgressState::kSnapshot);
  pending_snapshot = snapshot_index;
  next = snapshot_index + 1;
  sent_commit = snapshot_index;
}

void Progress::SentEntries(size_t entries, uint64_t bytes) {
  switch (state) {
    case ProgressState::kReplicate:
      if (entries > 0) {
        next = next + entries;
        inflights.Add(next - 1, bytes);
      }
      append_flow_paused = inflights.full();
      return;
    case ProgressState::kProbe:
      if (entries > 0) append_flow_paused = true;
      return;
    case ProgressState::kSnapshot:
      break;
  }
  KVORUM_CHECK(false, "sending append in unhandled state {}", ProgressStateName(state));
}

bool Progress::MaybeUpdate(Index index) {
  if (index <= match) return false;
  match = index;
  next = std::max(next, index + 1);
  append_flow_paused = false;
  return true;
}

bool Progress::MaybeDecreaseTo(Index rejected, Index match_hint) {
  if (state == ProgressState::kReplicate) {
    if (rejected <= match) return false;
    next = match + 1;
    sent_commit = std::min(sent_commit, next - 1);
    return true;
  }
  // A probe is sent one at a time, so only the answer to the last one counts.
  if (next - 1 != rejected) return false;
  next = std::max(std::min(rejected, match_hint + 1), match + 1);
  sent_commit = std::min(sent_commit, next - 1);
  append_flow_paused = false;
  return true;
}

bool Progress::IsPaused() const { return state == ProgressState::kSnapshot || append_flow_paused; }

std::string Progress::ToString() const {
  std::string out = fmt::format("{} match={} next={}", ProgressStateName(state), match, next);
  if (is_learner) out += " learner";
  if (IsPaused()) out += " paused";
  if (pending_snapshot > Index(0)) out += fmt::format(" pendingSnap={}", pending_snapshot);
  if (!recent_active) out += " inactive";
  if (inflights.count() > 0) {
    out += fmt::format(" inflight={}", inflights.count());
    if (inflights.full()) out += "[full]";
  }
  return out;
}

std::string ToString(const ProgressMap& progress) {
  std::string out;
  for (const auto& [id, each] : progress) out += fmt::format("{}: {}\n", id, each.ToString());
  return out;
}

}  // namespace kvorum::raft
