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
    Expect(since);
    Compare();
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

  /// An event that is to come. Where the watch was told by a history, which cannot know whether a path was
  /// there when a directory above it went, it comes or not.
  struct Expected {
    const V2Event* event;
    bool certain;
  };

  void Expect(uint64_t since) {
    bool past = false;  // a stream goes on from the history
    for (uint64_t index = since; index <= changes_.size(); ++index) {
      const V2Change& change = changes_[index - 1];
      const bool from_history = index <= watch_.start_index;
      const bool live = Wanted(change, watch_, /*past=*/false);
      const bool certain = from_history ? Wanted(change, watch_, /*past=*/true) : live;
      const bool possible = certain || ((past || watch_.store_replaced) && Wanted(change, watch_, true));
      if (possible) expected_.push_back({&change.event, certain});
      if (certain && !watch_.stream) break;
      past = past || (certain && from_history);
    }
  }

  void Compare() {
    size_t next = 0;
    for (const V2Event& event : watch_.events) {
      while (next < expected_.size() && !expected_[next].certain && !Same(event, *expected_[next].event)) {
        ++next;
      }
      if (next == expected_.size()) return Report("was told of {}, and nothing was to come", Text(event));
      if (!Same(event, *expected_[next].event)) {
        return Report("was told of {}; what comes next is {}", Text(event), Text(*expected_[next].event));
      }
      ++next;
    }
    if (!watch_.stream && !watch_.events.empty()) {
      if (watch_.events.size() > 1) Report("is no stream, and was told {} times", watch_.events.size());
      return;
    }
    while (next < expected_.size() && !expected_[next].certain) ++next;
    if (watch_.open_at_end && next < expected_.size()) {
      Report("was not told of {}", Text(*expected_[next].event));
    }
  }

  const V2WatchHistory& watch_;
  const size_t place_;
  const std::vector<V2Change>& changes_;
  Violations* const violations_;
  std::vector<Expected> expected_;
};

}  // namespace

Violations CheckV2Watches(const std::vector<V2WatchHistory>& watches, const std::vector<V2Change>& changes) {
  Violations violations;
  for (size_t i = 0; i < watches.size(); ++i) Check(watches[i], i, changes, &violations).Run();
  return violations;
}

}  // namespace kvorum::sim
