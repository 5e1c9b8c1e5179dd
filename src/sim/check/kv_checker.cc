#include "sim/check/kv_checker.h"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "sim/check/describe.h"
#include "sim/check/kv_execute.h"
#include "sim/check/kv_orphans.h"
#include "sim/check/sights.h"

namespace kvorum::sim {
namespace {

using Outcome = Operation::Outcome;
using etcdserverpb::CompactionRequest;
using etcdserverpb::RequestOp;
using etcdserverpb::TxnRequest;
using etcdserverpb::TxnResponse;

bool Changed(const etcdserverpb::RangeResponse&) { return false; }
bool Changed(const etcdserverpb::PutResponse&) { return true; }
bool Changed(const etcdserverpb::DeleteRangeResponse& response) { return response.deleted() > 0; }
bool Changed(const etcdserverpb::CompactionResponse&) { return false; }
bool Changed(const TxnResponse& response) {
  return std::any_of(response.responses().begin(), response.responses().end(),
                     [](const etcdserverpb::ResponseOp& op) {
                       return op.has_response_put() ||
                              (op.has_response_delete_range() && op.response_delete_range().deleted() > 0) ||
                              (op.has_response_txn() && Changed(op.response_txn()));
                     });
}

int64_t HeaderRevision(const Operation::Response& response) {
  return std::visit([](const auto& message) { return message.header().revision(); }, response);
}

/// The answer without the header of the whole.
std::string Content(Operation::Response response) {
  return std::visit(
      [](auto& message) {
        message.clear_header();
        return message.SerializeAsString();
      },
      response);
}
std::string ContentText(Operation::Response response) {
  return std::visit(
      [](auto& message) {
        message.clear_header();
        return Short(message);
      },
      response);
}

/// The revisions that a request's ranges name, on both branches.
void Named(const etcdserverpb::RangeRequest& range, std::vector<int64_t>* revisions) {
  if (range.revision() > 0) revisions->push_back(range.revision());
}
void Named(const TxnRequest& txn, std::vector<int64_t>* revisions) {
  for (const auto* ops : {&txn.success(), &txn.failure()}) {
    for (const RequestOp& op : *ops) {
      if (op.has_request_range()) Named(op.request_range(), revisions);
      if (op.has_request_txn()) Named(op.request_txn(), revisions);
    }
  }
}
std::vector<int64_t> NamedRevisions(const Operation::Request& request) {
  std::vector<int64_t> revisions;
  if (const auto* range = std::get_if<etcdserverpb::RangeRequest>(&request)) Named(*range, &revisions);
  if (const auto* txn = std::get_if<TxnRequest>(&request)) Named(*txn, &revisions);
  return revisions;
}

class Checker {
 public:
  Checker(const History& history, const KvModel& model) : history_(history), model_(model) {
    verdict_.makers.assign(history.revisions.size(), kNobody);
    places_.assign(history.operations.size(), 0);
    wrote_.assign(history.operations.size(), false);
  }

  KvVerdict Run() {
    for (size_t i = 0; i < history_.operations.size(); ++i) {
      if (history_.operations[i].outcome == Outcome::kAnswered) CheckAnswer(i);
    }
    GatherSights();
    ExplainOrphans();
    CheckOrder();
    CheckCompactions();
    for (size_t i = 0; i < history_.operations.size(); ++i) {
      const Operation& op = history_.operations[i];
      if (op.outcome == Outcome::kAnswered) CheckReadsOfOld(i);
      if (op.outcome == Outcome::kRefused) CheckRefusal(i);
    }
    return std::move(verdict_);
  }

 private:
  template <typename... Args>
  void Report(fmt::format_string<Args...> format, Args&&... args) {
    verdict_.violations.push_back(fmt::format(format, std::forward<Args>(args)...));
  }
  const Operation& op(size_t i) const { return history_.operations[i]; }
  std::string Text(size_t i) const { return Describe(history_, i); }

