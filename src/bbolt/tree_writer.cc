#include "bbolt/tree_writer.h"

#include <utility>

#include "base/check.h"
#include "bbolt/bbolt_format.h"

namespace kvorum::bbolt {
namespace {

/// A page is filled up to here, as etcd fills those that it appends to: room for a few changes.
constexpr size_t kFillBytes = kWrittenPageBytes * 9 / 10;
/// Where a bucket's only page may stand in its element.
constexpr size_t kInlineBytes = kWrittenPageBytes / 4;
/// A branch of one child would be a level that leads nowhere.
constexpr size_t kMinChildren = 2;

}  // namespace

void TreeWriter::Add(std::string_view key, std::string_view value) {
  KVORUM_CHECK(!key.empty(), "an empty key");
  AddTo(0, {.key = key, .value = value});
}

void TreeWriter::AddTo(size_t level, Item item) {
  if (level == levels_.size()) levels_.emplace_back();
  const size_t bytes = kElementBytes + item.key.size() + item.value.size();
  const Level& page = levels_[level];
  const size_t least = level == 0 ? 1 : kMinChildren;
  if (page.items.size() >= least && kPageHeaderBytes + page.bytes + bytes > kFillBytes) {
    const std::string_view first_key = page.items.front().key;
    const uint64_t id = Flush(level);
    AddTo(level + 1, {.key = first_key, .value = {}, .child = id});
  }
  levels_[level].items.push_back(item);
  levels_[level].bytes += bytes;
}

uint64_t TreeWriter::Flush(size_t level) {
  Level& page = levels_[level];
  const size_t places = (kPageHeaderBytes + page.bytes + kWrittenPageBytes - 1) / kWrittenPageBytes;
  const uint64_t id = sink_->next_page;
  sink_->next_page += places;
  if (sink_->bytes != nullptr) {
    const size_t end = sink_->bytes->size() + places * kWrittenPageBytes;
    AppendPage(page, id, level == 0, static_cast<uint32_t>(places - 1), sink_->bytes);
    sink_->bytes->resize(end);
  }
  page.items.clear();
  page.bytes = 0;
  return id;
}

void TreeWriter::AppendPage(const Level& level, uint64_t id, bool leaf, uint32_t overflow,
                            std::string* out) const {
  char header[kPageHeaderBytes];
  StorePageHeader({.id = id,
                   .flags = static_cast<uint16_t>(leaf ? PageType::kLeaf : PageType::kBranch),
                   .count = static_cast<uint16_t>(level.items.size()),
                   .overflow = overflow},
                  header);
  out->append(header, sizeof header);
  // Positions count from the element itself.
  size_t position = level.items.size() * kElementBytes;
  for (const Item& item : level.items) {
    char element[kElementBytes];
    if (leaf) {
      Store(leaf_flags_, element);
      Store(static_cast<uint32_t>(position), element + 4);
      Store(static_cast<uint32_t>(item.key.size()), element + 8);
      Store(static_cast<uint32_t>(item.value.size()), element + 12);
    } else {
      Store(static_cast<uint32_t>(position), element);
      Store(static_cast<uint32_t>(item.key.size()), element + 4);
      Store(item.child, element + 8);
    }
    out->append(element, sizeof element);
    position += item.key.size() + item.value.size() - kElementBytes;
  }
  for (const Item& item : level.items) out->append(item.key).append(item.value);
}

std::string TreeWriter::FinishBucket() {
  std::string value(kBucketHeaderBytes, '\0');  // root 0: the page follows; the sequence is 0
  const bool one_page = levels_.size() == 1;
  if (one_page && kPageHeaderBytes + levels_[0].bytes <= kInlineBytes) {
    AppendPage(levels_[0], 0, true, 0, &value);
  } else {
    Store(Finish(), value.data());
  }
  return value;
}

uint64_t TreeWriter::Finish() {
  for (size_t level = 0;; ++level) {
    const bool top = level + 1 == levels_.size();
    if (top && level > 0 && levels_[level].items.size() == 1) return levels_[level].items.front().child;
    const std::string_view first_key =
        levels_[level].items.empty() ? std::string_view() : levels_[level].items.front().key;
    const uint64_t id = Flush(level);
    if (top) return id;
    AddTo(level + 1, {.key = first_key, .value = {}, .child = id});
  }
}

}  // namespace kvorum::bbolt
