#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ids.h"
#include "base/version.h"
#include "cluster/cluster.h"
#include "lease/lessor.h"
#include "member/ports.h"
#include "member/request.h"
#include "mvcc/store.h"
#include "raft/storage.h"
#include "raft/types.h"
#include "v2store/store.h"

namespace kvorum::member {

struct MemberOptions {
  std::string name = "default";
  std::vector<std::string> advertise_client_urls;
  std::chrono::nanoseconds heartbeat_interval = std::chrono::milliseconds(100);
  std::chrono::nanoseconds election_timeout = std::chrono::milliseconds(1000);
  bool initial_election_tick_advance = true;
  bool pre_vote = true;
  uint64_t snapshot_count = 10'000;
  uint64_t snapshot_catchup_entries = 5'000;
  uint64_t max_request_bytes = 1'572'864;
  /// Proposals that wait for their result are refused beyond this.
  uint64_t max_pending_bytes = uint64_t{512} << 20;
  int64_t quota_bytes = int64_t{2} << 30;  ///< negative: none
  size_t compaction_batch_limit = 1'000;
  std::chrono::nanoseconds compaction_sleep_interval = std::chrono::milliseconds(10);
  std::chrono::nanoseconds warning_apply_duration = std::chrono::milliseconds(100);
  /// Refuses changes of the membership after which too few members could be running.
  bool strict_reconfig_check = true;
  size_t max_learners = cluster::kMaxLearners;
  /// The release that other members are told: the cluster's version is the oldest one's. At most kApiVersion;
  /// an older one keeps a way into the cluster open for members of that release.
  std::string release = std::string(kApiVersion);
  /// How often the leader looks whether a downgrade has come to its end; 0: never.
  std::chrono::nanoseconds downgrade_check_time = std::chrono::seconds(5);

  // Comparing hashes of the store with other members.
  bool initial_corrupt_check = false;              ///< before a member with data begins
  std::chrono::nanoseconds corrupt_check_time{0};  ///< on the leader, so often; 0: never
  bool compact_hash_check = false;                 ///< of compactions, on the leader
  std::chrono::nanoseconds compact_hash_check_time = std::chrono::minutes(1);

  /// How long a request may take: 5 s and twice the election timeout.
  std::chrono::nanoseconds request_timeout() const { return std::chrono::seconds(5) + 2 * election_timeout; }
};

/// What a member goes on from: a log in memory, read from disk or made by bootstrap, and whose member it is.
struct StartState {
  MemberId id;
  ClusterId cluster_id;
  std::unique_ptr<raft::MemoryStorage> log;  ///< snapshot, hard state and entries
  /// A new cluster: its first members, in id order. Empty on a restart.
  std::vector<cluster::Member> bootstrap_members;
  /// Joining a cluster that exists: who is in it, so that they can be reached before the log tells.
  std::vector<cluster::Member> known_members;
};

enum class AlarmType : uint8_t { kNone = 0, kNoSpace = 1, kCorrupt = 2 };
struct Alarm {
  MemberId member;
  AlarmType type = AlarmType::kNone;
  auto operator<=>(const Alarm&) const = default;
};

/// What a member shows of itself; a copy.
struct MemberStatus {
  MemberId leader;  ///< 0: none known
  /// When the leader that was known last became known.
  WallTime leader_since{};
  uint64_t term = 0;
  uint64_t committed_index = 0;
  uint64_t applied_index = 0;
  uint64_t applied_term = 0;  ///< of the last entry applied
  bool is_leader = false;
  bool is_learner = false;
  bool ready = false;  ///< has published itself: clients may be served
  raft::Role role = raft::Role::kFollower;
  uint64_t vote = 0;
  /// A write of the log has been under way for longer than two election timeouts.
  bool disk_stalled = false;
};

/// One member of a cluster: proposals go through consensus and the log, are applied in order to the store,
/// leases and membership, and answered; reads are confirmed against the leader. All I/O is injected (Ports).
///
/// Thread rule: every public method is thread-safe unless it says otherwise. Callbacks run on an executor of
/// the member, those of reads also on the thread that brings another member's message, and must return at
/// once; they are called exactly once, also at a stop ("etcdserver: server stopped").
class Member : public PeerReceiver {
 public:
  /// Builds store, leases and membership from the backend and takes the log over. Errors: DataLoss where they
  /// contradict each other.
  static absl::StatusOr<std::unique_ptr<Member>> Create(MemberOptions options, const Ports& ports,
                                                        StartState start);
  ~Member() override = default;

  /// Starts ticking. `ready` is called when the member has published its name and client URLs through the
  /// log.
  virtual void Start(absl::AnyInvocable<void()> ready) = 0;
  /// Fails what waits, lets the applier finish, and calls `done`. The ports stay the owner's to stop: first
  /// the log, then the executors, and only then the member is destroyed.
  virtual void Stop(absl::AnyInvocable<void()> done) = 0;

  virtual const MemberOptions& options() const = 0;
  virtual MemberId id() const = 0;
  virtual ClusterId cluster_id() const = 0;
  virtual MemberStatus status() const = 0;

  // Requests.

  virtual RequestId NextRequestId() = 0;

  /// Agrees on an entry (BuildEntry) and gives its result. Errors besides the request's own: "etcdserver:
  /// request is too large", "etcdserver: too many requests", "etcdserver: request timed out" and its variants
  /// (reference v3-errors.md §7), "etcdserver: server stopped". `deadline`: at most
  /// options().request_timeout() from now counts.
  virtual void Propose(RequestId id, Bytes entry, MonotonicTime deadline, ApplyDone done) = 0;

