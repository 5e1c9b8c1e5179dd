#include "sim/check/v2_watches.h"

#include <algorithm>
#include <utility>

#include "fmt/format.h"
#include "sim/check/v2_model.h"

namespace kvorum::sim {
namespace {

/// Changes that the history holds.
constexpr uint64_t kHistory = 1000;

bool Wanted(const V2Change& change, const V2WatchHistory& watch, bool past) {
  const std::string& path = change.event.path;
  if (change.refresh || path.empty()) return false;
  if (path == watch.path) return true;
  if (IsUnder(path, watch.path)) return watch.recursive && !IsHiddenUnder(path, watch.path);
  // A directory above goes, and what is watched with it; whether that was there, the history does not know.
  if (!IsUnder(watch.path, path) || change.removed.empty() || !change.event.dir) return false;
  return past || std::find(change.removed.begin(), change.removed.end(), watch.path) != change.removed.end();
}

std::string Text(const V2Event& event) {
  return fmt::format("{} of {} at {}{}", event.action, event.path, event.index,
                     event.value.empty() ? "" : " with value " + event.value);
}

bool Same(const V2Event& a, const V2Event& b) {
  return a.index == b.index && a.action == b.action && a.path == b.path && a.value == b.value &&
         a.dir == b.dir;
}

class Check {
 public:
  Check(const V2WatchHistory& watch, size_t place, const std::vector<V2Change>& changes,
        Violations* violations)
      : watch_(watch), place_(place), changes_(changes), violations_(violations) {}

  void Run() {
    const uint64_t since = watch_.wait_index == 0 ? watch_.start_index + 1 : watch_.wait_index;
    if (watch_.start_index > changes_.size()) {
      return Report("began at index {}, the last one is {}", watch_.start_index, changes_.size());
    }
    const bool cleared = since + kHistory <= watch_.start_index;
    if (cleared != (watch_.error_code == 401)) {
      return Report("{}", cleared ? "had to be told that the history is cleared"
                                  : fmt::format("had error {}", watch_.error_code));
    }
    if (watch_.error_code != 0) return;
    for (uint64_t index = since; index <= watch_.start_index; ++index) {
      if (Wanted(changes_[index - 1], watch_, /*past=*/true)) return Compare({&changes_[index - 1].event});
    }
    std::vector<const V2Event*> expected;
    for (uint64_t index = std::max(since, watch_.start_index + 1); index <= changes_.size(); ++index) {
      if (!Wanted(changes_[index - 1], watch_, /*past=*/false)) continue;
      expected.push_back(&changes_[index - 1].event);
      if (!watch_.stream) break;
    }
    Compare(expected);
  }

 private:
  template <typename... Args>
  void Report(fmt::format_string<Args...> format, Args&&... args) {
    violations_->push_back(
        fmt::format("v2 watch #{} (client {}, member {:x}, {}{}{} from {}, begun at {}): {}", place_,
                    watch_.client, watch_.member.value(), watch_.stream ? "stream of " : "", watch_.path,
                    watch_.recursive ? " and below" : "", watch_.wait_index, watch_.start_index,
                    fmt::format(format, std::forward<Args>(args)...)));
  }

  void Compare(const std::vector<const V2Event*>& expected) {
    for (size_t i = 0; i < watch_.events.size(); ++i) {
      if (i == expected.size())
        return Report("was told of {}, and nothing was to come", Text(watch_.events[i]));
      if (!Same(watch_.events[i], *expected[i])) {
        return Report("was told of {}; what comes next is {}", Text(watch_.events[i]), Text(*expected[i]));
      }
    }
    if (watch_.open_at_end && watch_.events.size() < expected.size()) {
      Report("was not told of {}", Text(*expected[watch_.events.size()]));
    }
  }

  const V2WatchHistory& watch_;
  const size_t place_;
  const std::vector<V2Change>& changes_;
  Violations* const violations_;
};

}  // namespace

Violations CheckV2Watches(const std::vector<V2WatchHistory>& watches, const std::vector<V2Change>& changes) {
  Violations violations;
  for (size_t i = 0; i < watches.size(); ++i) Check(watches[i], i, changes, &violations).Run();
  return violations;
}

}  // namespace kvorum::sim
