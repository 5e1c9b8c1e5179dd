#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/types/span.h"
#include "base/log.h"
#include "base/metrics.h"
#include "proxy/grpc/cluster_calls.h"
#include "proxy/grpc/watch_message.h"

namespace kvorum::proxy_grpc {

struct Broadcast;
struct WatchClient;
struct WatchGroup;
struct WatchOperation;
class WatchSession;

/// One watcher of a client. It gets the events from max(`next`, its broadcast's next) on.
struct Watcher {
  WatchClient* client = nullptr;        ///< null: gone while it was checked
  WatchGroup* group = nullptr;          ///< counted there
  Broadcast* broadcast = nullptr;       ///< null: not yet, or it fell behind
  WatchOperation* operation = nullptr;  ///< its create request, until that is answered
  int64_t id = 0;
  int64_t next = 0;
  uint32_t slot = 0;  ///< in Broadcast::receivers
  WatchForm form = 0;
  bool from_now = false;  ///< `next` is not known before it joins
  bool progress_notify = false;
  bool told = false;  ///< of an event since the last progress tick
};

/// One watcher of the cluster, for all that receive its events.
struct Broadcast {
  WatchGroup* group = nullptr;
  int64_t id = 0;          ///< on the upstream stream
  int64_t next = 0;        ///< everything before was given to the receivers
  int64_t target = 0;      ///< behind this revision it has caught up
  bool created = false;    ///< on the current upstream stream
  std::string incomplete;  ///< events of a revision of which more is to come
  std::vector<Watcher*> receivers;
};

/// Asks whether a range may be read: one question at a time, for all who came before it was asked.
struct RangeCheck {
  std::vector<Watcher*> asked;
  std::vector<Watcher*> waiting;
  uint64_t heard = 0;  ///< WatchSession::heard_ when it was asked
  Backoff backoff;
  Executor::TimerId timer = 0;
};

/// What is watched: one range, as the cluster names it.
struct WatchGroup {
  std::string key;
  std::string end;
  uint32_t users = 0;         ///< watchers, and whoever works with the group
  Broadcast* live = nullptr;  ///< the one that new watchers join
  std::vector<Broadcast*> catching_up;
  std::unique_ptr<RangeCheck> check;
};

/// A client's request that was not answered yet. Requests of one client are answered in their order.
struct WatchOperation {
  enum class Kind : uint8_t { kCreate, kCancel, kProgress };
  Kind kind = Kind::kCreate;
  bool settled = false;        ///< of a create request: it can be answered
  Watcher* watcher = nullptr;  ///< null: refused
  int64_t watch_id = 0;
  int64_t compact_revision = 0;  ///< not 0: to be told behind the answer
  ResponseHeader header;
  std::string refusal;
};

/// One client's stream. Made and ended by WatchCoalescer; the rest is its session's.
struct WatchClient {
  ClientSink* sink = nullptr;
  WatchSession* session = nullptr;
  bool to_drain = false;
  int64_t next_id = 0;
  uint32_t progress_owed = 0;                       ///< requests not answered yet
  absl::flat_hash_map<int64_t, Watcher*> watchers;  ///< null: ended by a compaction; the id stays taken
  std::deque<WatchOperation> operations;
  std::vector<Watcher*> behind;  ///< wait for room
};

struct WatchMetrics {
  explicit WatchMetrics(metrics::Registry* registry);
  metrics::Gauge& watchers;  ///< that cost the cluster no watcher of their own
  metrics::Counter& events;
};

/// Brings the watchers of clients with the same credentials together on one upstream stream. Where watchers
/// of a range stand:
///
///   check    every new watcher's range is asked for first (serializable, count only, the client's token):
///   the
///            answer says that it may be read, and which revision is now.
///   live     one broadcast a range gets events as they happen. A watcher joins it where it misses nothing:
///            the broadcast has not gone past the watcher's start.
///   catch up other watchers get a broadcast that begins where the earliest of them does. When it has come as
///            far as the live one its receivers move over, and it is cancelled.
///   behind   a watcher whose client does not read gets no more; it remembers the revision, and catches up
///            once there is room.
///
/// When the upstream stream breaks, every broadcast begins again where it was, on a new stream. Logic only:
/// on one thread, time and cluster come through ClusterCalls.
class WatchSession {
 public:
  /// Everything is borrowed. `metadata` goes with every call.
  WatchSession(ClusterCalls* cluster, const KeyPrefix* prefix, http::Headers metadata, WatchMetrics* metrics,
               Logger* logger);
  ~WatchSession();

  void Add(WatchClient* client) { clients_.insert(client); }
  /// REQUIRES: added
  void Remove(WatchClient* client);
  bool empty() const { return clients_.empty(); }

  void OnRequest(WatchClient* client, WatchRequest request);
  void OnRoom(WatchClient* client);

  size_t broadcasts() const { return broadcasts_.size(); }
  void CheckInvariants() const;

  /// A client that waits for more answers than this is cut off.
  static constexpr size_t kMaxOperations = 1 << 20;
  static constexpr size_t kFragmentBytes = (1536 + 512) << 10;  // a member's default (v3-api.md §6.8)

