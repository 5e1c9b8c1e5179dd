#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace kvorum::wire {

// The Protocol Buffers wire format (https://protobuf.dev/programming-guides/encoding), for the hot paths that
// write or scan messages without building them. Everything else uses the generated classes of proto/.

enum class Type : uint8_t {
  kVarint = 0,
  kFixed64 = 1,
  kLength = 2,
  kStartGroup = 3,
  kEndGroup = 4,
  kFixed32 = 5
};

inline constexpr size_t kMaxVarintBytes = 10;

constexpr uint32_t Tag(uint32_t field, Type type) { return field << 3 | static_cast<uint32_t>(type); }

/// Encoded size of `v`: 1 to 10 bytes.
constexpr size_t VarintSize(uint64_t v) {
  // 9/64 approximates 1/7 closely enough for every bit width from 1 to 64.
  return static_cast<size_t>((64 - __builtin_clzll(v | 1)) * 9 + 64) / 64;
}

/// Writes `v` at `out`, which has room for it, and returns the byte after it.
inline char* PutVarint(char* out, uint64_t v) {
  while (v >= 0x80) {
    *out++ = static_cast<char>(v | 0x80);
    v >>= 7;
  }
  *out++ = static_cast<char>(v);
  return out;
}

inline void AppendVarint(std::string& out, uint64_t v) {
  char buffer[kMaxVarintBytes];
  out.append(buffer, PutVarint(buffer, v) - buffer);
}

/// `field: v`, written even where v is 0.
inline void AppendUint(std::string& out, uint32_t field, uint64_t v) {
  AppendVarint(out, Tag(field, Type::kVarint));
  AppendVarint(out, v);
}

/// `field: data`, written even where data is empty; also for sub-messages.
inline void AppendBytes(std::string& out, uint32_t field, std::string_view data) {
  AppendVarint(out, Tag(field, Type::kLength));
  AppendVarint(out, data.size());
  out.append(data);
}

/// One field of a message that is being read.
struct Field {
  uint32_t number = 0;
  Type type = Type::kVarint;
  uint64_t varint = 0;     ///< of kVarint, kFixed64 and kFixed32
  std::string_view bytes;  ///< of kLength: a view into the message
};

/// Walks over the fields of one encoded message, which must outlive it.
///
///     wire::Reader reader(message);
///     for (wire::Field field; reader.Next(&field);) …
///     if (!reader.ok()) …  // malformed
///
/// Groups are malformed here: none of our formats has them.
class Reader {
 public:
  explicit Reader(std::string_view message) : rest_(message) {}

  /// Reads the next field; false at the end and at the first malformed byte.
  bool Next(Field* field);
  /// False once a field was malformed.
  bool ok() const { return ok_; }
  /// What was not read yet.
  std::string_view rest() const { return rest_; }

 private:
  bool Fail() {
    ok_ = false;
    return false;
  }

  std::string_view rest_;
  bool ok_ = true;
};

/// Takes a varint from the front of `*in`; false, with `*in` unchanged, where it is cut off or over 64 bits.
bool TakeVarint(std::string_view* in, uint64_t* v);

}  // namespace kvorum::wire
