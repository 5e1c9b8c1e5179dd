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

Pipeline::Pipeline(Hub* hub, raft::NodeId remote, UrlPicker* urls, PeerStatus* status,
                   std::shared_ptr<FollowerMeter> meter)
    : hub_(hub), remote_(remote), urls_(urls), status_(status), meter_(std::move(meter)) {}

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
  Post post{.url = urls_->Pick(),
            .bytes = 0,
            .append = meter_ != nullptr && waiting_.front().type == raft::MessageType::kApp,
            .begun = hub_->loop().clock().Now()};
  http::ClientRequest request{
      .method = "POST", .url = post.url + "/raft", .headers = hub_->identity().request_headers()};
  request.headers.emplace_back("content-type", "application/protobuf");
  raft::AppendEncoded(request.body, waiting_.front(), raft::WireVersion::kV3_6);
  waiting_.pop_front();
  post.bytes = request.body.size();
  hub_->client().Call(std::move(request), post.begun + kTimeout,
                      [self = shared_from_this(), post](absl::StatusOr<http::ClientResponse> response) {
                        if (!self->stopped_) self->OnResponse(post, std::move(response));
                      });
}

void Pipeline::OnResponse(const Post& post, absl::StatusOr<http::ClientResponse> response) {
  --under_way_;
  if (!response.ok()) {
    OnFailure(post, std::string(response.status().message()));
  } else if (response->status == kNoContent) {
    hub_->metrics().sent_bytes.With({cluster::IdText(remote_.value())}).Add(post.bytes);
    if (post.append) {
      FollowerMeter::Batch one;
      one.Add(hub_->loop().clock().Now() - post.begun);
      meter_->Succeed(one);
    }
    if (status_ != nullptr) status_->Activate();
  } else {
    OnFailure(post, fmt::format("unexpected http status {} while posting to \"{}/raft\"", response->status,
                                post.url));
    if (response->status == kForbidden) hub_->OnRemoved();
  }
  PostNext();
}

void Pipeline::OnFailure(const Post& post, std::string_view error) {
  if (post.append) meter_->Fail();
  hub_->metrics().sent_failures.With({cluster::IdText(remote_.value())}).Add();
  urls_->Rotate(post.url);
  if (status_ == nullptr) return;
  status_->Deactivate(fmt::format("failed to write {} on pipeline", cluster::IdText(remote_.value())), error);
  hub_->ReportUnreachable(remote_);
}

}  // namespace kvorum::peer
