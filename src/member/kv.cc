#include "member/kv.h"

#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "base/check.h"
#include "base/planted_bug.h"
#include "base/status.h"
#include "base/wire.h"
#include "lease/lessor.h"
#include "member/range_view.h"

namespace kvorum::member {
namespace {

using wire::Type;

// Field numbers of the responses.
constexpr uint32_t kHeader = 1;
constexpr uint32_t kHeaderRevision = 3;
constexpr uint32_t kPutPrevKv = 2;
constexpr uint32_t kDeleted = 2;
constexpr uint32_t kDeletePrevKvs = 3;
constexpr uint32_t kSucceeded = 2;
constexpr uint32_t kResponses = 3;
constexpr uint32_t kResponseRange = 1;
constexpr uint32_t kResponsePut = 2;
constexpr uint32_t kResponseDeleteRange = 3;
constexpr uint32_t kResponseTxn = 4;

/// How a transaction reads: through the open write transaction, or at one revision of the store.
using Read = absl::FunctionRef<absl::StatusOr<mvcc::RangeResult>(const mvcc::RangeOptions&)>;

absl::Status KeyNotFoundError() { return absl::InvalidArgumentError("etcdserver: key not found"); }

mvcc::KeyRange RangeOf(std::string_view key, std::string_view end) { return {.key = key, .end = end}; }

mvcc::RangeOptions OptionsFor(const RangeRequestView& request) {
  return {.range = RangeOf(request.key, request.range_end),
          .revision = request.revision,
          .limit = FetchLimit(request),
          .count_only = request.count_only};
}

size_t FieldSize(uint32_t field, size_t size) {
  return wire::VarintSize(wire::Tag(field, Type::kLength)) + wire::VarintSize(size) + size;
}

// Effects of single requests, inside a transaction. `body` is null where nobody wants the reply.

absl::Status Put(mvcc::WriteTxn& txn, const PutRequestView& request, std::string* body) {
  if (!request.ignore_value && !request.ignore_lease && (!request.prev_kv || body == nullptr)) {
    txn.Put(request.key, request.value, request.lease);
    return absl::OkStatus();
  }
  KVORUM_ASSIGN_OR_RETURN(const mvcc::RangeResult found,
                          txn.Range({.range = RangeOf(request.key, {}), .limit = 1}));
  RecordView old;
  if (!found.records.empty()) old = ParseRecord(found.records[0]);
  if (request.prev_kv && body != nullptr && !found.records.empty()) {
    AppendKvField(*body, kPutPrevKv, found.records[0], /*keys_only=*/false);
  }
  txn.Put(request.key, request.ignore_value ? old.value : request.value,
          request.ignore_lease ? old.lease : request.lease);
  return absl::OkStatus();
}

absl::Status DeleteRange(mvcc::WriteTxn& txn, const DeleteRangeRequestView& request, std::string* body) {
  const mvcc::KeyRange range = RangeOf(request.key, request.range_end);
  mvcc::RangeResult found;
  if (request.prev_kv && body != nullptr) {
    KVORUM_ASSIGN_OR_RETURN(found, txn.Range({.range = range}));
  }
  const int64_t deleted = txn.DeleteRange(range);
  if (body == nullptr) return absl::OkStatus();
  if (deleted != 0) wire::AppendUint(*body, kDeleted, static_cast<uint64_t>(deleted));
  for (std::string_view record : found.records) {
    AppendKvField(*body, kDeletePrevKvs, record, /*keys_only=*/false);
  }
  return absl::OkStatus();
}

// What a put needs, before anything is changed.

absl::Status CheckLease(const mvcc::LeaseBinder& leases, LeaseId lease) {
  return lease == LeaseId(0) || leases.Exists(lease) ? absl::OkStatus() : lease::NotFoundError();
}

absl::Status CheckIgnored(Read read, const PutRequestView& put) {
  if (!put.ignore_value && !put.ignore_lease) return absl::OkStatus();
  KVORUM_ASSIGN_OR_RETURN(const mvcc::RangeResult found,
                          read({.range = RangeOf(put.key, {}), .limit = 1, .count_only = true}));
  return found.count == 0 ? KeyNotFoundError() : absl::OkStatus();
}

// Compares.

int Sign(int64_t a, int64_t b) { return a < b ? -1 : a > b ? 1 : 0; }

bool Holds(const CompareView& compare, const RecordView& record) {
  enum Target : int32_t { kVersion, kCreate, kMod, kValue, kLease };
  constexpr uint32_t kFieldOfTarget[] = {4, 5, 6, 7, 8};
  const bool known = compare.target >= kVersion && compare.target <= kLease;
  const bool given = known && compare.given == kFieldOfTarget[compare.target];
  const int64_t number = given && compare.target != kValue ? compare.number : 0;
  int order = 0;
  switch (compare.target) {
    case kVersion:
      order = Sign(record.version, number);
      break;
    case kCreate:
      order = Sign(record.create_revision, number);
      break;
    case kMod:
      order = Sign(record.mod_revision, number);
      break;
    case kLease:
      order = Sign(record.lease.value(), number);
      break;
    case kValue:
      order = record.value.compare(given ? compare.value : std::string_view());
      break;
    default:
      break;
  }
  switch (compare.result) {
    case 0:
      return order == 0;
    case 1:
      return order > 0;
    case 2:
      return order < 0;
    case 3:
      return order != 0;
    default:
      return true;
  }
}

bool Holds(Read read, const CompareView& compare) {
  absl::StatusOr<mvcc::RangeResult> found = read({.range = RangeOf(compare.key, compare.range_end)});
  if (!found.ok()) return false;
  constexpr int32_t kValueTarget = 3;
  if (found->records.empty()) return compare.target != kValueTarget && Holds(compare, RecordView());
  for (std::string_view record : found->records) {
    if (!Holds(compare, ParseRecord(record))) return false;
  }
  return true;
}

/// One run of a transaction: which branches, whether they may, and their effects.
class TxnRun {
 public:
  /// `txn` null: nothing may change.
  TxnRun(Read read, mvcc::WriteTxn* txn, int64_t revision) : read_(read), txn_(txn), revision_(revision) {}

