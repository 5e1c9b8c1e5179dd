#pragma once

#include <string>
#include <utility>

#include "sim/check/kv_checker.h"
#include "sim/check/kv_execute.h"
#include "sim/history.h"

namespace kvorum::sim::testing {

inline constexpr Instant kSecond = 1'000'000'000;

inline etcdserverpb::PutRequest Put(const std::string& key, const std::string& value, int64_t lease = 0) {
  etcdserverpb::PutRequest request;
  request.set_key(key);
  request.set_value(value);
  request.set_lease(lease);
  return request;
}
inline etcdserverpb::DeleteRangeRequest Delete(const std::string& key, const std::string& range_end = "") {
  etcdserverpb::DeleteRangeRequest request;
  request.set_key(key);
  request.set_range_end(range_end);
  return request;
}
inline etcdserverpb::RangeRequest Range(const std::string& key, const std::string& range_end = "",
                                        int64_t revision = 0) {
  etcdserverpb::RangeRequest request;
  request.set_key(key);
  request.set_range_end(range_end);
  request.set_revision(revision);
  return request;
}
inline etcdserverpb::RangeRequest SerializableRange(const std::string& key) {
  etcdserverpb::RangeRequest request = Range(key);
  request.set_serializable(true);
  return request;
}
inline etcdserverpb::CompactionRequest Compact(int64_t revision) {
  etcdserverpb::CompactionRequest request;
  request.set_revision(revision);
  return request;
}

/// Makes histories: each request takes place at once, a tenth of a second after the one before, which takes
/// half of that. Tests then change what they want to be wrong.
class Story {
 public:
  History history;

  int64_t revision() const { return static_cast<int64_t>(history.revisions.size()) + 1; }
  Instant now() const { return now_; }
  void Wait(Instant time) { now_ += time; }

  /// An answered request.
  size_t Do(Operation::Request request, uint64_t member = 1) {
    const size_t i = Begin(std::move(request), member);
    Operation& op = history.operations[i];
    op.outcome = Operation::Outcome::kAnswered;
    op.response = Happen(op.request);
    op.returned = now_;
    return i;
  }
  /// One that happened, of which its client does not know.
  size_t DoUnknown(Operation::Request request) {
    const size_t i = Begin(std::move(request), 1);
    Happen(history.operations[i].request);
    return i;
  }
  /// One that did not happen, of which its client does not know.
  size_t Lose(Operation::Request request) { return Begin(std::move(request), 1); }
  size_t Refuse(Operation::Request request, const std::string& error) {
    const size_t i = Begin(std::move(request), 1);
    history.operations[i].outcome = Operation::Outcome::kRefused;
    history.operations[i].error = error;
    history.operations[i].returned = now_;
    return i;
  }
  /// All keys of a lease go in one revision.
  void EndLease(int64_t lease) {
    Violations none;
    const KvModel model(history.revisions, &none);
    Revision end{.revision = revision() + 1, .events = {}, .seen = now_};
    for (const std::string& key : model.KeysOf(lease, revision())) {
      mvccpb::Event& event = end.events.emplace_back();
      event.set_type(mvccpb::Event::DELETE);
      event.mutable_kv()->set_key(key);
      event.mutable_kv()->set_mod_revision(end.revision);
    }
    history.revisions.push_back(std::move(end));
  }

  template <typename Response>
  Response& response(size_t operation) {
    return std::get<Response>(history.operations[operation].response);
  }
  Operation& op(size_t operation) { return history.operations[operation]; }
  mvccpb::Event& event(int64_t revision, size_t i = 0) {
    return history.revisions[static_cast<size_t>(revision - 2)].events[i];
  }

  /// The replay's complaints and the check's.
  KvVerdict Check() const {
    Violations replay;
    const KvModel model(history.revisions, &replay);
    KvVerdict verdict = CheckKv(history, model);
    verdict.violations.insert(verdict.violations.begin(), replay.begin(), replay.end());
    return verdict;
  }
  Violations Violated() const { return Check().violations; }

 private:
  size_t Begin(Operation::Request request, uint64_t member) {
    Operation& op = history.operations.emplace_back();
    op.client = 1;
    op.member = MemberId(member);
    op.invoked = now_ += kSecond / 20;
    op.request = std::move(request);
    now_ += kSecond / 20;
    return history.operations.size() - 1;
  }

  Operation::Response Happen(const Operation::Request& request) {
    Violations none;
    const KvModel model(history.revisions, &none);
    KvEffect effect = Execute(model, request, revision());
    if (!effect.events.empty()) {
      history.revisions.push_back({.revision = revision() + 1, .events = std::move(effect.events)});
    }
    std::visit([this](auto& response) { response.mutable_header()->set_revision(revision()); },
               effect.response);
    return std::move(effect.response);
  }

  Instant now_ = 0;
};

}  // namespace kvorum::sim::testing
