#include "peer/peer.h"

#include "cluster/cluster.h"

namespace kvorum::peer {

Peer::Peer(Hub* hub, raft::NodeId id, std::vector<std::string> urls)
    : hub_(hub),
      id_(id),
      urls_(std::move(urls)),
      status_(hub, id),
      meter_(hub->stats().AddFollower(MemberId(id.value()))),
      message_reader_(std::make_shared<StreamReader>(hub, id, StreamType::kMessage, &urls_, &status_)),
      msgapp_reader_(std::make_shared<StreamReader>(hub, id, StreamType::kMsgApp, &urls_, &status_)),
      pipeline_(std::make_shared<Pipeline>(hub, id, &urls_, &status_, meter_)),
      prober_(std::make_shared<Prober>(hub, id, &urls_)) {}

void Peer::Start() {
  if (stopped_ || std::exchange(started_, true)) return;
  KVORUM_LOG(hub_->logger(), kInfo, "starting remote peer", LogField::Id("remote-peer-id", id_.value()));
  message_reader_->Start();
  msgapp_reader_->Start();
  prober_->Start();
  KVORUM_LOG(hub_->logger(), kInfo, "started remote peer", LogField::Id("remote-peer-id", id_.value()));
}

void Peer::Stop() {
  if (std::exchange(stopped_, true)) return;
  KVORUM_LOG(hub_->logger(), kInfo, "stopping remote peer", LogField::Id("remote-peer-id", id_.value()));
  message_reader_->Stop();
  msgapp_reader_->Stop();
  pipeline_->Stop();
  prober_->Stop();
  for (std::shared_ptr<StreamWriter>* writer : {&message_writer_, &msgapp_writer_}) {
    if (*writer != nullptr) std::exchange(*writer, nullptr)->Close();
  }
  if (const auto sender = std::exchange(snapshot_sender_, nullptr)) {
    sender->Cancel();
    hub_->ReportSnapshot(id_, false);
  }
  status_.Forget();
  KVORUM_LOG(hub_->logger(), kInfo, "stopped remote peer", LogField::Id("remote-peer-id", id_.value()));
}

void Peer::Update(std::vector<std::string> urls) { urls_.Update(std::move(urls)); }

void Peer::Send(raft::Message message) {
  if (stopped_) return;
  const raft::MessageType type = message.type;
  if (Route(std::move(message))) return;
  if (type == raft::MessageType::kApp) meter_->Fail();
  KVORUM_LOG(hub_->logger(), kDebug, "dropped internal Raft message since sending buffer is full",
             {"message-type", raft::MessageTypeName(type)},
             LogField::Id("local-member-id", hub_->identity().local().value()),
             LogField::Id("remote-peer-id", id_.value()),
             {"remote-peer-active", status_.since().has_value()});
  hub_->metrics().sent_failures.With({cluster::IdText(id_.value())}).Add();
  hub_->ReportUnreachable(id_);
}

void Peer::SendSnapshot(member::OutgoingSnapshot snapshot) {
  if (stopped_ || snapshot_sender_ != nullptr) return hub_->ReportSnapshot(id_, false);
  snapshot_sender_ = std::make_shared<SnapshotSender>(hub_, std::move(snapshot), &urls_, &status_,
                                                      [self = shared_from_this()](bool finished) {
                                                        self->snapshot_sender_.reset();
                                                        if (!finished)
                                                          self->hub_->ReportUnreachable(self->id_);
                                                        self->hub_->ReportSnapshot(self->id_, finished);
                                                      });
  snapshot_sender_->Start();
}

bool Peer::Route(raft::Message message) {
  if (message.type == raft::MessageType::kApp && msgapp_writer_ != nullptr) {
    return msgapp_writer_->Send(std::move(message));
  }
  if (message_writer_ != nullptr) return message_writer_->Send(std::move(message));
  return pipeline_->Send(std::move(message));
}

void Peer::Attach(std::shared_ptr<StreamWriter> stream) {
  if (stopped_) return stream->Close();
  KVORUM_LOG(hub_->logger(), kInfo, "established TCP streaming connection with remote peer",
             {"stream-writer-type", StreamName(stream->type())},
             LogField::Id("local-member-id", hub_->identity().local().value()),
             LogField::Id("remote-peer-id", id_.value()));
  stream->Open(hub_->identity().stream_headers(),
               &hub_->metrics().sent_bytes.With({cluster::IdText(id_.value())}), meter_);
  std::shared_ptr<StreamWriter>& slot = Writer(stream->type());
  if (slot != nullptr) slot->Close();
  slot = std::move(stream);
}

void Peer::OnStreamClosed(const StreamWriter* stream, bool lost_messages) {
  if (stopped_) return;
  std::shared_ptr<StreamWriter>& slot = Writer(stream->type());
  if (slot.get() == stream) {
    slot.reset();
    KVORUM_LOG(hub_->logger(), kWarn, "lost TCP streaming connection with remote peer",
               {"stream-writer-type", StreamName(stream->type())},
               LogField::Id("local-member-id", hub_->identity().local().value()),
               LogField::Id("remote-peer-id", id_.value()));
    lost_messages = true;  // what the system had taken may be lost as well
  }
  if (!lost_messages) return;
  hub_->metrics().sent_failures.With({cluster::IdText(id_.value())}).Add();
  hub_->ReportUnreachable(id_);
}

Remote::Remote(Hub* hub, raft::NodeId id, std::vector<std::string> urls)
    : urls_(std::move(urls)), pipeline_(std::make_shared<Pipeline>(hub, id, &urls_, nullptr, nullptr)) {}

}  // namespace kvorum::peer
