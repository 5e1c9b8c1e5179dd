#include "member/request.h"

#include "base/check.h"
#include "base/wire.h"
#include "fmt/format.h"

namespace kvorum::member {
namespace {

constexpr uint32_t kHeaderField = 100;

size_t FieldSize(uint32_t field, size_t body) {
  return wire::VarintSize(wire::Tag(field, wire::Type::kLength)) + wire::VarintSize(body) + body;
}

char* PutField(char* out, uint32_t field, std::string_view body) {
  out = wire::PutVarint(out, wire::Tag(field, wire::Type::kLength));
  out = wire::PutVarint(out, body.size());
  body.copy(out, body.size());
  return out + body.size();
}

}  // namespace

Bytes BuildEntry(RequestKind kind, std::string_view encoded_request, RequestId id, const Identity& identity) {
  KVORUM_CHECK(id != RequestId(0));
  std::string header;
  wire::AppendUint(header, 1, id.value());
  if (!identity.username.empty()) wire::AppendBytes(header, 2, identity.username);
  if (identity.auth_revision != 0) wire::AppendUint(header, 3, identity.auth_revision);

  const auto field = static_cast<uint32_t>(kind);
  const size_t size = FieldSize(field, encoded_request.size()) + FieldSize(kHeaderField, header.size());
  return Bytes::Build(size, [&](char* out) {
    // Fields in ascending order, as etcd writes them.
    char* const end = out + size;
    if (field > kHeaderField) out = PutField(out, kHeaderField, header);
    out = PutField(out, field, encoded_request);
    if (field < kHeaderField) out = PutField(out, kHeaderField, header);
    KVORUM_CHECK(out == end);
  });
}

Bytes BuildLegacyPut(std::string_view path, std::string_view value, RequestId id) {
  KVORUM_CHECK(id != RequestId(0));
  return v2store::Encode({.id = id.value(), .method = "PUT", .path = path, .value = value});
}

std::string LegacyAttributesPath(MemberId member) {
  return fmt::format("/0/members/{:x}/attributes", member.value());
}

}  // namespace kvorum::member
