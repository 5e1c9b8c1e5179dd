#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "backend/backend.h"
#include "base/ids.h"
#include "raft/types.h"

namespace kvorum::cluster {

/// One member as the cluster knows it.
struct Member {
  MemberId id;
  std::vector<std::string> peer_urls;  ///< sorted
  bool is_learner = false;
  // Empty until the member has started and published itself.
  std::string name;
  std::vector<std::string> client_urls;
  bool is_kvorum = false;  ///< has said so; one of etcd says nothing

  bool operator==(const Member&) const = default;
};

/// The first 8 bytes, big-endian, of the SHA-1 over the sorted peer URLs, the cluster token, and, for members
/// added at run time, the time as decimal Unix seconds (reference: proxy-discovery.md, v3-api.md §6.10).
MemberId MemberIdOf(std::vector<std::string> peer_urls, std::string_view token, int64_t unix_seconds = 0);
/// The same over the sorted member ids.
ClusterId ClusterIdOf(std::vector<MemberId> members);

/// The member's JSON, as the log's conf-change context and the database have it (reference: peer-protocol.md
/// §6.1).
std::string ToJson(const Member& member);
absl::StatusOr<Member> MemberFromJson(std::string_view json);

/// What the context of a conf change that adds, promotes or updates a member says: the member, and whether a
/// learner is to become a voter.
struct ChangeContext {
  Member member;
  bool is_promote = false;
};
std::string ToJson(const ChangeContext& context);
absl::StatusOr<ChangeContext> ChangeContextFromJson(std::string_view json);

/// `{"name":…,"clientURLs":[…]}`, as a legacy log entry has a member's attributes; what etcd does not know
/// comes last, and is no part of what the v2 store holds.
std::string AttributesToJson(const Member& member);
/// `{"peerURLs":[…]}` and whether it learns, as the v2 store has it.
std::string RaftAttributesToJson(const Member& member);
/// A member with these attributes alone.
absl::StatusOr<Member> AttributesFromJson(std::string_view json);

/// A member or cluster id as text: lower-case hex without leading zeros.
std::string IdText(uint64_t id);

/// A running downgrade of the cluster: the target version, or empty.
struct Downgrade {
  std::string target_version;
  bool enabled = false;
  bool operator==(const Downgrade&) const = default;
};

/// Who is in a cluster and who was, and the agreed version, at one position of the log.
struct Roster {
  std::vector<Member> members;
  std::set<MemberId> removed;
  std::string version;  ///< empty until it is decided
};

/// The raft configuration as the meta bucket has it (reference: backend-schema.md §3).
std::string ToJson(const raft::ConfState& state);
absl::StatusOr<raft::ConfState> ConfStateFromJson(std::string_view json);

/// How many learners a cluster may have (--max-learners).
inline constexpr size_t kMaxLearners = 1;

/// Who is in the cluster, who was removed, and the agreed version; kept in memory and in the backend's
/// members, members_removed and cluster buckets. Changed by the writer's thread from log entries; read from
/// any thread.
class Cluster {
 public:
  Cluster(MemberId local, ClusterId id, backend::Backend* backend, size_t max_learners = kMaxLearners)
      : local_(local), id_(id), backend_(backend), max_learners_(max_learners) {}

  /// Reads what the backend holds. Errors: DataLoss for a record that cannot be read.
  absl::Status Load();

  // From the log, on the writer's thread. Persisted only with `Persist::kYes`: an entry that the backend has
  // already is replayed in memory alone.
  enum class Persist : uint8_t { kNo, kYes };
  void AddMember(const Member& member, Persist persist);
  void RemoveMember(MemberId id, Persist persist);
  void UpdatePeerUrls(MemberId id, std::vector<std::string> peer_urls, Persist persist);
  void Promote(MemberId id, Persist persist);
  void UpdateAttributes(MemberId id, std::string name, std::vector<std::string> client_urls, Persist persist,
                        bool is_kvorum = false);
  void SetVersion(std::string version, Persist persist);
  void SetDowngrade(Downgrade downgrade, Persist persist);
  /// Puts what came with a snapshot in the place of members, removed members and, where it says one, version;
  /// where something differs, in the backend too.
  void Restore(const Roster& roster);
  /// What a change would break: the errors of reference v3-errors.md §6 ("membership: …").
  absl::Status Validate(const raft::ConfChange& change) const;

  // Thread-safe.
  MemberId local() const { return local_; }
  ClusterId id() const { return id_; }
  std::vector<Member> members() const;  ///< by id
  std::optional<Member> Find(MemberId id) const;
  bool IsRemoved(MemberId id) const;
  /// Without a lock: asked for each request.
  bool IsLocalLearner() const { return local_is_learner_.load(std::memory_order_acquire); }
  /// "3.7.0"; empty until it is decided.
  std::string version() const;
  /// Rises when `version()` changed; without a lock.
  uint64_t version_changes() const { return version_changes_.load(std::memory_order_acquire); }
  /// Rises when members or version changed; without a lock.
  uint64_t changes() const { return changes_.load(std::memory_order_acquire); }
  Downgrade downgrade() const;
  std::set<MemberId> removed() const;
  /// Who votes and who learns by the membership, each list in id order.
  raft::ConfState conf_state() const;

 private:
  void Store(const Member& member);
  absl::Status ValidateContext(const raft::ConfChange& change) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  bool UrlTaken(const Member& by, MemberId except) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  /// After every change of members_.
  void RefreshLocal() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void NoteVersionChange() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const MemberId local_;
  const ClusterId id_;
  backend::Backend* const backend_;
  const size_t max_learners_;
  // Copies of what the lock guards, for readers that come with every request; written under the lock.
  std::atomic<bool> local_is_learner_{false};
  std::atomic<uint64_t> version_changes_{0};
  std::atomic<uint64_t> changes_{0};

  mutable absl::Mutex mutex_;
  std::map<MemberId, Member> members_ ABSL_GUARDED_BY(mutex_);
  std::set<MemberId> removed_ ABSL_GUARDED_BY(mutex_);
  std::string version_ ABSL_GUARDED_BY(mutex_);
  Downgrade downgrade_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace kvorum::cluster
