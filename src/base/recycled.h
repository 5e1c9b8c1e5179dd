#pragma once

#include <cstddef>
#include <new>
#include <type_traits>

#ifdef __SANITIZE_ADDRESS__
#define KVORUM_KEEPS_MEMORY 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KVORUM_KEEPS_MEMORY 0
#endif
#endif
#ifndef KVORUM_KEEPS_MEMORY
#define KVORUM_KEEPS_MEMORY 1
#endif

namespace kvorum {

/// Memory of one size that each thread keeps for its next object of that size: the C library keeps a few
/// pieces a thread, and merges and splits again what hundreds of requests at a time give back.
template <size_t kSize>
class KeptMemory {
 public:
  /// Pieces that a thread keeps at most; none where AddressSanitizer has to see that they are freed.
  static constexpr size_t kKept = KVORUM_KEEPS_MEMORY ? 256 : 0;

  static void* Take() {
    List& list = OfThread();
    if (list.first == nullptr) return ::operator new(kPieceSize);
    Free* const piece = list.first;
    list.first = piece->next;
    ++list.room;
    return piece;
  }

  /// Takes what Take gave, to whichever thread.
  static void Give(void* memory) noexcept {
    thread_local const Emptied emptied;
    List& list = OfThread();
    if (list.room == 0) return ::operator delete(memory);
    list.first = new (memory) Free{list.first};
    --list.room;
  }

 private:
  struct Free {
    Free* next;
  };
  static constexpr size_t kPieceSize = kSize < sizeof(Free) ? sizeof(Free) : kSize;

  /// Needs no destruction: what the thread frees later than its list finds no room.
  struct List {
    Free* first;
    size_t room;
  };
  static List& OfThread() {
    thread_local constinit List list{nullptr, kKept};
    return list;
  }

  /// Frees the list when its thread ends.
  struct Emptied {
    ~Emptied() {
      List& list = OfThread();
      list.room = 0;
      while (list.first != nullptr) {
        Free* const piece = list.first;
        list.first = piece->next;
        ::operator delete(piece);
      }
    }
  };
};

/// Base of a final class whose objects are made with `new` for each request: their memory is kept.
template <typename T>
class Recycled {
 public:
  static void* operator new(size_t) {
    static_assert(alignof(T) <= alignof(std::max_align_t) && std::is_final_v<T>);
    return KeptMemory<sizeof(T)>::Take();
  }
  static void operator delete(void* memory) noexcept { KeptMemory<sizeof(T)>::Give(memory); }
};

/// The same for std::allocate_shared.
template <typename T>
struct RecyclingAllocator {
  using value_type = T;

  RecyclingAllocator() = default;
  template <typename Other>
  RecyclingAllocator(const RecyclingAllocator<Other>&) {}

  // REQUIRES: n == 1
  T* allocate(size_t) {
    static_assert(alignof(T) <= alignof(std::max_align_t));
    return static_cast<T*>(KeptMemory<sizeof(T)>::Take());
  }
  void deallocate(T* memory, size_t) noexcept { KeptMemory<sizeof(T)>::Give(memory); }

  friend bool operator==(const RecyclingAllocator&, const RecyclingAllocator&) { return true; }
};

}  // namespace kvorum
