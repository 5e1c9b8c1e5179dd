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
};

/// What one watcher was sent, in order.
struct WatchHistory {
  uint64_t client = 0;
  MemberId member;
  etcdserverpb::WatchCreateRequest request;
  Instant created = 0;
  std::vector<etcdserverpb::WatchResponse>
      responses;  ///< of this watcher, "created" first, fragments as they came
  /// It was still open when the run, whose last part is free of faults, ended: everything up to the last
  /// revision must have come.
  bool open_at_end = false;
};

/// The life of one lease, as its clients saw it.
struct LeaseHistory {
  int64_t id = 0;
  int64_t ttl_seconds = 0;
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
};

/// One request of the v2 API; as Operation.
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
  uint64_t etcd_index = 0;  ///< X-Etcd-Index
};

/// Everything that one run left, for the checkers.
struct History {
  std::vector<Operation> operations;  ///< in order of `invoked`
  std::vector<Revision> revisions;    ///< 2, 3, …, without a gap
  std::vector<WatchHistory> watches;
  std::vector<LeaseHistory> leases;
  std::vector<V2Operation> v2_operations;
};

/// What a checker found wrong, each a line that names the operations; empty: nothing.
using Violations = std::vector<std::string>;

}  // namespace kvorum::sim
