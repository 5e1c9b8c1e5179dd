#include "proxy/grpc/watch_session.h"

#include <algorithm>

#include "base/check.h"
#include "fmt/format.h"

namespace kvorum::proxy_grpc {
namespace {

constexpr int64_t kNoWatchId = -1;
constexpr auto kCheckTimeout = std::chrono::seconds(5);
/// A watcher joins a broadcast that is behind its start by at most so many revisions.
constexpr int64_t kJoinDistance = 1000;

constexpr std::string_view kRangeMethod = "/etcdserverpb.KV/Range";

// Texts of reference v3-api.md §6.8.
constexpr std::string_view kEmptyRange = "mvcc: watcher range is empty";
constexpr std::string_view kDuplicateId = "mvcc: duplicate watch ID provided on the WatchStream";
constexpr std::string_view kNegativeStart =
    "rpc error: code = OutOfRange desc = etcdserver: mvcc: required revision has been compacted";

/// The codes with which a check refuses, as gRPC writes them.
std::string_view CodeName(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kPermissionDenied:
      return "PermissionDenied";
    case absl::StatusCode::kUnauthenticated:
      return "Unauthenticated";
    case absl::StatusCode::kInvalidArgument:
      return "InvalidArgument";
    case absl::StatusCode::kFailedPrecondition:
      return "FailedPrecondition";
    case absl::StatusCode::kUnimplemented:
      return "Unimplemented";
    case absl::StatusCode::kOutOfRange:
      return "OutOfRange";
    case absl::StatusCode::kNotFound:
      return "NotFound";
    default:
      return "Unknown";
  }
}

bool IsEmptyRange(std::string_view key, std::string_view end) {
  return !end.empty() && end != std::string_view("\0", 1) && end <= key;
}

}  // namespace

WatchMetrics::WatchMetrics(metrics::Registry* registry)
    : watchers(registry->NewGauge("etcd_grpc_proxy_watchers_coalescing_total",
                                  "Total number of current watchers coalescing")),
      events(registry->NewCounter("etcd_grpc_proxy_events_coalescing_total",
                                  "Total number of events coalescing")) {}

WatchSession::WatchSession(ClusterCalls* cluster, const KeyPrefix* prefix, http::Headers metadata,
                           WatchMetrics* metrics, Logger* logger)
    : cluster_(*cluster),
      prefix_(*prefix),
      key_prefix_(prefix->Key("")),
      metadata_(std::move(metadata)),
      metrics_(*metrics),
      logger_(*logger),
      self_(std::make_shared<WatchSession*>(this)) {}

WatchSession::~WatchSession() {
  KVORUM_CHECK(clients_.empty() && broadcasts_.empty(), "a session ends under its clients");
  *self_ = nullptr;
  if (reopen_timer_ != 0) cluster_.CancelTimer(reopen_timer_);
  if (progress_timer_ != 0) cluster_.CancelTimer(progress_timer_);
  if (tick_timer_ != 0) cluster_.CancelTimer(tick_timer_);
  for (const auto& group : groups_) {  // what is left are checks for nobody
    if (group->check->timer != 0) cluster_.CancelTimer(group->check->timer);
    for (const Watcher* watcher : group->check->asked) delete watcher;
    for (const Watcher* watcher : group->check->waiting) delete watcher;
  }
}

// Requests.

void WatchSession::OnRequest(WatchClient* client, WatchRequest request) {
  if (request.kind == WatchRequest::Kind::kNone) return;
  if (client->operations.size() >= kMaxOperations) {
    client->sink->End(absl::ResourceExhaustedError("etcdserver: too many watch requests at once"));
    return;
  }
  if (request.kind == WatchRequest::Kind::kCreate) return Create(client, std::move(request));
  const bool cancel = request.kind == WatchRequest::Kind::kCancel;
  client->operations.push_back(
      {.kind = cancel ? WatchOperation::Kind::kCancel : WatchOperation::Kind::kProgress,
       .settled = true,
       .watch_id = request.watch_id});
  WantDrain(client);
  DrainAll();
}

void WatchSession::Create(WatchClient* client, WatchRequest request) {
  if (request.key.empty()) request.key.push_back('\0');
  WatchOperation& operation = client->operations.emplace_back(WatchOperation{.watch_id = request.watch_id});
  if (IsEmptyRange(request.key, request.range_end)) {
    operation.refusal = kEmptyRange;
  } else if (request.start_revision < 0) {
    operation.refusal = kNegativeStart;
  }
  const auto [key, end] = prefix_.Range(request.key, request.range_end);
  auto* watcher = new Watcher{.client = client,
                              .group = Acquire(key, end),
                              .operation = &operation,
                              .next = request.start_revision,
                              .form = request.form,
                              .from_now = request.start_revision == 0,
                              .progress_notify = request.progress_notify};
  operation.watcher = watcher;
  StartCheck(watcher);
}

