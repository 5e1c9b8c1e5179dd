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

void Take(const wire::Field& field, RequestView* request) {
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

/// Counts the bytes of fields.
class Measure {
 public:
  void Uint(uint32_t field, uint64_t value) {
    size_ += wire::VarintSize(wire::Tag(field, wire::Type::kVarint)) + wire::VarintSize(value);
  }
  void Text(uint32_t field, std::string_view text) {
    size_ +=
        wire::VarintSize(wire::Tag(field, wire::Type::kLength)) + wire::VarintSize(text.size()) + text.size();
  }
  size_t size() const { return size_; }

 private:
  size_t size_ = 0;
};

/// Writes them to where there is room for so many.
class Writer {
 public:
  explicit Writer(char* out) : out_(out) {}
  void Uint(uint32_t field, uint64_t value) {
    out_ = wire::PutVarint(wire::PutVarint(out_, wire::Tag(field, wire::Type::kVarint)), value);
  }
  void Text(uint32_t field, std::string_view text) {
    out_ = wire::PutVarint(wire::PutVarint(out_, wire::Tag(field, wire::Type::kLength)), text.size());
    out_ = std::copy(text.begin(), text.end(), out_);
  }

 private:
  char* out_;
};

template <typename Fields>
void Visit(const RequestView& request, Fields* fields) {
  fields->Uint(kId, request.id);
  fields->Text(kMethod, request.method);
  fields->Text(kPath, request.path);
  fields->Text(kVal, request.value);
  fields->Uint(kDir, request.dir);
  fields->Text(kPrevValue, request.prev_value);
  fields->Uint(kPrevIndex, request.prev_index);
  if (request.prev_exist) fields->Uint(kPrevExist, *request.prev_exist);
  fields->Uint(kExpiration, static_cast<uint64_t>(request.expiration));
  fields->Uint(kWait, request.wait);
  fields->Uint(kSince, request.since);
  fields->Uint(kRecursive, request.recursive);
  fields->Uint(kSorted, request.sorted);
  fields->Uint(kQuorum, request.quorum);
  fields->Uint(kTime, static_cast<uint64_t>(request.time));
  fields->Uint(kStream, request.stream);
  if (request.refresh) fields->Uint(kRefresh, *request.refresh);
}

}  // namespace

Bytes Encode(const RequestView& request) {
  Measure measure;
  Visit(request, &measure);
  return Bytes::Build(measure.size(), [&request](char* out) {
    Writer writer(out);
    Visit(request, &writer);
  });
}

std::optional<RequestView> ParseRequest(std::string_view data) {
  RequestView request;
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
  return named ? std::optional(request) : std::nullopt;
}

}  // namespace kvorum::v2store
