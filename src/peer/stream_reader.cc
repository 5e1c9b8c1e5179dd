#include "peer/stream_reader.h"

#include "cluster/cluster.h"

namespace kvorum::peer {

namespace {

/// The other side sends something at least every third part of it.
constexpr auto kTimeout = std::chrono::seconds(5);
constexpr auto kDialInterval = std::chrono::milliseconds(100);
constexpr size_t kRefusalBytes = 1 << 10;

constexpr int kOk = 200;
constexpr int kNotFound = 404;
constexpr int kGone = 410;
constexpr int kPreconditionFailed = 412;

}  // namespace

StreamReader::StreamReader(Hub* hub, raft::NodeId remote, StreamType type, UrlPicker* urls,
                           PeerStatus* status)
    : hub_(hub),
      remote_(remote),
      type_(type),
      urls_(urls),
      status_(status),
      received_bytes_(hub->metrics().received_bytes.With({cluster::IdText(remote.value())})) {}

void StreamReader::Start() { Dial(); }

void StreamReader::Stop() {
  stopped_ = true;
  if (timer_ != 0) hub_->loop().CancelTimer(std::exchange(timer_, 0));
  if (const auto exchange = std::move(exchange_)) exchange->Cancel();
}

void StreamReader::Dial() {
  dialled_at_ = hub_->loop().clock().Now();
  http_status_ = 0;
  refusal_.clear();
  url_ = urls_->Pick();
  http::Headers headers = hub_->identity().request_headers();
  headers.emplace_back("x-raft-to", cluster::IdText(remote_.value()));
  exchange_ =
      hub_->client().Open({.url = fmt::format("{}/raft/stream/{}/{}", url_, StreamPath(type_),
                                              cluster::IdText(hub_->identity().local().value())),
                           .headers = std::move(headers)},
                          {.write_timeout = kTimeout, .response_timeout = kTimeout, .read_timeout = kTimeout},
                          shared_from_this());
}

void StreamReader::OnHead(http::ClientResponse head) {
  http_status_ = head.status;
  if (http_status_ != kOk) return;
  logged_refusal_.clear();
  decoder_ = NewStreamDecoder(type_, raft::NodeId(hub_->identity().local().value()), remote_);
  KVORUM_LOG(hub_->logger(), kInfo, "established TCP streaming connection with remote peer",
             {"stream-reader-type", StreamName(type_)},
             LogField::Id("local-member-id", hub_->identity().local().value()),
             LogField::Id("remote-peer-id", remote_.value()));
  status_->Activate();
}

void StreamReader::OnData(std::string_view data) {
  if (decoder_ == nullptr) {
    refusal_.append(data.substr(0, kRefusalBytes - std::min(kRefusalBytes, refusal_.size())));
    return;
  }
  received_bytes_.Add(data.size());
  const absl::Status status =
      decoder_->Feed(data, [this](raft::Message message) { hub_->Receive(remote_, std::move(message)); });
  if (status.ok() || stopped_) return;
  exchange_->Cancel();
  Lost(status);
}

void StreamReader::OnEnd(absl::Status status) {
  if (stopped_) return;
  if (decoder_ != nullptr) return Lost(status);
  exchange_.reset();
  urls_->Rotate(url_);
  status_->Deactivate(Action("dial"), status.ok() ? Refusal() : std::string(status.message()));
  if (status.ok() && http_status_ == kPreconditionFailed) LogRefusal();
  if (status.ok() && http_status_ == kGone) hub_->OnRemoved();
  if (!stopped_) DialLater();
}

std::string StreamReader::Refusal() {
  while (refusal_.ends_with('\n')) refusal_.pop_back();
  switch (http_status_) {
    case kGone:
      return "the member has been permanently removed from the cluster";
    case kNotFound:
      return fmt::format("peer {} failed to find local node {}", cluster::IdText(remote_.value()),
                         cluster::IdText(hub_->identity().local().value()));
    case kPreconditionFailed:
      if (refusal_ == kIncompatibleVersion || refusal_ == kClusterIdMismatch) return refusal_;
      return fmt::format("unhandled error \"{}\" when precondition failed", refusal_);
    default:
      return fmt::format("unhandled stream status code: {}", http_status_);
  }
}

void StreamReader::LogRefusal() {
  if (refusal_ == logged_refusal_) return;
  logged_refusal_ = refusal_;
  KVORUM_LOG(hub_->logger(), kWarn,
             refusal_ == kClusterIdMismatch
                 ? "request sent was ignored by remote peer due to cluster ID mismatch"
                 : "request sent was ignored by remote peer due to server version incompatibility",
             LogField::Id("local-member-id", hub_->identity().local().value()),
             LogField::Id("remote-peer-id", remote_.value()),
             LogField::Id("local-member-cluster-id", hub_->options().cluster.value()), {"error", refusal_});
}

void StreamReader::Lost(const absl::Status& status) {
  exchange_.reset();
  decoder_.reset();
  const std::string error = status.ok() ? "EOF" : std::string(status.message());
  KVORUM_LOG(hub_->logger(), kWarn, "lost TCP streaming connection with remote peer",
             {"stream-reader-type", StreamName(type_)},
             LogField::Id("local-member-id", hub_->identity().local().value()),
             LogField::Id("remote-peer-id", remote_.value()), {"error", error});
  // A stream that its server ended in good order says nothing of the peer.
  if (!status.ok()) {
    status_->Deactivate(Action("read"), error);
    hub_->metrics().received_failures.With({cluster::IdText(remote_.value())}).Add();
  }
  DialLater();
}

void StreamReader::DialLater() {
  timer_ = hub_->loop().PostAt(dialled_at_ + kDialInterval, [weak = weak_from_this()] {
    const std::shared_ptr<StreamReader> self = weak.lock();
    if (self == nullptr || self->stopped_) return;
    self->timer_ = 0;
    self->Dial();
  });
}

std::string StreamReader::Action(std::string_view what) const {
  return fmt::format("failed to {} {} on {}", what, cluster::IdText(remote_.value()), StreamName(type_));
}

}  // namespace kvorum::peer
