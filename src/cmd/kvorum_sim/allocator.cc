#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

#include "base/check.h"

// Memory for a program of one thread, which spends a third of its time on it otherwise: small pieces come
// from slabs of pieces of one size, and go back to a list of that size. What is large is left to malloc.

namespace kvorum::cmd {
namespace {

constexpr size_t kGrain = 16;
constexpr size_t kLargest = 2048;
constexpr size_t kSlabBytes = 64 << 10;
constexpr size_t kHugePage = 2 << 20;
constexpr size_t kRegionBytes = size_t{64} << 30;  // of addresses, not of memory

struct Piece {
  Piece* next;
};

class Slabs {
 public:
  void* Take(size_t bytes) {
    const size_t kind = bytes == 0 ? 0 : (bytes - 1) / kGrain;
    Kind& of = kinds_[kind];
    if (Piece* const piece = of.free) {
      of.free = piece->next;
      return piece;
    }
    const size_t size = (kind + 1) * kGrain;
    if (of.fresh_bytes < size && !AddSlab(kind)) return nullptr;
    of.fresh_bytes -= size;
    return std::exchange(of.fresh, of.fresh + size);
  }
  bool Owns(const void* memory) const {
    return reinterpret_cast<uintptr_t>(memory) - reinterpret_cast<uintptr_t>(region_) < used_;
  }
  void Give(void* memory) {
    const size_t slab = static_cast<size_t>(static_cast<char*>(memory) - region_) / kSlabBytes;
    Piece*& free = kinds_[kind_of_slab_[slab]].free;
    free = new (memory) Piece{free};
  }

 private:
  struct Kind {
    Piece* free = nullptr;  // were given back
    char* fresh = nullptr;  // was never taken
    size_t fresh_bytes = 0;
  };

  bool AddSlab(size_t kind) {
    if (region_ == nullptr && !Reserve()) return false;
    if (used_ == kRegionBytes) return false;
    // All at once costs less than a fault for each page.
    if (used_ % kHugePage == 0) madvise(region_ + used_, kHugePage, MADV_POPULATE_WRITE);
    kinds_[kind].fresh = region_ + used_;
    kinds_[kind].fresh_bytes = kSlabBytes;
    kind_of_slab_[used_ / kSlabBytes] = static_cast<uint8_t>(kind);
    used_ += kSlabBytes;
    return true;
  }
  bool Reserve() {
    void* const region = mmap(nullptr, kRegionBytes + kHugePage, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (region == MAP_FAILED) return false;
    const uintptr_t begin = (reinterpret_cast<uintptr_t>(region) + kHugePage - 1) / kHugePage * kHugePage;
    region_ = reinterpret_cast<char*>(begin);
    madvise(region_, kRegionBytes, MADV_HUGEPAGE);  // a wish: it does without as well
    return true;
  }

  char* region_ = nullptr;
  size_t used_ = 0;
  Kind kinds_[kLargest / kGrain] = {};
  uint8_t kind_of_slab_[kRegionBytes / kSlabBytes] = {};
};

constinit Slabs slabs;

void* Take(size_t bytes) {
  if (bytes <= kLargest) {
    if (void* const memory = slabs.Take(bytes)) return memory;
  }
  const bool huge = bytes >= kHugePage;
  void* const memory = huge ? std::aligned_alloc(kHugePage, (bytes + kHugePage - 1) / kHugePage * kHugePage)
                            : std::malloc(bytes);
  KVORUM_CHECK(memory != nullptr, "out of memory");
  if (huge) madvise(memory, bytes, MADV_HUGEPAGE);
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
