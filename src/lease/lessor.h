#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "backend/backend.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/metrics.h"

namespace kvorum::lease {

inline constexpr int64_t kMaxTtlSeconds = 9'000'000'000;

/// NotFound "lease not found"; AlreadyExists "lease already exists"; OutOfRange "too large lease TTL";
/// FailedPrecondition "not a primary lessor"; Unavailable "lease is about to be revoked".
absl::Status NotFoundError();
absl::Status ExistsError();
absl::Status TtlTooLargeError();
absl::Status NotPrimaryError();
absl::Status EndingError();

struct LessorOptions {
  backend::Backend* backend = nullptr;  ///< borrowed
  const Clock* clock = nullptr;         ///< borrowed
  int64_t min_ttl_seconds = 2;
  bool persist_checkpoints = true;
  std::chrono::seconds checkpoint_interval{300};
  Logger* logger = &NullLogger();        ///< borrowed
  metrics::Registry* metrics = nullptr;  ///< borrowed; may be null
};

struct LeaseView {
  LeaseId id;
  int64_t granted_ttl_seconds = 0;
  /// Whole seconds, cut off; only the primary counts down.
  int64_t remaining_ttl_seconds = 0;
  std::vector<std::string> keys;  ///< only where asked for
};

/// The leases of one member: which exist, which keys hang on them, and, on the leader (the primary), when
/// they end (reference: v3-api.md §6.9, apply.md §4.2). Granting, revoking, checkpointing and attaching come
/// from the log, on the writer's thread; renewals and queries from any thread.
class Lessor {
 public:
  /// Loads the leases from the backend; keys are attached while the store opens.
  static absl::StatusOr<std::unique_ptr<Lessor>> Open(const LessorOptions& options);
  virtual ~Lessor() = default;

  /// Goes over to what the backend holds now, as Open does; this member is not the primary any more. Writer
  /// only. Errors: DataLoss, after which the lessor is of no use.
  virtual absl::Status Reload() = 0;

  // From the log.

  /// The granted TTL. Errors: NotFound for id 0, Exists, TtlTooLarge.
  virtual absl::StatusOr<int64_t> Grant(LeaseId id, int64_t ttl_seconds) = 0;
  /// The keys to be deleted with it, sorted. Errors: NotFound.
  virtual absl::StatusOr<std::vector<std::string>> KeysOf(LeaseId id) const = 0;
  /// Forgets the lease, whose keys were deleted by then. Errors: NotFound.
  virtual absl::Status Remove(LeaseId id) = 0;
  /// The remaining TTL as of now, so that the next primary goes on from there. Unknown leases are ignored.
  virtual void Checkpoint(LeaseId id, int64_t remaining_ttl_seconds) = 0;
  /// Both ignore unknown leases. A key that moves is detached from its earlier lease by the caller.
  virtual void Attach(LeaseId id, std::string_view key) = 0;
  virtual void Detach(LeaseId id, std::string_view key) = 0;

  // Thread-safe.

  virtual bool Exists(LeaseId id) const = 0;
  /// Starts the lease's time again: the granted TTL. Errors: NotFound, NotPrimary; Ending for a lease
  /// whose time is over but which is not revoked yet: until it is, another leader may let it live on.
  virtual absl::StatusOr<int64_t> Renew(LeaseId id) = 0;
  virtual absl::StatusOr<LeaseView> Get(LeaseId id, bool with_keys) const = 0;
  /// By remaining time.
  virtual std::vector<LeaseId> List() const = 0;
  virtual size_t size() const = 0;

  /// From now on this member decides when leases end: each gets its remaining (checkpointed) or granted TTL,
  /// and `extend` more, spread so that they do not all end at once.
  virtual void Promote(std::chrono::nanoseconds extend) = 0;
  virtual void Demote() = 0;
  virtual bool primary() const = 0;

  /// Leases that have ended and were not given out in the last few seconds, at most `limit`: to be revoked
  /// through the log. Empty unless primary.
  virtual std::vector<LeaseId> TakeExpired(size_t limit) = 0;
  struct CheckpointItem {
    LeaseId id;
    int64_t remaining_ttl_seconds = 0;
  };
  /// Leases whose checkpoint is due, at most `limit`, to be checkpointed through the log: each interval while
  /// more than an interval remains, and at once (as 0: the granted TTL) where a renewal has overtaken one.
  /// Empty unless primary.
  virtual std::vector<CheckpointItem> TakeDueCheckpoints(size_t limit) = 0;

  virtual void CheckInvariants() const = 0;
};

}  // namespace kvorum::lease
