#include "base/wire.h"

#include <cstring>

namespace kvorum::wire {

bool TakeVarint(std::string_view* in, uint64_t* v) {
  uint64_t result = 0;
  for (size_t i = 0; i < in->size() && i < kMaxVarintBytes; ++i) {
    const auto byte = static_cast<uint8_t>((*in)[i]);
    if (i == 9 && byte > 1) return false;
    result |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      in->remove_prefix(i + 1);
      *v = result;
      return true;
    }
  }
  return false;
}

namespace {

/// Most are one byte long.
inline bool TakeShortVarint(std::string_view* in, uint64_t* v) {
  if (in->empty() || static_cast<uint8_t>(in->front()) >= 0x80) return TakeVarint(in, v);
  *v = static_cast<uint8_t>(in->front());
  in->remove_prefix(1);
  return true;
}

}  // namespace

bool Reader::Next(Field* field) {
  if (rest_.empty() || !ok_) return false;
  uint64_t tag = 0;
  if (!TakeShortVarint(&rest_, &tag) || tag > UINT32_MAX || tag >> 3 == 0) return Fail();
  field->number = static_cast<uint32_t>(tag >> 3);
  field->type = static_cast<Type>(tag & 7);
  field->bytes = {};
  field->varint = 0;
  switch (field->type) {
    case Type::kVarint:
      return TakeShortVarint(&rest_, &field->varint) || Fail();
    case Type::kFixed64:
      if (rest_.size() < 8) return Fail();
      std::memcpy(&field->varint, rest_.data(), 8);
      rest_.remove_prefix(8);
      return true;
    case Type::kFixed32:
      if (rest_.size() < 4) return Fail();
      std::memcpy(&field->varint, rest_.data(), 4);
      rest_.remove_prefix(4);
      return true;
    case Type::kLength: {
      uint64_t size = 0;
      if (!TakeShortVarint(&rest_, &size) || size > rest_.size()) return Fail();
      field->bytes = rest_.substr(0, size);
      rest_.remove_prefix(size);
      return true;
    }
    case Type::kStartGroup:
    case Type::kEndGroup:
      return Fail();
  }
  return Fail();
}

}  // namespace kvorum::wire
