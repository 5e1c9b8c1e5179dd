#include "sim/check/watch_checker.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "sim/check/describe.h"

namespace kvorum::sim {
namespace {

using etcdserverpb::WatchCreateRequest;
using etcdserverpb::WatchResponse;

constexpr int64_t kAnyRevision = std::numeric_limits<int64_t>::max();

/// A compaction that may have happened.
struct Compaction {
  int64_t revision = 0;
  Instant invoked = 0;
};

int64_t LastRevision(const std::vector<mvccpb::Event>& events) {
  int64_t last = 0;
  for (const mvccpb::Event& event : events) last = std::max(last, event.kv().mod_revision());
  return last;
}

class WatchCheck {
 public:
  WatchCheck(const WatchHistory& watch, size_t place, const KvModel& model,
             const std::vector<Compaction>& compactions, Violations* violations)
      : watch_(watch), place_(place), model_(model), compactions_(compactions), violations_(violations) {
    const auto& filters = watch.request.filters();
    puts_ = std::find(filters.begin(), filters.end(), WatchCreateRequest::NOPUT) == filters.end();
    deletions_ = std::find(filters.begin(), filters.end(), WatchCreateRequest::NODELETE) == filters.end();
    key_ = watch.request.key().empty() ? std::string(1, '\0') : watch.request.key();
  }

  void Run() {
    for (at_ = 0; at_ < watch_.responses.size() && !failed_; ++at_) Take(watch_.responses[at_]);
    if (failed_) return;
    if (!pieces_.empty()) CheckEvents(/*whole=*/false);
    if (failed_ || ended_ || !watch_.open_at_end) return;
    if (watch_.responses.empty()) return Report("was never created");
    const auto [revision, event] = FirstMissing(model_.last_revision());
    if (revision != 0) Report("lost {} of revision {}", Describe(event), revision);
  }

 private:
  template <typename... Args>
  void Report(fmt::format_string<Args...> format, Args&&... args) {
    failed_ = true;
    const WatchCreateRequest& request = watch_.request;
    violations_->push_back(fmt::format(
        "watch #{} (client {}, member {:x}, {}{}{}{} from {}, created at {}), response {}: {}", place_,
        watch_.client, watch_.member.value(), Quote(key_), request.range_end().empty() ? "" : " to ",
        request.range_end().empty() ? "" : Quote(request.range_end()),
        request.prev_kv() ? " with prev_kv" : "", request.start_revision(), TimeText(watch_.created), at_,
        fmt::format(format, std::forward<Args>(args)...)));
  }

  Instant received() const { return at_ < watch_.received.size() ? watch_.received[at_] : kNever; }

  void Take(const WatchResponse& response) {
    if (ended_) return Report("comes after the watch's end");
    const int64_t revision = response.header().revision();
    if (revision > model_.last_revision()) {
      return Report("is at revision {}, the last one is {}", revision, model_.last_revision());
    }
    if (response.created() != (at_ == 0)) {
      return Report("{}", at_ == 0 ? "\"created\" does not come first" : "\"created\" comes again");
    }
    if (response.created()) {
      if (!response.events().empty()) return Report("\"created\" has events");
      ended_ = response.canceled();
      next_ = watch_.request.start_revision() > 0 ? watch_.request.start_revision() : revision + 1;
      return;
    }
    if (response.canceled()) return CheckEnd(response);
    if (!pieces_.empty() && response.events().empty()) return Report("comes between fragments");
    if (response.events().empty()) return CheckProgress(revision);
    if (response.fragment() && !watch_.request.fragment())
      return Report("is a fragment that nobody asked for");
    pieces_.insert(pieces_.end(), response.events().begin(), response.events().end());
    if (const int64_t last = LastRevision(pieces_); last > revision) {
      return Report("has the events of revision {}, and says that it is at {}", last, revision);
    }
    if (!response.fragment()) CheckEvents(/*whole=*/true);
  }

  void CheckEnd(const WatchResponse& response) {
    ended_ = true;
    if (!response.events().empty()) return Report("ends the watch and has events");
    const int64_t compacted = response.compact_revision();
    if (compacted == 0) {
      if (watch_.cancel_invoked > received()) {
        Report("ends the watch, which nobody asked for ({})", Quote(response.cancel_reason()));
      }
      return;
    }
    if (next_ >= compacted) {
      return Report("ends the watch for a compaction at {}, although only events from {} on were to come",
                    compacted, next_);
    }
    if (!Compacted(compacted, compacted))
      Report("ends the watch for a compaction at {} that nobody asked for", compacted);
  }

  void CheckProgress(int64_t revision) {
    if (revision < told_) {
      return Report("says that revision {} was reached, after revision {} was", revision, told_);
    }
    const auto [missing, event] = FirstMissing(revision);
    if (missing != 0) {
      return Report("says that revision {} was reached, but {} of revision {} was not sent", revision,
                    Describe(event), missing);
    }
    told_ = revision;
    next_ = std::max(next_, revision + 1);
  }

