#include "http/output_queue.h"

#include "base/check.h"

namespace kvorum::http {

namespace {
constexpr size_t kBlockBytes = 16 << 10;
/// A shared piece smaller than this is cheaper to copy than to refer to.
constexpr size_t kCopyBelow = 2 << 10;
constexpr size_t kRecycledBlocks = 32;
}  // namespace

struct OutputQueue::Block {
  uint32_t references = 1;
  uint32_t used = 0;
  char data[kBlockBytes];
};

namespace {
/// Blocks that nobody uses, kept for this thread.
template <typename Block>
struct Recycled {
  std::vector<Block*> blocks;
  ~Recycled() {
    for (Block* block : blocks) delete block;
  }
};
template <typename Block>
Recycled<Block>& ThreadRecycled() {
  thread_local Recycled<Block> recycled;
  return recycled;
}
}  // namespace

OutputQueue::Block* OutputQueue::NewBlock() {
  auto& recycled = ThreadRecycled<Block>().blocks;
  if (recycled.empty()) return new Block;
  Block* block = recycled.back();
  recycled.pop_back();
  block->references = 1;
  block->used = 0;
  return block;
}

void OutputQueue::Release(Block* block) {
  if (--block->references > 0) return;
  auto& recycled = ThreadRecycled<Block>().blocks;
  if (recycled.size() < kRecycledBlocks) {
    recycled.push_back(block);
  } else {
    delete block;
  }
}

OutputQueue::~OutputQueue() { Consume(size_); }

void OutputQueue::Append(std::string_view data) {
  size_ += data.size();
  while (!data.empty()) {
    if (tail_ == nullptr || tail_->used == kBlockBytes) {
      if (tail_ != nullptr) Release(tail_);
      tail_ = NewBlock();
    }
    char* to = tail_->data + tail_->used;
    const size_t n = std::min(data.size(), kBlockBytes - tail_->used);
    std::memcpy(to, data.data(), n);
    tail_->used += n;
    data.remove_prefix(n);
    if (first_ < pieces_.size() && pieces_.back().block == tail_ &&
        pieces_.back().data + pieces_.back().size == to) {
      pieces_.back().size += n;
    } else {
      ++tail_->references;
      pieces_.push_back({to, n, tail_, Bytes()});
    }
  }
}

void OutputQueue::Append(const Bytes& owner, size_t offset, size_t size) {
  if (size < kCopyBelow) return Append(owner.view().substr(offset, size));
  size_ += size;
  pieces_.push_back({owner.data() + offset, size, nullptr, owner});
}

int OutputQueue::Gather(iovec* out, int max) const {
  int used = 0;
  for (size_t i = first_; i < pieces_.size() && used < max; ++i) {
    out[used++] = {const_cast<char*>(pieces_[i].data), pieces_[i].size};
  }
  return used;
}

void OutputQueue::Consume(size_t size) {
  KVORUM_CHECK(size <= size_, "{} of {} bytes", size, size_);
  size_ -= size;
  while (size > 0) {
    Piece& piece = pieces_[first_];
    if (size < piece.size) {
      piece.data += size;
      piece.size -= size;
      return;
    }
    size -= piece.size;
    if (piece.block != nullptr) Release(piece.block);
    piece.block = nullptr;
    piece.owner = Bytes();
    ++first_;
  }
  if (size_ == 0) {
    pieces_.clear();
    first_ = 0;
    if (pieces_.capacity() > 64) pieces_.shrink_to_fit();
    if (tail_ != nullptr) Release(tail_);
    tail_ = nullptr;
  } else if (first_ > 64 && first_ * 2 > pieces_.size()) {
    pieces_.erase(pieces_.begin(), pieces_.begin() + static_cast<ptrdiff_t>(first_));
    first_ = 0;
  }
}

void OutputQueue::CheckInvariants() const {
  size_t sum = 0;
  for (size_t i = first_; i < pieces_.size(); ++i) {
    KVORUM_CHECK(pieces_[i].size > 0, "an empty piece");
    sum += pieces_[i].size;
  }
  KVORUM_CHECK(sum == size_, "pieces hold {} bytes, not {}", sum, size_);
}

}  // namespace kvorum::http
