#pragma once

namespace kvorum {

/// The deleter of a std::unique_ptr to what a C library gave: calls its function to free such an object.
template <auto Free>
struct FreeWith {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};

}  // namespace kvorum
