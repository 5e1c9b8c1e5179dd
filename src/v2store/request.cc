#include "v2store/request.h"

#include <algorithm>

#include "base/wire.h"

namespace kvorum::v2store {
namespace {

/// Field numbers of etcdserverpb.Request (reference: v2-replication.md §1.1).
enum FieldNumber : uint32_t {
  kId = 1,
  kMethod = 2,
  kPath = 3,
  kVal = 4,
  kDir = 5,
  kPrevValue = 6,
  kPrevIndex = 7,
  kPrevExist = 8,
  kExpiration = 9,
  kWait = 10,
  kSince = 11,
  kRecursive = 12,
  kSorted = 13,
  kQuorum = 14,
  kTime = 15,
  kStream = 16,
  kRefresh = 17,
};

bool IsText(uint32_t number) {
  return number == kMethod || number == kPath || number == kVal || number == kPrevValue;
}

void Take(const wire::Field& field, Request* request) {
  const auto flag = [&field] { return field.varint != 0; };
  switch (field.number) {
    case kId:
      request->id = field.varint;
      break;
    case kMethod:
      request->method = field.bytes;
      break;
    case kPath:
      request->path = field.bytes;
      break;
    case kVal:
      request->value = field.bytes;
      break;
    case kDir:
      request->dir = flag();
      break;
    case kPrevValue:
      request->prev_value = field.bytes;
      break;
    case kPrevIndex:
      request->prev_index = field.varint;
      break;
    case kPrevExist:
      request->prev_exist = flag();
      break;
    case kExpiration:
      request->expiration = static_cast<int64_t>(field.varint);
      break;
    case kWait:
      request->wait = flag();
      break;
    case kSince:
      request->since = field.varint;
      break;
    case kRecursive:
      request->recursive = flag();
      break;
    case kSorted:
      request->sorted = flag();
      break;
    case kQuorum:
      request->quorum = flag();
      break;
    case kTime:
      request->time = static_cast<int64_t>(field.varint);
      break;
    case kStream:
      request->stream = flag();
      break;
    case kRefresh:
      request->refresh = flag();
      break;
    default:
      break;
  }
}

}  // namespace

std::string Encode(const Request& request) {
  std::string out;
  out.reserve(80 + request.method.size() + request.path.size() + request.value.size() +
              request.prev_value.size());
  wire::AppendUint(out, kId, request.id);
  wire::AppendBytes(out, kMethod, request.method);
  wire::AppendBytes(out, kPath, request.path);
  wire::AppendBytes(out, kVal, request.value);
  wire::AppendUint(out, kDir, request.dir);
  wire::AppendBytes(out, kPrevValue, request.prev_value);
  wire::AppendUint(out, kPrevIndex, request.prev_index);
  if (request.prev_exist) wire::AppendUint(out, kPrevExist, *request.prev_exist);
  wire::AppendUint(out, kExpiration, static_cast<uint64_t>(request.expiration));
  wire::AppendUint(out, kWait, request.wait);
  wire::AppendUint(out, kSince, request.since);
  wire::AppendUint(out, kRecursive, request.recursive);
  wire::AppendUint(out, kSorted, request.sorted);
  wire::AppendUint(out, kQuorum, request.quorum);
  wire::AppendUint(out, kTime, static_cast<uint64_t>(request.time));
  wire::AppendUint(out, kStream, request.stream);
  if (request.refresh) wire::AppendUint(out, kRefresh, *request.refresh);
  return out;
}

std::optional<Request> ParseRequest(std::string_view data) {
  Request request;
  wire::Reader reader(data);
  for (wire::Field field; reader.Next(&field);) {
    if (field.number > kRefresh) continue;
    if (field.type != (IsText(field.number) ? wire::Type::kLength : wire::Type::kVarint)) return std::nullopt;
    Take(field, &request);
  }
  if (!reader.ok()) return std::nullopt;
  // What a v3 request has in this field is a message, whose first byte is no letter.
  const bool named = !request.method.empty() && std::all_of(request.method.begin(), request.method.end(),
                                                            [](char c) { return c >= 'A' && c <= 'Z'; });
  return named ? std::optional(std::move(request)) : std::nullopt;
}

}  // namespace kvorum::v2store
