#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

#include "base/check.h"

// Memory for a program of one thread, which spends a third of its time on it otherwise: small pieces come
// from slabs of pieces of one size, and go back to a list of that size. What is large is left to malloc.

namespace kvorum::cmd {
namespace {

constexpr size_t kGrain = 16;
constexpr size_t kLargest = 2048;
constexpr size_t kSlabBytes = 64 << 10;
constexpr size_t kRegionBytes = size_t{64} << 30;  // of addresses, not of memory

struct Piece {
  Piece* next;
};

class Slabs {
 public:
  void* Take(size_t bytes) {
    const size_t kind = bytes == 0 ? 0 : (bytes - 1) / kGrain;
    if (free_[kind] == nullptr && !AddSlab(kind)) return nullptr;
    Piece* const piece = free_[kind];
    free_[kind] = piece->next;
    return piece;
  }
  bool Owns(const void* memory) const {
    return reinterpret_cast<uintptr_t>(memory) - reinterpret_cast<uintptr_t>(region_) < used_;
  }
  void Give(void* memory) {
    const size_t slab = static_cast<size_t>(static_cast<char*>(memory) - region_) / kSlabBytes;
    Piece*& list = free_[kind_of_slab_[slab]];
    list = new (memory) Piece{list};
  }

 private:
  bool AddSlab(size_t kind) {
    if (region_ == nullptr) {
      void* const region = mmap(nullptr, kRegionBytes, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (region == MAP_FAILED) return false;
      region_ = static_cast<char*>(region);
    }
    if (used_ == kRegionBytes) return false;
    char* const slab = region_ + used_;
    kind_of_slab_[used_ / kSlabBytes] = static_cast<uint8_t>(kind);
    used_ += kSlabBytes;
    const size_t bytes = (kind + 1) * kGrain;
    for (size_t at = kSlabBytes / bytes; at-- > 0;) free_[kind] = new (slab + at * bytes) Piece{free_[kind]};
    return true;
  }

  char* region_ = nullptr;
  size_t used_ = 0;
  Piece* free_[kLargest / kGrain] = {};
  uint8_t kind_of_slab_[kRegionBytes / kSlabBytes] = {};
};

constinit Slabs slabs;

void* Take(size_t bytes) {
  if (bytes <= kLargest) {
    if (void* const memory = slabs.Take(bytes)) return memory;
  }
  void* const memory = std::malloc(bytes);
  KVORUM_CHECK(memory != nullptr, "out of memory");
  return memory;
}

void Give(void* memory) {
  if (slabs.Owns(memory)) return slabs.Give(memory);
  std::free(memory);
}

}  // namespace
}  // namespace kvorum::cmd

void* operator new(size_t bytes) { return kvorum::cmd::Take(bytes); }
void* operator new[](size_t bytes) { return kvorum::cmd::Take(bytes); }
void operator delete(void* memory) noexcept { kvorum::cmd::Give(memory); }
void operator delete[](void* memory) noexcept { kvorum::cmd::Give(memory); }
void operator delete(void* memory, size_t) noexcept { kvorum::cmd::Give(memory); }
void operator delete[](void* memory, size_t) noexcept { kvorum::cmd::Give(memory); }
