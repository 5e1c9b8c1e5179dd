#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "proto/rpc.pb.h"
#include "proxy/grpc/cluster_calls.h"

namespace kvorum::proxy_grpc::testing {

/// A cluster in memory, by turns: nothing happens but in `Step` (and what that calls), so that a test decides
/// the order of everything.
class FakeCluster final : public ClusterCalls {
 public:
  struct Change {
    int64_t revision;
    std::string key;
    bool is_delete;
    bool creates;
    std::string value;
    std::string previous;
  };

  // The store.
  int64_t revision() const { return revision_; }
  int64_t compacted() const { return compacted_; }
  const std::vector<Change>& history() const { return history_; }
  /// One transaction that changes each of `keys` (an empty value deletes).
  void Write(const std::vector<std::pair<std::string, std::string>>& keys);
  void Compact(int64_t revision) { compacted_ = std::max(compacted_, revision); }
  /// Checks of a range with this token fail so.
  void Deny(const std::string& token, absl::Status status) { denied_[token] = std::move(status); }

  // Faults.
  void BreakStreams(const absl::Status& status);
  /// Sends this message, whatever it is, on every stream, behind what is on the way.
  void Say(const std::string& message);
  /// How many revisions and events a response holds at most; half of them is cut into fragments.
  size_t batch_revisions = 1000;
  size_t fragment_events = 1000;

  /// Lets what can happen happen, until there is nothing left. Timers run when nothing else does.
  void Run();
  /// The `choice`th (modulo) of the things that can happen now; false: there is none.
  bool Step(size_t choice);
  void RunTimers();
  /// Sends every quiet watcher a progress notification.
  void NotifyProgress();

  // What was asked.
  size_t streams() const { return streams_.size(); }
  size_t watchers() const;
  size_t checks() const { return checks_; }
  const std::vector<http::Headers>& stream_metadata() const { return stream_metadata_; }
  std::vector<int64_t> keep_alives;         ///< ids, as they were asked for
  std::map<int64_t, int64_t> leases;        ///< id and TTL
  std::map<int64_t, absl::Status> refused;  ///< leases whose keep-alive ends the stream
  bool keep_alives_answered = true;
  int tried_another = 0;

  // ClusterCalls
  std::unique_ptr<Stream> OpenStream(std::string_view method, StreamCallbacks callbacks,
                                     const http::Headers& metadata) override;
  void Unary(std::string_view method, std::string_view request, std::chrono::nanoseconds timeout,
             UnaryDone done, const http::Headers& metadata) override;
  void TryAnother() override { ++tried_another; }
  Executor::TimerId After(std::chrono::nanoseconds delay, Executor::Task task) override;
  void CancelTimer(Executor::TimerId timer) override { timers_.erase(timer); }

 private:
  class Handle;
  struct Watch {
    std::string key, end;
    int64_t next;
    bool prev_kv;
    bool fragment;
  };
  struct ServerStream {
    bool keep_alive = false;
    StreamCallbacks callbacks;
    std::deque<std::string> requests;
    std::deque<std::string> responses;
    std::map<int64_t, Watch> watches;
    absl::Status broken;
  };

  void Serve(ServerStream* stream, const std::string& request);
  void ServeKeepAlive(ServerStream* stream, const std::string& request);
  void Produce(ServerStream* stream, int64_t id, Watch* watch);
  bool HasNews(const Watch& watch) const;
  bool Matches(const Watch& watch, const std::string& key) const;
  etcdserverpb::ResponseHeader Header() const;

  int64_t revision_ = 1;
  int64_t compacted_ = 0;
  std::vector<Change> history_;
  std::map<std::string, std::string> content_;
  std::map<std::string, absl::Status> denied_;

  std::vector<std::shared_ptr<ServerStream>> streams_;
  std::vector<http::Headers> stream_metadata_;
  std::deque<std::pair<UnaryDone, std::pair<absl::Status, std::string>>> answers_;
  std::map<Executor::TimerId, Executor::Task> timers_;
  Executor::TimerId last_timer_ = 0;
  size_t checks_ = 0;
};

}  // namespace kvorum::proxy_grpc::testing
