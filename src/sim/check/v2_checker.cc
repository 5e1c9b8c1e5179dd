#include "sim/check/v2_checker.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "sim/check/describe.h"
#include "sim/check/sights.h"
#include "sim/check/v2_model.h"
#include "sim/check/v2_watches.h"

namespace kvorum::sim {
namespace {

using Outcome = Operation::Outcome;

bool IsRead(const V2Operation& op) {
  return op.request.method == "GET" || op.request.method == "QGET" || op.request.method == "HEAD";
}

int StatusOf(int error_code) {
  switch (error_code) {
    case 100:
      return 404;
    case 102:
    case 108:
      return 403;
    case 101:
    case 105:
      return 412;
    default:
      return 400;
  }
}

class Checker {
 public:
  Checker(const History& history, const V2Rules& rules) : history_(history), rules_(rules) {
    places_.assign(history.v2_operations.size(), -1);
    for (size_t i = 0; i < places_.size(); ++i) {
      if (op(i).outcome == Outcome::kUnknown && !IsRead(op(i))) unknown_.push_back(i);
    }
  }

  Violations Run() {
    Place();
    GatherSights();
    for (int64_t index = 0;; ++index) {
      const auto [begin, end] = states_.equal_range(index);
      for (auto it = begin; it != end; ++it) CheckState(it->second);
      if (index == last_) break;
      Advance(index + 1);
    }
    CheckLeftovers();
    CheckOrder();
    Violations watches = CheckV2Watches(history_.v2_watches, changes_);
    violations_.insert(violations_.end(), watches.begin(), watches.end());
    return std::move(violations_);
  }

 private:
  template <typename... Args>
  void Report(fmt::format_string<Args...> format, Args&&... args) {
    violations_.push_back(fmt::format(format, std::forward<Args>(args)...));
  }
  const V2Operation& op(size_t i) const { return history_.v2_operations[i]; }
  std::string Text(size_t i) const {
    const V2Operation& o = op(i);
    std::string text =
        fmt::format("v2 #{} (client {}, member {:x}, {} to {}: {} {}", i, o.client, o.member.value(),
                    TimeText(o.invoked), TimeText(o.returned), o.request.method, o.request.path);
    if (!o.request.value.empty()) text += " value " + Quote(o.request.value);
    if (!o.request.prev_value.empty()) text += " prevValue " + Quote(o.request.prev_value);
    if (o.request.prev_index != 0) text += fmt::format(" prevIndex {}", o.request.prev_index);
    if (o.request.prev_exist) text += fmt::format(" prevExist {}", *o.request.prev_exist);
    return text + ")";
  }

  /// Where each answer stands, by its index.
  void Place() {
    for (const V2Event& event : history_.v2_events) {
      if (!events_.try_emplace(event.index, &event).second) Report("index {} has two events", event.index);
      last_ = std::max(last_, static_cast<int64_t>(event.index));
    }
    for (const V2WatchHistory& watch : history_.v2_watches) {
      last_ = std::max(last_, static_cast<int64_t>(watch.start_index));
      for (const V2Event& event : watch.events) last_ = std::max(last_, static_cast<int64_t>(event.index));
    }
    for (size_t i = 0; i < places_.size(); ++i) {
      if (op(i).outcome != Outcome::kAnswered) continue;
      const bool wrote = !IsRead(op(i)) && op(i).error_code == 0;
      places_[i] = static_cast<int64_t>(wrote ? op(i).modified_index : op(i).etcd_index);
      last_ = std::max(last_, places_[i]);
      if (!wrote) {
        states_.emplace(places_[i], i);
        continue;
      }
      if (op(i).modified_index != op(i).etcd_index) {
        Report("{} took index {}, and was answered at index {}", Text(i), op(i).modified_index,
               op(i).etcd_index);
      }
      const auto [claim, first] = claims_.try_emplace(op(i).modified_index, i);
      if (!first)
        Report("index {} is claimed by {} and by {}", op(i).modified_index, Text(claim->second), Text(i));
    }
  }

