#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace kvorum::http {

/// Bytes on their way to a socket: small pieces are copied into blocks, large shared ones are referred to.
/// One thread at a time; blocks are recycled within a thread.
class OutputQueue {
 public:
  OutputQueue() = default;
  OutputQueue(const OutputQueue&) = delete;
  OutputQueue& operator=(const OutputQueue&) = delete;
  ~OutputQueue();

  void Append(std::string_view data);
  /// Appends `size` bytes of `owner` from `offset`. REQUIRES: they lie inside.
  void Append(const Bytes& owner, size_t offset, size_t size);

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  /// Describes the first bytes in at most `max` vectors; returns how many it used.
  int Gather(iovec* out, int max) const;
  /// Forgets the first `size` bytes. REQUIRES: size <= this->size()
  void Consume(size_t size);

  void CheckInvariants() const;

 private:
  struct Block;
  struct Piece {
    const char* data;
    size_t size;
    Block* block;  // counted; null where `owner` holds the bytes
    Bytes owner;
  };
  static Block* NewBlock();
  static void Release(Block* block);

  size_t size_ = 0;  // Invariant: the sum over pieces_ from first_
  size_t first_ = 0;
  std::vector<Piece> pieces_;
  Block* tail_ = nullptr;  // where small pieces go; counted
};

}  // namespace kvorum::http
