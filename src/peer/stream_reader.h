#pragma once

#include <memory>
#include <string>

#include "http/client.h"
#include "peer/hub.h"
#include "peer/stream_codec.h"

namespace kvorum::peer {

/// One of the two streams that this member dials to a peer, and reads the peer's messages from: dials again
/// whenever it breaks, until stopped (reference: peer-protocol.md §3.3). On the transport's loop only; shared
/// between its peer and the exchange under way.
class StreamReader final : public http::ResponseSink, public std::enable_shared_from_this<StreamReader> {
 public:
  /// `urls` and `status` are the peer's, and live until `Stop`.
  StreamReader(Hub* hub, raft::NodeId remote, StreamType type, UrlPicker* urls, PeerStatus* status);

  void Start();
  void Stop();

 private:
  void OnHead(http::ClientResponse head) override;
  void OnData(std::string_view data) override;
  void OnEnd(absl::Status status) override;

  void Dial();
  /// What this answer that is no stream means.
  std::string Refusal();
  /// Says in the log why the peer will not talk to us, once for each reason.
  void LogRefusal();
  void Lost(const absl::Status& status);
  void DialLater();
  std::string Action(std::string_view what) const;

  Hub* const hub_;
  const raft::NodeId remote_;
  const StreamType type_;
  UrlPicker* const urls_;
  PeerStatus* const status_;
  metrics::Counter& received_bytes_;

  bool stopped_ = false;
  std::string url_;  // the one that was dialled last
  MonotonicTime dialled_at_{};
  std::shared_ptr<http::Exchange> exchange_;
  int http_status_ = 0;                     // of the exchange; 0 before its head
  std::string refusal_;                     // the body, where it is no stream
  std::string logged_refusal_;              // of the last line; empty again once a stream is open
  std::unique_ptr<StreamDecoder> decoder_;  // of a stream that is open
  Executor::TimerId timer_ = 0;
};

}  // namespace kvorum::peer