void WatchSession::WantDrain(WatchClient* client) {
  if (std::exchange(client->to_drain, true)) return;
  drains_.push_back(client);
}

void WatchSession::DrainAll() {
  while (!drains_.empty()) {
    WatchClient* client = drains_.back();
    drains_.pop_back();
    client->to_drain = false;
    Drain(client);
  }
}

void WatchSession::Drain(WatchClient* client) {
  while (!client->operations.empty() && client->operations.front().settled) {
    WatchOperation& operation = client->operations.front();
    switch (operation.kind) {
      case WatchOperation::Kind::kCreate:
        Announce(client, operation);
        break;
      case WatchOperation::Kind::kCancel:
        Cancel(client, operation.watch_id);
        break;
      case WatchOperation::Kind::kProgress:
        WantProgress(client);
        break;
    }
    client->operations.pop_front();
  }
}

void WatchSession::Announce(WatchClient* client, WatchOperation& operation) {
  Watcher* watcher = operation.watcher;
  int64_t id = operation.watch_id;
  const bool refused = watcher == nullptr || (id != 0 && client->watchers.contains(id));
  if (refused) {
    client->sink->Send(kNoWatchId, EncodeWatchNotice({.header = operation.header,
                                                      .created = true,
                                                      .canceled = true,
                                                      .cancel_reason = watcher == nullptr ? operation.refusal
                                                                                          : kDuplicateId}));
    if (watcher != nullptr) Destroy(watcher);
    return;
  }
  if (id == 0) {
    while (client->watchers.contains(client->next_id)) ++client->next_id;
    id = client->next_id++;
  }
  watcher->id = id;
  watcher->operation = nullptr;
  client->watchers[id] = watcher;
  client->sink->Send(id, EncodeWatchNotice({.header = operation.header, .created = true}));
  if (NeedsTicks(*watcher)) {
    ++need_ticks_;
    ArmTick();
  }
  if (operation.compact_revision != 0) {
    ResponseHeader header = operation.header;
    header.revision = 0;
    EndCompacted(watcher, header, operation.compact_revision);
  } else if (watcher->broadcast == nullptr) {
    Join(watcher);  // it fell behind while it waited for its turn
  }
}

void WatchSession::Cancel(WatchClient* client, int64_t id) {
  const auto found = client->watchers.find(id);
  if (found == client->watchers.end()) return;
  Watcher* watcher = found->second;
  client->watchers.erase(found);
  if (watcher != nullptr) Destroy(watcher);
  client->sink->Send(id, EncodeWatchNotice({.header = header_, .canceled = true}));
}

void WatchSession::Refuse(Watcher* watcher, std::string reason) {
  WatchOperation* operation = watcher->operation;
  operation->watcher = nullptr;
  operation->refusal = std::move(reason);
  operation->settled = true;
  WantDrain(watcher->client);
  Destroy(watcher);
}

void WatchSession::Destroy(Watcher* watcher) {
  if (NeedsTicks(*watcher) && watcher->operation == nullptr) --need_ticks_;
  if (Broadcast* broadcast = watcher->broadcast) {
    Detach(watcher);
    EndIfUnused(broadcast);
  } else {
    std::erase(watcher->client->behind, watcher);
  }
  Release(watcher->group);
  delete watcher;
}

void WatchSession::EndCompacted(Watcher* watcher, const ResponseHeader& header, int64_t compact_revision) {
  watcher->client->watchers[watcher->id] = nullptr;
  watcher->client->sink->Send(
      watcher->id,
      EncodeWatchNotice({.header = header, .canceled = true, .compact_revision = compact_revision}));
  Destroy(watcher);
}

void WatchSession::Remove(WatchClient* client) {
  KVORUM_CHECK(clients_.erase(client) == 1, "a client that is not there");
  client->behind.clear();
  std::erase(drains_, client);
  std::erase(progress_asked_, client);
  std::erase(progress_waiting_, client);
  for (auto& [id, watcher] : client->watchers) {
    if (watcher != nullptr) Destroy(watcher);
  }
  client->watchers.clear();
  for (WatchOperation& operation : client->operations) {
    Watcher* watcher = operation.watcher;
    if (watcher == nullptr) continue;
    if (watcher->broadcast != nullptr || operation.settled) {
      Destroy(watcher);
    } else {
      watcher->client = nullptr;  // its check lets go of it
    }
  }
  client->operations.clear();
}

