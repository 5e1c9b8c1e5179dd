#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "google/protobuf/message_lite.h"
#include "member/request.h"
#include "sim/client.h"
#include "sim/network.h"
#include "sim/node.h"
#include "sim/scheduler.h"

namespace kvorum::sim {

inline constexpr Instant kMillisecond = 1'000'000;
inline constexpr Instant kSecond = 1'000 * kMillisecond;

/// A cluster on simulated machines whose faults come by a script, for tests that set one stage: the same
/// pieces as a random run has, no clients but the test, no fault but what the test does.
class Scene {
 public:
  struct Options {
    uint64_t members = 3;
    member::MemberOptions member;
    DiskManner disk;
    /// Node::Options::wrap_database of the first machine.
    std::function<std::unique_ptr<backend::Backend>(backend::MemoryBackend*)> wrap_first_database;
  };
  using Answer = absl::StatusOr<Operation::Response>;

  /// Starts the members and waits until all are served.
  explicit Scene(Options options);
  explicit Scene(uint64_t members = 3) : Scene(Options{.members = members}) {}
  ~Scene();

  Scheduler& scheduler() { return scheduler_; }
  Network& network() { return network_; }
  Node& node(size_t i) { return *nodes_[i]; }
  const std::vector<Node*>& nodes() const { return present_; }

  /// Time passes.
  void Let(Instant span) { scheduler_.RunUntil(scheduler_.now() + span); }
  /// Time passes, a millisecond at a time, until `condition` holds; whether it does.
  bool Until(absl::FunctionRef<bool()> condition, Instant bound = 30 * kSecond);

  /// Waits for a member that leads and that a majority follows.
  Node& Leader();
  /// Another one than these.
  Node& Other(const Node& than, const Node* nor = nullptr);
  /// Everybody is up and has applied the same.
  void Settle();

  // What clients do. Each waits for the answer; a test that must not wait uses Ask of sim/client.h.

  Answer Ask(Node& node, const Operation::Request& request, Instant bound = 30 * kSecond);
  /// Gives the revision. REQUIRES: the cluster is well
  int64_t Put(Node& node, const std::string& key, const std::string& value, int64_t lease = 0);
  int64_t Delete(Node& node, const std::string& key);
  absl::Status Compact(Node& node, int64_t revision);
  /// The value, or "(none)", or the error's text.
  std::string Get(Node& node, const std::string& key, bool serializable = false);
  /// What a request of the log came to.
  absl::Status Propose(Node& node, member::RequestKind kind, const google::protobuf::MessageLite& request);
  void Grant(Node& node, int64_t lease, int64_t ttl_seconds);
  absl::Status Renew(Node& node, int64_t lease);

  // Faults.

  /// Nothing comes to or from this machine.
  void CutOff(const Node& node);
  /// Kills the process and starts another one at once; waits until it is served.
  void Restart(Node& node, bool power_cut = false);
  void Start(Node& node);
  /// Adds a machine to the cluster and waits until it is served.
  Node& Join(bool learner = false);
  /// The machine is taken away; it was removed from the cluster.
  void Leave(Node& node);

 private:
  void Supervise();

  const Options options_;
  Scheduler scheduler_{1};
  History history_;
  Recorder recorder_{&history_};
  Network network_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<Node*> present_;
};

/// One watcher on one member, which reads what it is sent at once, or when the test says so.
class SceneWatch {
 public:
  /// REQUIRES: the member's process outlives this
  SceneWatch(Scene* scene, Node& node, mvcc::WatchSpec spec, bool reading = true);

  /// "key=value@revision" and "key-@revision", in the order in which they came.
  const std::vector<std::string>& events() const { return events_; }
  /// Not 0: it was told that its place was compacted, by this revision.
  int64_t compacted() const { return compacted_; }
  /// What a progress notification would say now; 0: there would be none.
  int64_t Progress() { return stream_->SyncedRevision(); }
  void Read();

 private:
  bool reading_;
  std::vector<std::string> events_;
  int64_t compacted_ = 0;
  const std::shared_ptr<bool> alive_;  // shared with what will happen
  std::unique_ptr<mvcc::WatchStream> stream_;
};

}  // namespace kvorum::sim
