#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "base/log.h"
#include "proxy/grpc/cluster_calls.h"

namespace kvorum::proxy_grpc {

/// Keep-alives of clients with the same credentials, on one stream to the cluster. Of each lease at most one
/// request is under way. Who asks meanwhile waits for the next one: an answer never tells of a renewal from
/// before it was asked for. Logic only; one thread.
class KeepAliveSession {
 public:
  /// Everything is borrowed. `metadata` goes with the stream.
  KeepAliveSession(ClusterCalls* cluster, http::Headers metadata, Logger* logger);
  ~KeepAliveSession();

  void Add(ClientSink* sink);
  void Remove(ClientSink* sink);
  bool empty() const { return clients_.empty(); }

  void OnRequest(ClientSink* sink, int64_t lease);
  void OnHalfClose(ClientSink* sink);

  /// A client that waits for more answers than this is cut off.
  static constexpr size_t kMaxOwed = 100'000;

 private:
  using ClientId = uint64_t;
  /// Who waits, once for each request.
  using Waiters = absl::InlinedVector<ClientId, 1>;

  struct Client {
    ClientId id = 0;
    ClientSink* sink = nullptr;
    size_t owed = 0;
    bool half_closed = false;
  };
  struct Lease {
    bool under_way = false;
    Waiters asked;    // the request under way is for these
    Waiters waiting;  // for the next one
  };

  /// Those of `waiters` who are still there.
  void DropGone(Waiters* waiters) const;
  Client* Find(ClientId id) const;
  void Pump();
  void SendNext(int64_t lease);
  void OnAnswer(std::string_view message);
  void OnEnd(const absl::Status& status);
  void AskAgain(const std::deque<int64_t>& leases);
  void Refuse(int64_t lease, const absl::Status& status);
  /// The lease's request is over.
  void Settle(int64_t lease);

  void Open();
  void Reopen();
  void WatchAnswers();

  ClusterCalls& cluster_;
  const http::Headers metadata_;
  Logger& logger_;
  const std::shared_ptr<KeepAliveSession*> self_;  // shared with callbacks; null once this is gone

  ClientId last_client_ = 0;
  absl::flat_hash_map<ClientSink*, ClientId> ids_;
  absl::flat_hash_map<ClientId, std::unique_ptr<Client>> clients_;

  absl::flat_hash_map<int64_t, Lease> leases_;  // of which somebody waits for an answer
  std::deque<int64_t> ready_;                   // to be asked for
  std::deque<int64_t> under_way_;               // asked for, in the order of asking
  /// So many are to be asked for one after another: one of them makes the cluster end the stream.
  size_t one_by_one_ = 0;

  std::unique_ptr<ClusterCalls::Stream> stream_;
  std::unique_ptr<ClusterCalls::Stream> old_stream_;  // may be what calls just now
  uint64_t stream_number_ = 0;
  Backoff backoff_;
  Executor::TimerId reopen_timer_ = 0;
  Executor::TimerId answer_timer_ = 0;
  bool answered_ = false;  // since the timer was set
};

/// The keep-alive streams of all clients; only those with the same credentials share a session.
class KeepAliveCoalescer final : public StreamLogic {
 public:
  KeepAliveCoalescer(ClusterCalls* cluster, Logger* logger) : cluster_(cluster), logger_(logger) {}
  ~KeepAliveCoalescer() override;

  void OnOpen(ClientSink* sink, http::Headers metadata) override;
  void OnMessage(ClientSink* sink, std::string_view message) override;
  void OnHalfClose(ClientSink* sink) override;
  void OnRoom(ClientSink*) override {}
  void OnClose(ClientSink* sink) override;

 private:
  struct Client {
    KeepAliveSession* session;
    std::string credentials;
  };

  ClusterCalls* const cluster_;
  Logger* const logger_;
  absl::flat_hash_map<std::string, std::unique_ptr<KeepAliveSession>> sessions_;  // by credentials
  absl::flat_hash_map<ClientSink*, Client> clients_;
};

}  // namespace kvorum::proxy_grpc