  bool Wanted(const mvccpb::Event& event) const {
    return (event.type() == mvccpb::Event::PUT ? puts_ : deletions_) &&
           InRange(event.kv().key(), key_, watch_.request.range_end());
  }

  /// The first event that is still to be sent, up to `last`; revision 0: none.
  std::pair<int64_t, mvccpb::Event> FirstMissing(int64_t last) const {
    for (int64_t revision = next_; revision <= last; ++revision) {
      const std::vector<mvccpb::Event>& events = model_.events(revision);
      for (size_t k = 0; k < events.size(); ++k) {
        if (Wanted(events[k]) && !MayBeGone(events, k)) return {revision, events[k]};
      }
    }
    return {0, {}};
  }

  /// What `pieces_` has against what comes next. Not `whole`: the connection broke between fragments.
  void CheckEvents(bool whole) {
    const std::vector<mvccpb::Event> sent = std::exchange(pieces_, {});
    const int64_t last = LastRevision(sent);
    size_t i = 0;
    for (int64_t revision = next_; revision <= std::min(last, model_.last_revision()); ++revision) {
      const std::vector<mvccpb::Event>& events = model_.events(revision);
      for (size_t k = 0; k < events.size(); ++k) {
        if (!Wanted(events[k])) continue;
        const bool matches = i < sent.size() && Same(sent[i], events[k]);
        if (!matches && MayBeGone(events, k)) continue;
        if (i == sent.size()) {
          if (whole) Report("ends in the middle of revision {}, before {}", revision, Describe(events[k]));
          return;
        }
        if (!matches) return Report("has {}; what comes next is {}", Describe(sent[i]), Describe(events[k]));
        if (!CheckPrevious(sent[i++], events[k], revision)) return;
      }
    }
    if (i < sent.size()) {
      return Report(
          "has {}{}", Describe(sent[i]),
          sent[i].kv().mod_revision() < next_ ? " again, or before its time" : ", which is not to come");
    }
    next_ = last + 1;
    told_ = last;
  }

  static bool Same(mvccpb::Event sent, const mvccpb::Event& event) {
    sent.clear_prev_kv();
    return sent.SerializeAsString() == event.SerializeAsString();
  }

  bool Compacted(int64_t least, int64_t most) const {
    return std::any_of(compactions_.begin(), compactions_.end(), [&](const Compaction& compaction) {
      return compaction.revision >= least && compaction.revision <= most && compaction.invoked <= received();
    });
  }

  /// A compaction leaves of its own revision what stands at its end: an event that another one of the same
  /// key follows in it is gone.
  bool MayBeGone(const std::vector<mvccpb::Event>& events, size_t k) const {
    const int64_t revision = events[k].kv().mod_revision();
    return std::any_of(
               events.begin() + static_cast<ptrdiff_t>(k) + 1, events.end(),
               [&](const mvccpb::Event& later) { return later.kv().key() == events[k].kv().key(); }) &&
           Compacted(revision, revision);
  }

  bool CheckPrevious(const mvccpb::Event& sent, const mvccpb::Event& event, int64_t revision) {
    const bool created = event.type() == mvccpb::Event::PUT && event.kv().create_revision() == revision;
    const mvccpb::KeyValue* previous =
        watch_.request.prev_kv() && !created ? model_.Get(event.kv().key(), revision - 1) : nullptr;
    if (sent.has_prev_kv()) {
      if (previous != nullptr && previous->SerializeAsString() == sent.prev_kv().SerializeAsString())
        return true;
      Report("has {} with the previous pair {}; it should have {}", Describe(sent), Describe(sent.prev_kv()),
             previous == nullptr ? "none" : Describe(*previous));
      return false;
    }
    if (previous == nullptr || Compacted(revision, kAnyRevision)) return true;
    Report("has {} without the previous pair {}", Describe(sent), Describe(*previous));
    return false;
  }

  const WatchHistory& watch_;
  const size_t place_;
  const KvModel& model_;
  const std::vector<Compaction>& compactions_;
  Violations* const violations_;
  std::string key_;
  bool puts_ = true;
  bool deletions_ = true;

  size_t at_ = 0;     // the response
  int64_t next_ = 1;  // nothing before this revision is to come
  int64_t told_ = 0;  // what the client knows to have reached
  bool ended_ = false;
  bool failed_ = false;
  std::vector<mvccpb::Event> pieces_;  // of the fragments so far
};

}  // namespace

Violations CheckWatches(const History& history, const KvModel& model) {
  std::vector<Compaction> compactions;
  for (const Operation& op : history.operations) {
    const auto* compaction = std::get_if<etcdserverpb::CompactionRequest>(&op.request);
    if (compaction == nullptr || op.outcome == Operation::Outcome::kRefused) continue;
    compactions.push_back({.revision = compaction->revision(), .invoked = op.invoked});
  }
  Violations violations;
  for (size_t i = 0; i < history.watches.size(); ++i) {
    WatchCheck(history.watches[i], i, model, compactions, &violations).Run();
  }
  return violations;
}

}  // namespace kvorum::sim
