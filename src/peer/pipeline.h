#pragma once

#include <deque>
#include <memory>

#include "peer/hub.h"

namespace kvorum::peer {

/// Posts messages one by one, over at most four connections: what is used while a stream is not there, and
/// for members that we only know from their own posts (reference: peer-protocol.md §3.2). On the transport's
/// loop only; shared between its peer and the posts under way.
class Pipeline final : public std::enable_shared_from_this<Pipeline> {
 public:
  /// `urls` and `status` live until `Stop`; `status` and `meter` are null for one that is no peer: then
  /// nobody is told of failures.
  Pipeline(Hub* hub, raft::NodeId remote, UrlPicker* urls, PeerStatus* status,
           std::shared_ptr<FollowerMeter> meter);

  /// False when too much waits: the message was not taken.
  bool Send(raft::Message message);
  /// Forgets what waits and what is under way.
  void Stop();

 private:
  void PostNext();
  struct Post {
    std::string url;
    size_t bytes;
    bool append;  // counted by the meter
    MonotonicTime begun;
  };
  void OnResponse(const Post& post, absl::StatusOr<http::ClientResponse> response);
  void OnFailure(const Post& post, std::string_view error);

  Hub* const hub_;
  const raft::NodeId remote_;
  UrlPicker* const urls_;
  PeerStatus* const status_;
  const std::shared_ptr<FollowerMeter> meter_;
  bool stopped_ = false;
  size_t under_way_ = 0;
  std::deque<raft::Message> waiting_;
};

}  // namespace kvorum::peer
