#include "sim/check/member_checker.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "sim/check/reports.h"

namespace kvorum::sim {
namespace {

Violations CheckAgreement(const std::vector<AppliedEntry>& applied) {
  Reports reports;
  absl::flat_hash_map<uint64_t, const AppliedEntry*> entries;  // by index, who applied it first
  absl::flat_hash_map<uint64_t, uint64_t> snapshot_terms;
  for (const AppliedEntry& entry : applied) {
    if (entry.how == AppliedEntry::How::kStart) continue;
    if (entry.how == AppliedEntry::How::kSnapshot) {
      snapshot_terms[entry.index] = entry.term;
      continue;
    }
    const AppliedEntry& first = *entries.try_emplace(entry.index, &entry).first->second;
    if (first.term == entry.term && first.content == entry.content) continue;
    reports.Add(
        "member {:x} applied entry {} as of term {} with content {:x}; member {:x} applied it as of term "
        "{} with content {:x}",
        entry.member.value(), entry.index, entry.term, entry.content, first.member.value(), first.term,
        first.content);
  }
  for (const auto& [index, term] : snapshot_terms) {
    const auto entry = entries.find(index);
    if (entry == entries.end() || entry->second->term == term) continue;
    reports.Add("a snapshot of entry {} says that it is of term {}; member {:x} applied it as of term {}",
                index, term, entry->second->member.value(), entry->second->term);
  }
  return reports.Take();
}

Violations CheckProgress(const std::vector<AppliedEntry>& applied) {
  Reports reports;
  struct Position {
    uint64_t index = 0;
    uint64_t most = 0;  // it ever had
    bool known = false;
  };
  std::map<MemberId, Position> positions;
  for (const AppliedEntry& entry : applied) {
    Position& position = positions[entry.member];
    switch (entry.how) {
      case AppliedEntry::How::kStart:
        if (entry.index > position.most && position.known) {
          reports.Add("member {:x} started with entry {} applied, and had applied {} at most",
                      entry.member.value(), entry.index, position.most);
        }
        if (entry.index < entry.durable_index) {
          reports.Add("member {:x} started with entry {} applied, although {} was on its disk",
                      entry.member.value(), entry.index, entry.durable_index);
        }
        break;
      case AppliedEntry::How::kSnapshot:
        if (entry.index <= position.index && position.known) {
          reports.Add("member {:x} installed a snapshot of entry {}, and had applied {}",
                      entry.member.value(), entry.index, position.index);
        }
        break;
      case AppliedEntry::How::kEntry:
        if (entry.index != position.index + 1 && position.known) {
          reports.Add("member {:x} applied entry {} after entry {}", entry.member.value(), entry.index,
                      position.index);
        }
        break;
    }
    position.known = true;
    position.index = entry.index;
    position.most = std::max(position.most, entry.index);
  }
  return reports.Take();
}

Violations CheckHashes(const std::vector<HashAt>& hashes) {
  Reports reports;
  std::map<std::pair<int64_t, int64_t>, const HashAt*> first;
  for (const HashAt& at : hashes) {
    const HashAt& other = *first.try_emplace({at.revision, at.compact_revision}, &at).first->second;
    if (other.hash == at.hash) continue;
    reports.Add("member {:x} has hash {:08x} at revision {}, compacted at {}; member {:x} has {:08x}",
                at.member.value(), at.hash, at.revision, at.compact_revision, other.member.value(),
                other.hash);
  }
  return reports.Take();
}

/// One member's disk and what it said of it.
class Durability {
 public:
  void Take(const DurabilityEvent& event, Reports* reports) {
    switch (event.kind) {
      case DurabilityEvent::Kind::kStarted:
        Started(event, reports);
        failed_ = false;
        furthest_ = 0;
        replaced_ = kNothing;
        [[fallthrough]];
      case DurabilityEvent::Kind::kSynced:
        if (failed_)
          reports->Add("member {:x} wrote to its log after a write of it had failed", event.member.value());
        index_ = event.index;
        kept_ = event.index;
        furthest_ = std::max(furthest_, event.index);
        term_ = event.term;
        vote_ = event.vote;
        return;
      case DurabilityEvent::Kind::kReplaced:
        kept_ = std::min(kept_, event.index);
        replaced_ = std::min(replaced_, event.index);
        return;
      case DurabilityEvent::Kind::kSyncFailed:
        failed_ = true;
        return;
      case DurabilityEvent::Kind::kAcknowledged:
      case DurabilityEvent::Kind::kApplied: {
        if (failed_) return Failed(event, reports);
        const bool told = event.kind == DurabilityEvent::Kind::kAcknowledged;
        if (WasOnDisk(event) || (told && WasReplaced(event))) return;
        reports->Add("member {:x} {} entry {} in term {}, with {} and term {} on its disk",
                     event.member.value(), told ? "told that it has" : "applied", event.index, event.term,
                     index_, term_);
        return;
      }
      case DurabilityEvent::Kind::kVoted:
        if (failed_) return Failed(event, reports);
        if (event.term > term_ || (event.term == term_ && event.vote != vote_)) {
          reports->Add(
              "member {:x} told {:x} that it votes for it in term {}, with a vote for {:x} in term {} on its "
              "disk",
              event.member.value(), event.vote, event.term, vote_, term_);
        }
        const auto [vote, first] = votes_.try_emplace(event.term, event.vote);
        if (!first && vote->second != event.vote) {
          reports->Add("member {:x} voted for {:x} and for {:x} in term {}", event.member.value(),
                       vote->second, event.vote, event.term);
        }
        return;
    }
  }

