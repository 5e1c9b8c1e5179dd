#pragma once

#include <deque>
#include <functional>
#include <map>
#include <utility>

#include "raft/storage.h"
#include "sim/check/log_model.h"
#include "sim/history.h"
#include "wal/log_storage.h"

namespace kvorum::sim {

/// Notes what members write, promise and apply, as it is seen from outside of them: in what they hand to
/// their disks and databases and send to each other. They do not know.
class Recorder {
 public:
  using Write = wal::LogStorage::Write;

  /// `history` is borrowed.
  explicit Recorder(History* history) : history_(history) {}

  /// Told when a member does what it seldom does: votes, begins to lead, replaces entries, takes a snapshot.
  void OnRare(std::function<void(MemberId)> told) { on_rare_ = std::move(told); }

  /// A process begins with the log that its disk has, and with a database that has everything up to
  /// `applied`; by `durable` it was known to have everything up to there.
  void Started(MemberId member, const raft::MemoryStorage& log, uint64_t applied, uint64_t durable);

  /// Given to the log, in this order.
  void Handed(MemberId member, const Write& write);
  /// The next `writes` of what was handed are on the disk; or a write or sync failed.
  void Synced(MemberId member, size_t writes);
  void SyncFailed(MemberId member);

  void Sent(const raft::Message& message);

  /// `content`: a hash of what it wrote.
  void Applied(MemberId member, uint64_t index, uint64_t term, uint64_t content);
  void Installed(MemberId member, uint64_t index, uint64_t term);

 private:
  /// A write that is not synced yet.
  struct Pending {
    uint64_t kept = 0;      ///< of the log before it
    bool replaces = false;  ///< what was behind `kept`
    uint64_t last = 0;
    raft::HardState state;
  };
  struct Log {
    LogModel model;
    raft::HardState state;
    std::deque<Pending> pending;
    uint64_t led = 0;        ///< the last term that it led
    uint64_t committed = 0;  ///< what it told of its commits in that term
  };

  void NoteEntry(MemberId member, const raft::Entry& entry, Log* log);
  void Rare(MemberId member) {
    if (on_rare_) on_rare_(member);
  }
  void NoteLeader(const raft::Message& message);
  void Note(MemberId member, DurabilityEvent::Kind kind, uint64_t index, uint64_t term, uint64_t vote = 0) {
    history_->durability.push_back(
        {.member = member, .kind = kind, .index = index, .term = term, .vote = vote});
  }

  History* const history_;
  std::map<MemberId, Log> logs_;
  std::function<void(MemberId)> on_rare_;
};

}  // namespace kvorum::sim
