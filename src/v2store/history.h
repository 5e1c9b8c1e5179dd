#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "v2store/event.h"

namespace kvorum::v2store {

/// An event's reply body, shared by all that get it.
using Body = std::shared_ptr<const std::string>;
/// The event's JSON and a newline.
Body EncodeBody(const Event& event);

/// The events of late, of all keys, also those that nobody is told (reference: v2-keys.md §8.2). Not
/// thread-safe.
class History {
 public:
  struct Entry {
    EventPtr event;
    std::weak_ptr<const std::string> body;  ///< while somebody has it still
  };

  void Add(Entry entry);

  /// The oldest index that can be asked for; 0 before anything happened.
  uint64_t start_index() const { return start_index_; }
  /// Of the newest event; 0 before there is one.
  uint64_t last_index() const { return last_index_; }

  /// The first event from `since` on that a watch of `path` sees; null where there is none. Events under
  /// hidden names, and those of directories removed that the path is not below, are none: a watch sees of the
  /// past what it would have seen then.
  Entry* Find(std::string_view path, bool recursive, uint64_t since);

  std::vector<EventPtr> events() const { return EventsSince(0); }
  std::vector<EventPtr> EventsSince(uint64_t index) const;
  /// Of a snapshot: what is more than the capacity goes, the oldest first. REQUIRES: by index.
  void Restore(std::vector<EventPtr> events, uint64_t start_index, uint64_t last_index);

 private:
  std::deque<Entry>::const_iterator From(uint64_t index) const;

  std::deque<Entry> entries_;
  uint64_t start_index_ = 0;
  uint64_t last_index_ = 0;
};

}  // namespace kvorum::v2store
