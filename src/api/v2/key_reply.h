#pragma once

#include <string>
#include <string_view>

#include "http/handler.h"
#include "member/member.h"
#include "v2store/error.h"

namespace kvorum::api_v2 {

/// Answers of /v2/keys: their headers (reference: v2-keys.md §5) and the form of errors (§6.1). Thread-safe.
class KeyReplies {
 public:
  explicit KeyReplies(const member::Member& member);

  struct Position {
    uint64_t store_index = 0;
    uint64_t raft_index = 0;
    uint64_t raft_term = 0;
  };
  /// Where this member is, besides the store's index.
  Position PositionNow(uint64_t store_index) const;

  /// `body` ends with its newline.
  void Success(http::ResponseWriter& writer, int status, const Position& position,
               std::string_view body) const;
  /// The head of a success whose body comes in pieces: of a watch or a long listing.
  void Head(http::ResponseWriter& writer, const Position& position) const;
  /// Cuts the clients' root off the cause. Gives the status.
  int Error(http::ResponseWriter& writer, const v2store::Error& error) const;

 private:
  const member::Member& member_;
  const std::string cluster_id_;
};

}  // namespace kvorum::api_v2
