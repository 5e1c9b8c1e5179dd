#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "proto/rpc.pb.h"
#include "v2store/request.h"

namespace kvorum::sim {

/// Nanoseconds since the run began, by the clock of whoever watches the run: no member's.
using Instant = int64_t;
inline constexpr Instant kNever = std::numeric_limits<Instant>::max();

/// One request of one client, and what became of it. A client has one under way at a time.
struct Operation {
  using Request =
      std::variant<etcdserverpb::RangeRequest, etcdserverpb::PutRequest, etcdserverpb::DeleteRangeRequest,
                   etcdserverpb::TxnRequest, etcdserverpb::CompactionRequest>;
  using Response =
      std::variant<etcdserverpb::RangeResponse, etcdserverpb::PutResponse, etcdserverpb::DeleteRangeResponse,
                   etcdserverpb::TxnResponse, etcdserverpb::CompactionResponse>;
  enum class Outcome : uint8_t {
    kAnswered,  ///< `response` says with what
    kRefused,   ///< an error after which it cannot have happened and never will ("compacted", "lease not
                ///< found")
    kUnknown,   ///< timed out, or the connection broke: it may have happened, or happen yet
  };

  uint64_t client = 0;
  MemberId member;  ///< whom it was sent to
  Instant invoked = 0;
  Instant returned = kNever;  ///< kNever where the outcome is unknown
  Request request;            ///< of a RangeRequest `serializable` says how it was read
  Outcome outcome = Outcome::kUnknown;
  Response response;  ///< kAnswered: of the request's kind, with its header
  std::string error;  ///< kRefused: etcd's text
};

/// What one revision of the store did: the whole truth that the checkers compare with, gathered by a watch of
/// everything from the first revision on. Values of puts are unique in a run: a put is known by its value.
struct Revision {
  int64_t revision = 0;
  std::vector<mvccpb::Event> events;  ///< in order; without prev_kv
  /// When it was first seen anywhere, applied by a member or told by one: it happened no later. kNever: not
  /// known.
  Instant seen = kNever;
};

/// What one watcher was sent, in order.
struct WatchHistory {
  uint64_t client = 0;
  MemberId member;
  etcdserverpb::WatchCreateRequest request;
  Instant created = 0;
  std::vector<etcdserverpb::WatchResponse>
      responses;                    ///< of this watcher, "created" first, fragments as they came
  std::vector<Instant> received;    ///< of each of `responses`, when
  Instant cancel_invoked = kNever;  ///< when its client asked to end it
  /// It was still open when the run, whose last part is free of faults, ended: everything up to the last
  /// revision must have come.
  bool open_at_end = false;
};

/// The life of one lease, as its clients saw it.
struct LeaseHistory {
  int64_t id = 0;           ///< no other lease of the run has it
  int64_t ttl_seconds = 0;  ///< as granted; where that is unknown as asked for
  Instant granted_invoked = 0;
  Instant granted = kNever;  ///< kNever: unknown whether
  struct Renewal {
    Instant invoked = 0;
    Instant returned = kNever;
    int64_t ttl_seconds = 0;  ///< as answered; 0: "there is no such lease"
  };
  std::vector<Renewal> renewals;
  Instant revoke_invoked = kNever;
  Instant revoked = kNever;
  int64_t revoked_revision = 0;  ///< of the answer's header; 0 without one
};

/// A node of the v2 store as a listing shows it.
struct V2Node {
  std::string path;
  std::string value;
  bool dir = false;
  uint64_t modified_index = 0;
  uint64_t created_index = 0;
  int64_t expires = 0;  ///< Unix nanoseconds; 0: never
};

/// One request of the v2 API; as Operation. Paths are the store's: "/1/foo". An error of etcd's
/// (`error_code`) is an answer; kRefused is what never came to the store.
struct V2Operation {
  uint64_t client = 0;
  MemberId member;
  Instant invoked = 0;
  Instant returned = kNever;
  v2store::Request request;
  bool quorum = false;  ///< of a GET
  Operation::Outcome outcome = Operation::Outcome::kUnknown;
  int status = 0;      ///< of HTTP
  int error_code = 0;  ///< of etcd: 100, 101 …; 0: none
  std::string action;  ///< "create", "compareAndSwap" …
  std::string key;     ///< of the node
  std::string value;
  std::string prev_value;
  bool has_prev = false;
  uint64_t modified_index = 0;
  uint64_t created_index = 0;
  uint64_t etcd_index = 0;  ///< X-Etcd-Index; of an error its own
  bool dir = false;         ///< the node is a directory
  int64_t expires = 0;      ///< of the node, Unix nanoseconds; 0: never
  /// Of a GET of a directory: what is in it; with `request.recursive` all that is below it, each directory
  /// before what it has.
  std::optional<std::vector<V2Node>> children;
};

/// What one index of the v2 store did. A watch of everything does not see all of them: refreshes and hidden
/// names ("_x") are not told.
struct V2Event {
  uint64_t index = 0;
  std::string action;
  std::string path;
  std::string value;  ///< of the node; none after a removal
  bool dir = false;
  int64_t expires = 0;    ///< of the node, Unix nanoseconds; 0: never
  Instant seen = kNever;  ///< as Revision::seen
  bool refresh = false;
};

/// One watch of the v2 API, a long poll or a stream, and what it was sent.
struct V2WatchHistory {
  uint64_t client = 0;
  MemberId member;
  std::string path;  ///< the store's
  bool recursive = false;
  bool stream = false;
  uint64_t wait_index = 0;   ///< 0: what comes next
  uint64_t start_index = 0;  ///< X-Etcd-Index of the answer: the store's when the watch began
  int error_code = 0;        ///< 401: the history was cleared
  std::vector<V2Event> events;
  /// The member installed a snapshot meanwhile, so that some of `events` may be from the snapshot's history.
  bool store_replaced = false;
  bool open_at_end = false;  ///< as WatchHistory::open_at_end
};

/// A step of one member's way through the log.
struct AppliedEntry {
  enum class How : uint8_t {
    kEntry,     ///< an entry of the log was applied
    kSnapshot,  ///< a snapshot was installed that has everything up to `index`
    kStart,     ///< the member started, with a store that has everything up to `index`
  };
  MemberId member;
  How how = How::kEntry;
  uint64_t index = 0;
  uint64_t term = 0;
  uint64_t content = 0;        ///< kEntry: a hash of what applying it wrote to the database
  uint64_t durable_index = 0;  ///< kStart: what the disk was known to have by then; 0: not known
};

/// A hash of one member's store, as HashKV gives it.
struct HashAt {
  MemberId member;
  int64_t revision = 0;  ///< the revision hashed
  int64_t compact_revision = -1;
  uint32_t hash = 0;
};

/// What one member put on its disk, and what it promised to others for it.
struct DurabilityEvent {
  enum class Kind : uint8_t {
    kStarted,       ///< `index`, `term` and `vote`: what it read from its disk
    kReplaced,      ///< gave its log what replaces everything behind `index`; not synced yet
    kSynced,        ///< the log is on the disk up to `index`, and so is the hard state
    kSyncFailed,    ///< a write or sync of the log failed
    kAcknowledged,  ///< told the leader of `term` that it has `index`
    kApplied,       ///< applied the entry `index` of `term`, which has to be on its own disk
    kVoted,         ///< told `vote` that it votes for it in `term`, or led that term by its own vote
  };
  MemberId member;
  Kind kind = Kind::kStarted;
  uint64_t index = 0;
  uint64_t term = 0;
  uint64_t vote = 0;
};

/// A step in the life of a member's log, or in what its member says as a leader.
struct LogEvent {
  enum class Kind : uint8_t {
    kStarted,    ///< the member starts with a log that begins behind entry `index`, of `entry_term`
    kWrote,      ///< an entry is put at `index`, and whatever was there or behind it is gone
    kInstalled,  ///< a snapshot up to `index` is taken: of a log that has that entry nothing is gone
    kLed,        ///< a leader's message of `term` left, by which everything up to `index` is committed
  };
  MemberId member;
  Kind kind = Kind::kStarted;
  uint64_t term = 0;  ///< the member's
  uint64_t index = 0;
  uint64_t entry_term = 0;
  uint64_t content = 0;  ///< kWrote: a hash of the entry's type and bytes
};

/// Everything that one run left, for the checkers.
struct History {
  std::vector<Operation> operations;  ///< in order of `invoked`
  std::vector<Revision> revisions;    ///< 2, 3, …, without a gap
  std::vector<WatchHistory> watches;
  std::vector<LeaseHistory> leases;
  std::vector<V2Operation> v2_operations;  ///< in order of `invoked`
  std::vector<V2Event> v2_events;          ///< by index
  std::vector<V2WatchHistory> v2_watches;
  std::vector<AppliedEntry> applied;  ///< each member's in its order
  std::vector<HashAt> hashes;
  std::vector<DurabilityEvent> durability;  ///< each member's in its order
  std::vector<LogEvent> logs;               ///< of all members, in order
};

/// What a checker found wrong, each a line that names the operations; empty: nothing.
using Violations = std::vector<std::string>;

}  // namespace kvorum::sim
