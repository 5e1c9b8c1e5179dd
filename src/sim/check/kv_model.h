#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "sim/history.h"

namespace kvorum::sim {

/// The keys as every revision of a run left them, made from the revisions' events. Borrows those.
class KvModel {
 public:
  /// Replays; what does not fit (a gap, flags that contradict the state) goes to `violations`, and the replay
  /// goes on with what the state says.
  KvModel(const std::vector<Revision>& revisions, Violations* violations);

  /// 1 for a run without writes.
  int64_t last_revision() const { return last_revision_; }
  /// The events of a revision; empty where there is none.
  const std::vector<mvccpb::Event>& events(int64_t revision) const;
  Instant seen(int64_t revision) const;

  /// The pair as of the end of `revision`; null: there is none.
  const mvccpb::KeyValue* Get(std::string_view key, int64_t revision) const;
  /// All pairs of a range (reference: v3-api.md §6.1) as of the end of `revision`, in the order of keys.
  std::vector<const mvccpb::KeyValue*> Range(std::string_view key, std::string_view range_end,
                                             int64_t revision) const;
  /// Keys attached to `lease` as of the end of `revision`, in order.
  std::vector<std::string> KeysOf(int64_t lease, int64_t revision) const;

 private:
  struct Version {
    int64_t revision = 0;
    bool exists = false;
    mvccpb::KeyValue pair;
  };
  using Versions = std::vector<Version>;  // by revision, at most one of each: its end

  void Replay(const Revision& revision, Violations* violations);
  const Version* Find(const Versions& versions, int64_t revision) const;

  const std::vector<Revision>& revisions_;
  int64_t first_revision_ = 2;
  int64_t last_revision_ = 1;
  std::map<std::string, Versions, std::less<>> keys_;
  std::map<int64_t, std::vector<std::string>> lease_keys_;  // what was ever attached; sorted, unique
};

/// Whether `key` is in the range (v3-api.md §6.1).
bool InRange(std::string_view key, std::string_view begin, std::string_view range_end);

}  // namespace kvorum::sim