  /// Waits until a read on this member sees everything that was acknowledged before the call. True: that is
  /// so already, and `done` is not called. Reads that wait together share one round.
  virtual bool ConfirmRead(MonotonicTime deadline, absl::AnyInvocable<void(absl::Status)>* done) = 0;

  /// "etcdserver: no space" where a write of `cost_bytes` would cross the quota, which also raises the alarm.
  virtual absl::Status CheckQuota(int64_t cost_bytes) = 0;

  /// Runs the scheduled compaction's end: `done` when the removal of everything up to `revision` is finished
  /// and committed to disk.
  virtual void WaitCompacted(int64_t revision, absl::AnyInvocable<void(absl::Status)> done) = 0;

  // The v2 API (reference: v2-replication.md). Reads and watches go to v2_store() itself; one that has to see
  // everything acknowledged asks ConfirmRead first.

  struct V2Outcome {
    /// Why it was not applied, in etcd's internal texts; FailedPrecondition where a member of the cluster
    /// could not apply it, which the message names.
    absl::Status status;
    v2store::Result result;   ///< where the status is OK
    uint64_t raft_index = 0;  ///< the commit index when it was applied
    uint64_t raft_term = 0;   ///< of the last entry applied
  };
  /// What a write's result says.
  static V2Outcome OutcomeOf(ApplyResult result);

  struct V2Write {
    RequestId id;
    Bytes entry;  ///< the encoded request, of that id
    MonotonicTime deadline;
    ApplyDone done;
  };
  /// Agrees on writes, in their order, and gives the result of each. The limits of Propose but for the
  /// request's size, which api/ limits. Many in one call wake the member's threads once. They are moved from.
  virtual void ProposeV2(std::span<V2Write> writes) = 0;
  /// The same for one, which gets an id.
  void ProposeV2(v2store::RequestView request, MonotonicTime deadline,
                 absl::AnyInvocable<void(V2Outcome)> done);
  virtual v2store::Store& v2_store() = 0;

  virtual void Defragment(absl::AnyInvocable<void(absl::Status)> done) = 0;
  virtual void HashKv(int64_t revision, absl::AnyInvocable<void(absl::StatusOr<mvcc::HashResult>)> done) = 0;
  /// The hash over the whole database (reference: v3-api.md §6.11 Hash).
  virtual void HashDatabase(absl::AnyInvocable<void(absl::StatusOr<uint32_t>)> done) = 0;
  /// The whole database as of one position of the log. Everything up to there was committed to disk when the
  /// view was made, so that it has nothing that a finished compaction removed.
  struct DatabaseView {
    std::unique_ptr<backend::ReadView> view;
    backend::AppliedPosition position;
  };
  virtual void ReadDatabase(absl::AnyInvocable<void(absl::StatusOr<DatabaseView>)> done) = 0;

  /// The granted TTL, or "lease not found". Never a log entry: done in the leader's memory. `done` may run
  /// inside the call, here and in LeaseTimeToLive, where nothing has to be waited for.
  virtual void RenewLease(LeaseId id, absl::AnyInvocable<void(absl::StatusOr<int64_t>)> done) = 0;
  virtual void LeaseTimeToLive(LeaseId id, bool with_keys,
                               absl::AnyInvocable<void(absl::StatusOr<lease::LeaseView>)> done) = 0;

  // The cluster (reference: v3-api.md §6.10, proxy-discovery.md on reconfiguration). Each gives the members
  // as of the change. Errors: those of v3-errors.md §6 in etcd's internal texts, and those of Propose.
  using MembersDone = absl::AnyInvocable<void(absl::StatusOr<std::vector<cluster::Member>>)>;

  /// `member`: peer URLs, and whether it begins as a learner; gets its id from its URLs and the time. The new
  /// member is the one of `members` that has these URLs.
  virtual void AddMember(cluster::Member member, MonotonicTime deadline, MembersDone done) = 0;
  virtual void RemoveMember(MemberId id, MonotonicTime deadline, MembersDone done) = 0;
  virtual void UpdateMember(MemberId id, std::vector<std::string> peer_urls, MonotonicTime deadline,
                            MembersDone done) = 0;
  /// The leader decides whether the learner has caught up; asked for on another member, it is asked there.
  virtual void PromoteMember(MemberId id, MonotonicTime deadline, MembersDone done) = 0;
  /// `done` when `to` leads. Errors: "etcdserver: not leader", "etcdserver: bad leader transferee" and time
  /// outs.
  virtual void MoveLeader(MemberId to, MonotonicTime deadline,
                          absl::AnyInvocable<void(absl::Status)> done) = 0;

  enum class DowngradeAction : uint8_t { kValidate, kEnable, kCancel };
  /// `done` gets the cluster version.
  virtual void ChangeDowngrade(DowngradeAction action, std::string target_version, MonotonicTime deadline,
                               absl::AnyInvocable<void(absl::StatusOr<std::string>)> done) = 0;

  // Parts, for reading.

  virtual mvcc::Store& store() = 0;
  virtual const lease::Lessor& lessor() const = 0;
  virtual const cluster::Cluster& cluster() const = 0;
  virtual backend::Backend& backend() = 0;
  virtual std::vector<Alarm> alarms() const = 0;  ///< by member, then type
};

}  // namespace kvorum::member
