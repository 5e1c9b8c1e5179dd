#include <algorithm>
#include <iterator>
#include <map>
#include <string_view>

#include "absl/container/flat_hash_set.h"
#include "api/v3/errors.h"
#include "api/v3/requests.h"
#include "base/status.h"

namespace kvorum::api_v3 {
namespace {

using etcdserverpb::RequestOp;
using etcdserverpb::TxnRequest;
using Ops = google::protobuf::RepeatedPtrField<RequestOp>;

absl::Status CheckShape(const TxnRequest& txn, size_t max_ops);

absl::Status CheckRange(const etcdserverpb::RangeRequest& range) {
  if (range.key().empty()) return KeyNotProvidedError();
  if (!etcdserverpb::RangeRequest::SortOrder_IsValid(range.sort_order()) ||
      !etcdserverpb::RangeRequest::SortTarget_IsValid(range.sort_target())) {
    return InvalidSortOptionError();
  }
  return absl::OkStatus();
}

absl::Status CheckPut(const etcdserverpb::PutRequest& put) {
  if (put.key().empty()) return KeyNotProvidedError();
  if (put.ignore_value() && !put.value().empty()) return ValueProvidedError();
  if (put.ignore_lease() && put.lease() != 0) return LeaseProvidedError();
  return absl::OkStatus();
}

absl::Status CheckOp(const RequestOp& op, size_t max_ops) {
  switch (op.request_case()) {
    case RequestOp::kRequestRange:
      return CheckRange(op.request_range());
    case RequestOp::kRequestPut:
      return CheckPut(op.request_put());
    case RequestOp::kRequestDeleteRange:
      return op.request_delete_range().key().empty() ? KeyNotProvidedError() : absl::OkStatus();
    case RequestOp::kRequestTxn:
      return CheckShape(op.request_txn(), max_ops);
    case RequestOp::REQUEST_NOT_SET:
      break;
  }
  return KeyNotFoundError();
}

/// Sizes, keys and operations; nested transactions share what their parent leaves of the limit.
absl::Status CheckShape(const TxnRequest& txn, size_t max_ops) {
  const auto largest =
      static_cast<size_t>(std::max({txn.compare_size(), txn.success_size(), txn.failure_size()}));
  if (largest > max_ops) return TooManyOperationsError();
  for (const auto& compare : txn.compare()) {
    if (compare.key().empty()) return KeyNotProvidedError();
  }
  for (const Ops* ops : {&txn.success(), &txn.failure()}) {
    for (const RequestOp& op : *ops) KVORUM_RETURN_IF_ERROR(CheckOp(op, max_ops - largest));
  }
  return absl::OkStatus();
}

/// A set of keys and ranges of keys. Views into the transaction.
class KeySet {
 public:
  void Add(std::string_view key, std::string_view end) {
    if (end.empty()) {
      keys_.insert(key);
      return;
    }
    // As etcd's check sees it: a range that is open at its end ("\0") covers nothing.
    if (end <= key) return;
    auto at = ranges_.upper_bound(key);
    if (at != ranges_.begin() && std::prev(at)->second >= key) --at;
    for (; at != ranges_.end() && at->first <= end; at = ranges_.erase(at)) {
      key = std::min(key, at->first);
      end = std::max(end, at->second);
    }
    ranges_.emplace(key, end);
  }
  void Add(const KeySet& other) {
    keys_.insert(other.keys_.begin(), other.keys_.end());
    for (const auto& [key, end] : other.ranges_) Add(key, end);
  }
  bool Contains(std::string_view key) const {
    if (keys_.contains(key)) return true;
    const auto after = ranges_.upper_bound(key);
    return after != ranges_.begin() && key < std::prev(after)->second;
  }

 private:
  absl::flat_hash_set<std::string_view> keys_;
  std::map<std::string_view, std::string_view> ranges_;  // disjoint, none empty; from and to
};

/// What a list of operations puts and deletes. Views into the transaction.
struct Touched {
  absl::flat_hash_set<std::string_view> puts;
  KeySet deletes;
};

absl::StatusOr<Touched> CheckDuplicates(const Ops& ops);

/// Adds what one nested transaction touches: either branch of it may run, but not both, so each is held
/// against what came before and not against the other.
absl::Status AddNested(const TxnRequest& txn, Touched* touched) {
  absl::flat_hash_set<std::string_view> fresh;
  KeySet deleted;
  for (const Ops* ops : {&txn.success(), &txn.failure()}) {
    absl::StatusOr<Touched> branch = CheckDuplicates(*ops);
    if (!branch.ok()) return branch.status();
    for (const std::string_view key : branch->puts) {
      if (touched->puts.contains(key) || touched->deletes.Contains(key)) return DuplicateKeyError();
      fresh.insert(key);
    }
    deleted.Add(branch->deletes);
  }
  touched->puts.insert(fresh.begin(), fresh.end());
  touched->deletes.Add(deleted);
  return absl::OkStatus();
}

/// No key may be put twice, or put and deleted, in one transaction (reference: v3-api.md §6.5, the duplicate
/// rules and what they do not detect).
absl::StatusOr<Touched> CheckDuplicates(const Ops& ops) {
  Touched touched;
  // Deletes of this level count wherever they stand; a nested one only against what comes after it.
  for (const RequestOp& op : ops) {
    if (!op.has_request_delete_range()) continue;
    touched.deletes.Add(op.request_delete_range().key(), op.request_delete_range().range_end());
  }
  for (const RequestOp& op : ops) {
    if (op.has_request_txn()) KVORUM_RETURN_IF_ERROR(AddNested(op.request_txn(), &touched));
  }
  for (const RequestOp& op : ops) {
    if (!op.has_request_put()) continue;
    const std::string_view key = op.request_put().key();
    if (touched.deletes.Contains(key) || !touched.puts.insert(key).second) return DuplicateKeyError();
  }
  return touched;
}

}  // namespace

absl::Status CheckTxn(const TxnRequest& txn, size_t max_ops) {
  KVORUM_RETURN_IF_ERROR(CheckShape(txn, max_ops));
  KVORUM_RETURN_IF_ERROR(CheckDuplicates(txn.success()).status());
  return CheckDuplicates(txn.failure()).status();
}

}  // namespace kvorum::api_v3
