#include "api/v3/requests.h"

#include <array>

#include "api/v3/errors.h"
#include "api/v3/flat_message.h"
#include "base/check.h"
#include "base/status.h"
#include "google/protobuf/arena.h"
#include "google/protobuf/io/coded_stream.h"

namespace kvorum::api_v3 {
namespace {

using enum FieldKind;

// In the order of their numbers (reference: v3-api.md §5).
constexpr std::array kRange = {kBytes, kBytes, kInt64, kInt64, kEnum,  kEnum, kBool,
                               kBool,  kBool,  kInt64, kInt64, kInt64, kInt64};
constexpr std::array kPut = {kBytes, kBytes, kInt64, kBool, kBool, kBool};
constexpr std::array kDeleteRange = {kBytes, kBytes, kBool};

/// Of messages in a transaction: two for each transaction inside another, of which the limit of operations
/// allows max_txn_ops. Deeper ones are malformed.
constexpr int kMaxNesting = 300;

int64_t Int(const FieldValue& value) { return static_cast<int64_t>(value.number); }
bool Bool(const FieldValue& value) { return value.number != 0; }

}  // namespace

absl::StatusOr<member::RangeRequestView> ParseRange(std::string_view request) {
  std::array<FieldValue, kRange.size()> v;
  if (ParseFlat(request, kRange, v) == Form::kMalformed) return MalformedRequestError();
  if (v[0].bytes.empty()) return KeyNotProvidedError();
  if (Int(v[4]) < 0 || Int(v[4]) > 2 || Int(v[5]) < 0 || Int(v[5]) > 4) return InvalidSortOptionError();
  return member::RangeRequestView{.key = v[0].bytes,
                                  .range_end = v[1].bytes,
                                  .limit = Int(v[2]),
                                  .revision = Int(v[3]),
                                  .sort_order = static_cast<member::RangeRequestView::Order>(v[4].number),
                                  .sort_target = static_cast<member::RangeRequestView::Target>(v[5].number),
                                  .serializable = Bool(v[6]),
                                  .keys_only = Bool(v[7]),
                                  .count_only = Bool(v[8]),
                                  .min_mod_revision = Int(v[9]),
                                  .max_mod_revision = Int(v[10]),
                                  .min_create_revision = Int(v[11]),
                                  .max_create_revision = Int(v[12])};
}

absl::StatusOr<Loggable<member::PutRequestView>> ParsePut(std::string_view request) {
  std::array<FieldValue, kPut.size()> v;
  const Form form = ParseFlat(request, kPut, v);
  if (form == Form::kMalformed) return MalformedRequestError();
  Loggable<member::PutRequestView> put = {.view = {.key = v[0].bytes,
                                                   .value = v[1].bytes,
                                                   .lease = LeaseId(Int(v[2])),
                                                   .prev_kv = Bool(v[3]),
                                                   .ignore_value = Bool(v[4]),
                                                   .ignore_lease = Bool(v[5])},
                                          .reencoded = {}};
  if (put.view.key.empty()) return KeyNotProvidedError();
  if (put.view.ignore_value && !put.view.value.empty()) return ValueProvidedError();
  if (put.view.ignore_lease && put.view.lease != LeaseId(0)) return LeaseProvidedError();
  if (form != Form::kCanonical) put.reencoded = EncodeFlat(kPut, v);
  return put;
}

absl::StatusOr<Loggable<member::DeleteRangeRequestView>> ParseDeleteRange(std::string_view request) {
  std::array<FieldValue, kDeleteRange.size()> v;
  const Form form = ParseFlat(request, kDeleteRange, v);
  if (form == Form::kMalformed) return MalformedRequestError();
  if (v[0].bytes.empty()) return KeyNotProvidedError();
  Loggable<member::DeleteRangeRequestView> del = {
      .view = {.key = v[0].bytes, .range_end = v[1].bytes, .prev_kv = Bool(v[2])}, .reencoded = {}};
  if (form != Form::kCanonical) del.reencoded = EncodeFlat(kDeleteRange, v);
  return del;
}

absl::StatusOr<std::unique_ptr<ParsedTxn>> ParseTxn(std::string_view request, size_t max_ops) {
  google::protobuf::Arena arena;
  auto* txn = google::protobuf::Arena::CreateMessage<etcdserverpb::TxnRequest>(&arena);
  google::protobuf::io::CodedInputStream input(reinterpret_cast<const uint8_t*>(request.data()),
                                               static_cast<int>(request.size()));
  input.SetRecursionLimit(kMaxNesting);
  if (!txn->ParseFromCodedStream(&input)) return MalformedRequestError();
  KVORUM_RETURN_IF_ERROR(CheckTxn(*txn, max_ops));
  // Unknown fields stay out of the log: its readers may take them for known ones of the wrong type.
  txn->DiscardUnknownFields();
  auto parsed = std::make_unique<ParsedTxn>();
  txn->SerializeToString(&parsed->encoded);
  std::optional<member::TxnRequestView> view = member::ParseTxnRequest(parsed->encoded);
  if (!view.has_value()) return MalformedRequestError();
  parsed->view = *std::move(view);
  return parsed;
}

}  // namespace kvorum::api_v3
