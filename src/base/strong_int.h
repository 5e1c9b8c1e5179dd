#pragma once

#include <compare>
#include <cstdint>
#include <functional>

#include "fmt/format.h"

namespace kvorum {

/// An integer with a meaning of its own: explicit on the way in, `value()` on the way out, and no arithmetic
/// with other kinds. `Tag` is any type, used for its name alone.
template <typename Tag, typename Int>
class StrongInt {
 public:
  using Value = Int;

  constexpr StrongInt() = default;
  constexpr explicit StrongInt(Int value) : value_(value) {}

  constexpr Int value() const { return value_; }

  constexpr auto operator<=>(const StrongInt&) const = default;

  constexpr StrongInt operator+(Int n) const { return StrongInt(value_ + n); }
  constexpr StrongInt operator-(Int n) const { return StrongInt(value_ - n); }
  /// The distance between two points.
  constexpr Int operator-(StrongInt other) const { return value_ - other.value_; }
  constexpr StrongInt& operator++() {
    ++value_;
    return *this;
  }

  template <typename H>
  friend H AbslHashValue(H h, StrongInt v) {
    return H::combine(std::move(h), v.value_);
  }

 private:
  Int value_ = 0;
};

}  // namespace kvorum

template <typename Tag, typename Int>
struct std::hash<kvorum::StrongInt<Tag, Int>> {
  size_t operator()(kvorum::StrongInt<Tag, Int> v) const { return std::hash<Int>()(v.value()); }
};

template <typename Tag, typename Int>
struct fmt::formatter<kvorum::StrongInt<Tag, Int>> : fmt::formatter<Int> {
  template <typename Context>
  auto format(kvorum::StrongInt<Tag, Int> v, Context& ctx) const {
    return fmt::formatter<Int>::format(v.value(), ctx);
  }
};
