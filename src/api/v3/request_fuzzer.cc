// What the services read of a request, on arbitrary bytes: never a crash, the same answer as the generated
// classes, and in the log only what its readers can read.

#include <array>
#include <cstdint>
#include <string_view>

#include "api/v3/flat_message.h"
#include "api/v3/requests.h"
#include "base/check.h"
#include "member/request_view.h"
#include "proto/rpc.pb.h"

namespace {

using namespace kvorum;          // NOLINT: one small program
using namespace kvorum::api_v3;  // NOLINT

void CheckRange(std::string_view bytes) {
  const auto range = ParseRange(bytes);
  etcdserverpb::RangeRequest generated;
  if (!range.ok() || !generated.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
  KVORUM_CHECK(range->key == generated.key() && range->range_end == generated.range_end());
  KVORUM_CHECK(range->limit == generated.limit() && range->revision == generated.revision());
  KVORUM_CHECK(range->serializable == generated.serializable() && range->keys_only == generated.keys_only());
  KVORUM_CHECK(static_cast<int>(range->sort_order) == generated.sort_order());
  KVORUM_CHECK(range->max_create_revision == generated.max_create_revision());
}

void CheckPut(std::string_view bytes) {
  const auto put = ParsePut(bytes);
  if (!put.ok()) return;
  const auto logged = member::ParsePutRequest(put->encoded(bytes));
  KVORUM_CHECK(logged.has_value() && logged->key == put->view.key && logged->value == put->view.value);
  etcdserverpb::PutRequest generated;
  KVORUM_CHECK(generated.ParseFromString(std::string(put->encoded(bytes))));
  KVORUM_CHECK(generated.SerializeAsString() == put->encoded(bytes), "not in the form that we write");
}

void CheckDeleteRange(std::string_view bytes) {
  const auto del = ParseDeleteRange(bytes);
  if (!del.ok()) return;
  const auto logged = member::ParseDeleteRangeRequest(del->encoded(bytes));
  KVORUM_CHECK(logged.has_value() && logged->key == del->view.key &&
               logged->range_end == del->view.range_end);
}

void CheckTxn(std::string_view bytes) {
  const auto txn = ParseTxn(bytes, 128);
  if (!txn.ok()) return;
  KVORUM_CHECK(member::ParseTxnRequest((*txn)->encoded).has_value());
  member::QuotaCost((*txn)->view);
  member::IsReadOnly((*txn)->view);
}

void CheckKeepAlive(std::string_view bytes) {
  static constexpr FieldKind kKinds[] = {FieldKind::kInt64};
  FieldValue id;
  if (ParseFlat(bytes, kKinds, {&id, 1}) == Form::kMalformed) return;
  etcdserverpb::LeaseKeepAliveRequest generated;
  if (!generated.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
  KVORUM_CHECK(generated.id() == static_cast<int64_t>(id.number));
}

/// The requests that go through their generated class: parsed, cleaned and written again.
template <typename Request>
void CheckGenerated(std::string_view bytes) {
  Request request;
  if (!request.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
  request.DiscardUnknownFields();
  Request again;
  KVORUM_CHECK(again.ParseFromString(request.SerializeAsString()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  switch (data[0] % 9) {
    case 0:
      CheckRange(bytes);
      break;
    case 1:
      CheckPut(bytes);
      break;
    case 2:
      CheckDeleteRange(bytes);
      break;
    case 3:
      CheckTxn(bytes);
      break;
    case 4:
      CheckKeepAlive(bytes);
      break;
    case 5:
      CheckGenerated<etcdserverpb::CompactionRequest>(bytes);
      break;
    case 6:
      CheckGenerated<etcdserverpb::LeaseGrantRequest>(bytes);
      break;
    case 7:
      CheckGenerated<etcdserverpb::AlarmRequest>(bytes);
      break;
    case 8:
      CheckGenerated<etcdserverpb::WatchRequest>(bytes);
      break;
  }
  return 0;
}