  /// Decides the branch of `request` and of every transaction inside it, depth first.
  void Choose(const TxnRequestView& request) {
    bool holds = true;
    for (const CompareView& compare : request.compare) holds = holds && Holds(read_, compare);
    path_.push_back(holds);
    for (const RequestOpView& op : holds ? request.success : request.failure) {
      if (op.kind == RequestOpView::Kind::kTxn) Choose(*op.txn);
    }
  }

  /// Whether everything on the chosen path can be done, as the store is before the transaction.
  absl::Status Check(const mvcc::Store& store, const mvcc::LeaseBinder* leases,
                     const TxnRequestView& request) {
    next_ = 0;
    return CheckNext(store, leases, request);
  }

  /// Does it; the fields `succeeded` and `responses` go to `body` unless it is null.
  absl::Status Run(const TxnRequestView& request, std::string* body) {
    next_ = 0;
    return RunNext(request, body);
  }

 private:
  absl::Status CheckNext(const mvcc::Store& store, const mvcc::LeaseBinder* leases,
                         const TxnRequestView& request) {
    using Kind = RequestOpView::Kind;
    for (const RequestOpView& op : path_[next_++] ? request.success : request.failure) {
      switch (op.kind) {
        case Kind::kRange:
          if (op.range.revision == 0) break;
          if (op.range.revision > revision_) return mvcc::FutureRevisionError();
          if (op.range.revision < store.compact_revision()) return mvcc::CompactedError();
          break;
        case Kind::kPut:
          KVORUM_RETURN_IF_ERROR(CheckIgnored(read_, op.put));
          KVORUM_RETURN_IF_ERROR(CheckLease(*leases, op.put.lease));
          break;
        case Kind::kTxn:
          KVORUM_RETURN_IF_ERROR(CheckNext(store, leases, *op.txn));
          break;
        case Kind::kNone:
          return KeyNotFoundError();
        case Kind::kDeleteRange:
          break;
      }
    }
    return absl::OkStatus();
  }

  absl::Status RunNext(const TxnRequestView& request, std::string* body) {
    const bool succeeded = path_[next_++];
    if (body != nullptr && succeeded) wire::AppendUint(*body, kSucceeded, 1);
    for (const RequestOpView& op : succeeded ? request.success : request.failure) {
      KVORUM_RETURN_IF_ERROR(op.kind == RequestOpView::Kind::kRange ? RunRange(op.range, body)
                                                                    : RunOp(op, body));
      if (IsPlanted(PlantedBug::kTxnHalf) && body == nullptr) break;
    }
    return absl::OkStatus();
  }

  absl::Status RunOp(const RequestOpView& op, std::string* body) {
    using Kind = RequestOpView::Kind;
    std::string reply;
    std::string* const out = body == nullptr ? nullptr : &reply;
    uint32_t field = 0;
    switch (op.kind) {
      case Kind::kPut:
        field = kResponsePut;
        KVORUM_RETURN_IF_ERROR(Put(*txn_, op.put, out));
        break;
      case Kind::kDeleteRange:
        field = kResponseDeleteRange;
        KVORUM_RETURN_IF_ERROR(DeleteRange(*txn_, op.delete_range, out));
        break;
      case Kind::kTxn:
        field = kResponseTxn;
        KVORUM_RETURN_IF_ERROR(RunNext(*op.txn, out));
        break;
      case Kind::kRange:
      case Kind::kNone:
        KVORUM_CHECK(false, "operation {}", static_cast<int>(op.kind));
    }
    if (body == nullptr) return absl::OkStatus();
    const std::string header = op.kind == Kind::kTxn ? std::string() : RevisionHeader();
    AppendOpHead(*body, field, FieldSize(kHeader, header.size()) + reply.size());
    wire::AppendBytes(*body, kHeader, header);
    body->append(reply);
    return absl::OkStatus();
  }

