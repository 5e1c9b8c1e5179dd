#include "proxy/grpc/keep_alive.h"

#include <algorithm>

#include "base/check.h"
#include "base/wire.h"

namespace kvorum::proxy_grpc {
namespace {

constexpr std::string_view kMethod = "/etcdserverpb.Lease/LeaseKeepAlive";
/// After so long without an answer another member is asked.
constexpr auto kPatience = std::chrono::seconds(3);
constexpr uint32_t kRequestId = 1;
constexpr uint32_t kResponseId = 2;

/// Field `number` of a message, 0 where there is none. False: malformed.
bool ReadId(std::string_view message, uint32_t number, int64_t* id) {
  wire::Reader reader(message);
  *id = 0;
  for (wire::Field field; reader.Next(&field);) {
    if (field.number == number && field.type == wire::Type::kVarint) *id = static_cast<int64_t>(field.varint);
  }
  return reader.ok();
}

}  // namespace

KeepAliveSession::KeepAliveSession(ClusterCalls* cluster, http::Headers metadata, Logger* logger)
    : cluster_(*cluster),
      metadata_(std::move(metadata)),
      logger_(*logger),
      self_(std::make_shared<KeepAliveSession*>(this)) {}

KeepAliveSession::~KeepAliveSession() {
  *self_ = nullptr;
  if (reopen_timer_ != 0) cluster_.CancelTimer(reopen_timer_);
  if (answer_timer_ != 0) cluster_.CancelTimer(answer_timer_);
}

void KeepAliveSession::Add(ClientSink* sink) {
  const ClientId id = ++last_client_;
  ids_[sink] = id;
  clients_[id] = std::make_unique<Client>(Client{.id = id, .sink = sink});
}

void KeepAliveSession::Remove(ClientSink* sink) {
  const auto found = ids_.find(sink);
  clients_.erase(found->second);
  ids_.erase(found);
}

KeepAliveSession::Client* KeepAliveSession::Find(ClientId id) const {
  const auto found = clients_.find(id);
  return found == clients_.end() ? nullptr : found->second.get();
}

void KeepAliveSession::DropGone(Waiters* waiters) const {
  waiters->erase(
      std::remove_if(waiters->begin(), waiters->end(), [this](ClientId id) { return Find(id) == nullptr; }),
      waiters->end());
}

void KeepAliveSession::OnRequest(ClientSink* sink, int64_t id) {
  Client& client = *clients_.at(ids_.at(sink));
  if (client.owed >= kMaxOwed) {
    sink->End(absl::ResourceExhaustedError("etcdserver: too many keep-alives at once"));
    return;
  }
  ++client.owed;
  Lease& lease = leases_[id];
  lease.waiting.push_back(client.id);
  if (lease.under_way || lease.waiting.size() > 1) return;
  ready_.push_back(id);
  Pump();
}

void KeepAliveSession::OnHalfClose(ClientSink* sink) {
  Client& client = *clients_.at(ids_.at(sink));
  client.half_closed = true;
  if (client.owed == 0) sink->End(absl::OkStatus());
}

void KeepAliveSession::Pump() {
  if (reopen_timer_ != 0) return;
  while (!ready_.empty() && (one_by_one_ == 0 || under_way_.empty())) {
    const int64_t id = ready_.front();
    ready_.pop_front();
    SendNext(id);
  }
}

void KeepAliveSession::SendNext(int64_t id) {
  const auto found = leases_.find(id);
  KVORUM_CHECK(found != leases_.end() && !found->second.under_way, "lease {} is not ready", id);
  Lease& lease = found->second;
  DropGone(&lease.waiting);
  if (lease.waiting.empty()) {
    leases_.erase(found);
    if (one_by_one_ > 0) --one_by_one_;
    return;
  }
  lease.asked = std::exchange(lease.waiting, {});
  lease.under_way = true;
  under_way_.push_back(id);
  if (stream_ == nullptr) Open();
  std::string request;
  if (id != 0) wire::AppendUint(request, kRequestId, static_cast<uint64_t>(id));
  stream_->Send(request);
  WatchAnswers();
}

void KeepAliveSession::OnAnswer(std::string_view message) {
  int64_t id = 0;
  const bool read = ReadId(message, kResponseId, &id);
  const auto place = std::find(under_way_.begin(), under_way_.end(), id);
  if (!read || place == under_way_.end()) {
    KVORUM_LOG(logger_, kWarn, "malformed keep-alive response of the cluster");
    AskAgain(std::exchange(under_way_, {}));
    return Reopen();
  }
  under_way_.erase(place);
  answered_ = true;
  backoff_.Reset();
  const Bytes body = Bytes::Copy(message);
  for (const ClientId waiter : std::exchange(leases_.at(id).asked, {})) {
    Client* client = Find(waiter);
    if (client == nullptr) continue;
    client->sink->Send(0, body);
    if (--client->owed == 0 && client->half_closed) client->sink->End(absl::OkStatus());
  }
  Settle(id);
  Pump();
}

void KeepAliveSession::Settle(int64_t id) {
  if (one_by_one_ > 0) --one_by_one_;
  Lease& lease = leases_.at(id);
  lease.under_way = false;
  if (lease.waiting.empty()) {
    leases_.erase(id);
  } else {
    ready_.push_back(id);
  }
}

void KeepAliveSession::AskAgain(const std::deque<int64_t>& ids) {
  for (auto id = ids.rbegin(); id != ids.rend(); ++id) {
    Lease& lease = leases_.at(*id);
    lease.under_way = false;
    lease.waiting.insert(lease.waiting.begin(), lease.asked.begin(), lease.asked.end());
    lease.asked.clear();
    ready_.push_front(*id);
  }
}

void KeepAliveSession::Refuse(int64_t id, const absl::Status& status) {
  for (const ClientId waiter : std::exchange(leases_.at(id).asked, {})) {
    if (const Client* client = Find(waiter)) client->sink->End(status);
  }
  Settle(id);
}

void KeepAliveSession::OnEnd(const absl::Status& status) {
  const std::deque<int64_t> under_way = std::exchange(under_way_, {});
  if (!IsPassing(status) && under_way.size() == 1) {
    Refuse(under_way.front(), status);
  } else {
    // Whose request it was shows when each is asked for alone.
    if (!IsPassing(status)) one_by_one_ = std::max(one_by_one_, under_way.size());
    AskAgain(under_way);
  }
  if (IsPassing(status)) {
    KVORUM_LOG(logger_, kWarn, "keep-alive stream to the cluster ended",
               {"error", std::string(status.message().data(), status.message().size())});
  }
  Reopen();
}

void KeepAliveSession::Open() {
  old_stream_.reset();
  const uint64_t number = ++stream_number_;
  stream_ = cluster_.OpenStream(kMethod,
                                {.on_message =
                                     [self = self_, number](std::string_view message) {
                                       if (*self == nullptr || (*self)->stream_number_ != number) return;
                                       (*self)->OnAnswer(message);
                                     },
                                 .on_end =
                                     [self = self_, number](const absl::Status& status) {
                                       if (*self == nullptr || (*self)->stream_number_ != number) return;
                                       (*self)->OnEnd(status);
                                     }},
                                metadata_);
}

void KeepAliveSession::Reopen() {
  ++stream_number_;
  old_stream_ = std::move(stream_);
  if (answer_timer_ != 0) cluster_.CancelTimer(std::exchange(answer_timer_, 0));
  reopen_timer_ = cluster_.After(backoff_.Next(), [this] {
    reopen_timer_ = 0;
    old_stream_.reset();
    Pump();
  });
}

void KeepAliveSession::WatchAnswers() {
  if (answer_timer_ != 0) return;
  answered_ = false;
  answer_timer_ = cluster_.After(kPatience, [this] {
    answer_timer_ = 0;
    if (under_way_.empty()) return;
    if (answered_) return WatchAnswers();
    KVORUM_LOG(logger_, kWarn, "no answer to keep-alives from the cluster");
    cluster_.TryAnother();
    AskAgain(std::exchange(under_way_, {}));
    Reopen();
  });
}

KeepAliveCoalescer::~KeepAliveCoalescer() { KVORUM_CHECK(clients_.empty(), "clients are left"); }

void KeepAliveCoalescer::OnOpen(ClientSink* sink, http::Headers metadata) {
  std::string credentials = CredentialsKey(metadata);
  std::unique_ptr<KeepAliveSession>& session = sessions_[credentials];
  if (session == nullptr) {
    session = std::make_unique<KeepAliveSession>(cluster_, std::move(metadata), logger_);
  }
  session->Add(sink);
  clients_[sink] = {.session = session.get(), .credentials = std::move(credentials)};
}

void KeepAliveCoalescer::OnMessage(ClientSink* sink, std::string_view message) {
  int64_t id = 0;
  if (!ReadId(message, kRequestId, &id)) return sink->End(MalformedRequestError());
  clients_.at(sink).session->OnRequest(sink, id);
}

void KeepAliveCoalescer::OnHalfClose(ClientSink* sink) { clients_.at(sink).session->OnHalfClose(sink); }

void KeepAliveCoalescer::OnClose(ClientSink* sink) {
  const auto found = clients_.find(sink);
  KeepAliveSession* session = found->second.session;
  session->Remove(sink);
  if (session->empty()) sessions_.erase(found->second.credentials);
  clients_.erase(found);
}

}  // namespace kvorum::proxy_grpc
