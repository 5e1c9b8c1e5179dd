#pragma once

#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "base/thread_executor.h"
#include "http/client.h"
#include "peer/identity.h"
#include "peer/message_stats.h"
#include "peer/peer_metrics.h"
#include "peer/transport.h"

namespace kvorum::peer {

/// What the parts of a transport need of the whole. On the transport's loop only; outlives them.
class Hub {
 public:
  virtual ~Hub() = default;
  virtual const TransportOptions& options() const = 0;
  virtual const Identity& identity() const = 0;
  virtual http::Client& client() = 0;
  virtual PeerMetrics& metrics() = 0;
  virtual MessageStats& stats() = 0;
  /// Reads databases that are sent.
  virtual ThreadExecutor& snapshot_reader() = 0;

  // To the receiver; nothing once the transport stopped.

  /// A message from `from`, which is checked first.
  virtual void Receive(raft::NodeId from, raft::Message message) = 0;
  virtual void ReportUnreachable(raft::NodeId id) = 0;
  virtual void ReportSnapshot(raft::NodeId id, bool finished) = 0;
  virtual void OnRemoved() = 0;

  http::Loop& loop() const { return *options().loop; }
  Logger& logger() const { return *options().logger; }
};

/// Which of a peer's URLs is used: one until it fails, then the next. On the transport's loop only.
class UrlPicker {
 public:
  explicit UrlPicker(std::vector<std::string> urls) { Update(std::move(urls)); }

  void Update(std::vector<std::string> urls);
  /// Without a slash at its end; empty where there is none.
  const std::string& Pick() const;
  /// The next one is used, unless `url` is out of use already.
  void Rotate(const std::string& url);

 private:
  std::vector<std::string> urls_;
  size_t picked_ = 0;
};

/// Whether a peer can be reached, as its last exchange says.
class PeerStatus {
 public:
  PeerStatus(Hub* hub, raft::NodeId remote);

  // On the transport's loop.

  void Activate();
  /// `action`: what failed: "failed to dial 8211f1d0f64f3269 on stream Message".
  void Deactivate(std::string_view action, std::string_view error);
  /// The peer is no member any more.
  void Forget();

  /// Since when it is active without a break. Thread-safe.
  std::optional<MonotonicTime> since() const {
    absl::MutexLock lock(&mutex_);
    return since_;
  }

 private:
  Hub* const hub_;
  const raft::NodeId remote_;
  const std::string remote_text_;
  mutable absl::Mutex mutex_;
  std::optional<MonotonicTime> since_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace kvorum::peer