  absl::Status RunRange(const RangeRequestView& request, std::string* body) {
    if (body == nullptr) return absl::OkStatus();
    KVORUM_ASSIGN_OR_RETURN(mvcc::RangeResult found, read_(OptionsFor(request)));
    const RangeSelection selection = SelectRecords(request, std::move(found.records), found.count);
    const std::string header = RevisionHeader();
    AppendOpHead(*body, kResponseRange,
                 FieldSize(kHeader, header.size()) + RangeBodySize(request, selection));
    wire::AppendBytes(*body, kHeader, header);
    AppendRangeBody(*body, request, selection);
    return absl::OkStatus();
  }

  /// A response inside a transaction says the revision alone.
  std::string RevisionHeader() const {
    std::string header;
    wire::AppendUint(header, kHeaderRevision,
                     static_cast<uint64_t>(txn_ == nullptr ? revision_ : txn_->revision()));
    return header;
  }

  /// The beginning of a `responses` element whose `field` holds `size` bytes.
  static void AppendOpHead(std::string& body, uint32_t field, size_t size) {
    wire::AppendVarint(body, wire::Tag(kResponses, Type::kLength));
    wire::AppendVarint(body, FieldSize(field, size));
    wire::AppendVarint(body, wire::Tag(field, Type::kLength));
    wire::AppendVarint(body, size);
  }

  Read read_;
  mvcc::WriteTxn* const txn_;
  const int64_t revision_;  // of the store before the transaction
  std::vector<bool> path_;  // of each transaction on the path, in order: whether its compares hold
  size_t next_ = 0;
};

}  // namespace

absl::StatusOr<KvReply> ApplyPut(mvcc::Store& store, const mvcc::LeaseBinder& leases,
                                 const PutRequestView& request, Want want) {
  KVORUM_RETURN_IF_ERROR(CheckLease(leases, request.lease));
  KVORUM_RETURN_IF_ERROR(
      CheckIgnored([&store](const mvcc::RangeOptions& options) { return store.Range(options); }, request));
  KvReply reply;
  std::unique_ptr<mvcc::WriteTxn> txn = store.Begin();
  KVORUM_RETURN_IF_ERROR(Put(*txn, request, want == Want::kReply ? &reply.body : nullptr));
  reply.revision = txn->revision();
  txn->End();
  return reply;
}

absl::StatusOr<KvReply> ApplyDeleteRange(mvcc::Store& store, const DeleteRangeRequestView& request,
                                         Want want) {
  KvReply reply;
  std::unique_ptr<mvcc::WriteTxn> txn = store.Begin();
  KVORUM_RETURN_IF_ERROR(DeleteRange(*txn, request, want == Want::kReply ? &reply.body : nullptr));
  reply.revision = txn->revision();
  txn->End();
  return reply;
}

absl::StatusOr<KvReply> ApplyTxn(mvcc::Store& store, const mvcc::LeaseBinder& leases,
                                 const TxnRequestView& request, Want want) {
  KvReply reply;
  std::unique_ptr<mvcc::WriteTxn> txn = store.Begin();
  auto read = [&txn](const mvcc::RangeOptions& options) { return txn->Range(options); };
  TxnRun run(read, txn.get(), store.current_revision());
  run.Choose(request);
  KVORUM_RETURN_IF_ERROR(run.Check(store, &leases, request));
  KVORUM_RETURN_IF_ERROR(run.Run(request, want == Want::kReply ? &reply.body : nullptr));
  reply.revision = txn->revision();
  txn->End();
  return reply;
}

absl::StatusOr<KvReply> ReadTxn(mvcc::Store& store, const TxnRequestView& request) {
  KVORUM_CHECK(IsReadOnly(request));
  KvReply reply;
  reply.revision = store.current_revision();
  auto read = [&store, revision = reply.revision](mvcc::RangeOptions options) {
    if (options.revision <= 0) options.revision = revision;
    return store.Range(options);
  };
  TxnRun run(read, nullptr, reply.revision);
  run.Choose(request);
  KVORUM_RETURN_IF_ERROR(run.Check(store, nullptr, request));
  KVORUM_RETURN_IF_ERROR(run.Run(request, &reply.body));
  return reply;
}

absl::StatusOr<KvReply> ReadRange(mvcc::Store& store, const RangeRequestView& request) {
  KVORUM_ASSIGN_OR_RETURN(mvcc::RangeResult found, store.Range(OptionsFor(request)));
  const RangeSelection selection = SelectRecords(request, std::move(found.records), found.count);
  KvReply reply;
  reply.revision = found.revision;
  AppendRangeBody(reply.body, request, selection);
  return reply;
}

}  // namespace kvorum::member