  void GatherSights() {
    std::vector<Sight> sights;
    const auto add = [&sights](const std::vector<V2Event>& events) {
      for (const V2Event& event : events) {
        if (event.seen == kNever) continue;
        sights.push_back({.when = event.seen, .place = static_cast<int64_t>(event.index)});
      }
    };
    add(history_.v2_events);
    for (const V2WatchHistory& watch : history_.v2_watches) add(watch.events);
    for (size_t i = 0; i < places_.size(); ++i) {
      if (places_[i] < 0) continue;
      const Sight sight{.when = op(i).returned, .place = places_[i], .operation = i};
      sights.push_back(sight);
      by_member_[op(i).member.value()].Add(sight);
    }
    deadlines_ = Deadlines(sights, last_);
    for (const Sight& sight : sights) floors_.Add(sight);
    floors_.Finish();
    for (auto& [member, floors] : by_member_) floors.Finish();
  }

  /// An answer that changed nothing, against the tree as it is.
  void CheckState(size_t i) {
    if (!IsRead(op(i))) {
      const int code = model_.Evaluate(op(i).request).error_code;
      if (code != op(i).error_code) {
        Report("{} had error {} at index {}; it should {}", Text(i), op(i).error_code, places_[i],
               code == 0 ? "succeed" : fmt::format("have error {}", code));
      }
      return CheckStatus(i, StatusOf(op(i).error_code));
    }
    const std::string& path = op(i).request.path;
    const int code = model_.Lookup(path);
    if (code != op(i).error_code) {
      return Report("{} had error {} at index {}; it should be {}", Text(i), op(i).error_code, places_[i],
                    code);
    }
    CheckStatus(i, code == 0 ? 200 : StatusOf(code));
    if (code != 0) return;
    const V2Model::Node& node = model_.nodes().at(path);
    const bool root = path == "/1";
    if (op(i).value != node.value || op(i).dir != node.dir || op(i).expires != node.expires ||
        (!root && (op(i).modified_index != node.modified || op(i).created_index != node.created))) {
      Report(
          "{} found {} (directory {}, modified {}, created {}, expires {}) at index {}; it should be {} "
          "(directory {}, modified {}, created {}, expires {})",
          Text(i), Quote(op(i).value), op(i).dir, op(i).modified_index, op(i).created_index, op(i).expires,
          places_[i], Quote(node.value), node.dir, node.modified, node.created, node.expires);
    }
    if (op(i).children) CheckListing(i);
  }

  void CheckListing(size_t i) {
    const std::vector<std::string> expected = op(i).request.recursive ? model_.Descendants(op(i).request.path)
                                                                      : model_.Children(op(i).request.path);
    std::vector<std::string> listed;
    for (const V2Node& child : *op(i).children) listed.push_back(child.path);
    if (listed != expected) {
      return Report("{} listed [{}] at index {}; it should list [{}]", Text(i), fmt::join(listed, " "),
                    places_[i], fmt::join(expected, " "));
    }
    for (const V2Node& child : *op(i).children) {
      const V2Model::Node& node = model_.nodes().at(child.path);
      if (child.value == node.value && child.dir == node.dir && child.modified_index == node.modified &&
          child.created_index == node.created && child.expires == node.expires) {
        continue;
      }
      Report("{} listed {} at index {} with another content", Text(i), child.path, places_[i]);
    }
  }

  void CheckStatus(size_t i, int status) {
    if (op(i).status != 0 && op(i).status != status) {
      Report("{} had status {}; it should be {}", Text(i), op(i).status, status);
    }
  }

  /// Takes the next index, by who claims it or by who can have taken it.
  void Advance(int64_t index) {
    const auto event = events_.find(static_cast<uint64_t>(index));
    const V2Event* seen = event == events_.end() ? nullptr : event->second;
    if (seen == nullptr && rules_.every_index_told) Report("index {} is in no member's account", index);
    const auto claim = claims_.find(static_cast<uint64_t>(index));
    if (claim != claims_.end()) return Claimed(claim->second, seen);
    if (seen != nullptr && seen->path != "/1" && !IsUnder(seen->path, "/1")) return Skip(*seen);
    if (seen != nullptr && seen->action == "expire") return Expired(*seen);
    if (seen == nullptr && ExpiredUntold(index)) return;
    const size_t maker = FindMaker(index, seen);
    if (maker == kNobody) {
      Report(
          "index {} was taken by nobody{}", index,
          seen == nullptr ? "" : fmt::format(": {} of {} {}", seen->action, seen->path, Quote(seen->value)));
      return Skip(seen == nullptr ? Untold(static_cast<uint64_t>(index)) : *seen);
    }
    unknown_.erase(std::find(unknown_.begin(), unknown_.end(), maker));
    places_[maker] = index;
    Commit(model_.Evaluate(op(maker).request));
  }

