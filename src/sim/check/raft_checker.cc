#include "sim/check/raft_checker.h"

#include <map>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "sim/check/log_model.h"
#include "sim/check/reports.h"

namespace kvorum::sim {
namespace {

class Checker {
 public:
  void Take(const LogEvent& event) {
    Member& member = members_[event.member];
    switch (event.kind) {
      case LogEvent::Kind::kStarted:
        member.log = LogModel(event.index, event.entry_term);
        return;
      case LogEvent::Kind::kWrote:
        return Wrote(event, member);
      case LogEvent::Kind::kInstalled:
        member.log.Install(event.index, event.entry_term);
        return;
      case LogEvent::Kind::kLed:
        return Led(event, member);
    }
  }

  void TakeApplied(const AppliedEntry& entry) {
    if (entry.how != AppliedEntry::How::kEntry) return;
    const auto known = committed_.find(entry.index);
    if (known == committed_.end() || known->second.term == entry.term) return;
    reports_.Add("state machine safety: {:x} applied entry {} of term {}; the one of term {} was committed",
                 entry.member.value(), entry.index, entry.term, known->second.term);
  }

  Violations Finish() { return reports_.Take(); }

 private:
  struct Member {
    LogModel log;
    uint64_t commit = 0;  // what it told as a leader, and was looked at
  };
  struct Written {
    uint64_t previous_term;
    uint64_t content;
  };
  struct Committed {
    uint64_t term;
    uint64_t by;  // a leader of this term told it
  };

  void Wrote(const LogEvent& event, Member& member) {
    const uint64_t id = event.member.value();
    LogModel& log = member.log;
    if (event.index <= log.base() || event.index > log.last() + 1) {
      reports_.Add("{:x} wrote entry {} to a log of the entries {} to {}", id, event.index, log.base() + 1,
                   log.last());
      return;
    }
    const auto leader = leaders_.find(event.term);
    if (event.index <= log.last() && leader != leaders_.end() && leader->second == event.member) {
      reports_.Add("leader append-only: {:x} leads term {} and replaced entry {}", id, event.term,
                   event.index);
    }
    const uint64_t before = *log.TermAt(event.index - 1);
    if (event.entry_term < before) {
      reports_.Add("log matching: the terms in the log of {:x} fall at entry {}, from {} to {}", id,
                   event.index, before, event.entry_term);
    }
    const Written seen{.previous_term = before, .content = event.content};
    const Written& known = written_.try_emplace(std::pair(event.index, event.entry_term), seen).first->second;
    if (known.previous_term != before || known.content != event.content) {
      reports_.Add(
          "log matching: entry {} of term {} is {:x} behind term {} in the log of {:x}, {:x} behind {} in "
          "another",
          event.index, event.entry_term, event.content, before, id, known.content, known.previous_term);
    }
    log.Put(event.index, event.entry_term);
  }

  void Led(const LogEvent& event, Member& member) {
    const auto [leader, first] = leaders_.try_emplace(event.term, event.member);
    if (leader->second != event.member) {
      reports_.Add("election safety: {:x} and {:x} both lead term {}", leader->second.value(),
                   event.member.value(), event.term);
    }
    if (first) Complete(event, member.log);
    for (uint64_t index = std::max(member.commit, member.log.base()) + 1; index <= event.index; ++index) {
      Commit(event, index, member.log);
    }
    member.commit = std::max(member.commit, event.index);
  }

  void Complete(const LogEvent& event, const LogModel& log) {
    for (auto it = committed_.upper_bound(log.base()); it != committed_.end(); ++it) {
      const auto& [index, entry] = *it;
      if (entry.by >= event.term || log.Has(index, entry.term)) continue;
      reports_.Add("leader completeness: {:x} leads term {} without entry {} of term {}, committed in {}",
                   event.member.value(), event.term, index, entry.term, entry.by);
    }
  }

  void Commit(const LogEvent& event, uint64_t index, const LogModel& log) {
    const std::optional<uint64_t> term = log.TermAt(index);
    if (!term) {
      reports_.Add("{:x}, which leads term {}, told that entry {} is committed, and has it not",
                   event.member.value(), event.term, index);
      return;
    }
    const Committed& known =
        committed_.try_emplace(index, Committed{.term = *term, .by = event.term}).first->second;
    if (known.term == *term) return;
    reports_.Add("state machine safety: {:x} committed entry {} of term {}; the one of term {} was before",
                 event.member.value(), index, *term, known.term);
  }

  std::map<MemberId, Member> members_;
  std::map<uint64_t, MemberId> leaders_;  // by term
  absl::flat_hash_map<std::pair<uint64_t, uint64_t>, Written> written_;
  std::map<uint64_t, Committed> committed_;
  Reports reports_;
};

}  // namespace

Violations CheckRaft(const History& history) {
  Checker checker;
  for (const LogEvent& event : history.logs) checker.Take(event);
  for (const AppliedEntry& entry : history.applied) checker.TakeApplied(entry);
  return checker.Finish();
}

}  // namespace kvorum::sim
