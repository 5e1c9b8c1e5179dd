#include "peer/transport.h"

#include "peer/transport_core.h"
#include "peer/transport_handler.h"

namespace kvorum::peer {

namespace {

class TransportImpl final : public Transport {
 public:
  explicit TransportImpl(const TransportOptions& options)
      : core_(std::make_shared<TransportCore>(options)), handler_(core_) {}
  ~TransportImpl() override { Stop(); }

  void Start(member::PeerReceiver* receiver, const cluster::Cluster* cluster) override {
    core_->Start(receiver, cluster);
  }
  void Stop() override {
    if (!std::exchange(stopped_, true)) core_->Stop();
  }
  http::Handler& handler() override { return handler_; }
  const member::TrafficStats& stats() const override { return core_->stats(); }

  void Send(std::vector<raft::Message> messages) override { core_->Send(std::move(messages)); }
  void SendSnapshot(member::OutgoingSnapshot snapshot) override { core_->SendSnapshot(std::move(snapshot)); }
  void AddPeer(raft::NodeId id, const std::vector<std::string>& urls) override { core_->AddPeer(id, urls); }
  void RemovePeer(raft::NodeId id) override { core_->RemovePeer(id); }
  void UpdatePeer(raft::NodeId id, const std::vector<std::string>& urls) override {
    core_->UpdatePeer(id, urls);
  }
  std::optional<MonotonicTime> ActiveSince(raft::NodeId id) const override { return core_->ActiveSince(id); }

 private:
  const std::shared_ptr<TransportCore> core_;
  TransportHandler handler_;
  bool stopped_ = false;
};

}  // namespace

std::unique_ptr<Transport> Transport::Create(const TransportOptions& options) {
  return std::make_unique<TransportImpl>(options);
}

}  // namespace kvorum::peer
