#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "member/request_view.h"
#include "mvcc/store.h"

namespace kvorum::member {

// The key-value requests and their effect on the store (reference: apply.md §4.2, v3-api.md §6.3-§6.5). The
// errors are those of v3-errors.md §1 in etcd's internal texts: "etcdserver: key not found", "lease not
// found", "mvcc: required revision has been compacted" and so on.

/// A request's outcome: what a reply says behind its header.
struct KvReply {
  std::string body;      ///< the encoded response without its header (field 1)
  int64_t revision = 0;  ///< for the header: the store's, after the request
};

/// Whether somebody waits for the reply; without one the effect is the same and the body stays empty.
enum class Want : uint8_t { kEffectOnly, kReply };

/// Writer only; each is a transaction of its own on the store.
absl::StatusOr<KvReply> ApplyPut(mvcc::Store& store, const mvcc::LeaseBinder& leases,
                                 const PutRequestView& request, Want want);
absl::StatusOr<KvReply> ApplyDeleteRange(mvcc::Store& store, const DeleteRangeRequestView& request,
                                         Want want);
absl::StatusOr<KvReply> ApplyTxn(mvcc::Store& store, const mvcc::LeaseBinder& leases,
                                 const TxnRequestView& request, Want want);

/// Answers a transaction that changes nothing (IsReadOnly) without the log: all of it at one revision, the
/// newest. Thread-safe. The caller confirms the read first, where the transaction is to be linearizable.
absl::StatusOr<KvReply> ReadTxn(mvcc::Store& store, const TxnRequestView& request);

/// Answers a range without the log. Thread-safe. The caller confirms the read first.
absl::StatusOr<KvReply> ReadRange(mvcc::Store& store, const RangeRequestView& request);

}  // namespace kvorum::member
