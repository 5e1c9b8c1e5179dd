#pragma once

#include <memory>
#include <string>
#include <vector>

#include "peer/hub.h"
#include "peer/pipeline.h"
#include "peer/prober.h"
#include "peer/snapshot_sender.h"
#include "peer/stream_reader.h"
#include "peer/stream_writer.h"

namespace kvorum::peer {

/// Everything that goes between this member and one other: two streams that we dial and read, two that the
/// other dials and we write, a pipeline for what has no stream, and snapshots. On the transport's loop only
/// but for `active_since`; shared between the transport and tasks under way.
class Peer final : public std::enable_shared_from_this<Peer> {
 public:
  Peer(Hub* hub, raft::NodeId id, std::vector<std::string> urls);

  void Start();
  void Stop();
  void Update(std::vector<std::string> urls);

  void Send(raft::Message message);
  /// One at a time: another is reported as failed.
  void SendSnapshot(member::OutgoingSnapshot snapshot);
  /// The peer dialled a stream; an earlier one of the type is closed.
  void Attach(std::shared_ptr<StreamWriter> stream);
  /// What a stream tells when it is no more.
  void OnStreamClosed(const StreamWriter* stream, bool lost_messages);

  raft::NodeId id() const { return id_; }
  std::optional<MonotonicTime> active_since() const { return status_.since(); }

 private:
  std::shared_ptr<StreamWriter>& Writer(StreamType type) {
    return type == StreamType::kMsgApp ? msgapp_writer_ : message_writer_;
  }
  bool Route(raft::Message message);

  Hub* const hub_;
  const raft::NodeId id_;
  UrlPicker urls_;
  PeerStatus status_;
  const std::shared_ptr<FollowerMeter> meter_;
  bool started_ = false;
  bool stopped_ = false;
  std::shared_ptr<StreamReader> message_reader_;
  std::shared_ptr<StreamReader> msgapp_reader_;
  std::shared_ptr<StreamWriter> message_writer_;  // null while the peer has not dialled
  std::shared_ptr<StreamWriter> msgapp_writer_;
  std::shared_ptr<Pipeline> pipeline_;
  std::shared_ptr<Prober> prober_;
  std::shared_ptr<SnapshotSender> snapshot_sender_;  // while one is sent
};

/// A member that is no peer, or not yet, but posts to us: our answers go by posts as well. On the transport's
/// loop only.
class Remote final {
 public:
  Remote(Hub* hub, raft::NodeId id, std::vector<std::string> urls);
  void Stop() { pipeline_->Stop(); }
  void Send(raft::Message message) { pipeline_->Send(std::move(message)); }

 private:
  UrlPicker urls_;
  const std::shared_ptr<Pipeline> pipeline_;
};

}  // namespace kvorum::peer
