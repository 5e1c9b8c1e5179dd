#pragma once

#include <cstdint>
#include <cstring>
#include <string>

#include "base/ids.h"
#include "base/wire.h"

namespace kvorum::api_v3 {

/// Writes field 1 of every response: an etcdserverpb.ResponseHeader with this member's ids. Immutable.
class ResponseHeader {
 public:
  ResponseHeader(ClusterId cluster, MemberId member) {
    if (cluster.value() != 0) wire::AppendUint(ids_, 1, cluster.value());
    if (member.value() != 0) wire::AppendUint(ids_, 2, member.value());
  }

  /// With the tag and length of field 1.
  size_t Size(int64_t revision, uint64_t term) const { return 2 + BodySize(revision, term); }

  /// Writes Size() bytes at `out` and returns the byte after them.
  char* Put(char* out, int64_t revision, uint64_t term) const {
    *out++ = static_cast<char>(wire::Tag(1, wire::Type::kLength));
    *out++ = static_cast<char>(BodySize(revision, term));
    std::memcpy(out, ids_.data(), ids_.size());
    out += ids_.size();
    if (revision != 0) {
      *out++ = static_cast<char>(wire::Tag(3, wire::Type::kVarint));
      out = wire::PutVarint(out, static_cast<uint64_t>(revision));
    }
    if (term != 0) {
      *out++ = static_cast<char>(wire::Tag(4, wire::Type::kVarint));
      out = wire::PutVarint(out, term);
    }
    return out;
  }

  void Append(std::string& out, int64_t revision, uint64_t term) const {
    char buffer[kMaxSize];
    out.append(buffer, Put(buffer, revision, term) - buffer);
  }

  /// Four varints of at most 10 bytes with tags of one: the length always fits one byte.
  static constexpr size_t kMaxSize = 2 + 4 * (1 + wire::kMaxVarintBytes);

 private:
  size_t BodySize(int64_t revision, uint64_t term) const {
    return ids_.size() + (revision == 0 ? 0 : 1 + wire::VarintSize(static_cast<uint64_t>(revision))) +
           (term == 0 ? 0 : 1 + wire::VarintSize(term));
  }

  std::string ids_;  // fields 1 and 2, encoded
};

}  // namespace kvorum::api_v3
