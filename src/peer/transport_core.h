#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/thread_executor.h"
#include "peer/answer.h"
#include "peer/hub.h"
#include "peer/peer.h"

namespace kvorum::peer {

/// The transport itself: who the peers are, what goes where, and what comes in. Shared between the transport,
/// its handler's requests and tasks under way.
///
/// Peers, receiver and cluster are used on the transport's loop; other threads post to it.
class TransportCore final : public Hub, public std::enable_shared_from_this<TransportCore> {
 public:
  explicit TransportCore(const TransportOptions& options);
  ~TransportCore() override;

  // As of Transport and PeerTransport; thread-safe.

  void Start(member::PeerReceiver* receiver, const cluster::Cluster* cluster);
  void Stop();
  void Send(std::vector<raft::Message> messages);
  void SendSnapshot(member::OutgoingSnapshot snapshot);
  void AddPeer(raft::NodeId id, const std::vector<std::string>& urls);
  void RemovePeer(raft::NodeId id);
  void UpdatePeer(raft::NodeId id, const std::vector<std::string>& urls);
  std::optional<MonotonicTime> ActiveSince(raft::NodeId id) const;

  /// Between Start and Stop.
  bool running() const { return running_.load(std::memory_order_acquire); }

  // What requests ask; thread-safe.

  struct StreamRequest {
    raft::NodeId from;
    std::string to;  ///< X-Raft-To
    Sender sender;
  };
  /// A peer dialled a stream: it is opened, or refused through `answer`.
  void AnswerStream(StreamRequest request, std::shared_ptr<StreamWriter> stream,
                    std::shared_ptr<Answer> answer);
  /// A peer posted a message.
  void AnswerMessage(Sender sender, raft::Message message, std::shared_ptr<Answer> answer);
  /// A peer begins to post a snapshot: refused through `answer` where it would be in the end.
  void CheckSnapshot(Sender sender, raft::NodeId from, raft::NodeId to, std::shared_ptr<Answer> answer);
  /// Its database is durable.
  void AnswerSnapshot(raft::Message message, std::shared_ptr<Answer> answer);
  void OnStreamClosed(raft::NodeId from, std::shared_ptr<const StreamWriter> stream, bool lost_messages);

  /// At most once a second: a peer that is refused asks again and again.
  bool MayLogRefusal();
  /// Writes databases that are received.
  ThreadExecutor& snapshot_writer() { return snapshot_writer_; }
  /// Never the same twice.
  uint64_t NextSerial() { return next_serial_.fetch_add(1, std::memory_order_relaxed); }
  /// False: as many snapshots are being received as may be.
  bool TakeUploadSlot();
  void GiveUploadSlot() { uploads_.fetch_sub(1, std::memory_order_relaxed); }

  const TransportOptions& options() const override { return options_; }
  const Identity& identity() const override { return identity_; }
  http::Client& client() override { return client_; }
  PeerMetrics& metrics() override { return metrics_; }
  MessageStats& stats() override { return stats_; }
  ThreadExecutor& snapshot_reader() override { return snapshot_reader_; }
  void Receive(raft::NodeId from, raft::Message message) override;
  void ReportUnreachable(raft::NodeId id) override;
  void ReportSnapshot(raft::NodeId id, bool finished) override;
  void OnRemoved() override;

 private:
  void CountReceived(const raft::Message& message);
  /// Why a message is not taken in; empty: it is.
  std::string_view Objection(const raft::Message& message) const;
  std::string_view Objection(raft::NodeId from, raft::NodeId to) const;
  /// Refuses a post for that reason; false: there is none.
  bool Refuse(std::string_view objection, Answer& answer) const;
  void Dispatch(std::vector<raft::Message> messages);
  void SendOne(raft::Message message);
  void AddRemote(const Sender& sender);
  std::shared_ptr<Peer> Find(raft::NodeId id) const;
  bool IsRemoved(raft::NodeId id) const;
  void StopOnLoop();
  /// Waits for it.
  void RunOnLoop(absl::AnyInvocable<void()> task);
  raft::NodeId local() const { return raft::NodeId(options_.local.value()); }

  const TransportOptions options_;
  const Identity identity_;
  metrics::Registry unused_metrics_;  // where the options bring none
  PeerMetrics metrics_;
  MessageStats stats_;
  http::Client client_;
  ThreadExecutor snapshot_reader_{"snap-send"};
  ThreadExecutor snapshot_writer_{"snap-receive"};
  std::atomic<bool> running_{false};
  std::atomic<uint64_t> next_serial_{1};
  std::atomic<int> uploads_{0};
  std::atomic<MonotonicTime> refusal_logged_at_{MonotonicTime::min()};

  // Owned by the loop.
  member::PeerReceiver* receiver_ = nullptr;  // null before Start and after Stop
  const cluster::Cluster* cluster_ = nullptr;
  absl::flat_hash_map<raft::NodeId, std::unique_ptr<Remote>> remotes_;
  bool removed_told_ = false;

  mutable absl::Mutex mutex_;
  absl::flat_hash_map<raft::NodeId, std::shared_ptr<Peer>> peers_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

/// `{"message":"cannot process message from removed member"}`: a refusal that tells a member that it was
/// removed.
std::string RefusalJson(std::string_view objection);

inline constexpr std::string_view kFromRemovedMember = "cannot process message from removed member";
inline constexpr std::string_view kToMismatchedMember = "cannot process message to mismatch member";

}  // namespace kvorum::peer
