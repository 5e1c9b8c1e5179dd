#pragma once

#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "backend/memory_backend.h"
#include "base/metrics.h"
#include "base/testing/temp_directory.h"
#include "cluster/cluster.h"
#include "fmt/format.h"
#include "http/server.h"
#include "peer/transport.h"

// For tests: a member that is nothing but a transport.

namespace kvorum::peer {

inline constexpr ClusterId kTestCluster{0xc1};

/// Records what a transport tells.
class RecordingReceiver final : public member::PeerReceiver {
 public:
  void Receive(raft::Message message) override {
    absl::MutexLock lock(&mutex_);
    messages_.push_back(std::move(message));
  }
  void ReceiveSnapshot(raft::Message message, absl::AnyInvocable<void(absl::Status)> done) override {
    {
      absl::MutexLock lock(&mutex_);
      snapshots_.push_back(std::move(message));
    }
    done(absl::OkStatus());
  }
  void ReportUnreachable(raft::NodeId id) override {
    absl::MutexLock lock(&mutex_);
    unreachable_.push_back(id);
  }
  void ReportSnapshot(raft::NodeId id, bool finished) override {
    absl::MutexLock lock(&mutex_);
    reports_.emplace_back(id, finished);
  }
  void OnRemoved() override {
    absl::MutexLock lock(&mutex_);
    removed_ = true;
  }

  /// Waits until `condition()` holds, which looks at the fields below with the lock held; false after 20 s.
  template <typename Condition>
  bool Await(Condition condition) {
    absl::MutexLock lock(&mutex_);
    return mutex_.AwaitWithTimeout(absl::Condition(&condition), absl::Seconds(20));
  }
  bool AwaitMessages(size_t count) {
    return Await([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return messages_.size() >= count; });
  }
  bool AwaitSnapshots(size_t count) {
    return Await([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return snapshots_.size() >= count; });
  }
  bool AwaitUnreachable() {
    return Await([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return !unreachable_.empty(); });
  }
  bool AwaitRemoved() {
    return Await([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return removed_; });
  }
  /// The reports of snapshots, once there are `count`.
  std::vector<std::pair<raft::NodeId, bool>> AwaitReports(size_t count) {
    Await([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return reports_.size() >= count; });
    absl::MutexLock lock(&mutex_);
    return reports_;
  }
  std::vector<raft::Message> messages() {
    absl::MutexLock lock(&mutex_);
    return messages_;
  }
  std::vector<raft::Message> snapshots() {
    absl::MutexLock lock(&mutex_);
    return snapshots_;
  }

 private:
  absl::Mutex mutex_;
  std::vector<raft::Message> messages_ ABSL_GUARDED_BY(mutex_);
  std::vector<raft::Message> snapshots_ ABSL_GUARDED_BY(mutex_);
  std::vector<raft::NodeId> unreachable_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::pair<raft::NodeId, bool>> reports_ ABSL_GUARDED_BY(mutex_);
  bool removed_ ABSL_GUARDED_BY(mutex_) = false;
};

/// Counts log lines by their message.
class CountingLogger final : public Logger {
 public:
  bool Enabled(LogLevel) const override { return true; }
  void Write(LogLevel, const char*, int, std::string_view message, std::initializer_list<LogField>) override {
    absl::MutexLock lock(&mutex_);
    ++counts_[std::string(message)];
  }
  int count(const std::string& message) {
    absl::MutexLock lock(&mutex_);
    return counts_[message];
  }

 private:
  absl::Mutex mutex_;
  std::map<std::string, int> counts_ ABSL_GUARDED_BY(mutex_);
};

/// Transport, peer listener, and what they stand on. The listener has two loops that are not the transport's.
class TestNode {
 public:
  explicit TestNode(uint64_t id, ClusterId cluster_id = kTestCluster, std::string url = "http://127.0.0.1:0")
      : id(id), cluster(MemberId(id), cluster_id, backend.get()) {
    Listen(url);
    TransportOptions options;
    options.local = MemberId(id);
    options.cluster = cluster_id;
    options.advertise_peer_urls = {url_};
    options.snap_dir = directory.path();
    options.env = &PosixEnv();
    options.loop = &loop;
    options.logger = &logger;
    options.metrics = &metrics;
    transport = Transport::Create(options);
    proxy_.target = &transport->handler();
  }
  ~TestNode() {
    StopListening();
    transport->Stop();
  }

  void Start() { transport->Start(&receiver, &cluster); }
  void StopListening() { server_.reset(); }
  /// On the port that it had.
  void ListenAgain() { Listen(url_); }
  /// Each knows of the other.
  void Meet(TestNode& other) {
    transport->AddPeer(raft::NodeId(other.id), {other.url_});
    other.transport->AddPeer(raft::NodeId(id), {url_});
  }
  bool AwaitActive(uint64_t peer) {
    return AwaitTrue([&] { return transport->ActiveSince(raft::NodeId(peer)).has_value(); });
  }
  /// Both streams in both directions, with `peers` peers.
  bool AwaitStreams(int peers = 1) {
    return AwaitTrue(
        [&] { return logger.count("established TCP streaming connection with remote peer") >= 4 * peers; });
  }
  template <typename Condition>
  static bool AwaitTrue(Condition condition) {
    const MonotonicTime limit = SystemClock().Now() + std::chrono::seconds(20);
    while (!condition()) {
      if (SystemClock().Now() > limit) return false;
      std::this_thread::yield();
    }
    return true;
  }
  void Send(raft::Message message) {
    std::vector<raft::Message> messages;
    messages.push_back(std::move(message));
    transport->Send(std::move(messages));
  }

  const std::string& url() const { return url_; }

  const uint64_t id;
  kvorum::testing::TempDirectory directory;
  std::unique_ptr<backend::MemoryBackend> backend = backend::MemoryBackend::Create();
  cluster::Cluster cluster;
  metrics::Registry metrics;
  CountingLogger logger;
  RecordingReceiver receiver;
  http::Loop loop{"peer"};
  std::unique_ptr<Transport> transport;

 private:
  /// Lets the server be there before the transport, which wants to know the server's port.
  struct Proxy final : http::Handler {
    std::unique_ptr<http::RequestSink> Start(const http::Request& request,
                                             http::ResponseWriter& writer) override {
      return target->Start(request, writer);
    }
    http::Handler* target = nullptr;
  };

  void Listen(const std::string& url) {
    http::ServerOptions options;
    options.handler = &proxy_;
    server_ = std::make_unique<http::Server>(&loops_, options);
    url_ = "http://" + server_->Listen({url}).value();
    server_->Start();
  }

  Proxy proxy_;
  std::string url_;
  http::LoopGroup loops_{2};
  std::unique_ptr<http::Server> server_;
};

}  // namespace kvorum::peer
