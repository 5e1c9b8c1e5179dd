#include <limits>
#include <map>

#include "grpc/metadata.h"
#include "proto/rpc.pb.h"
#include "proxy/grpc/upstream.h"

namespace kvorum::proxy_grpc {

namespace {

using namespace std::chrono_literals;

/// A key that nobody writes, at a revision that never comes.
constexpr std::string_view kKey = "__lostleader";
constexpr int64_t kRevision = std::numeric_limits<int64_t>::max() - 2;
constexpr auto kBetweenStarts = 100ms;  // at least
constexpr auto kBetweenMoves = 1s;      // from a member without a leader to another

class LeaderWatch final : public LeaderState {
 public:
  LeaderWatch(http::Loop& loop, grpc::Channel& channel, Logger& logger)
      : loop_(loop), channel_(channel), logger_(logger) {
    Start();
  }
  ~LeaderWatch() override {
    if (timer_ != 0) loop_.CancelTimer(timer_);
  }

  bool lost() const override { return lost_; }
  uint64_t OnLost(absl::AnyInvocable<void()> lost) override {
    watchers_.emplace(++last_id_, std::make_shared<absl::AnyInvocable<void()>>(std::move(lost)));
    return last_id_;
  }
  void Forget(uint64_t id) override { watchers_.erase(id); }

 private:
  void Start() {
    started_ = loop_.clock().Now();
    created_ = false;
    grpc::ClientConnection::StreamCallbacks callbacks;
    callbacks.on_message = [this](std::string_view message) { OnMessage(message); };
    callbacks.on_end = [this](const absl::Status& status) { OnEnd(status); };
    stream_ = channel_.OpenStream("/etcdserverpb.Watch/Watch", std::move(callbacks), {{"hasleader", "true"}});
    etcdserverpb::WatchRequest request;
    request.mutable_create_request()->set_key(std::string(kKey));
    request.mutable_create_request()->set_start_revision(kRevision);
    stream_->Send(request.SerializeAsString());
  }

  void OnMessage(std::string_view message) {
    if (stream_ == nullptr) return;  // after its end
    etcdserverpb::WatchResponse response;
    if (!response.ParseFromArray(message.data(), static_cast<int>(message.size()))) return;
    // A watcher that a cluster with users refuses says as much: the stream goes on, and ends without a
    // leader.
    if (response.canceled() && !response.created())
      return Again(grpc::MakeStatus(absl::StatusCode::kUnavailable, response.cancel_reason()));
    if (!response.created()) return;
    created_ = true;
    if (std::exchange(lost_, false)) KVORUM_LOG(logger_, kInfo, "the cluster has a leader again");
  }

  void OnEnd(const absl::Status& status) {
    if (stream_ != nullptr) Again(status);
  }

  /// The watch ended: that no leader is known, or that a member went away. Only who was refused by the next
  /// member too, or found none, counts as without a leader.
  void Again(const absl::Status& status) {
    const bool no_leader = grpc::Message(status).find("no leader") != std::string_view::npos;
    const MonotonicTime now = loop_.clock().Now();
    // Nothing of the stream's is called any more, and this may be its callback: it goes in a task of its own.
    stream_ending_ = std::move(stream_);
    if (no_leader && now - moved_ >= kBetweenMoves) {
      moved_ = now;
      channel_.LeaveServer();  // watches too: nothing new comes to them there
    }
    timer_ = loop_.PostAt(std::max(now, started_ + kBetweenStarts), [this] {
      timer_ = 0;
      stream_ending_.reset();
      Start();
    });
    if ((no_leader || !created_) && !std::exchange(lost_, true)) TellLost(status);
  }

  void TellLost(const absl::Status& status) {
    KVORUM_LOG(logger_, kWarn, "the cluster has no leader", {"error", grpc::Message(status)});
    const auto watchers = watchers_;  // which they may change
    for (const auto& [id, lost] : watchers) {
      if (watchers_.contains(id)) (*lost)();
    }
  }

  http::Loop& loop_;
  grpc::Channel& channel_;
  Logger& logger_;
  std::unique_ptr<grpc::ClientConnection::Stream> stream_;
  std::unique_ptr<grpc::ClientConnection::Stream> stream_ending_;
  bool created_ = false;  // on this stream
  bool lost_ = false;
  MonotonicTime started_{};
  MonotonicTime moved_{};
  Executor::TimerId timer_ = 0;
  uint64_t last_id_ = 0;
  std::map<uint64_t, std::shared_ptr<absl::AnyInvocable<void()>>> watchers_;  // shared with the telling
};

}  // namespace

std::unique_ptr<LeaderState> WatchLeader(http::Loop& loop, grpc::Channel& channel, Logger& logger) {
  return std::make_unique<LeaderWatch>(loop, channel, logger);
}

}  // namespace kvorum::proxy_grpc
