#pragma once

#include <memory>

#include "http/client.h"
#include "peer/hub.h"

namespace kvorum::peer {

/// One snapshot on its way to a peer: the message, and behind it the database as a file of etcd's, made and
/// read beside the loop and sent as fast as the peer takes it (reference: peer-protocol.md §3.6). On the
/// transport's loop; shared between its peer and what is under way.
class SnapshotSender final : public http::ResponseSink, public std::enable_shared_from_this<SnapshotSender> {
 public:
  /// What became of it, once, never inside a call.
  using Done = absl::AnyInvocable<void(bool finished)>;

  /// `urls` and `status` live until it is done or cancelled.
  SnapshotSender(Hub* hub, member::OutgoingSnapshot snapshot, UrlPicker* urls, PeerStatus* status, Done done);

  void Start();
  /// Nothing is told any more.
  void Cancel();

 private:
  class Source;

  void OnHead(http::ClientResponse head) override;
  void OnData(std::string_view data) override;
  void OnEnd(absl::Status status) override;

  void Post(std::shared_ptr<Source> source);
  void Fail(std::string_view error);
  void Finish(bool finished);

  Hub* const hub_;
  const raft::NodeId remote_;
  const std::string remote_text_;
  const raft::Index index_;
  UrlPicker* const urls_;
  PeerStatus* const status_;
  member::OutgoingSnapshot snapshot_;  // moved into the source by Start
  Done done_;                          // empty once told or cancelled
  MonotonicTime begun_{};
  std::string url_;
  std::shared_ptr<http::Exchange> exchange_;
  int http_status_ = 0;
  std::string answer_;
};

}  // namespace kvorum::peer
