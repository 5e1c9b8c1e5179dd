#include "mvcc/key_history.h"

#include <algorithm>

#include "base/check.h"
#include "base/planted_bug.h"

namespace kvorum::mvcc {

KeyHistory::Life KeyHistory::Put(Revision revision) {
  KVORUM_CHECK(revision > newest(), "put at {}.{} after {}.{}", revision.main, revision.sub, newest().main,
               newest().sub);
  if (!live()) last_begin_ = items_.size();
  items_.push_back({revision.main, static_cast<uint32_t>(revision.sub), 0});
  const auto puts = static_cast<int64_t>(items_.size() - last_begin_);
  if (last_begin_ == 0) return {created_, dropped_ + puts};
  return {items_[last_begin_].main, puts};
}

void KeyHistory::Tombstone(Revision revision) {
  KVORUM_CHECK(live());
  KVORUM_CHECK(revision > newest(), "deletion at {}.{} after {}.{}", revision.main, revision.sub,
               newest().main, newest().sub);
  items_.push_back({revision.main, static_cast<uint32_t>(revision.sub), 1});
}

ptrdiff_t KeyHistory::Position(int64_t at) const {
  // Most readers want the newest.
  if (items_.back().main <= at) return static_cast<ptrdiff_t>(items_.size()) - 1;
  const auto it = std::upper_bound(items_.begin(), items_.end(), at,
                                   [](int64_t revision, const Item& item) { return revision < item.main; });
  return it - items_.begin() - 1;
}

std::optional<Revision> KeyHistory::Find(int64_t at) const {
  const ptrdiff_t position = Position(at);
  if (position < 0 || items_[position].tombstone != 0) return std::nullopt;
  return items_[position].revision();
}

bool KeyHistory::Compact(int64_t at, std::vector<Item>* dropped) {
  const ptrdiff_t position = Position(at);
  if (position < 0) return true;
  const bool past_deletion = items_[position].tombstone != 0 && items_[position].main < at;
  const bool newer = position + 1 < static_cast<ptrdiff_t>(items_.size());
  const bool drop_read = IsPlanted(PlantedBug::kCompactionLosesLive) && newer;
  const size_t drop = static_cast<size_t>(position) + (past_deletion || drop_read ? 1 : 0);
  if (drop == 0) return true;
  dropped->insert(dropped->end(), items_.begin(), items_.begin() + static_cast<ptrdiff_t>(drop));
  if (drop == items_.size()) return false;

  size_t begin = drop;  // of the generation that items_[drop] belongs to
  while (begin > 0 && items_[begin - 1].tombstone == 0) --begin;
  if (begin == 0) {
    dropped_ += static_cast<int64_t>(drop);
  } else {
    created_ = items_[begin].main;
    dropped_ = static_cast<int64_t>(drop - begin);
  }
  last_begin_ = last_begin_ > drop ? last_begin_ - drop : 0;
  items_.erase(items_.begin(), items_.begin() + static_cast<ptrdiff_t>(drop));
  if (items_.capacity() > 2 * items_.size()) items_.shrink_to_fit();
  return true;
}

std::optional<KeyHistory::Life> KeyHistory::Single() const {
  if (items_.size() != 1 || !live()) return std::nullopt;
  return Life{created_, dropped_ + 1};
}

void KeyHistory::CheckInvariants() const {
  KVORUM_CHECK(!items_.empty());
  KVORUM_CHECK(last_begin_ < items_.size());
  KVORUM_CHECK(last_begin_ == 0 || items_[last_begin_ - 1].tombstone != 0);
  for (size_t i = 1; i < items_.size(); ++i) {
    KVORUM_CHECK(items_[i - 1].revision() < items_[i].revision());
    KVORUM_CHECK(items_[i - 1].tombstone == 0 || i <= last_begin_);
    KVORUM_CHECK(items_[i - 1].tombstone == 0 || items_[i].tombstone == 0, "two deletions in a row");
  }
}

}  // namespace kvorum::mvcc
