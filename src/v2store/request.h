#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/bytes.h"

namespace kvorum::v2store {

/// A request of the v2 API as the log has it: etcdserverpb.Request (reference: v2-replication.md §1.1). It
/// has its texts, or refers to them.
template <typename Text>
struct BasicRequest {
  uint64_t id = 0;
  Text method;  ///< POST, PUT, DELETE, QGET, SYNC
  Text path;    ///< full store path: "/1/foo"
  Text value;
  bool dir = false;
  Text prev_value;
  uint64_t prev_index = 0;
  std::optional<bool> prev_exist;
  int64_t expiration = 0;  ///< Unix nanoseconds; 0: none
  bool wait = false;
  uint64_t since = 0;
  bool recursive = false;
  bool sorted = false;
  bool quorum = false;
  int64_t time = 0;  ///< SYNC: what expires by then, Unix nanoseconds
  bool stream = false;
  std::optional<bool> refresh;
  bool operator==(const BasicRequest&) const = default;

  /// A view of one that has its texts.
  operator BasicRequest<std::string_view>() const requires(!std::is_same_v<Text, std::string_view>) {
    return {id,   method, path,      value,  dir,    prev_value, prev_index, prev_exist, expiration,
            wait, since,  recursive, sorted, quorum, time,       stream,     refresh};
  }
};
using Request = BasicRequest<std::string>;
using RequestView = BasicRequest<std::string_view>;

/// Every field that etcd always writes, in field order.
Bytes Encode(const RequestView& request);
/// Missing and unknown fields are well. Null where `data`, which the view refers to, is no such message.
std::optional<RequestView> ParseRequest(std::string_view data);

}  // namespace kvorum::v2store