  void Skip(const V2Event& event) {
    model_.Skip();
    changes_.push_back({.event = event, .refresh = false, .removed = {}});
  }

  static V2Event Untold(uint64_t index) {
    V2Event event;
    event.index = index;
    return event;
  }
  static V2Event EventOf(const V2Model::Effect& effect, uint64_t index) {
    return {.index = index,
            .action = effect.action,
            .path = effect.path,
            .value = effect.node.value,
            .dir = effect.node.dir,
            .expires = effect.node.expires,
            .refresh = effect.refresh};
  }
  void Commit(const V2Model::Effect& effect) {
    V2Change change{.event = EventOf(effect, model_.index() + 1), .refresh = effect.refresh, .removed = {}};
    // A member whose clock is behind gives nodes ends that are past already.
    if (effect.node.expires != 0) end_set_[effect.path] = deadlines_[model_.index() + 1].when;
    change.removed = model_.Commit(effect);
    changes_.push_back(std::move(change));
  }
  static bool Matches(const V2Event& seen, const V2Model::Effect& effect) {
    return seen.action == effect.action && seen.path == effect.path && seen.value == effect.node.value &&
           seen.dir == effect.node.dir && seen.expires == effect.node.expires &&
           seen.refresh == effect.refresh;
  }
  static bool IsTold(const V2Model::Effect& effect) {
    return !effect.refresh && !IsHiddenUnder(effect.path, "/");
  }

  void Claimed(size_t i, const V2Event* seen) {
    const V2Model::Effect effect = model_.Evaluate(op(i).request);
    if (effect.error_code != 0) {
      Report("{} took index {}; it should have error {}", Text(i), places_[i], effect.error_code);
      return Skip(seen == nullptr ? Untold(op(i).modified_index) : *seen);
    }
    const std::string prev = effect.has_prev ? effect.prev.value : "";
    if (op(i).action != effect.action || op(i).key != effect.path || op(i).value != effect.node.value ||
        op(i).dir != effect.node.dir || op(i).created_index != effect.node.created ||
        op(i).expires != effect.node.expires || op(i).has_prev != effect.has_prev ||
        op(i).prev_value != prev) {
      Report(
          "{} was answered at index {} with {} of {} {}, created {}, expires {}, before {}; it should be {} "
          "of "
          "{} {}, created {}, expires {}, before {}",
          Text(i), places_[i], op(i).action, op(i).key, Quote(op(i).value), op(i).created_index,
          op(i).expires, op(i).has_prev ? Quote(op(i).prev_value) : "nothing", effect.action, effect.path,
          Quote(effect.node.value), effect.node.created, effect.node.expires,
          effect.has_prev ? Quote(prev) : "nothing");
    }
    CheckStatus(i, effect.action == "create" || (effect.action == "set" && !effect.has_prev) ? 201 : 200);
    if (seen != nullptr ? !Matches(*seen, effect) : IsTold(effect)) {
      Report("{} took index {}, at which {}", Text(i), places_[i],
             seen == nullptr
                 ? "nothing was seen"
                 : fmt::format("{} of {} {} was seen", seen->action, seen->path, Quote(seen->value)));
    }
    Commit(effect);
  }

  void Expired(const V2Event& seen) {
    const auto node = model_.nodes().find(seen.path);
    if (node == model_.nodes().end()) {
      Report("{} expired at index {}, and was not there", seen.path, seen.index);
      return Skip(seen);
    }
    const int64_t due = node->second.expires;
    if (due == 0) Report("{} expired at index {}, and had no end", seen.path, seen.index);
    for (const auto& [path, other] : model_.nodes()) {
      if (due == 0 || other.expires == 0 || other.expires >= due) continue;
      Report("{} expired at index {}, before {}, which was due earlier", seen.path, seen.index, path);
      break;
    }
    if (seen.seen != kNever && due != 0) {
      const int64_t now = seen.seen + rules_.unix_at_start;
      if (now + rules_.clock_ahead < due) {
        Report("{} expired at index {}, seen at {}, {} ns before its time", seen.path, seen.index,
               TimeText(seen.seen), due - now);
      }
      if (IsLate(seen.path, due, seen.seen)) {
        Report("{} expired at index {}, seen at {}, {} ns after its time", seen.path, seen.index,
               TimeText(seen.seen), now - due);
      }
    }
    const V2Model::Effect effect = model_.Expire(seen.path);
    if (!Matches(seen, effect)) Report("{} expired at index {} with another content", seen.path, seen.index);
    Commit(effect);
  }

