#include "v2store/history.h"

#include <algorithm>

#include "v2store/path.h"
#include "v2store/store.h"

namespace kvorum::v2store {
namespace {

bool Sees(std::string_view path, bool recursive, const Event& event) {
  if (event.refresh) return false;
  const std::string& key = event.node.path;
  if (key == path) return true;
  if (IsBelow(key, path)) return recursive && !IsHidden(path, key);
  const bool removed = event.action == Action::kDelete || event.action == Action::kExpire;
  return removed && event.prev_node && event.prev_node->dir && IsBelow(path, key);
}

}  // namespace

Body EncodeBody(const Event& event) {
  std::string body;
  AppendJson(body, event);
  body += '\n';
  return std::make_shared<const std::string>(std::move(body));
}

void History::Add(Entry entry) {
  last_index_ = entry.event->index();
  entries_.push_back(std::move(entry));
  if (entries_.size() > kHistoryCapacity) entries_.pop_front();
  start_index_ = entries_.front().event->index();
}

std::deque<History::Entry>::const_iterator History::From(uint64_t index) const {
  return std::lower_bound(entries_.begin(), entries_.end(), index,
                          [](const Entry& e, uint64_t i) { return e.event->index() < i; });
}

History::Entry* History::Find(std::string_view path, bool recursive, uint64_t since) {
  const auto entry = std::find_if(entries_.begin() + (From(since) - entries_.cbegin()), entries_.end(),
                                  [&](const Entry& e) { return Sees(path, recursive, *e.event); });
  return entry == entries_.end() ? nullptr : &*entry;
}

std::vector<EventPtr> History::EventsSince(uint64_t index) const {
  std::vector<EventPtr> events;
  const auto from = From(index);
  events.reserve(static_cast<size_t>(entries_.end() - from));
  for (auto entry = from; entry != entries_.end(); ++entry) events.push_back(entry->event);
  return events;
}

void History::Restore(std::vector<EventPtr> events, uint64_t start_index, uint64_t last_index) {
  entries_.clear();
  const size_t first = events.size() > kHistoryCapacity ? events.size() - kHistoryCapacity : 0;
  for (size_t i = first; i < events.size(); ++i) entries_.push_back({std::move(events[i]), {}});
  start_index_ = first > 0 ? entries_.front().event->index() : start_index;
  last_index_ = last_index;
}

}  // namespace kvorum::v2store
