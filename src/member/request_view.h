#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "member/request.h"
#include "v2store/request.h"

namespace kvorum::member {

// Requests of the key-value API as views into their wire form: what the applier reads of a log entry without
// building messages. The views live as long as the bytes they were parsed from. Field numbers: reference
// apply.md §2.2.
//
// Parsing is strict in etcd's way: a known field of the wrong wire type makes the request malformed, unknown
// fields are skipped, of a scalar that comes twice the last counts.

struct RangeRequestView {
  std::string_view key;
  std::string_view range_end;
  int64_t limit = 0;
  int64_t revision = 0;
  enum class Order : uint8_t { kNone = 0, kAscend = 1, kDescend = 2 };
  Order sort_order = Order::kNone;
  enum class Target : uint8_t { kKey = 0, kVersion = 1, kCreate = 2, kMod = 3, kValue = 4 };
  Target sort_target = Target::kKey;
  bool serializable = false;
  bool keys_only = false;
  bool count_only = false;
  // Bounds, inclusive; 0: none.
  int64_t min_mod_revision = 0;
  int64_t max_mod_revision = 0;
  int64_t min_create_revision = 0;
  int64_t max_create_revision = 0;
};

struct PutRequestView {
  std::string_view key;
  std::string_view value;
  LeaseId lease;
  bool prev_kv = false;
  bool ignore_value = false;
  bool ignore_lease = false;
};

struct DeleteRangeRequestView {
  std::string_view key;
  std::string_view range_end;
  bool prev_kv = false;
};

struct CompareView {
  std::string_view key;
  std::string_view range_end;
  int32_t result = 0;  ///< 0 equal, 1 greater, 2 less, 3 not equal; every other number holds always
  int32_t target = 0;  ///< 0 version, 1 create revision, 2 mod revision, 3 value, 4 lease
  /// The field of the union that was given (its number); the other targets compare against zero.
  uint32_t given = 0;
  int64_t number = 0;
  std::string_view value;
};

struct TxnRequestView;

struct RequestOpView {
  enum class Kind : uint8_t { kNone, kRange, kPut, kDeleteRange, kTxn };
  Kind kind = Kind::kNone;
  RangeRequestView range;
  PutRequestView put;
  DeleteRangeRequestView delete_range;
  std::unique_ptr<TxnRequestView> txn;
};

struct TxnRequestView {
  std::vector<CompareView> compare;
  std::vector<RequestOpView> success;
  std::vector<RequestOpView> failure;
};

/// Null where `encoded` is malformed. An unknown sort order or target counts as none and key.
std::optional<RangeRequestView> ParseRangeRequest(std::string_view encoded);
std::optional<PutRequestView> ParsePutRequest(std::string_view encoded);
std::optional<DeleteRangeRequestView> ParseDeleteRangeRequest(std::string_view encoded);
std::optional<TxnRequestView> ParseTxnRequest(std::string_view encoded);
/// Transactions inside one another beyond this are malformed: they are walked over by recursion.
inline constexpr int kMaxTxnDepth = 1000;

/// Only ranges at the top level: nothing that has to go through the log (an empty transaction included).
bool IsReadOnly(const TxnRequestView& txn);
/// What a transaction costs of the quota: of its two branches the larger sum over nested puts; 0 where there
/// are none (reference: v3-api.md §6.13).
int64_t QuotaCost(const PutRequestView& put);
int64_t QuotaCost(const TxnRequestView& txn);
inline constexpr int64_t kLeaseGrantQuotaCost = 64;

/// A log entry's request: which kind, its encoded body, and the header's fields.
struct EntryView {
  uint32_t kind = 0;  ///< a RequestKind, or another field number of InternalRaftRequest
  std::string_view body;
  RequestId id;
  std::string_view username;
  uint64_t auth_revision = 0;
};
/// The kind of an entry whose body is a request of the v2 API. Most such entries are the bare request.
inline constexpr uint32_t kV2Kind = 2;
/// Null where `data` is no InternalRaftRequest by the strict rule (reference: apply.md §1), as a bare request
/// of the v2 API is not.
std::optional<EntryView> ParseEntry(std::string_view data);
/// The request of the v2 API that an entry is, or has: `view` is what ParseEntry made of `data`. Null where
/// there is none.
std::optional<v2store::RequestView> V2RequestOf(std::string_view data, const std::optional<EntryView>& view);

}  // namespace kvorum::member
