#pragma once

#include <list>
#include <memory>
#include <string>
#include <utility>

#include "sim/check/v2_checker.h"
#include "sim/check/v2_notes.h"
#include "sim/history.h"
#include "v2store/store.h"
#include "v2store/testing.h"

namespace kvorum::sim::testing {

inline v2store::Request V2(const std::string& method, const std::string& path,
                           const std::string& value = "") {
  v2store::Request request;
  request.method = method;
  request.path = path;
  request.value = value;
  return request;
}

/// Makes histories of the v2 API with a store that answers: each request takes place at once, a tenth of a
/// second after the one before, which takes half of that.
class V2Story {
 public:
  V2Story() { Watch({.path = "/", .recursive = true, .stream = true}, &truth_); }

  History history;
  V2Rules rules;

  static constexpr Instant kTick = 50'000'000;
  Instant now() const { return now_; }
  void Wait(Instant time) { Pass(time); }
  /// Unix nanoseconds, so many seconds from now.
  int64_t In(int64_t seconds) const { return clock_.After(seconds).time_since_epoch().count(); }

  size_t Do(v2store::Request request, uint64_t member = 1) {
    const size_t i = Begin(std::move(request), member);
    V2Operation& op = history.v2_operations[i];
    const v2store::Result result = op.request.method == "GET"
                                       ? store_.Get(op.request.path, op.request.recursive, true)
                                       : store_.Apply(op.request);
    NoteV2Answer(result, &op);
    op.returned = now_;
    return i;
  }
  size_t DoUnknown(v2store::Request request) {
    const size_t i = Begin(std::move(request), 1);
    store_.Apply(history.v2_operations[i].request);
    return i;
  }
  size_t Lose(v2store::Request request) { return Begin(std::move(request), 1); }
  void Expire() { store_.Expire(clock_.now); }

  /// `watch` says what; what it is told is recorded until the end.
  void Watch(V2WatchHistory watch) {
    Waiter& waiter = waiters_.emplace_back();
    waiter.record = std::move(watch);
    waiter.record.open_at_end = true;
    Watch({.path = waiter.record.path,
           .recursive = waiter.record.recursive,
           .stream = waiter.record.stream,
           .since = waiter.record.wait_index},
          &waiter);
  }

  /// Brings what was seen into the history.
  void Finish() {
    history.v2_events = truth_.record.events;
    for (Waiter& waiter : waiters_) history.v2_watches.push_back(waiter.record);
    rules.unix_at_start = clock_.now.time_since_epoch().count() - now_;
    rules.end_of_run = now_;
  }
  Violations Check() const { return CheckV2(history, rules); }
  V2Operation& op(size_t i) { return history.v2_operations[i]; }

 private:
  struct Waiter : v2store::WatchSink {
    void OnEvent(const v2store::EventPtr& event, const std::shared_ptr<const std::string>&) override {
      record.events.push_back(NoteOf(*event, *now));
    }
    void OnLost() override { record.open_at_end = false; }
    V2WatchHistory record;
    const Instant* now = nullptr;
    std::unique_ptr<v2store::Watcher> watcher;
  };

  void Watch(v2store::WatchRequest request, Waiter* waiter) {
    waiter->now = &now_;
    waiter->record.start_index = store_.index();
    auto result = store_.Watch(request, waiter);
    if (const auto* error = std::get_if<v2store::Error>(&result)) {
      waiter->record.error_code = static_cast<int>(error->code);
      return;
    }
    auto start = std::get<v2store::Store::WatchStart>(std::move(result));
    // A stream that begins in the past goes on, as the API's does.
    while (start.event != nullptr) {
      waiter->OnEvent(start.event, start.body);
      if (!request.stream) return;
      request.since = start.event->index() + 1;
      start = std::get<v2store::Store::WatchStart>(store_.Watch(request, waiter));
    }
    waiter->watcher = std::move(start.watcher);
  }

  void Pass(Instant time) {
    now_ += time;
    clock_.now += std::chrono::nanoseconds(time);
  }

  size_t Begin(v2store::Request request, uint64_t member) {
    V2Operation& op = history.v2_operations.emplace_back();
    op.member = MemberId(member);
    Pass(kTick);
    op.invoked = now_;
    op.quorum = request.method == "QGET";
    op.request = std::move(request);
    Pass(kTick);
    return history.v2_operations.size() - 1;
  }

  v2store::StandingClock clock_;
  v2store::Store store_{&clock_};
  Instant now_ = 0;
  Waiter truth_;
  std::list<Waiter> waiters_;
};

}  // namespace kvorum::sim::testing
