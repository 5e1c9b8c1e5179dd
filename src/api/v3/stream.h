#pragma once

#include <memory>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "api/v3/core.h"

namespace kvorum::api_v3 {

/// Knows whether an object is still there: what its tasks hold while they wait in the loop's queue. Dead from
/// the moment on that the owner says so. The object's loop only; the handle itself may pass through other
/// threads.
template <typename T>
class AliveFlag {
 public:
  explicit AliveFlag(T* object) : object_(std::make_shared<T*>(object)) {}
  ~AliveFlag() { *object_ = nullptr; }
  AliveFlag(const AliveFlag&) = delete;
  AliveFlag& operator=(const AliveFlag&) = delete;

  /// Points to the object, or to null where it is gone.
  const std::shared_ptr<T*>& handle() const { return object_; }

 private:
  std::shared_ptr<T*> object_;  // shared with the object's tasks
};

/// Cuts a stream whose client sent `hasleader` after three election time-outs in a row without a leader
/// (reference: v3-api.md §2.3). On the stream's loop only.
class LeaderGuard {
 public:
  /// `lost` may destroy this.
  LeaderGuard(Core* core, grpc::StreamWriter* writer, absl::AnyInvocable<void()> lost);
  ~LeaderGuard();

 private:
  void Arm();
  void Tick();

  Core* const core_;
  http::Loop& loop_;
  absl::AnyInvocable<void()> lost_;
  bool armed_ = false;
  Executor::TimerId timer_ = 0;
  int ticks_without_leader_ = 0;
};

/// Counts the messages of a stream as they pass.
class StreamCounter {
 public:
  StreamCounter(Core* core, MethodStats* stats) : core_(core), stats_(stats) {}
  void Received(size_t bytes) {
    stats_->received->Add();
    core_->client_received_bytes().Add(bytes);
  }
  void Sent(size_t bytes, uint64_t messages = 1) {
    stats_->sent->Add(messages);
    core_->client_sent_bytes().Add(bytes);
  }

 private:
  Core* core_;
  MethodStats* stats_;
};

/// Adds a streaming method whose handler counts its messages itself: `make(Core*, MethodStats*,
/// StreamWriter&)`.
template <typename Make>
void AddStream(Core* core, grpc::Server* server, std::string_view path, grpc::MethodKind kind, Make make) {
  MethodStats* stats = core->Find(path);
  KVORUM_CHECK(stats != nullptr, "{} is in no service", path);
  stats->counts_itself = true;
  server->AddStream(std::string(path), kind,
                    [core, stats, make](grpc::StreamWriter& writer) { return make(core, stats, writer); });
}

/// The usual `make` of AddStream.
template <typename Handler>
std::unique_ptr<grpc::StreamHandler> MakeStream(Core* core, MethodStats* stats, grpc::StreamWriter& writer) {
  return std::make_unique<Handler>(core, stats, writer);
}

/// What a client may make us queue without reading it, beyond which its stream is ended with
/// ResourceExhausted.
inline constexpr size_t kMaxBufferedBytes = 64 << 20;

}  // namespace kvorum::api_v3
