#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace kvorum::v2store {

/// A request of the v2 API as the log has it: etcdserverpb.Request (reference: v2-replication.md §1.1).
struct Request {
  uint64_t id = 0;
  std::string method;  ///< POST, PUT, DELETE, QGET, SYNC
  std::string path;    ///< full store path: "/1/foo"
  std::string value;
  bool dir = false;
  std::string prev_value;
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
  bool operator==(const Request&) const = default;
};

/// Every field that etcd always writes, in field order.
std::string Encode(const Request& request);
/// Missing and unknown fields are well. Null where `data` is no such message.
std::optional<Request> ParseRequest(std::string_view data);

}  // namespace kvorum::v2store