 private:
  static void Failed(const DurabilityEvent& event, Reports* reports) {
    reports->Add(
        "member {:x} told others of {} in term {} after a write of its log had failed", event.member.value(),
        event.kind == DurabilityEvent::Kind::kVoted ? "its vote" : fmt::format("entry {}", event.index),
        event.term);
  }

  bool WasOnDisk(const DurabilityEvent& event) const {
    return event.term <= term_ && event.index <= (event.term < term_ ? furthest_ : index_);
  }

  /// A promise of an earlier term is the old leader's, who can do nothing with what was replaced since: its
  /// successor was elected by a majority without it. It may have been replaced before it came to the disk.
  bool WasReplaced(const DurabilityEvent& event) const {
    return event.term < term_ && event.index > replaced_;
  }

  void Started(const DurabilityEvent& event, Reports* reports) const {
    if (event.index < kept_) {
      reports->Add("member {:x} started with a log up to {}, although it had {} on its disk",
                   event.member.value(), event.index, kept_);
    }
    const bool other_vote = event.term == term_ && vote_ != 0 && event.vote != vote_;
    if (event.term < term_ || other_vote) {
      reports->Add(
          "member {:x} started with a vote for {:x} in term {}, although it had one for {:x} in term {} on "
          "its "
          "disk",
          event.member.value(), event.vote, event.term, vote_, term_);
    }
  }

  static constexpr uint64_t kNothing = UINT64_MAX;

  bool failed_ = false;
  uint64_t index_ = 0;
  uint64_t kept_ = 0;             // of that: what writes under way do not replace
  uint64_t furthest_ = 0;         // `index_` ever was in this life
  uint64_t replaced_ = kNothing;  // entries behind it were, in this life
  uint64_t term_ = 0;
  uint64_t vote_ = 0;
  absl::flat_hash_map<uint64_t, uint64_t> votes_;  // by term, across restarts
};

Violations CheckDurability(const std::vector<DurabilityEvent>& events) {
  Reports reports;
  std::map<MemberId, Durability> members;
  for (const DurabilityEvent& event : events) members[event.member].Take(event, &reports);
  return reports.Take();
}

}  // namespace

Violations CheckMembers(const History& history) {
  Violations violations;
  for (Violations found : {CheckAgreement(history.applied), CheckProgress(history.applied),
                           CheckHashes(history.hashes), CheckDurability(history.durability)}) {
    violations.insert(violations.end(), found.begin(), found.end());
  }
  return violations;
}

}  // namespace kvorum::sim
