#pragma once

#include <algorithm>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "base/bytes.h"

namespace kvorum::backend {

/// Records by key, in order, in chunks that copies share until one of them is changed: a copy costs a pointer
/// for each chunk, and the change after it a chunk. Not thread-safe; distinct copies are independent.
class MemoryTable {
 public:
  struct Record {
    Bytes key;
    Bytes value;
  };

 private:
  static constexpr size_t kMost = 32;
  using Chunk = std::vector<Record>;  // none is empty
  using Chunks = std::vector<std::shared_ptr<Chunk>>;

  template <typename C>
  static auto LowerBound(C& chunk, std::string_view key) {
    return std::lower_bound(chunk.begin(), chunk.end(), key,
                            [](const Record& record, std::string_view k) { return record.key.view() < k; });
  }

 public:
  /// Null where there is none; until the next change.
  const Bytes* Find(std::string_view key) const {
    const auto chunk = ChunkOf(key);
    if (chunk == chunks_.end()) return nullptr;
    const auto record = LowerBound(**chunk, key);
    return record != (*chunk)->end() && record->key.view() == key ? &record->value : nullptr;
  }

  /// Puts a record in the place of what was there, which it gives: null, where nothing was.
  Bytes Put(Bytes key, Bytes value) {
    if (chunks_.empty()) {
      chunks_.push_back(std::make_shared<Chunk>(1, Record{std::move(key), std::move(value)}));
      return Bytes();
    }
    auto at = ChunkOf(key.view());
    if (at == chunks_.end()) at = std::prev(at);  // behind everything
    Chunk& chunk = Own(at - chunks_.begin());
    const auto record = LowerBound(chunk, key.view());
    if (record != chunk.end() && record->key.view() == key.view())
      return std::exchange(record->value, std::move(value));
    chunk.insert(record, {std::move(key), std::move(value)});
    if (chunk.size() > kMost) Split(at - chunks_.begin());
    return Bytes();
  }

  /// Gives what was there: null, where nothing was.
  Bytes Remove(std::string_view key) {
    const auto at = ChunkOf(key);
    if (at == chunks_.end()) return Bytes();
    const auto found = LowerBound(**at, key);
    if (found == (*at)->end() || found->key.view() != key) return Bytes();
    const auto place = found - (*at)->begin();
    const ptrdiff_t index = at - chunks_.begin();
    Chunk& chunk = Own(index);
    Bytes value = std::move(chunk[static_cast<size_t>(place)].value);
    chunk.erase(chunk.begin() + place);
    Merge(index);
    return value;
  }

  /// Every record with from <= key < to (to empty: to the end), in order, until `visit` returns false.
  void Scan(std::string_view from, std::string_view to, absl::FunctionRef<bool(const Record&)> visit) const {
    auto chunk = ChunkOf(from);
    if (chunk == chunks_.end()) return;
    for (auto record = LowerBound(**chunk, from);;) {
      if (record == (*chunk)->end()) {
        if (++chunk == chunks_.end()) return;
        record = (*chunk)->begin();
      }
      if ((!to.empty() && record->key.view() >= to) || !visit(*record)) return;
      ++record;
    }
  }

 private:
  /// The first one that does not end before `key`.
  Chunks::const_iterator ChunkOf(std::string_view key) const {
    return std::lower_bound(chunks_.begin(), chunks_.end(), key, [](const auto& chunk, std::string_view k) {
      return chunk->back().key.view() < k;
    });
  }
  /// That chunk, shared with no copy.
  Chunk& Own(ptrdiff_t at) {
    std::shared_ptr<Chunk>& chunk = chunks_[static_cast<size_t>(at)];
    if (chunk.use_count() > 1) chunk = std::make_shared<Chunk>(*chunk);
    return *chunk;
  }
  void Split(ptrdiff_t at) {
    Chunk& chunk = *chunks_[static_cast<size_t>(at)];
    // Keys that rise leave full chunks behind.
    const bool last = at + 1 == static_cast<ptrdiff_t>(chunks_.size());
    const auto middle = last ? chunk.end() - 1 : chunk.begin() + kMost / 2;
    auto second =
        std::make_shared<Chunk>(std::make_move_iterator(middle), std::make_move_iterator(chunk.end()));
    chunk.erase(middle, chunk.end());
    chunks_.insert(chunks_.begin() + at + 1, std::move(second));
  }
  /// Puts what is left of a chunk with the next one's where that is little.
  void Merge(ptrdiff_t at) {
    Chunk& chunk = *chunks_[static_cast<size_t>(at)];
    if (chunk.empty()) {
      chunks_.erase(chunks_.begin() + at);
    } else if (at + 1 < static_cast<ptrdiff_t>(chunks_.size())) {
      const Chunk& next = *chunks_[static_cast<size_t>(at) + 1];
      if (chunk.size() + next.size() > kMost / 2) return;
      chunk.insert(chunk.end(), next.begin(), next.end());
      chunks_.erase(chunks_.begin() + at + 1);
    }
  }

  Chunks chunks_;
};

}  // namespace kvorum::backend