  /// The end of a hidden node, which nobody is told, where that is the next one due.
  bool ExpiredUntold(int64_t index) {
    const std::pair<const std::string, V2Model::Node>* next = nullptr;
    for (const auto& node : model_.nodes()) {
      if (node.second.expires == 0 || (next != nullptr && node.second.expires >= next->second.expires))
        continue;
      next = &node;
    }
    if (next == nullptr || !IsHiddenUnder(next->first, "/")) return false;
    const Instant when = deadlines_[static_cast<size_t>(index)].when;
    if (when != kNever && when + rules_.unix_at_start + rules_.clock_ahead < next->second.expires)
      return false;
    Commit(model_.Expire(std::string(next->first)));
    return true;
  }

  bool IsLate(const std::string& path, int64_t due, Instant when) const {
    if (rules_.most_late == kNever) return false;
    const Instant shown = due - rules_.unix_at_start + rules_.clock_behind;  // by the slowest clock
    const auto set = end_set_.find(path);
    const Instant first = std::max({shown, rules_.healthy, set == end_set_.end() ? 0 : set->second});
    return when - rules_.most_late > first;
  }

  void CheckLeftovers() {
    for (const auto& [path, node] : model_.nodes()) {
      if (node.expires != 0 && IsLate(path, node.expires, rules_.end_of_run)) {
        Report("{} is there to the end, and was due {} ns before", path,
               rules_.end_of_run + rules_.unix_at_start - node.expires);
      }
    }
  }

  /// The earliest request of unknown outcome that does here what was seen.
  size_t FindMaker(int64_t index, const V2Event* seen) const {
    const Instant deadline = deadlines_[static_cast<size_t>(index)].when;
    for (const size_t i : unknown_) {
      if (op(i).invoked > deadline) break;
      const V2Model::Effect effect = model_.Evaluate(op(i).request);
      if (effect.error_code != 0) continue;
      if (seen != nullptr ? Matches(*seen, effect) : !IsTold(effect)) return i;
    }
    return kNobody;
  }

  /// As of keys of the v3 API: a write comes after everything that was there before it began, a read sees it;
  /// a GET without quorum sees what its member showed.
  void CheckOrder() {
    for (size_t i = 0; i < places_.size(); ++i) {
      if (places_[i] < 0) continue;
      const bool alone = IsRead(op(i)) && !op(i).quorum;
      const bool wrote = !IsRead(op(i)) && op(i).error_code == 0;
      const Sight floor = alone ? by_member_.at(op(i).member.value()).Before(op(i).invoked, 0)
                                : floors_.Before(op(i).invoked, 0);
      if (floor.place < places_[i] || (floor.place == places_[i] && !wrote)) continue;
      Report("{} is at index {}, although index {} was {} before it began{}", Text(i), places_[i],
             floor.place,
             floor.operation == kNobody ? fmt::format("seen at {}", TimeText(floor.when))
                                        : "answered to " + Text(floor.operation),
             alone ? ", by the same member" : "");
    }
  }

  const History& history_;
  const V2Rules& rules_;
  Violations violations_;
  V2Model model_;
  int64_t last_ = 0;
  std::vector<int64_t> places_;  // of each operation; -1: it has none
  std::vector<size_t> unknown_;  // writes of unknown outcome that have no place yet
  std::map<uint64_t, const V2Event*> events_;
  std::map<uint64_t, size_t> claims_;      // by index, the answered write
  std::multimap<int64_t, size_t> states_;  // by index, answers that changed nothing
  std::vector<Sight> deadlines_;           // by index
  Floors floors_;
  std::map<uint64_t, Floors> by_member_;
  std::vector<V2Change> changes_;           // of index 1, 2, …
  std::map<std::string, Instant> end_set_;  // of a path, when its node was there with the end it has, at most
};

}  // namespace

Violations CheckV2(const History& history, const V2Rules& rules) { return Checker(history, rules).Run(); }

}  // namespace kvorum::sim
