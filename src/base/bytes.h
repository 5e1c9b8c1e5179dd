#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/check.h"

namespace kvorum {

/// An immutable byte string that its holders share: one pointer wide, copied by counting. May be null, which
/// differs from empty (the wire formats tell an absent field from an empty one).
///
/// Thread rule: as for `std::shared_ptr<const T>`; distinct copies may be used from distinct threads.
class Bytes {
 public:
  Bytes() = default;

  /// A non-null copy of `data`, at most 4 GiB - 1 long.
  static Bytes Copy(std::string_view data) {
    return Build(data.size(), [&](char* out) {
      if (!data.empty()) std::memcpy(out, data.data(), data.size());
    });
  }

  /// A non-null string of `size` bytes, written once by `fill(char*)`.
  template <typename Fill>
  static Bytes Build(size_t size, Fill fill) {
    KVORUM_CHECK(size <= UINT32_MAX, "a byte string of {} bytes", size);
    void* memory = ::operator new(sizeof(Block) + size);
    auto* block = new (memory) Block{.references = 1, .size = static_cast<uint32_t>(size)};
    fill(block->data());
    return Bytes(block);
  }

  Bytes(const Bytes& other) : block_(other.block_) {
    if (block_ != nullptr) block_->references.fetch_add(1, std::memory_order_relaxed);
  }
  Bytes(Bytes&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  Bytes& operator=(Bytes other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~Bytes() {
    if (block_ != nullptr && block_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      block_->~Block();
      ::operator delete(block_);
    }
  }

  bool is_null() const { return block_ == nullptr; }
  size_t size() const { return block_ == nullptr ? 0 : block_->size; }
  bool empty() const { return size() == 0; }
  const char* data() const { return block_ == nullptr ? nullptr : block_->data(); }
  /// Valid while a copy of this string lives.
  std::string_view view() const { return {data(), size()}; }

  /// Equal contents; null equals only null.
  friend bool operator==(const Bytes& a, const Bytes& b) {
    return a.is_null() == b.is_null() && a.view() == b.view();
  }

 private:
  struct Block {
    std::atomic<uint32_t> references;
    uint32_t size;
    char* data() { return reinterpret_cast<char*>(this + 1); }
  };

  explicit Bytes(Block* block) : block_(block) {}

  Block* block_ = nullptr;
};

}  // namespace kvorum
