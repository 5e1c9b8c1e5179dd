// How a WatchSession talks with the cluster.

#include <algorithm>

#include "base/check.h"
#include "proxy/grpc/watch_session.h"

namespace kvorum::proxy_grpc {
namespace {

constexpr int64_t kNoWatchId = -1;
constexpr std::string_view kWatchMethod = "/etcdserverpb.Watch/Watch";
/// As a member's default (v3-api.md §6.8).
constexpr auto kProgressInterval = std::chrono::minutes(10);
/// A member says nothing to a progress request while some watcher catches up: it is asked again.
constexpr auto kProgressRetry = std::chrono::milliseconds(500);

}  // namespace

void WatchSession::Learn(const ResponseHeader& header) {
  if (header.cluster_id == 0) return;  // none was sent
  const bool other_cluster = header_.cluster_id != header.cluster_id;
  const int64_t revision = other_cluster ? header.revision : std::max(header_.revision, header.revision);
  header_ = header;
  header_.revision = revision;
}

Broadcast* WatchSession::Find(int64_t id) const {
  const auto found = broadcasts_.find(id);
  return found == broadcasts_.end() ? nullptr : found->second.get();
}

void WatchSession::Open() {
  if (reopen_timer_ != 0) return;
  const uint64_t number = ++stream_number_;
  stream_ = cluster_.OpenStream(kWatchMethod,
                                {.on_message =
                                     [self = self_, number](std::string_view message) {
                                       if (*self == nullptr || (*self)->stream_number_ != number) return;
                                       (*self)->OnMessage(message);
                                     },
                                 .on_end =
                                     [self = self_, number](const absl::Status& status) {
                                       if (*self == nullptr || (*self)->stream_number_ != number) return;
                                       (*self)->OnEnd(status);
                                     }},
                                metadata_);
  std::vector<int64_t> ids;
  ids.reserve(broadcasts_.size());
  for (const auto& [id, broadcast] : broadcasts_) ids.push_back(id);
  std::sort(ids.begin(), ids.end());
  for (const int64_t id : ids) SendCreate(broadcasts_.at(id).get());
  AskProgress();
}

void WatchSession::Reopen() {
  ++stream_number_;
  old_stream_ = std::move(stream_);
  creating_.clear();
  for (auto& [id, broadcast] : broadcasts_) {
    broadcast->created = false;
    broadcast->incomplete.clear();
  }
  progress_waiting_.insert(progress_waiting_.end(), progress_asked_.begin(), progress_asked_.end());
  progress_asked_.clear();
  reopen_timer_ = cluster_.After(backoff_.Next(), [this] { Reopened(); });
}

void WatchSession::Reopened() {
  reopen_timer_ = 0;
  old_stream_.reset();
  if (!broadcasts_.empty()) Open();
}

void WatchSession::SendCreate(Broadcast* broadcast) {
  creating_.push_back(broadcast->id);
  stream_->Send(EncodeWatchCreate({.key = broadcast->group->key,
                                   .range_end = broadcast->group->end,
                                   .start_revision = broadcast->next,
                                   .progress_notify = true,
                                   .form = kPrevKv | kFragment,
                                   .watch_id = broadcast->id}));
}

void WatchSession::OnMessage(std::string_view message) {
  ++heard_;
  UpstreamResponse response;
  if (!ParseUpstreamResponse(message, key_prefix_, &response)) {
    KVORUM_LOG(logger_, kWarn, "malformed watch response of the cluster");
    return Reopen();
  }
  Learn(response.header);
  Dispatch(message, std::move(response));
  DrainAll();
}

void WatchSession::Dispatch(std::string_view message, UpstreamResponse response) {
  if (response.created) return OnCreated(response);
  if (response.watch_id == kNoWatchId && !response.canceled) return OnProgress(response.header);
  Broadcast* broadcast = Find(response.watch_id);
  if (broadcast == nullptr) return;  // cancelled meanwhile
  if (response.canceled) return OnCanceled(broadcast, response);
  if (response.events.empty()) return OnNotified(broadcast, response.header);
  OnEvents(broadcast, message, std::move(response));
}

void WatchSession::OnEnd(const absl::Status& status) {
  KVORUM_LOG(logger_, kWarn, "watch stream to the cluster ended",
             {"error", std::string(status.message().data(), status.message().size())});
  Reopen();
  if (IsPassing(status)) return;
  for (const WatchClient* client : clients_) client->sink->End(status);
}

void WatchSession::OnCreated(const UpstreamResponse& response) {
  if (creating_.empty() || (!response.canceled && response.watch_id != creating_.front())) {
    KVORUM_LOG(logger_, kWarn, "the cluster created a watcher that was not asked for");
    return Reopen();
  }
  backoff_.Reset();
  Broadcast* broadcast = Find(creating_.front());
  creating_.pop_front();
  if (broadcast == nullptr) return;  // its cancellation is on its way
  if (response.canceled) return OnCanceled(broadcast, response);
  broadcast->created = true;
  for (Watcher* watcher : broadcast->receivers) {
    if (watcher->operation == nullptr) continue;
    watcher->operation->settled = true;
    WantDrain(watcher->client);
  }
}

void WatchSession::OnCanceled(Broadcast* broadcast, const UpstreamResponse& response) {
  if (response.compact_revision != 0) return OnCompacted(broadcast, response);
  const std::vector<Watcher*> receivers = TakeReceivers(broadcast);
  End(broadcast);
  const Bytes notice = EncodeWatchNotice(
      {.header = response.header, .canceled = true, .cancel_reason = response.cancel_reason});
  for (Watcher* watcher : receivers) {
    if (watcher->operation != nullptr) {
      Refuse(watcher, std::string(response.cancel_reason));
      continue;
    }
    watcher->client->watchers.erase(watcher->id);
    watcher->client->sink->Send(watcher->id, notice);
    Destroy(watcher);
  }
}

void WatchSession::OnCompacted(Broadcast* broadcast, const UpstreamResponse& response) {
  const std::vector<Watcher*> receivers = TakeReceivers(broadcast);
  End(broadcast);
  for (Watcher* watcher : receivers) {
    if (watcher->next >= response.compact_revision) {
      Join(watcher);  // nothing of its own was lost
    } else if (watcher->operation == nullptr) {
      EndCompacted(watcher, response.header, response.compact_revision);
    } else {
      watcher->operation->compact_revision = response.compact_revision;
      watcher->operation->settled = true;
      WantDrain(watcher->client);
    }
  }
}

void WatchSession::OnEvents(Broadcast* broadcast, std::string_view message, UpstreamResponse response) {
  std::string whole;
  if (!broadcast->incomplete.empty()) {
    whole = std::exchange(broadcast->incomplete, {});
    whole.append(message);
    if (!ParseUpstreamResponse(whole, key_prefix_, &response)) {
      KVORUM_LOG(logger_, kWarn, "malformed watch response of the cluster");
      return Reopen();
    }
  }
  const auto old = [broadcast](const UpstreamEvent& event) { return event.revision < broadcast->next; };
  std::erase_if(response.events, old);
  if (response.events.empty()) return;
  absl::Span<const UpstreamEvent> events = response.events;
  ResponseHeader header = response.header;
  if (response.fragment) {
    // The last revision may go on in the next response: it stays here until it is complete.
    const int64_t last = events.back().revision;
    while (!events.empty() && events.back().revision == last) events.remove_suffix(1);
    for (const UpstreamEvent& event : absl::MakeSpan(response.events).subspan(events.size())) {
      broadcast->incomplete.append(event.field);
    }
    if (events.empty()) return;
    header.revision = events.back().revision;
  }
  Deliver(broadcast, header, events);
}

void WatchSession::Deliver(Broadcast* broadcast, const ResponseHeader& header,
                           absl::Span<const UpstreamEvent> events) {
  metrics_.events.Add(broadcast->receivers.size() - 1);
  EventBatch batch(header, events, key_prefix_.size(), kFragmentBytes);
  for (size_t i = broadcast->receivers.size(); i-- > 0;) {
    Watcher* watcher = broadcast->receivers[i];
    const absl::Span<const Bytes> bodies = batch.For(watcher->form, watcher->next);
    if (bodies.empty()) continue;
    if (watcher->operation != nullptr || !watcher->client->sink->HasRoom()) {
      FallBehind(watcher);
      continue;
    }
    for (const Bytes& body : bodies) watcher->client->sink->Send(watcher->id, body);
    if (watcher->progress_notify) watcher->told = true;
  }
  broadcast->next = events.back().revision + 1;
  if (broadcast->receivers.empty()) {
    End(broadcast);
  } else {
    MergeIfCaughtUp(broadcast);
  }
}

void WatchSession::OnNotified(Broadcast* broadcast, const ResponseHeader& header) {
  const Bytes notice = EncodeWatchNotice({.header = header});
  for (Watcher* watcher : broadcast->receivers) {
    if (!watcher->progress_notify || watcher->operation != nullptr) continue;
    if (watcher->next <= header.revision + 1) watcher->client->sink->Send(watcher->id, notice);
    watcher->told = true;
  }
  broadcast->next = std::max(broadcast->next, header.revision + 1);
  MergeIfCaughtUp(broadcast);
}

void WatchSession::ArmTick() {
  if (tick_timer_ != 0 || need_ticks_ == 0) return;
  tick_timer_ = cluster_.After(kProgressInterval, [this] {
    tick_timer_ = 0;
    TickProgress();
    ArmTick();
  });
}

void WatchSession::TickProgress() {
  ResponseHeader header = header_;
  for (const auto& [id, broadcast] : broadcasts_) {
    if (!broadcast->created || broadcast->group->live != broadcast.get()) continue;
    header.revision = broadcast->next - 1;
    for (Watcher* watcher : broadcast->receivers) {
      if (!NeedsTicks(*watcher) || watcher->operation != nullptr || watcher->next > broadcast->next) continue;
      if (std::exchange(watcher->told, false)) continue;
      watcher->client->sink->Send(watcher->id, EncodeWatchNotice({.header = header}));
    }
  }
}

// Progress requests: the answer holds for every watcher of the stream.

void WatchSession::WantProgress(WatchClient* client) {
  const auto lives = [](const auto& entry) { return entry.second != nullptr; };
  if (std::none_of(client->watchers.begin(), client->watchers.end(), lives)) return;
  if (client->progress_owed++ == 0) progress_waiting_.push_back(client);
  AskProgress();
}

void WatchSession::AskProgress() {
  if (stream_ == nullptr || !progress_asked_.empty() || progress_waiting_.empty()) return;
  progress_asked_.swap(progress_waiting_);
  stream_->Send(EncodeWatchProgress());
  ArmProgress();
}

void WatchSession::ArmProgress() {
  if (progress_timer_ != 0) cluster_.CancelTimer(progress_timer_);
  progress_timer_ = cluster_.After(kProgressRetry, [this] {
    progress_timer_ = 0;
    progress_waiting_.insert(progress_waiting_.end(), progress_asked_.begin(), progress_asked_.end());
    progress_asked_.clear();
    AskProgress();
  });
}

void WatchSession::OnProgress(const ResponseHeader& header) {
  bool again = false;
  for (WatchClient* client : std::exchange(progress_asked_, {})) {
    switch (CaughtUp(*client, header.revision)) {
      case Caught::kUp: {
        const Bytes notice = EncodeWatchNotice({.header = header});
        for (; client->progress_owed > 0; --client->progress_owed) client->sink->Send(kNoWatchId, notice);
        break;
      }
      case Caught::kNotYet:
        progress_waiting_.push_back(client);
        again = true;
        break;
      case Caught::kStartsLater:  // a member says nothing then
        client->progress_owed = 0;
        break;
    }
  }
  if (again) {
    ArmProgress();
  } else {
    AskProgress();
  }
}

WatchSession::Caught WatchSession::CaughtUp(const WatchClient& client, int64_t revision) {
  bool any = false;
  bool later = false;
  for (const auto& [id, watcher] : client.watchers) {
    if (watcher == nullptr) continue;
    any = true;
    if (watcher->broadcast == nullptr || !watcher->broadcast->created) return Caught::kNotYet;
    later = later || watcher->next > revision + 1;
  }
  return any && !later ? Caught::kUp : Caught::kStartsLater;
}

}  // namespace kvorum::proxy_grpc
