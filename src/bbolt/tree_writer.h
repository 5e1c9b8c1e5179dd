#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kvorum::bbolt {

/// Gives out the pages of a file in the order of their ids, or only counts them.
struct PageSink {
  uint64_t next_page = 0;        ///< id of the next page
  std::string* bytes = nullptr;  ///< where the pages go; null: nowhere
};

/// Builds one B+ tree from records in key order, from the leaves up: a page goes to the sink as soon as it is
/// full, a branch right behind its children, so that one open page a level is all that has to be kept.
class TreeWriter {
 public:
  /// `leaf_flags` stand at every record. The sink is borrowed.
  TreeWriter(PageSink* sink, uint32_t leaf_flags) : sink_(sink), leaf_flags_(leaf_flags) {}

  /// Both strings are borrowed until Finish. REQUIRES: `key` is above all before it, and not empty
  void Add(std::string_view key, std::string_view value);

  /// The value of the bucket's element: its header, and where the tree is small its only page. The tree is
  /// complete then.
  std::string FinishBucket();
  /// Of a tree that has pages of its own in any case: the root's id.
  uint64_t Finish();

 private:
  struct Item {
    std::string_view key;
    std::string_view value;  ///< of a leaf
    uint64_t child = 0;      ///< of a branch
  };
  struct Level {
    std::vector<Item> items;
    size_t bytes = 0;  ///< of the page when it is written
  };

  void AddTo(size_t level, Item item);
  /// Writes the open page of the level; its id.
  uint64_t Flush(size_t level);
  void AppendPage(const Level& level, uint64_t id, bool leaf, uint32_t overflow, std::string* out) const;

  PageSink* const sink_;
  const uint32_t leaf_flags_;
  std::vector<Level> levels_{1};  ///< leaves first
};

}  // namespace kvorum::bbolt
