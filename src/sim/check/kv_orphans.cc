#include "sim/check/kv_orphans.h"

#include <algorithm>

#include "sim/check/describe.h"
#include "sim/check/kv_execute.h"

namespace kvorum::sim {
namespace {

using Outcome = Operation::Outcome;

/// What a request may write, on any branch.
struct Writes {
  std::vector<std::string> values;
  bool keeps_value = false;
  bool deletes = false;

  void Add(const etcdserverpb::PutRequest& put) {
    if (put.ignore_value()) {
      keeps_value = true;
    } else {
      values.push_back(put.value());
    }
  }
  void Add(const etcdserverpb::DeleteRangeRequest&) { deletes = true; }
  void Add(const etcdserverpb::RangeRequest&) {}
  void Add(const etcdserverpb::CompactionRequest&) {}
  void Add(const etcdserverpb::TxnRequest& txn) {
    for (const auto* ops : {&txn.success(), &txn.failure()}) {
      for (const etcdserverpb::RequestOp& op : *ops) {
        if (op.has_request_put()) Add(op.request_put());
        if (op.has_request_delete_range()) Add(op.request_delete_range());
        if (op.has_request_txn()) Add(op.request_txn());
      }
    }
  }
};

const mvccpb::Event* FirstPut(const std::vector<mvccpb::Event>& events) {
  for (const mvccpb::Event& event : events) {
    if (event.type() == mvccpb::Event::PUT) return &event;
  }
  return nullptr;
}

}  // namespace

bool SameEvents(const std::vector<mvccpb::Event>& a, const std::vector<mvccpb::Event>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const mvccpb::Event& x, const mvccpb::Event& y) {
                      return x.SerializeAsString() == y.SerializeAsString();
                    });
}

Orphans::Orphans(const History& history, const KvModel& model) : history_(history), model_(model) {
  for (size_t i = 0; i < history.operations.size(); ++i) {
    Writes writes;
    std::visit([&writes](const auto& request) { writes.Add(request); }, history.operations[i].request);
    for (std::string& value : writes.values) by_value_[std::move(value)].push_back(i);
    if (history.operations[i].outcome != Outcome::kUnknown) continue;
    if (writes.keeps_value) keep_value_.push_back(i);
    if (writes.deletes) delete_.push_back(i);
  }
}

void Orphans::Add(int64_t revision, Instant deadline) {
  orphans_.push_back({.revision = revision, .deadline = deadline, .candidates = {}});
}

std::vector<size_t> Orphans::Candidates(const Orphan& orphan) const {
  const std::vector<mvccpb::Event>& events = model_.events(orphan.revision);
  std::vector<size_t> likely = delete_;
  if (const mvccpb::Event* put = FirstPut(events)) {
    likely = keep_value_;
    const auto found = by_value_.find(put->kv().value());
    if (found != by_value_.end()) likely.insert(likely.end(), found->second.begin(), found->second.end());
  }
  std::erase_if(likely, [&](size_t i) {
    const Operation& op = history_.operations[i];
    if (op.outcome != Outcome::kUnknown || op.invoked > orphan.deadline) return true;
    const KvEffect effect = Execute(model_, op.request, orphan.revision - 1);
    return effect.error != KvEffect::Error::kNone || !SameEvents(effect.events, events);
  });
  std::sort(likely.begin(), likely.end());
  likely.erase(std::unique(likely.begin(), likely.end()), likely.end());
  return likely;
}

int64_t Orphans::EndedLease(int64_t revision) const {
  const std::vector<mvccpb::Event>& events = model_.events(revision);
  if (events.empty()) return 0;
  std::vector<std::string> deleted;
  for (const mvccpb::Event& event : events) {
    if (event.type() != mvccpb::Event::DELETE) return 0;
    deleted.push_back(event.kv().key());
  }
  const mvccpb::KeyValue* pair = model_.Get(deleted[0], revision - 1);
  if (pair == nullptr || pair->lease() == 0) return 0;
  return model_.KeysOf(pair->lease(), revision - 1) == deleted ? pair->lease() : 0;
}

bool Orphans::Match(size_t orphan, std::vector<bool>* tried) {
  for (size_t candidate : orphans_[orphan].candidates) {
    const auto [taken, free] = taken_.try_emplace(candidate, orphan);
    if (free) return true;
    const size_t holder = taken->second;
    if ((*tried)[holder]) continue;
    (*tried)[holder] = true;
    if (!Match(holder, tried)) continue;
    taken_[candidate] = orphan;
    return true;
  }
  return false;
}

void Orphans::Explain(KvVerdict* verdict) {
  std::vector<size_t> lost;
  for (size_t i = 0; i < orphans_.size(); ++i) {
    Orphan& orphan = orphans_[i];
    std::vector<size_t> candidates = Candidates(orphan);
    if (const int64_t lease = EndedLease(orphan.revision)) {
      if (candidates.empty()) verdict->lease_ends.push_back({.lease = lease, .revision = orphan.revision});
      continue;
    }
    orphan.candidates = std::move(candidates);
    std::vector<bool> tried(orphans_.size());
    tried[i] = true;
    if (!Match(i, &tried)) lost.push_back(i);
  }
  for (const auto& [operation, orphan] : taken_) {
    verdict->makers[static_cast<size_t>(orphans_[orphan].revision - 2)] = operation;
  }
  for (size_t i : lost) verdict->violations.push_back(Unexplained(orphans_[i], *verdict));
}

std::string Orphans::Unexplained(const Orphan& orphan, const KvVerdict& verdict) const {
  const std::vector<mvccpb::Event>& events = model_.events(orphan.revision);
  std::string text = fmt::format("revision {} was made by nobody: {}", orphan.revision, Describe(events));
  const mvccpb::Event* put = FirstPut(events);
  const auto found = put == nullptr ? by_value_.end() : by_value_.find(put->kv().value());
  if (found == by_value_.end()) return text;
  for (size_t i : found->second) {
    text += fmt::format("; the value is that of {}", Describe(history_, i));
    if (history_.operations[i].outcome == Outcome::kRefused) {
      text += fmt::format(", which was refused ({})", history_.operations[i].error);
    }
    const auto made = std::find(verdict.makers.begin(), verdict.makers.end(), i);
    if (made != verdict.makers.end()) {
      text += fmt::format(", which made revision {}", made - verdict.makers.begin() + 2);
    }
  }
  return text;
}

}  // namespace kvorum::sim
