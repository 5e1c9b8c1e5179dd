#include "robustness/watcher.h"

#include <algorithm>

namespace kvorum::robustness {

namespace {

using etcdserverpb::WatchResponse;

/// How long a watch is kept, at most.
constexpr Instant kLong = 15 * kSecond;
constexpr Instant kBother = 1'500 * kMillisecond;
/// How long a client reads nothing, at most.
constexpr Instant kSlow = 800 * kMillisecond;
constexpr Instant kRetry = 100 * kMillisecond;

}  // namespace

void Watcher::Start() {
  scene_->After(scene_->Between(0, kSecond), [this] { Open(); });
}

void Watcher::Open() {
  if (stopped_) return;
  Endpoint& endpoint = scene_->Any();
  if (endpoint.connection() == nullptr) return scene_->After(kRetry, [this] { Open(); });
  const uint64_t attempt = ++attempt_;
  Random& random = scene_->chance();
  at_ = scene_->history().watches.size();
  scene_->history().watches.emplace_back();
  watch().client = id_;
  watch().member = endpoint.id();
  watch().created = scene_->now();
  watch().request = sim::PickWatch(random, scene_->ledger().last(), next_revision_);
  watch().request.set_progress_notify(random.OneIn(1, 2));
  watch().request.set_fragment(random.OneIn(1, 4));
  told_ = 0;
  created_ = false;

  etcdserverpb::WatchRequest request;
  *request.mutable_create_request() = watch().request;
  stream_ = endpoint.connection()->OpenStream("/etcdserverpb.Watch/Watch",
                                              {.on_message =
                                                   [this, attempt](std::string_view message) {
                                                     if (attempt == attempt_ && !scene_->over())
                                                       Take(attempt, message);
                                                   },
                                               .on_end =
                                                   [this, attempt](const absl::Status&) {
                                                     if (attempt == attempt_ && !scene_->over()) End();
                                                   }});
  stream_->Send(request.SerializeAsString());
  scene_->After(scene_->Between(0, kLong), [this, attempt] {
    if (attempt == attempt_ && stream_ != nullptr && !stopped_) Cancel();
  });
  Bother(attempt);
}

void Watcher::Take(uint64_t attempt, std::string_view message) {
  WatchResponse response;
  if (!response.ParseFromArray(message.data(), static_cast<int>(message.size()))) std::abort();
  if (response.created()) created_ = true;
  if (response.compact_revision() != 0) next_revision_ = response.compact_revision();
  if (!response.events().empty()) {
    // As clients do that go on elsewhere; of fragments the last one counts.
    if (!response.fragment()) next_revision_ = response.events().rbegin()->kv().mod_revision() + 1;
    told_ = std::max(told_, response.events().rbegin()->kv().mod_revision() - (response.fragment() ? 1 : 0));
  } else if (!response.created() && !response.canceled()) {
    next_revision_ = std::max(next_revision_, response.header().revision() + 1);
    told_ = std::max(told_, response.header().revision());
  }
  const bool ended = response.canceled();
  watch().responses.push_back(std::move(response));
  watch().received.push_back(scene_->now());
  if (ended) return End();
  if (!stopped_ && scene_->chance().OneIn(1, 200)) {
    stream_->Pause();
    scene_->After(scene_->Between(0, kSlow), [this, attempt] {
      if (attempt == attempt_ && stream_ != nullptr) stream_->Resume();
    });
  }
}

/// Asks how far the watch has come, now and then.
void Watcher::Bother(uint64_t attempt) {
  scene_->After(scene_->Between(0, stopped_ ? kRetry : kBother), [this, attempt] {
    if (attempt != attempt_ || stream_ == nullptr) return;
    if (created_) {
      etcdserverpb::WatchRequest request;
      request.mutable_progress_request();
      stream_->Send(request.SerializeAsString());
    }
    Bother(attempt);
  });
}

void Watcher::Cancel() {
  watch().cancel_invoked = scene_->now();
  if (!created_ || scene_->chance().OneIn(1, 2)) return End();
  etcdserverpb::WatchRequest request;
  request.mutable_cancel_request()->set_watch_id(watch().responses.front().watch_id());
  stream_->Send(request.SerializeAsString());
}

void Watcher::End() {
  ++attempt_;
  // Not inside its own callback.
  scene_->loop().Post([stream = std::move(stream_)] {});
  scene_->After(scene_->Between(0, kSecond / 2), [this] { Open(); });
}

void Watcher::Close() {
  if (stream_ == nullptr) return;
  watch().open_at_end = watch().cancel_invoked == sim::kNever;
  stream_.reset();
}

}  // namespace kvorum::robustness