 private:
  struct RangeOf {
    using is_transparent = void;
    using Pair = std::pair<std::string_view, std::string_view>;
    static Pair Of(const Pair& range) { return range; }
    static Pair Of(const std::unique_ptr<WatchGroup>& group) { return {group->key, group->end}; }
  };
  struct Hash : RangeOf {
    template <typename T>
    size_t operator()(const T& v) const {
      return absl::Hash<Pair>()(Of(v));
    }
  };
  struct Equal : RangeOf {
    template <typename A, typename B>
    bool operator()(const A& a, const B& b) const {
      return Of(a) == Of(b);
    }
  };

  // Requests.
  void Create(WatchClient* client, WatchRequest request);
  void Drain(WatchClient* client);
  void WantDrain(WatchClient* client);
  void DrainAll();
  void Announce(WatchClient* client, WatchOperation& operation);
  void Cancel(WatchClient* client, int64_t id);
  void Refuse(Watcher* watcher, std::string reason);
  void Destroy(Watcher* watcher);

  // Ranges and their checks.
  WatchGroup* Acquire(std::string_view key, std::string_view end);
  void Release(WatchGroup* group);
  void StartCheck(Watcher* watcher);
  void RunCheck(WatchGroup* group);
  void OnChecked(WatchGroup* group, const absl::Status& status, std::string_view response);
  void FinishCheck(Watcher* watcher, const absl::Status& status);

  // Broadcasts.
  void Join(Watcher* watcher);
  Broadcast* Begin(WatchGroup* group, int64_t start);
  void Attach(Broadcast* broadcast, Watcher* watcher);
  void Detach(Watcher* watcher);
  void FallBehind(Watcher* watcher);
  void EndIfUnused(Broadcast* broadcast);
  /// Takes it off; its receivers are detached.
  std::vector<Watcher*> TakeReceivers(Broadcast* broadcast);
  void EndCompacted(Watcher* watcher, const ResponseHeader& header, int64_t compact_revision);
  void End(Broadcast* broadcast);
  void MergeIfCaughtUp(Broadcast* broadcast);

  // Upstream.
  void Open();
  void Reopen();
  void Reopened();
  void SendCreate(Broadcast* broadcast);
  void OnMessage(std::string_view message);
  void Dispatch(std::string_view message, UpstreamResponse response);
  void OnEnd(const absl::Status& status);
  void OnCreated(const UpstreamResponse& response);
  void OnCanceled(Broadcast* broadcast, const UpstreamResponse& response);
  void OnCompacted(Broadcast* broadcast, const UpstreamResponse& response);
  void OnEvents(Broadcast* broadcast, std::string_view message, UpstreamResponse response);
  void Deliver(Broadcast* broadcast, const ResponseHeader& header, absl::Span<const UpstreamEvent> events);
  void OnNotified(Broadcast* broadcast, const ResponseHeader& header);
  Broadcast* Find(int64_t id) const;

  // Progress.
  /// Its events may be filtered out while its broadcast is busy, so that the cluster never tells it of
  /// progress.
  static bool NeedsTicks(const Watcher& watcher) {
    return watcher.progress_notify && (watcher.form & (kNoPut | kNoDelete)) != 0;
  }
  void ArmTick();
  void TickProgress();
  void WantProgress(WatchClient* client);
  void AskProgress();
  void OnProgress(const ResponseHeader& header);
  void ArmProgress();

  void Learn(const ResponseHeader& header);
  enum class Caught : uint8_t { kUp, kNotYet, kStartsLater };
  static Caught CaughtUp(const WatchClient& client, int64_t revision);

  ClusterCalls& cluster_;
  const KeyPrefix& prefix_;
  const std::string key_prefix_;
  const http::Headers metadata_;
  WatchMetrics& metrics_;
  Logger& logger_;
  const std::shared_ptr<WatchSession*> self_;  // shared with calls under way; null once this is gone

  absl::flat_hash_set<WatchClient*> clients_;
  std::vector<WatchClient*> drains_;  // may have something to answer now
  absl::flat_hash_set<std::unique_ptr<WatchGroup>, Hash, Equal> groups_;
  absl::flat_hash_map<int64_t, std::unique_ptr<Broadcast>> broadcasts_;  // by id
  int64_t last_id_ = 0;
  ResponseHeader header_;  // the latest; its revision is the highest of all

  std::unique_ptr<ClusterCalls::Stream> stream_;
  std::unique_ptr<ClusterCalls::Stream> old_stream_;  // may be what calls just now
  uint64_t stream_number_ = 0;
  uint64_t heard_ = 0;            // messages of the cluster's
  std::deque<int64_t> creating_;  // ids whose creation was sent and not answered, on this stream
  Backoff backoff_;
  Executor::TimerId reopen_timer_ = 0;

  std::vector<WatchClient*> progress_asked_;    // the request under way is for these
  std::vector<WatchClient*> progress_waiting_;  // for the next one
  Executor::TimerId progress_timer_ = 0;
  Executor::TimerId tick_timer_ = 0;
  size_t need_ticks_ = 0;  // watchers
};

}  // namespace kvorum::proxy_grpc
