#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "v2store/event.h"

namespace kvorum::v2store {

// The pieces of the JSON of nodes and events (reference: v2-keys.md §4, v2-replication.md §3.3).

enum class Keys : uint8_t {
  kShown,  ///< as clients see them: without "/1" in front, none for their root
  kFull,   ///< as snapshots have them
};

// Of a node, in this order; `out` may begin anew between them:
/// `{` and the key.
void AppendNodeKey(std::string& out, std::string_view path, Keys keys);
/// The value of a file.
void AppendNodeValue(std::string& out, std::string_view value);
/// What is between the value and the children. `ttl` 0 is not shown.
void AppendNodeKind(std::string& out, bool dir, const std::optional<WallTime>& expires, int64_t ttl);
/// Everything after the children and `}`.
void AppendNodeTail(std::string& out, uint64_t modified_index, uint64_t created_index);
/// A node with all its children.
void AppendNode(std::string& out, const NodeImage& node, Keys keys);
/// An event as a snapshot has it.
void AppendSnapshotEvent(std::string& out, const Event& event);

/// RFC 3339 in UTC with as many digits of the second as it has.
void AppendTime(std::string& out, WallTime time);
/// Null for what is no such time, or one that does not fit in nanoseconds since 1970.
std::optional<WallTime> ParseTime(std::string_view text);

}  // namespace kvorum::v2store
