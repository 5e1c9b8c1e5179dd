#include "proxy/grpc/kv_messages.h"

#include <algorithm>

#include "base/wire.h"

namespace kvorum::proxy_grpc {

namespace {

using etcdserverpb::RequestOp;
using etcdserverpb::ResponseOp;

/// Of messages with a key and a range_end.
template <typename Request>
bool AddRange(const KeyPrefix& prefix, Request* request) {
  if (request->key().empty()) return false;
  auto [key, end] = prefix.Range(request->key(), request->range_end());
  request->set_key(std::move(key));
  request->set_range_end(std::move(end));
  return true;
}

bool AddPrefix(const KeyPrefix& prefix, RequestOp* op) {
  switch (op->request_case()) {
    case RequestOp::kRequestRange:
      return AddPrefix(prefix, op->mutable_request_range());
    case RequestOp::kRequestPut:
      return AddPrefix(prefix, op->mutable_request_put());
    case RequestOp::kRequestDeleteRange:
      return AddPrefix(prefix, op->mutable_request_delete_range());
    case RequestOp::kRequestTxn:
      return AddPrefix(prefix, op->mutable_request_txn());
    case RequestOp::REQUEST_NOT_SET:
      return true;
  }
  return true;
}

void StripPrefix(const KeyPrefix& prefix, ResponseOp* op) {
  switch (op->response_case()) {
    case ResponseOp::kResponseRange:
      return StripPrefix(prefix, op->mutable_response_range());
    case ResponseOp::kResponsePut:
      return StripPrefix(prefix, op->mutable_response_put());
    case ResponseOp::kResponseDeleteRange:
      return StripPrefix(prefix, op->mutable_response_delete_range());
    case ResponseOp::kResponseTxn:
      return StripPrefix(prefix, op->mutable_response_txn());
    case ResponseOp::RESPONSE_NOT_SET:
      return;
  }
}

void StripKey(const KeyPrefix& prefix, mvccpb::KeyValue* kv) {
  kv->set_key(std::string(prefix.Strip(kv->key())));
}

/// Calls `visit` with every operation, those of nested transactions too, until it returns false.
template <typename Visit>
bool ForEachOp(const etcdserverpb::TxnRequest& request, const Visit& visit) {
  const auto each = [&](const RequestOp& op) {
    return op.has_request_txn() ? ForEachOp(op.request_txn(), visit) : visit(op);
  };
  return std::ranges::all_of(request.success(), each) && std::ranges::all_of(request.failure(), each);
}

}  // namespace

bool AddPrefix(const KeyPrefix& prefix, etcdserverpb::RangeRequest* request) {
  return AddRange(prefix, request);
}

bool AddPrefix(const KeyPrefix& prefix, etcdserverpb::PutRequest* request) {
  if (request->key().empty()) return false;
  request->set_key(prefix.Key(request->key()));
  return true;
}

bool AddPrefix(const KeyPrefix& prefix, etcdserverpb::DeleteRangeRequest* request) {
  return AddRange(prefix, request);
}

bool AddPrefix(const KeyPrefix& prefix, etcdserverpb::TxnRequest* request) {
  const auto add = [&](RequestOp& op) { return AddPrefix(prefix, &op); };
  return std::ranges::all_of(*request->mutable_compare(),
                             [&](etcdserverpb::Compare& compare) { return AddRange(prefix, &compare); }) &&
         std::ranges::all_of(*request->mutable_success(), add) &&
         std::ranges::all_of(*request->mutable_failure(), add);
}

void StripPrefix(const KeyPrefix& prefix, etcdserverpb::RangeResponse* response) {
  for (mvccpb::KeyValue& kv : *response->mutable_kvs()) StripKey(prefix, &kv);
}

void StripPrefix(const KeyPrefix& prefix, etcdserverpb::PutResponse* response) {
  if (response->has_prev_kv()) StripKey(prefix, response->mutable_prev_kv());
}

void StripPrefix(const KeyPrefix& prefix, etcdserverpb::DeleteRangeResponse* response) {
  for (mvccpb::KeyValue& kv : *response->mutable_prev_kvs()) StripKey(prefix, &kv);
}

void StripPrefix(const KeyPrefix& prefix, etcdserverpb::TxnResponse* response) {
  for (ResponseOp& op : *response->mutable_responses()) StripPrefix(prefix, &op);
}

std::vector<KeyRange> WrittenRanges(const etcdserverpb::TxnRequest& request) {
  std::vector<KeyRange> ranges;
  ForEachOp(request, [&](const RequestOp& op) {
    if (op.has_request_put()) ranges.push_back({op.request_put().key(), {}});
    if (op.has_request_delete_range()) {
      ranges.push_back({op.request_delete_range().key(), op.request_delete_range().range_end()});
    }
    return true;
  });
  return ranges;
}

bool IsSerializable(const etcdserverpb::TxnRequest& request) {
  return ForEachOp(request, [](const RequestOp& op) {
    return op.has_request_range() && op.request_range().serializable();
  });
}

int64_t HeaderRevision(std::string_view response) {
  wire::Reader reader(response);
  wire::Field field;
  if (!reader.Next(&field) || field.number != 1 || field.type != wire::Type::kLength) return 0;
  wire::Reader header(field.bytes);
  while (header.Next(&field)) {
    if (field.number == 3 && field.type == wire::Type::kVarint) return static_cast<int64_t>(field.varint);
  }
  return 0;
}

}  // namespace kvorum::proxy_grpc