  void CheckAnswer(size_t i) {
    if (op(i).response.index() != op(i).request.index()) {
      return Report("{} has an answer of another kind", Text(i));
    }
    const int64_t revision = HeaderRevision(op(i).response);
    if (revision < 1 || revision > model_.last_revision()) {
      return Report("{} was answered at revision {}, the last one is {}", Text(i), revision,
                    model_.last_revision());
    }
    const bool wrote = std::visit([](const auto& response) { return Changed(response); }, op(i).response);
    if (wrote && revision < 2) return Report("{} changed something at revision 1", Text(i));
    if (wrote && !Claim(i, revision)) return;
    places_[i] = revision;
    wrote_[i] = wrote;
    if (std::holds_alternative<CompactionRequest>(op(i).request)) return;
    const int64_t state = wrote ? revision - 1 : revision;
    const KvEffect effect = Execute(model_, op(i).request, state);
    if (effect.error != KvEffect::Error::kNone) {
      return Report("{} was answered at revision {}, and had to be refused: {}", Text(i), revision,
                    effect.error == KvEffect::Error::kKeyNotFound ? "a key is not there"
                                                                  : "it asks for a future revision");
    }
    if (Content(effect.response) != Content(op(i).response)) {
      Report("{} was answered at revision {} with {}; it should be {}", Text(i), revision,
             ContentText(op(i).response), ContentText(effect.response));
    }
    if (wrote && !SameEvents(effect.events, model_.events(revision))) {
      Report("{} did at revision {}: {}; it should do {}", Text(i), revision,
             Describe(model_.events(revision)), Describe(effect.events));
    }
    if (!wrote && !effect.events.empty()) {
      Report("{} was answered as if it changed nothing, at revision {}; it should do {}", Text(i), revision,
             Describe(effect.events));
    }
  }

  bool Claim(size_t i, int64_t revision) {
    size_t& maker = verdict_.makers[static_cast<size_t>(revision - 2)];
    if (maker != kNobody) {
      Report("revision {} is claimed by {} and by {}", revision, Text(maker), Text(i));
      return false;
    }
    maker = i;
    return true;
  }

  /// Which revision was certainly there when: what was seen, answered and told to watchers.
  void GatherSights() {
    std::vector<Sight> sights;
    for (const Revision& revision : history_.revisions) {
      if (revision.seen != kNever && revision.revision <= model_.last_revision()) {
        sights.push_back({.when = revision.seen, .place = revision.revision, .operation = kNobody});
      }
    }
    for (const WatchHistory& watch : history_.watches) {
      for (size_t i = 0; i < std::min(watch.responses.size(), watch.received.size()); ++i) {
        const int64_t revision = watch.responses[i].header().revision();
        if (revision < 1 || revision > model_.last_revision()) continue;
        sights.push_back({.when = watch.received[i], .place = revision, .operation = kNobody});
      }
    }
    for (size_t i = 0; i < places_.size(); ++i) {
      if (places_[i] == 0) continue;
      const Sight sight{.when = op(i).returned, .place = places_[i], .operation = i};
      sights.push_back(sight);
      by_member_[op(i).member.value()].Add(sight);
    }
    deadlines_ = Deadlines(sights, model_.last_revision());
    for (const Sight& sight : sights) floors_.Add(sight);
    floors_.Finish();
    for (auto& [member, floors] : by_member_) floors.Finish();
  }

  void ExplainOrphans() {
    Orphans orphans(history_, model_);
    for (int64_t revision = 2; revision <= model_.last_revision(); ++revision) {
      if (verdict_.maker(revision) == kNobody) {
        orphans.Add(revision, deadlines_[static_cast<size_t>(revision)].when);
      }
    }
    orphans.Explain(&verdict_);
    for (size_t r = 0; r < verdict_.makers.size(); ++r) {
      const size_t maker = verdict_.makers[r];
      if (maker == kNobody) continue;
      places_[maker] = static_cast<int64_t>(r) + 2;
      wrote_[maker] = true;
    }
  }

  std::string Shower(const Sight& sight) const {
    if (sight.operation != kNobody) return fmt::format("answered to {}", Text(sight.operation));
    return fmt::format("seen at {}", TimeText(sight.when));
  }

  /// What was there before an operation began is before it in the order; for what nobody else confirms only
  /// what its member showed. A write is after it, so that nobody saw it before it was asked for.
  void CheckOrder() {
    for (size_t i = 0; i < places_.size(); ++i) {
      if (places_[i] == 0) continue;
      const bool alone = IsSerializable(op(i).request);
      const Sight floor = alone ? by_member_.at(op(i).member.value()).Before(op(i).invoked, 1)
                                : floors_.Before(op(i).invoked, 1);
      if (places_[i] > floor.place || (places_[i] == floor.place && !wrote_[i])) continue;
      Report("{} is at revision {}, although revision {} was {} before it began{}", Text(i), places_[i],
             floor.place, Shower(floor), alone ? ", by the same member" : "");
    }
  }

  template <typename Predicate>
  size_t FindCompaction(Predicate predicate) const {
    for (size_t i : compactions_) {
      if (predicate(op(i), std::get<CompactionRequest>(op(i).request).revision())) return i;
    }
    return kNobody;
  }

