#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace kvorum::bbolt {

// The bytes of a bbolt database file (reference: bbolt-format.md; docs/formats.md, "etcd's database file").
// Everything is little-endian. A file is a row of pages; a page with overflow n takes n + 1 places.

static_assert(std::endian::native == std::endian::little, "numbers are read as they stand in the file");

inline constexpr uint32_t kMagic = 0xED0CDAED;
inline constexpr uint32_t kVersion = 2;

enum class PageType : uint16_t { kBranch = 0x01, kLeaf = 0x02, kMeta = 0x04, kFreelist = 0x10 };

/// Pages 0 and 1 hold a meta each; what is written first comes behind them.
inline constexpr uint64_t kFirstDataPage = 2;
inline constexpr size_t kWrittenPageBytes = 4096;
/// Page 0 of a written file says this, page 1 one less.
inline constexpr uint64_t kWrittenTxid = 2;

inline constexpr size_t kPageHeaderBytes = 16;
/// Of a leaf's element and of a branch's.
inline constexpr size_t kElementBytes = 16;
inline constexpr size_t kBucketHeaderBytes = 16;
/// Of a leaf's element: its value is a bucket's header.
inline constexpr uint32_t kBucketElement = 1;
inline constexpr size_t kMetaBytes = 64;
inline constexpr uint64_t kNoFreelist = ~uint64_t{0};

template <typename T>
T Load(const char* in) {
  T value;
  std::memcpy(&value, in, sizeof value);
  return value;
}

template <typename T>
void Store(T value, char* out) {
  std::memcpy(out, &value, sizeof value);
}

struct PageHeader {
  uint64_t id = 0;
  uint16_t flags = 0;  ///< one PageType
  uint16_t count = 0;  ///< of elements
  uint32_t overflow = 0;
};

inline PageHeader LoadPageHeader(const char* in) {
  return {.id = Load<uint64_t>(in),
          .flags = Load<uint16_t>(in + 8),
          .count = Load<uint16_t>(in + 10),
          .overflow = Load<uint32_t>(in + 12)};
}

inline void StorePageHeader(const PageHeader& header, char* out) {
  Store(header.id, out);
  Store(header.flags, out + 8);
  Store(header.count, out + 10);
  Store(header.overflow, out + 12);
}

inline uint64_t Fnv1a64(std::string_view data) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : data) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash;
}

struct Meta {
  uint32_t page_bytes = kWrittenPageBytes;
  uint64_t root = 0;  ///< page of the tree of buckets
  uint64_t freelist = kNoFreelist;
  uint64_t end = 0;  ///< the first page that was never used
  uint64_t txid = 0;
};

/// Behind the header of page 0 or 1, kMetaBytes long.
inline void StoreMeta(const Meta& meta, char* out) {
  std::memset(out, 0, kMetaBytes);
  Store(kMagic, out);
  Store(kVersion, out + 4);
  Store(meta.page_bytes, out + 8);
  Store(meta.root, out + 16);
  Store(meta.freelist, out + 32);
  Store(meta.end, out + 40);
  Store(meta.txid, out + 48);
  Store(Fnv1a64({out, 56}), out + 56);
}

/// Whether `in` is a meta whose checksum fits. REQUIRES: kMetaBytes can be read
inline bool LoadMeta(const char* in, Meta* meta) {
  if (Load<uint32_t>(in) != kMagic || Load<uint32_t>(in + 4) != kVersion) return false;
  if (Load<uint64_t>(in + 56) != Fnv1a64({in, 56})) return false;
  meta->page_bytes = Load<uint32_t>(in + 8);
  meta->root = Load<uint64_t>(in + 16);
  meta->freelist = Load<uint64_t>(in + 32);
  meta->end = Load<uint64_t>(in + 40);
  meta->txid = Load<uint64_t>(in + 48);
  return true;
}

}  // namespace kvorum::bbolt
