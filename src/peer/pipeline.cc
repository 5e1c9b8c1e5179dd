#include "peer/pipeline.h"

#include "cluster/cluster.h"
#include "raft/codec.h"

namespace kvorum::peer {

namespace {

constexpr size_t kMaxConnections = 4;
constexpr size_t kMaxWaiting = 64;
constexpr auto kTimeout = std::chrono::seconds(10);

constexpr int kNoContent = 204;
constexpr int kForbidden = 403;

}  // namespace

Pipeline::Pipeline(Hub* hub, raft::NodeId remote, UrlPicker* urls, PeerStatus* status)
    : hub_(hub), remote_(remote), urls_(urls), status_(status) {}

bool Pipeline::Send(raft::Message message) {
  if (stopped_ || waiting_.size() >= kMaxWaiting) return false;
  waiting_.push_back(std::move(message));
  PostNext();
  return true;
}

void Pipeline::Stop() {
  stopped_ = true;
  waiting_.clear();
}

void Pipeline::PostNext() {
  if (under_way_ >= kMaxConnections || waiting_.empty() || stopped_) return;
  ++under_way_;
  std::string url = urls_->Pick();
  http::ClientRequest request{
      .method = "POST", .url = url + "/raft", .headers = hub_->identity().request_headers()};
  request.headers.emplace_back("content-type", "application/protobuf");
  raft::AppendEncoded(request.body, waiting_.front(), raft::WireVersion::kV3_6);
  waiting_.pop_front();
  const size_t size = request.body.size();
  hub_->client().Call(
      std::move(request), hub_->loop().clock().Now() + kTimeout,
      [self = shared_from_this(), url = std::move(url), size](absl::StatusOr<http::ClientResponse> response) {
        if (!self->stopped_) self->OnResponse(url, size, std::move(response));
      });
}

void Pipeline::OnResponse(const std::string& url, size_t size,
                          absl::StatusOr<http::ClientResponse> response) {
  --under_way_;
  if (!response.ok()) {
    OnFailure(url, std::string(response.status().message()));
  } else if (response->status == kNoContent) {
    hub_->metrics().sent_bytes.With({cluster::IdText(remote_.value())}).Add(size);
    if (status_ != nullptr) status_->Activate();
  } else {
    OnFailure(url,
              fmt::format("unexpected http status {} while posting to \"{}/raft\"", response->status, url));
    if (response->status == kForbidden) hub_->OnRemoved();
  }
  PostNext();
}

void Pipeline::OnFailure(const std::string& url, std::string_view error) {
  hub_->metrics().sent_failures.With({cluster::IdText(remote_.value())}).Add();
  urls_->Rotate(url);
  if (status_ == nullptr) return;
  status_->Deactivate(fmt::format("failed to write {} on pipeline", cluster::IdText(remote_.value())), error);
  hub_->ReportUnreachable(remote_);
}

}  // namespace kvorum::peer