  void CheckCompactions() {
    for (size_t i = 0; i < history_.operations.size(); ++i) {
      if (std::holds_alternative<CompactionRequest>(op(i).request) && op(i).outcome != Outcome::kRefused) {
        compactions_.push_back(i);
      }
    }
    for (size_t i : compactions_) {
      if (places_[i] == 0) continue;
      const int64_t revision = std::get<CompactionRequest>(op(i).request).revision();
      if (revision > places_[i]) {
        Report("{} was answered at revision {}, before what it compacts", Text(i), places_[i]);
      }
      const size_t earlier = FindCompaction([&](const Operation& other, int64_t compacted) {
        return &other != &op(i) && other.outcome == Outcome::kAnswered && other.returned < op(i).invoked &&
               compacted >= revision;
      });
      if (earlier != kNobody) Report("{} was answered, although {} was before it", Text(i), Text(earlier));
    }
  }

  /// An answer with content of a revision that was compacted for sure.
  void CheckReadsOfOld(size_t i) {
    if (places_[i] == 0) return;
    const std::vector<int64_t> named = NamedRevisions(op(i).request);
    if (named.empty()) return;
    const int64_t oldest =
        Execute(model_, op(i).request, wrote_[i] ? places_[i] - 1 : places_[i]).oldest_read;
    if (oldest == 0) return;
    const bool alone = IsSerializable(op(i).request);
    const size_t before = FindCompaction([&](const Operation& other, int64_t compacted) {
      return other.outcome == Outcome::kAnswered && other.returned < op(i).invoked && compacted > oldest &&
             (!alone || other.member == op(i).member);
    });
    if (before != kNobody) {
      Report("{} was answered from revision {}, although {} was before it", Text(i), oldest, Text(before));
    }
  }

  void CheckRefusal(size_t i) {
    const std::string& error = op(i).error;
    const auto has = [&error](std::string_view text) { return error.find(text) != std::string::npos; };
    if (has("revision has been compacted")) return CheckRefusedAsCompacted(i);
    if (has("is a future revision")) return CheckRefusedAsFuture(i);
    if (has("key not found")) return CheckRefusedAsMissing(i);
  }

  void CheckRefusedAsCompacted(size_t i) {
    std::vector<int64_t> named = NamedRevisions(op(i).request);
    const auto* compaction = std::get_if<CompactionRequest>(&op(i).request);
    // A compaction is refused at the compacted revision itself too, and where there is nothing to compact.
    if (compaction != nullptr && compaction->revision() < 1) return;
    if (compaction != nullptr) named.push_back(compaction->revision() - 1);
    const int64_t oldest =
        named.empty() ? std::numeric_limits<int64_t>::max() : *std::min_element(named.begin(), named.end());
    const size_t reason = FindCompaction([&](const Operation& other, int64_t compacted) {
      return other.invoked <= op(i).returned && compacted > oldest;
    });
    if (reason == kNobody) Report("{} was refused ({}) without a compaction", Text(i), op(i).error);
  }

  void CheckRefusedAsFuture(size_t i) {
    std::vector<int64_t> named = NamedRevisions(op(i).request);
    if (const auto* compaction = std::get_if<CompactionRequest>(&op(i).request)) {
      named.push_back(compaction->revision());
    }
    const int64_t newest = named.empty() ? 0 : *std::max_element(named.begin(), named.end());
    const Sight floor = FloorOf(i);
    if (floor.place >= newest) {
      Report("{} was refused ({}), although revision {} was {} before", Text(i), op(i).error, floor.place,
             Shower(floor));
    }
  }

  /// At some revision that can have been the last one meanwhile, a key has to be missing.
  void CheckRefusedAsMissing(size_t i) {
    for (int64_t revision = FloorOf(i).place; revision <= model_.last_revision(); ++revision) {
      const size_t maker = verdict_.maker(revision);
      if (maker != kNobody && op(maker).outcome == Outcome::kAnswered && op(maker).invoked > op(i).returned) {
        break;
      }
      if (Execute(model_, op(i).request, revision).error == KvEffect::Error::kKeyNotFound) return;
    }
    Report("{} was refused ({}), although its keys were there", Text(i), op(i).error);
  }

  Sight FloorOf(size_t i) const {
    if (!IsSerializable(op(i).request)) return floors_.Before(op(i).invoked, 1);
    const auto member = by_member_.find(op(i).member.value());
    return member == by_member_.end() ? Floors().Before(0, 1) : member->second.Before(op(i).invoked, 1);
  }

  const History& history_;
  const KvModel& model_;
  KvVerdict verdict_;
  std::vector<int64_t> places_;  // of each operation: its revision; 0: it has none
  std::vector<bool> wrote_;
  std::vector<Sight> deadlines_;  // by revision
  Floors floors_;
  std::map<uint64_t, Floors> by_member_;
  std::vector<size_t> compactions_;  // that were not refused
};

}  // namespace

KvVerdict CheckKv(const History& history, const KvModel& model) { return Checker(history, model).Run(); }

}  // namespace kvorum::sim
