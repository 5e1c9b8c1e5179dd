#include "peer/hub.h"

#include "cluster/cluster.h"

namespace kvorum::peer {

void UrlPicker::Update(std::vector<std::string> urls) {
  urls_ = std::move(urls);
  picked_ = 0;
  for (std::string& url : urls_) {
    while (url.ends_with('/')) url.pop_back();
  }
}

const std::string& UrlPicker::Pick() const {
  static const std::string none;
  return urls_.empty() ? none : urls_[picked_];
}

void UrlPicker::Rotate(const std::string& url) {
  if (!urls_.empty() && urls_[picked_] == url) picked_ = (picked_ + 1) % urls_.size();
}

PeerStatus::PeerStatus(Hub* hub, raft::NodeId remote)
    : hub_(hub), remote_(remote), remote_text_(cluster::IdText(remote.value())) {}

void PeerStatus::Activate() {
  {
    absl::MutexLock lock(&mutex_);
    if (since_) return;
    since_ = hub_->loop().clock().Now();
  }
  KVORUM_LOG(hub_->logger(), kInfo, "peer became active", LogField::Id("peer-id", remote_.value()));
  hub_->metrics().active_peers.With({hub_->metrics().local, remote_text_}).Set(1);
}

void PeerStatus::Deactivate(std::string_view action, std::string_view error) {
  {
    absl::MutexLock lock(&mutex_);
    if (!since_) return;
    since_.reset();
  }
  KVORUM_LOG(hub_->logger(), kWarn, "peer became inactive (message send to peer failed)",
             LogField::Id("peer-id", remote_.value()), {"error", fmt::format("{} ({})", action, error)});
  hub_->metrics().active_peers.With({hub_->metrics().local, remote_text_}).Set(0);
  hub_->metrics().disconnected_peers.With({hub_->metrics().local, remote_text_}).Add();
}

void PeerStatus::Forget() {
  {
    absl::MutexLock lock(&mutex_);
    if (!std::exchange(since_, std::nullopt)) return;
  }
  hub_->metrics().active_peers.With({hub_->metrics().local, remote_text_}).Set(0);
}

}  // namespace kvorum::peer
