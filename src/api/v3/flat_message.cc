#include "api/v3/flat_message.h"

#include "base/check.h"
#include "base/wire.h"

namespace kvorum::api_v3 {
namespace {

using wire::Type;

uint64_t Normalized(FieldKind kind, uint64_t raw) {
  switch (kind) {
    case FieldKind::kBool:
      return raw != 0;
    case FieldKind::kEnum:
      return static_cast<uint64_t>(int64_t{static_cast<int32_t>(raw)});
    case FieldKind::kInt64:
    case FieldKind::kBytes:
      break;
  }
  return raw;
}

}  // namespace

Form ParseFlat(std::string_view message, std::span<const FieldKind> kinds, std::span<FieldValue> values) {
  KVORUM_CHECK(kinds.size() == values.size());
  // Canonical: each field at most once, ascending, none at its default; and then as long as the shortest
  // encoding of those values, which leaves no room for padded varints.
  bool canonical = true;
  uint32_t last = 0;
  size_t shortest = 0;
  wire::Reader reader(message);
  for (wire::Field field; reader.Next(&field);) {
    const bool known = field.number <= kinds.size();
    if (!known) {
      canonical = false;
      continue;
    }
    const FieldKind kind = kinds[field.number - 1];
    if (field.type != (kind == FieldKind::kBytes ? Type::kLength : Type::kVarint)) return Form::kMalformed;
    canonical = canonical && field.number > last;
    last = field.number;
    FieldValue& value = values[field.number - 1];
    shortest += wire::VarintSize(wire::Tag(field.number, field.type));
    if (kind == FieldKind::kBytes) {
      value.bytes = field.bytes;
      shortest += wire::VarintSize(field.bytes.size()) + field.bytes.size();
      canonical = canonical && !field.bytes.empty();
    } else {
      value.number = Normalized(kind, field.varint);
      shortest += wire::VarintSize(field.varint);
      canonical = canonical && field.varint != 0 && field.varint == value.number;
    }
  }
  if (!reader.ok()) return Form::kMalformed;
  return canonical && shortest == message.size() ? Form::kCanonical : Form::kOther;
}

std::string EncodeFlat(std::span<const FieldKind> kinds, std::span<const FieldValue> values) {
  std::string out;
  for (size_t i = 0; i < kinds.size(); ++i) {
    const auto number = static_cast<uint32_t>(i + 1);
    if (kinds[i] == FieldKind::kBytes) {
      if (!values[i].bytes.empty()) wire::AppendBytes(out, number, values[i].bytes);
    } else if (values[i].number != 0) {
      wire::AppendUint(out, number, values[i].number);
    }
  }
  return out;
}

}  // namespace kvorum::api_v3
