#include "lease/lease_format.h"

#include "base/wire.h"
#include "fmt/format.h"

namespace kvorum::lease {
namespace {

constexpr uint32_t kIdField = 1;
constexpr uint32_t kTtlField = 2;
constexpr uint32_t kRemainingTtlField = 3;

}  // namespace

std::string StoredLeaseKey(LeaseId id) {
  std::string key(8, '\0');
  auto v = static_cast<uint64_t>(id.value());
  for (int i = 7; i >= 0; --i, v >>= 8) key[i] = static_cast<char>(v);
  return key;
}

Bytes EncodeStoredLease(const StoredLease& lease) {
  std::string out;
  const auto append = [&out](uint32_t field, int64_t v) {
    if (v != 0) wire::AppendUint(out, field, static_cast<uint64_t>(v));
  };
  append(kIdField, lease.id.value());
  append(kTtlField, lease.ttl_seconds);
  append(kRemainingTtlField, lease.remaining_ttl_seconds);
  return Bytes::Copy(out);
}

absl::StatusOr<StoredLease> DecodeStoredLease(std::string_view key, std::string_view value) {
  StoredLease lease;
  wire::Reader reader(value);
  for (wire::Field field; reader.Next(&field);) {
    if (field.type != wire::Type::kVarint) continue;
    const auto v = static_cast<int64_t>(field.varint);
    if (field.number == kIdField) lease.id = LeaseId(v);
    if (field.number == kTtlField) lease.ttl_seconds = v;
    if (field.number == kRemainingTtlField) lease.remaining_ttl_seconds = v;
  }
  if (!reader.ok() || key != StoredLeaseKey(lease.id)) {
    return absl::DataLossError(fmt::format("malformed record of lease {:x}", lease.id));
  }
  return lease;
}

}  // namespace kvorum::lease
