#include "peer/transport_core.h"

#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/notification.h"
#include "base/check.h"

namespace kvorum::peer {

namespace {

/// Members that are no peers but post to us.
constexpr size_t kMaxRemotes = 256;
constexpr size_t kIdleConnections = 4;
constexpr size_t kMaxResponseBytes = 64 << 10;
constexpr auto kRefusalLogInterval = std::chrono::seconds(1);
/// Snapshots that are received at once.
constexpr int kMaxUploads = 2;

/// What no member says to another.
bool IsLocal(raft::MessageType type) {
  switch (type) {
    case raft::MessageType::kHup:
    case raft::MessageType::kBeat:
    case raft::MessageType::kUnreachable:
    case raft::MessageType::kSnapStatus:
    case raft::MessageType::kCheckQuorum:
    case raft::MessageType::kStorageAppend:
    case raft::MessageType::kStorageAppendResp:
    case raft::MessageType::kStorageApply:
    case raft::MessageType::kStorageApplyResp:
    case raft::MessageType::kForgetLeader:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::string RefusalJson(std::string_view objection) {
  return fmt::format("{{\"message\":\"{}\"}}", objection);
}

TransportCore::TransportCore(const TransportOptions& options)
    : options_(options),
      identity_(options.local, options.cluster, options.advertise_peer_urls),
      metrics_(options.metrics != nullptr ? *options.metrics : unused_metrics_, local()),
      client_(options.loop, {.dial_timeout = options.dial_timeout,
                             .max_idle_connections = kIdleConnections,
                             // The other side closes one that is silent for 5 s.
                             .idle_timeout = std::chrono::seconds(4),
                             .max_response_bytes = kMaxResponseBytes,
                             .tls = options.tls}) {
  KVORUM_CHECK(options.env != nullptr && options.logger != nullptr, "a transport without its options");
}

TransportCore::~TransportCore() = default;

void TransportCore::Start(member::PeerReceiver* receiver, const cluster::Cluster* cluster) {
  metrics_.known_peers.With({metrics_.local, metrics_.local}).Set(1);
  running_.store(true, std::memory_order_release);
  loop().Post([self = shared_from_this(), receiver, cluster] {
    self->receiver_ = receiver;
    self->cluster_ = cluster;
    std::vector<std::shared_ptr<Peer>> peers;
    {
      absl::MutexLock lock(&self->mutex_);
      for (const auto& [_, peer] : self->peers_) peers.push_back(peer);
    }
    for (const auto& peer : peers) peer->Start();
  });
}

void TransportCore::Stop() {
  KVORUM_CHECK(!loop().InThread(), "a transport is not stopped from its loop");
  running_.store(false, std::memory_order_release);
  RunOnLoop([this] { StopOnLoop(); });
  client_.Stop();
  snapshot_reader_.Stop();
  snapshot_writer_.Stop();
  // What they posted last answers requests on loops that may be gone once this has returned.
  RunOnLoop([] {});
}

void TransportCore::RunOnLoop(absl::AnyInvocable<void()> task) {
  absl::Notification done;
  loop().Post([&task, &done] {
    task();
    done.Notify();
  });
  done.WaitForNotification();
}

void TransportCore::StopOnLoop() {
  receiver_ = nullptr;
  cluster_ = nullptr;
  absl::flat_hash_map<raft::NodeId, std::shared_ptr<Peer>> peers;
  {
    absl::MutexLock lock(&mutex_);
    stopped_ = true;
    peers.swap(peers_);
  }
  for (const auto& [_, peer] : peers) peer->Stop();
  for (const auto& [_, remote] : remotes_) remote->Stop();
  remotes_.clear();
}

// ---- who the peers are ----

void TransportCore::AddPeer(raft::NodeId id, const std::vector<std::string>& urls) {
  if (id == local() || id == raft::kNoNode) return;
  auto peer = std::make_shared<Peer>(this, id, urls);
  {
    absl::MutexLock lock(&mutex_);
    if (stopped_) return;
    const auto [it, added] = peers_.try_emplace(id, peer);
    if (!added) peer = nullptr;
  }
  if (peer == nullptr) return UpdatePeer(id, urls);
  loop().Post([self = shared_from_this(), peer] {
    if (self->receiver_ != nullptr) peer->Start();
  });
  metrics_.known_peers.With({metrics_.local, cluster::IdText(id.value())}).Set(1);
  KVORUM_LOG(logger(), kInfo, "added remote peer", LogField::Id("local-member-id", local().value()),
             LogField::Id("remote-peer-id", id.value()), {"remote-peer-urls", urls});
}

void TransportCore::RemovePeer(raft::NodeId id) {
  std::shared_ptr<Peer> peer;
  {
    absl::MutexLock lock(&mutex_);
    const auto it = peers_.find(id);
    if (it == peers_.end()) return;
    peer = std::move(it->second);
    peers_.erase(it);
  }
  stats_.RemoveFollower(MemberId(id.value()));
  loop().Post([self = shared_from_this(), peer] { peer->Stop(); });
  metrics_.known_peers.With({metrics_.local, cluster::IdText(id.value())}).Set(0);
  KVORUM_LOG(logger(), kInfo, "removed remote peer", LogField::Id("local-member-id", local().value()),
             LogField::Id("removed-remote-peer-id", id.value()));
}

void TransportCore::UpdatePeer(raft::NodeId id, const std::vector<std::string>& urls) {
  const std::shared_ptr<Peer> peer = Find(id);
  if (peer == nullptr) return;
  loop().Post([self = shared_from_this(), peer, urls] { peer->Update(urls); });
  KVORUM_LOG(logger(), kInfo, "updated remote peer", LogField::Id("local-member-id", local().value()),
             LogField::Id("updated-remote-peer-id", id.value()), {"updated-remote-peer-urls", urls});
}

std::optional<MonotonicTime> TransportCore::ActiveSince(raft::NodeId id) const {
  const std::shared_ptr<Peer> peer = Find(id);
  return peer == nullptr ? std::nullopt : peer->active_since();
}

std::shared_ptr<Peer> TransportCore::Find(raft::NodeId id) const {
  absl::MutexLock lock(&mutex_);
  const auto it = peers_.find(id);
  return it == peers_.end() ? nullptr : it->second;
}

bool TransportCore::IsRemoved(raft::NodeId id) const {
  return cluster_ != nullptr && cluster_->IsRemoved(MemberId(id.value()));
}

void TransportCore::AddRemote(const Sender& sender) {
  if (!sender.id || sender.peer_urls.empty() || receiver_ == nullptr) return;
  const raft::NodeId id(*sender.id);
  if (id == local() || id == raft::kNoNode || remotes_.size() >= kMaxRemotes || remotes_.contains(id) ||
      Find(id) != nullptr || IsRemoved(id)) {
    return;
  }
  remotes_.emplace(id, std::make_unique<Remote>(this, id, sender.peer_urls));
  KVORUM_LOG(logger(), kInfo, "added new remote peer", LogField::Id("local-member-id", local().value()),
             LogField::Id("remote-peer-id", id.value()), {"remote-peer-urls", sender.peer_urls});
}

// ---- out ----

void TransportCore::Send(std::vector<raft::Message> messages) {
  loop().Post([self = shared_from_this(), messages = std::move(messages)]() mutable {
    self->Dispatch(std::move(messages));
  });
}

void TransportCore::Dispatch(std::vector<raft::Message> messages) {
  // Of the acknowledgements in a batch the last says all (peer-protocol.md §5).
  absl::flat_hash_set<raft::NodeId> acknowledged;
  for (auto message = messages.rbegin(); message != messages.rend(); ++message) {
    if (message->type == raft::MessageType::kAppResp && !acknowledged.insert(message->to).second) {
      message->to = raft::kNoNode;
    }
  }
  for (raft::Message& message : messages) {
    if (message.to != raft::kNoNode) SendOne(std::move(message));
  }
}

void TransportCore::SendOne(raft::Message message) {
  if (message.type == raft::MessageType::kApp) {
    stats_.sent_meter.Add(loop().clock().Now(), raft::EncodedSize(message.entries));
  }
  if (const std::shared_ptr<Peer> peer = Find(message.to)) return peer->Send(std::move(message));
  const auto remote = remotes_.find(message.to);
  if (remote != remotes_.end() && !IsRemoved(message.to)) return remote->second->Send(std::move(message));
  KVORUM_LOG(logger(), kDebug, "ignored message send request; unknown remote peer target",
             {"type", raft::MessageTypeName(message.type)},
             LogField::Id("unknown-target-peer-id", message.to.value()));
}

void TransportCore::SendSnapshot(member::OutgoingSnapshot snapshot) {
  KVORUM_CHECK(snapshot.message.snapshot.has_value() && snapshot.database != nullptr,
               "a snapshot of nothing");
  loop().Post([self = shared_from_this(), snapshot = std::move(snapshot)]() mutable {
    const raft::NodeId to = snapshot.message.to;
    const std::shared_ptr<Peer> peer = self->Find(to);
    if (peer == nullptr) return self->ReportSnapshot(to, false);
    peer->SendSnapshot(std::move(snapshot));
  });
}

// ---- in ----

void TransportCore::CountReceived(const raft::Message& message) {
  if (message.type != raft::MessageType::kApp) return;
  stats_.received_meter.Add(loop().clock().Now(), raft::EncodedSize(message.entries));
}

void TransportCore::Receive(raft::NodeId from, raft::Message message) {
  if (receiver_ == nullptr) return;
  if (const std::string_view objection = Objection(message); !objection.empty()) {
    KVORUM_LOG(logger(), kWarn, "ignored a Raft message of a peer", {"reason", objection},
               {"message-type", raft::MessageTypeName(message.type)},
               LogField::Id("local-member-id", local().value()),
               LogField::Id("remote-peer-id", from.value()));
    return;
  }
  CountReceived(message);
  receiver_->Receive(std::move(message));
}

std::string_view TransportCore::Objection(raft::NodeId from, raft::NodeId to) const {
  if (IsRemoved(from)) return kFromRemovedMember;
  if (to != local()) return kToMismatchedMember;
  return {};
}

std::string_view TransportCore::Objection(const raft::Message& message) const {
  if (const std::string_view objection = Objection(message.from, message.to); !objection.empty()) {
    return objection;
  }
  if (IsLocal(message.type)) return "no member says this to another";
  if (message.type == raft::MessageType::kSnap) return "a snapshot without its database";
  return {};
}

void TransportCore::AnswerStream(StreamRequest request, std::shared_ptr<StreamWriter> stream,
                                 std::shared_ptr<Answer> answer) {
  loop().Post([self = shared_from_this(), request = std::move(request), stream = std::move(stream),
               answer = std::move(answer)] {
    const http::Headers& headers = self->identity_.stream_headers();
    if (self->receiver_ == nullptr) return ReplyPlain(*answer, 503, {}, "the transport is stopped");
    if (self->IsRemoved(request.from)) return ReplyPlain(*answer, 410, headers, "removed member");
    const std::shared_ptr<Peer> peer = self->Find(request.from);
    if (peer == nullptr) {
      self->AddRemote(request.sender);
      KVORUM_LOG(self->logger(), kWarn, "failed to find remote peer in cluster",
                 LogField::Id("local-member-id", self->local().value()),
                 LogField::Id("remote-peer-id-from", request.from.value()),
                 LogField::Id("cluster-id", self->options_.cluster.value()));
      return ReplyPlain(*answer, 404, headers, "error sender not found");
    }
    if (request.to != cluster::IdText(self->local().value())) {
      return ReplyPlain(*answer, 412, headers, "to field mismatch");
    }
    peer->Attach(stream);
  });
}

void TransportCore::OnStreamClosed(raft::NodeId from, std::shared_ptr<const StreamWriter> stream,
                                   bool lost_messages) {
  loop().Post([self = shared_from_this(), from, stream = std::move(stream), lost_messages] {
    if (const std::shared_ptr<Peer> peer = self->Find(from))
      peer->OnStreamClosed(stream.get(), lost_messages);
  });
}

void TransportCore::AnswerMessage(Sender sender, raft::Message message, std::shared_ptr<Answer> answer) {
  loop().Post([self = shared_from_this(), sender = std::move(sender), message = std::move(message),
               answer = std::move(answer)]() mutable {
    if (self->receiver_ == nullptr) return ReplyPlain(*answer, 503, {}, "the transport is stopped");
    self->AddRemote(sender);
    if (self->Refuse(self->Objection(message), *answer)) return;
    self->CountReceived(message);
    self->receiver_->Receive(std::move(message));
    answer->Reply(204, self->identity_.cluster_header(), "");
  });
}

bool TransportCore::Refuse(std::string_view objection, Answer& answer) const {
  if (objection.empty()) return false;
  http::Headers headers = identity_.cluster_header();
  if (objection == kFromRemovedMember || objection == kToMismatchedMember) {
    headers.emplace_back("content-type", "application/json");
    answer.Reply(403, std::move(headers), RefusalJson(objection));
  } else {
    ReplyPlain(answer, 500, std::move(headers), "error processing raft message");
  }
  return true;
}

bool TransportCore::MayLogRefusal() {
  const MonotonicTime now = loop().clock().Now();
  MonotonicTime last = refusal_logged_at_.load(std::memory_order_relaxed);
  return (last == MonotonicTime::min() || now - last >= kRefusalLogInterval) &&
         refusal_logged_at_.compare_exchange_strong(last, now, std::memory_order_relaxed);
}

bool TransportCore::TakeUploadSlot() {
  if (uploads_.fetch_add(1, std::memory_order_relaxed) < kMaxUploads) return true;
  GiveUploadSlot();
  return false;
}

void TransportCore::CheckSnapshot(Sender sender, raft::NodeId from, raft::NodeId to,
                                  std::shared_ptr<Answer> answer) {
  loop().Post([self = shared_from_this(), sender = std::move(sender), from, to, answer = std::move(answer)] {
    if (self->receiver_ == nullptr) return ReplyPlain(*answer, 503, {}, "the transport is stopped");
    self->AddRemote(sender);
    self->Refuse(self->Objection(from, to), *answer);
  });
}

void TransportCore::AnswerSnapshot(raft::Message message, std::shared_ptr<Answer> answer) {
  loop().Post(
      [self = shared_from_this(), message = std::move(message), answer = std::move(answer)]() mutable {
        if (self->receiver_ == nullptr) return ReplyPlain(*answer, 503, {}, "the transport is stopped");
        if (self->Refuse(self->Objection(message.from, message.to), *answer)) return;
        self->receiver_->ReceiveSnapshot(std::move(message), [headers = self->identity_.cluster_header(),
                                                              answer](absl::Status status) mutable {
          if (status.ok()) return answer->Reply(204, std::move(headers), "");
          ReplyPlain(*answer, 500, std::move(headers),
                     fmt::format("failed to process raft message ({})", std::string(status.message())));
        });
      });
}

void TransportCore::ReportUnreachable(raft::NodeId id) {
  if (receiver_ != nullptr) receiver_->ReportUnreachable(id);
}

void TransportCore::ReportSnapshot(raft::NodeId id, bool finished) {
  if (receiver_ != nullptr) receiver_->ReportSnapshot(id, finished);
}

void TransportCore::OnRemoved() {
  if (receiver_ != nullptr && !std::exchange(removed_told_, true)) receiver_->OnRemoved();
}

}  // namespace kvorum::peer
