#pragma once

#include <memory>
#include <string>

#include "http/handler.h"
#include "peer/answer.h"
#include "peer/snapshot_file.h"
#include "peer/stream_codec.h"
#include "peer/transport_core.h"

namespace kvorum::peer {

/// A snapshot that a peer posts: reads the message, lets the database be written beside the loop, holding
/// the peer back where the disk is slower, and hands the message on when the database is durable (reference:
/// peer-protocol.md §3.6). On the connection's loop.
class SnapshotSink final : public http::RequestSink {
 public:
  SnapshotSink(std::shared_ptr<TransportCore> core, Sender sender, http::ResponseWriter& writer);
  ~SnapshotSink() override;

  void OnData(std::string_view data) override;
  void OnEnd() override;
  void OnAbort() override;

 private:
  class Upload;

  /// Takes the message from the front. False: it is not there yet, or was refused.
  bool TakeMessage(std::string_view* data);
  void Refuse(int status, std::string_view text);
  void WatchForSilence();

  const std::shared_ptr<TransportCore> core_;
  const Sender sender_;
  const std::string from_;  // as a label
  const std::shared_ptr<Answer> answer_;
  http::Loop& loop_;
  FrameReader frame_{kMaxSnapshotMessageBytes};
  std::shared_ptr<Upload> upload_;  // once the message is there
  bool has_slot_;                   // one of the few uploads at a time
  bool over_ = false;               // refused, ended or broken: the rest is dropped
  MonotonicTime heard_at_;
  Executor::TimerId timer_ = 0;
};

}  // namespace kvorum::peer
