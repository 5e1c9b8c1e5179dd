#include "proxy/grpc/testing/fake_cluster.h"

#include <algorithm>
#include <functional>

#include "base/check.h"

namespace kvorum::proxy_grpc::testing {

class FakeCluster::Handle final : public Stream {
 public:
  Handle(FakeCluster* cluster, std::shared_ptr<ServerStream> stream)
      : cluster_(cluster), stream_(std::move(stream)) {}
  ~Handle() override { std::erase(cluster_->streams_, stream_); }
  void Send(std::string_view message) override {
    if (stream_->broken.ok()) stream_->requests.emplace_back(message);
  }
  void HalfClose() override {}
  size_t buffered() const override { return 0; }
  void Pause() override {}
  void Resume() override {}

 private:
  FakeCluster* const cluster_;
  const std::shared_ptr<ServerStream> stream_;
};

void FakeCluster::Write(const std::vector<std::pair<std::string, std::string>>& keys) {
  ++revision_;
  for (const auto& [key, value] : keys) {
    const auto found = content_.find(key);
    const bool existed = found != content_.end();
    if (value.empty() && !existed) continue;
    history_.push_back({.revision = revision_,
                        .key = key,
                        .is_delete = value.empty(),
                        .creates = !existed,
                        .value = value,
                        .previous = existed ? found->second : ""});
    if (value.empty()) {
      content_.erase(key);
    } else {
      content_[key] = value;
    }
  }
}

void FakeCluster::BreakStreams(const absl::Status& status) {
  for (const auto& stream : streams_) {
    stream->broken = status;
    stream->responses.clear();  // lost on the way
    stream->watches.clear();
    stream->requests.clear();
  }
}

void FakeCluster::Say(const std::string& message) {
  for (const auto& stream : streams_) stream->responses.push_back(message);
}

size_t FakeCluster::watchers() const {
  size_t n = 0;
  for (const auto& stream : streams_) n += stream->watches.size();
  return n;
}

etcdserverpb::ResponseHeader FakeCluster::Header() const {
  etcdserverpb::ResponseHeader header;
  header.set_cluster_id(77);
  header.set_member_id(5);
  header.set_revision(revision_);
  header.set_raft_term(3);
  return header;
}

std::unique_ptr<ClusterCalls::Stream> FakeCluster::OpenStream(std::string_view method,
                                                              StreamCallbacks callbacks,
                                                              const http::Headers& metadata) {
  auto stream = std::make_shared<ServerStream>();
  stream->keep_alive = method.ends_with("LeaseKeepAlive");
  stream->callbacks = std::move(callbacks);
  streams_.push_back(stream);
  stream_metadata_.push_back(metadata);
  return std::make_unique<Handle>(this, stream);
}

void FakeCluster::Unary(std::string_view method, std::string_view request, std::chrono::nanoseconds,
                        UnaryDone done, const http::Headers& metadata) {
  KVORUM_CHECK(method == "/etcdserverpb.KV/Range", "{}", method);
  ++checks_;
  etcdserverpb::RangeRequest range;
  KVORUM_CHECK(range.ParseFromString(std::string(request)) && range.count_only() && range.serializable(),
               "no check of a range");
  std::string token;
  for (const auto& [name, value] : metadata) token = value;
  absl::Status status;
  if (const auto denied = denied_.find(token); denied != denied_.end()) status = denied->second;
  etcdserverpb::RangeResponse response;
  *response.mutable_header() = Header();
  answers_.emplace_back(std::move(done), std::pair(status, response.SerializeAsString()));
}

Executor::TimerId FakeCluster::After(std::chrono::nanoseconds, Executor::Task task) {
  timers_[++last_timer_] = std::move(task);
  return last_timer_;
}

void FakeCluster::RunTimers() {
  const Executor::TimerId last = last_timer_;
  while (!timers_.empty() && timers_.begin()->first <= last) {
    Executor::Task task = std::move(timers_.begin()->second);
    timers_.erase(timers_.begin());
    task();
  }
}

bool FakeCluster::Matches(const Watch& watch, const std::string& key) const {
  if (watch.end.empty()) return key == watch.key;
  return key >= watch.key && (watch.end == std::string(1, '\0') || key < watch.end);
}

bool FakeCluster::HasNews(const Watch& watch) const {
  if (watch.next < compacted_) return true;
  return std::any_of(history_.rbegin(), history_.rend(), [&](const Change& change) {
    return change.revision >= watch.next && Matches(watch, change.key);
  });
}

bool FakeCluster::Step(size_t choice) {
  std::vector<std::function<void()>> can;
  for (const auto& stream : streams_) {
    if (!stream->requests.empty()) {
      can.emplace_back([this, stream] {
        const std::string request = std::move(stream->requests.front());
        stream->requests.pop_front();
        stream->keep_alive ? ServeKeepAlive(stream.get(), request) : Serve(stream.get(), request);
      });
    }
    if (!stream->responses.empty()) {
      can.emplace_back([stream] {
        const std::string response = std::move(stream->responses.front());
        stream->responses.pop_front();
        stream->callbacks.on_message(response);
      });
    } else if (!stream->broken.ok()) {
      can.emplace_back([this, stream] {
        std::erase(streams_, stream);
        stream->callbacks.on_end(stream->broken);
      });
    }
    for (auto& [id, watch] : stream->watches) {
      if (stream->broken.ok() && HasNews(watch)) {
        can.emplace_back([this, stream, id = id, w = &watch] { Produce(stream.get(), id, w); });
      }
    }
  }
  if (!answers_.empty()) {
    can.emplace_back([this] {
      auto [done, answer] = std::move(answers_.front());
      answers_.pop_front();
      done(answer.first, answer.first.ok() ? answer.second : "");
    });
  }
  if (can.empty()) return false;
  can[choice % can.size()]();
  return true;
}

void FakeCluster::Run() {
  for (int rounds = 0; rounds < 5; ++rounds) {
    while (Step(0)) {
    }
    RunTimers();
  }
  while (Step(0)) {
  }
}

void FakeCluster::Serve(ServerStream* stream, const std::string& bytes) {
  etcdserverpb::WatchRequest request;
  KVORUM_CHECK(request.ParseFromString(bytes), "a malformed request");
  etcdserverpb::WatchResponse response;
  *response.mutable_header() = Header();
  if (request.has_create_request()) {
    const auto& create = request.create_request();
    KVORUM_CHECK(create.start_revision() <= revision_ + 1 && create.start_revision() > 0, "start {} at {}",
                 create.start_revision(), revision_);
    KVORUM_CHECK(create.watch_id() > 0 && !stream->watches.contains(create.watch_id()), "a bad id");
    stream->watches[create.watch_id()] = {.key = create.key(),
                                          .end = create.range_end(),
                                          .next = create.start_revision(),
                                          .prev_kv = create.prev_kv(),
                                          .fragment = create.fragment()};
    response.set_watch_id(create.watch_id());
    response.set_created(true);
  } else if (request.has_cancel_request()) {
    if (stream->watches.erase(request.cancel_request().watch_id()) == 0) return;
    response.set_watch_id(request.cancel_request().watch_id());
    response.set_canceled(true);
  } else {
    for (const auto& [id, watch] : stream->watches) {
      if (HasNews(watch)) return;
    }
    if (stream->watches.empty()) return;
    response.set_watch_id(-1);
  }
  stream->responses.push_back(response.SerializeAsString());
}

void FakeCluster::ServeKeepAlive(ServerStream* stream, const std::string& bytes) {
  etcdserverpb::LeaseKeepAliveRequest request;
  KVORUM_CHECK(request.ParseFromString(bytes), "a malformed request");
  keep_alives.push_back(request.id());
  if (const auto found = refused.find(request.id()); found != refused.end()) {
    stream->broken = found->second;
    return;
  }
  if (!keep_alives_answered || !stream->broken.ok()) return;
  etcdserverpb::LeaseKeepAliveResponse response;
  *response.mutable_header() = Header();
  response.set_id(request.id());
  if (const auto lease = leases.find(request.id()); lease != leases.end()) response.set_ttl(lease->second);
  stream->responses.push_back(response.SerializeAsString());
}

void FakeCluster::Produce(ServerStream* stream, int64_t id, Watch* watch) {
  etcdserverpb::WatchResponse response;
  *response.mutable_header() = Header();
  response.set_watch_id(id);
  if (watch->next < compacted_) {
    response.mutable_header()->set_revision(0);
    response.set_canceled(true);
    response.set_compact_revision(compacted_);
    stream->watches.erase(id);
    stream->responses.push_back(response.SerializeAsString());
    return;
  }
  size_t revisions = 0;
  int64_t last = 0;
  for (const Change& change : history_) {
    if (change.revision < watch->next || !Matches(*watch, change.key)) continue;
    if (change.revision != last && revisions++ == batch_revisions) break;
    last = change.revision;
    if (response.events_size() == static_cast<int>(fragment_events) && watch->fragment) {
      response.set_fragment(true);
      stream->responses.push_back(response.SerializeAsString());
      response.clear_events();
      response.set_fragment(false);
    }
    auto* event = response.add_events();
    event->mutable_kv()->set_key(change.key);
    event->mutable_kv()->set_mod_revision(change.revision);
    if (change.is_delete) {
      event->set_type(mvccpb::Event::DELETE);
    } else {
      event->mutable_kv()->set_value(change.value);
    }
    if (watch->prev_kv && !change.creates) {
      event->mutable_prev_kv()->set_key(change.key);
      event->mutable_prev_kv()->set_value(change.previous);
    }
  }
  watch->next = last + 1;
  stream->responses.push_back(response.SerializeAsString());
}

void FakeCluster::NotifyProgress() {
  for (const auto& stream : streams_) {
    for (auto& [id, watch] : stream->watches) {
      if (HasNews(watch) || !stream->broken.ok()) continue;
      etcdserverpb::WatchResponse response;
      *response.mutable_header() = Header();
      response.set_watch_id(id);
      stream->responses.push_back(response.SerializeAsString());
    }
  }
}

}  // namespace kvorum::proxy_grpc::testing