void WatchSession::OnRoom(WatchClient* client) {
  for (Watcher* watcher : std::exchange(client->behind, {})) Join(watcher);
}

// Ranges and their checks.

WatchGroup* WatchSession::Acquire(std::string_view key, std::string_view end) {
  auto found = groups_.find(RangeOf::Pair(key, end));
  if (found == groups_.end()) {
    auto group = std::make_unique<WatchGroup>();
    group->key = key;
    group->end = end;
    found = groups_.insert(std::move(group)).first;
  }
  ++(*found)->users;
  return found->get();
}

void WatchSession::Release(WatchGroup* group) {
  if (--group->users > 0) return;
  groups_.erase(groups_.find(RangeOf::Pair(group->key, group->end)));
}

void WatchSession::StartCheck(Watcher* watcher) {
  WatchGroup* group = watcher->group;
  if (group->check != nullptr) {
    group->check->waiting.push_back(watcher);
    return;
  }
  group->check = std::make_unique<RangeCheck>();
  group->check->waiting.push_back(watcher);
  ++group->users;  // the check's, until it is over
  RunCheck(group);
}

void WatchSession::RunCheck(WatchGroup* group) {
  group->check->asked = std::exchange(group->check->waiting, {});
  group->check->heard = heard_;
  cluster_.Unary(
      kRangeMethod, EncodeRangeCheck(group->key, group->end), kCheckTimeout,
      [self = self_, group](const absl::Status& status, std::string_view response) {
        if (*self != nullptr) (*self)->OnChecked(group, status, response);
      },
      metadata_);
}

void WatchSession::OnChecked(WatchGroup* group, const absl::Status& status, std::string_view response) {
  RangeCheck& check = *group->check;
  ResponseHeader header;
  const bool passed = status.ok() && ParseResponseHeader(response, &header) && header.revision > 0;
  std::vector<Watcher*> asked = std::exchange(check.asked, {});
  const auto gone = [this](Watcher* watcher) {
    if (watcher->client != nullptr) return false;
    Release(watcher->group);
    delete watcher;
    return true;
  };
  std::erase_if(asked, gone);
  if (passed) {
    Learn(header);
    check.backoff.Reset();
  }
  if (!passed && IsPassing(status)) {
    check.waiting.insert(check.waiting.begin(), asked.begin(), asked.end());
  } else {
    for (Watcher* watcher : asked) FinishCheck(watcher, status);
  }
  if (absl::IsDeadlineExceeded(status)) {
    cluster_.TryAnother();
    if (stream_ != nullptr && check.heard == heard_) Reopen();
  }
  std::erase_if(check.waiting, gone);
  if (check.waiting.empty()) {
    group->check.reset();
    Release(group);
  } else if (passed || !IsPassing(status)) {
    RunCheck(group);
  } else {
    check.timer = cluster_.After(check.backoff.Next(), [this, group] {
      group->check->timer = 0;
      RunCheck(group);
    });
  }
  DrainAll();
}

void WatchSession::FinishCheck(Watcher* watcher, const absl::Status& status) {
  WatchOperation& operation = *watcher->operation;
  operation.header = header_;
  if (!status.ok()) {
    return Refuse(watcher, fmt::format("rpc error: code = {} desc = {}", CodeName(status.code()),
                                       std::string_view(status.message().data(), status.message().size())));
  }
  if (!operation.refusal.empty()) return Refuse(watcher, std::move(operation.refusal));
  Join(watcher);
}

// Broadcasts.

void WatchSession::Join(Watcher* watcher) {
  WatchGroup* group = watcher->group;
  if (std::exchange(watcher->from_now, false)) watcher->next = header_.revision + 1;
  Broadcast* target = nullptr;
  if (group->live != nullptr && group->live->next <= watcher->next) {
    target = group->live;
  } else {
    for (Broadcast* other : group->catching_up) {
      if (other->next > watcher->next || watcher->next - other->next > kJoinDistance) continue;
      if (target == nullptr || other->next > target->next) target = other;
    }
  }
  // The cluster is never asked to start in the future: such a watcher would keep every other of the stream
  // from being told of progress.
  if (target == nullptr) target = Begin(group, std::min(watcher->next, header_.revision + 1));
  Attach(target, watcher);
  if (watcher->operation == nullptr || !target->created) return;
  watcher->operation->settled = true;
  WantDrain(watcher->client);
}

