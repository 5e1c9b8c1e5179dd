#include "robustness/witness.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace kvorum::robustness {

namespace {

/// How many revisions a member tells again after its connection broke.
constexpr int64_t kAgain = 200;
constexpr Instant kRetry = 100 * kMillisecond;

}  // namespace

Witness::Witness(Scene* scene, Endpoint* endpoint) : scene_(scene), endpoint_(endpoint) {
  endpoint->OnConnected([this] { Watch(std::max<int64_t>(1, told_ - kAgain)); });
}

Witness::~Witness() { endpoint_->OnConnected(nullptr); }

void Witness::Watch(int64_t from) {
  if (endpoint_->connection() == nullptr) return;
  const uint64_t attempt = ++attempt_;
  etcdserverpb::WatchRequest request;
  request.mutable_create_request()->set_key(std::string(1, '\0'));
  request.mutable_create_request()->set_range_end(std::string(1, '\0'));
  request.mutable_create_request()->set_start_revision(from);
  stream_ = endpoint_->connection()->OpenStream("/etcdserverpb.Watch/Watch",
                                                {.on_message =
                                                     [this, attempt](std::string_view message) {
                                                       if (attempt == attempt_ && !scene_->over())
                                                         Take(message);
                                                     },
                                                 .on_end =
                                                     [this, attempt](const absl::Status&) {
                                                       if (scene_->over()) return;
                                                       scene_->After(kRetry, [this, attempt] {
                                                         if (attempt == attempt_)
                                                           Watch(std::max<int64_t>(1, told_));
                                                       });
                                                     }});
  stream_->Send(request.SerializeAsString());
}

void Witness::Take(std::string_view message) {
  etcdserverpb::WatchResponse response;
  if (!response.ParseFromArray(message.data(), static_cast<int>(message.size()))) std::abort();
  if (response.canceled()) {
    // What it lacks the others tell.
    const int64_t from = std::max<int64_t>(1, response.compact_revision());
    scene_->After(0, [this, from, attempt = attempt_] {
      if (attempt == attempt_) Watch(from);
    });
    return;
  }
  std::vector<sim::Revision> revisions;
  for (mvccpb::Event& event : *response.mutable_events()) sim::AddEvent(std::move(event), &revisions);
  for (sim::Revision& revision : revisions) {
    told_ = std::max(told_, revision.revision);
    scene_->ledger().Learn(endpoint_->name(), std::move(revision), scene_->now());
  }
}

}  // namespace kvorum::robustness