Broadcast* WatchSession::Begin(WatchGroup* group, int64_t start) {
  const int64_t id = ++last_id_;
  auto& broadcast = broadcasts_[id];
  broadcast = std::make_unique<Broadcast>();
  Broadcast* begun = broadcast.get();
  begun->group = group;
  begun->id = id;
  begun->next = start;
  begun->target = header_.revision;
  if (group->live == nullptr && start > header_.revision) {
    group->live = begun;
  } else {
    group->catching_up.push_back(begun);
  }
  if (stream_ != nullptr) {
    SendCreate(begun);
  } else {
    Open();
  }
  return begun;
}

void WatchSession::Attach(Broadcast* broadcast, Watcher* watcher) {
  watcher->broadcast = broadcast;
  watcher->slot = static_cast<uint32_t>(broadcast->receivers.size());
  broadcast->receivers.push_back(watcher);
  if (broadcast->receivers.size() > 1) metrics_.watchers.Add(1);
}

void WatchSession::Detach(Watcher* watcher) {
  std::vector<Watcher*>& receivers = watcher->broadcast->receivers;
  if (receivers.size() > 1) metrics_.watchers.Add(-1);
  receivers.back()->slot = watcher->slot;
  receivers[watcher->slot] = receivers.back();
  receivers.pop_back();
  watcher->broadcast = nullptr;
}

void WatchSession::FallBehind(Watcher* watcher) {
  watcher->next = std::max(watcher->next, watcher->broadcast->next);
  Detach(watcher);
  if (watcher->operation == nullptr) watcher->client->behind.push_back(watcher);
}

void WatchSession::EndIfUnused(Broadcast* broadcast) {
  if (broadcast->receivers.empty()) End(broadcast);
}

std::vector<Watcher*> WatchSession::TakeReceivers(Broadcast* broadcast) {
  std::vector<Watcher*> receivers = std::exchange(broadcast->receivers, {});
  if (receivers.size() > 1) metrics_.watchers.Add(1 - static_cast<int64_t>(receivers.size()));
  for (Watcher* watcher : receivers) {
    watcher->next = std::max(watcher->next, broadcast->next);
    watcher->broadcast = nullptr;
  }
  return receivers;
}

void WatchSession::End(Broadcast* broadcast) {
  WatchGroup* group = broadcast->group;
  if (group->live == broadcast) {
    group->live = nullptr;
  } else {
    std::erase(group->catching_up, broadcast);
  }
  const int64_t id = broadcast->id;
  if (stream_ != nullptr) stream_->Send(EncodeWatchCancel(id));
  broadcasts_.erase(id);
}

void WatchSession::MergeIfCaughtUp(Broadcast* broadcast) {
  WatchGroup* group = broadcast->group;
  if (group->live == broadcast) return;
  if (group->live == nullptr) {
    if (broadcast->next <= broadcast->target) return;
    std::erase(group->catching_up, broadcast);
    group->live = broadcast;
    return;
  }
  if (!group->live->created || group->live->next > broadcast->next) return;
  for (Watcher* watcher : TakeReceivers(broadcast)) Attach(group->live, watcher);
  End(broadcast);
}

void WatchSession::CheckInvariants() const {
  for (const auto& [id, broadcast] : broadcasts_) {
    const WatchGroup& group = *broadcast->group;
    KVORUM_CHECK(id == broadcast->id && !broadcast->receivers.empty(), "broadcast {}", id);
    KVORUM_CHECK(group.live == broadcast.get() ||
                     std::count(group.catching_up.begin(), group.catching_up.end(), broadcast.get()) == 1,
                 "broadcast {} is in no group", id);
    for (size_t i = 0; i < broadcast->receivers.size(); ++i) {
      const Watcher& watcher = *broadcast->receivers[i];
      KVORUM_CHECK(watcher.slot == i && watcher.broadcast == broadcast.get() && watcher.group == &group,
                   "receiver {} of broadcast {}", i, id);
    }
  }
  for (const WatchClient* client : clients_) {
    KVORUM_CHECK(client->operations.empty() || !client->operations.front().settled, "an answer waits");
    for (const Watcher* watcher : client->behind) {
      KVORUM_CHECK(watcher->broadcast == nullptr && watcher->operation == nullptr, "not behind");
    }
  }
  KVORUM_CHECK(drains_.empty(), "an answer waits");
}

}  // namespace kvorum::proxy_grpc
