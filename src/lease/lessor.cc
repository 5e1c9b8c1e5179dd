#include "lease/lessor.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <utility>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "base/check.h"
#include "base/planted_bug.h"
#include "base/status.h"
#include "lease/due_queue.h"
#include "lease/lease_format.h"

namespace kvorum::lease {
namespace {

using backend::Bucket;

constexpr int64_t kSecond = 1'000'000'000;
/// A lease that was given out as expired is given out again when it is still there after this time.
constexpr int64_t kOfferAgainAfter = 3 * kSecond;
/// After a promotion at most that many leases end in a second.
constexpr int64_t kEndsPerSecond = 750;
/// A queue with more than twice as many entries as there are leases, and this many, is built anew.
constexpr size_t kQueueSlack = 1024;
/// In a queue: not at all.
constexpr int64_t kNotQueued = std::numeric_limits<int64_t>::min();

int64_t AddSaturated(int64_t a, int64_t b) {
  int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? std::numeric_limits<int64_t>::max() : sum;
}
int64_t CeilSeconds(int64_t ns) { return ns / kSecond + (ns % kSecond > 0 ? 1 : 0); }

struct Lease {
  int64_t granted_ttl = 0;
  int64_t remaining_ttl = 0;  ///< as of the last checkpoint; 0: none
  /// When it ends; means something on the primary only. Renewals write it under a shared lock.
  int64_t expiry_ns = 0;
  /// Its entry in each queue. Invariant: on the primary, `queued_ns` <= `expiry_ns` unless it was offered.
  int64_t queued_ns = kNotQueued;
  int64_t checkpoint_ns = kNotQueued;
  std::unique_ptr<absl::btree_set<std::string, std::less<>>> keys;  ///< null while it has none

  int64_t expiry() const {
    return std::atomic_ref(const_cast<int64_t&>(expiry_ns)).load(std::memory_order_relaxed);
  }
  void SetExpiry(int64_t ns) { std::atomic_ref(expiry_ns).store(ns, std::memory_order_relaxed); }
  int64_t TtlForPromotion() const { return remaining_ttl > 0 ? remaining_ttl : granted_ttl; }
};

/// One lock for everything. Renewals share it: they only move `expiry_ns`, and the queue notices when it
/// comes to the lease.
class LessorImpl final : public Lessor {
 public:
  explicit LessorImpl(const LessorOptions& options)
      : backend_(*options.backend),
        clock_(*options.clock),
        min_ttl_(options.min_ttl_seconds),
        persist_checkpoints_(options.persist_checkpoints),
        checkpoint_interval_(std::chrono::nanoseconds(options.checkpoint_interval).count()),
        own_registry_(options.metrics == nullptr ? std::make_unique<metrics::Registry>() : nullptr),
        metrics_(options.metrics == nullptr ? *own_registry_ : *options.metrics) {}

  absl::Status Reload() override;

  absl::StatusOr<int64_t> Grant(LeaseId id, int64_t ttl_seconds) override;
  absl::StatusOr<std::vector<std::string>> KeysOf(LeaseId id) const override;
  absl::Status Remove(LeaseId id) override;
  void Checkpoint(LeaseId id, int64_t remaining_ttl_seconds) override;
  void Attach(LeaseId id, std::string_view key) override;
  void Detach(LeaseId id, std::string_view key) override;

  bool Exists(LeaseId id) const override;
  absl::StatusOr<int64_t> Renew(LeaseId id) override;
  absl::StatusOr<LeaseView> Get(LeaseId id, bool with_keys) const override;
  std::vector<LeaseId> List() const override;
  size_t size() const override;

  void Promote(std::chrono::nanoseconds extend) override;
  void Demote() override;
  bool primary() const override;
  std::vector<LeaseId> TakeExpired(size_t limit) override;
  std::vector<CheckpointItem> TakeDueCheckpoints(size_t limit) override;
  void CheckInvariants() const override;

 private:
  struct Metrics {
    explicit Metrics(metrics::Registry& registry);
    metrics::Counter& granted;
    metrics::Counter& revoked;
    metrics::Counter& renewed;
    metrics::Histogram& ttl;
  };

  int64_t Now() const { return clock_.Now().time_since_epoch().count(); }
  int64_t RemainingSeconds(const Lease& lease) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  void QueueExpiry(LeaseId id, Lease& lease, int64_t when_ns) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void QueueCheckpoint(LeaseId id, Lease& lease, int64_t when_ns) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool NeedsCheckpoints(const Lease& lease) const {
    return lease.granted_ttl > checkpoint_interval_ / kSecond;
  }
  /// What to checkpoint of a lease whose turn has come, and when its next turn is.
  std::optional<CheckpointItem> TakeCheckpoint(LeaseId id, Lease& lease, int64_t now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<int64_t> RenewAndCheckpoint(LeaseId id) ABSL_LOCKS_EXCLUDED(mutex_);
  void Persist(LeaseId id, const Lease& lease) ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  // Constant.
  backend::Backend& backend_;
  const Clock& clock_;
  const int64_t min_ttl_;
  const bool persist_checkpoints_;
  const int64_t checkpoint_interval_;
  const std::unique_ptr<metrics::Registry> own_registry_;  ///< where the options bring none
  Metrics metrics_;

  mutable absl::Mutex mutex_;
  absl::flat_hash_map<LeaseId, Lease> leases_ ABSL_GUARDED_BY(mutex_);
  bool primary_ ABSL_GUARDED_BY(mutex_) = false;
  DueQueue expiries_ ABSL_GUARDED_BY(mutex_);     ///< empty unless primary
  DueQueue checkpoints_ ABSL_GUARDED_BY(mutex_);  ///< empty unless primary
};

LessorImpl::Metrics::Metrics(metrics::Registry& registry)
    : granted(
          registry.NewCounter("etcd_debugging_lease_granted_total", "The total number of granted leases.")),
      revoked(
          registry.NewCounter("etcd_debugging_lease_revoked_total", "The total number of revoked leases.")),
      renewed(registry.NewCounter("etcd_debugging_lease_renewed_total",
                                  "The number of renewed leases seen by the leader.")),
      ttl(registry.NewHistogram("etcd_debugging_lease_ttl_total", "Bucketed histogram of lease TTLs.", 1, 2,
                                24)) {}

absl::Status LessorImpl::Reload() {
  absl::flat_hash_map<LeaseId, Lease> leases;
  absl::Status malformed;
  const auto view = backend_.NewReadView();
  KVORUM_RETURN_IF_ERROR(
      view->Scan(Bucket::kLease, "", "", [&](std::string_view key, std::string_view value) {
        const absl::StatusOr<StoredLease> stored = DecodeStoredLease(key, value);
        if (!stored.ok()) {
          malformed = stored.status();
          return false;
        }
        Lease lease;
        lease.granted_ttl = std::max(stored->ttl_seconds, min_ttl_);
        lease.remaining_ttl = stored->remaining_ttl_seconds;
        leases.emplace(stored->id, std::move(lease));
        return true;
      }));
  KVORUM_RETURN_IF_ERROR(malformed);
  Demote();
  absl::MutexLock lock(&mutex_);
  leases_.swap(leases);
  return absl::OkStatus();
}

void LessorImpl::Persist(LeaseId id, const Lease& lease) {
  backend_.Put(Bucket::kLease, StoredLeaseKey(id),
               EncodeStoredLease({.id = id,
                                  .ttl_seconds = lease.granted_ttl,
                                  .remaining_ttl_seconds = persist_checkpoints_ ? lease.remaining_ttl : 0}));
}

absl::StatusOr<int64_t> LessorImpl::Grant(LeaseId id, int64_t ttl_seconds) {
  if (id == LeaseId(0)) return NotFoundError();
  if (ttl_seconds > kMaxTtlSeconds) return TtlTooLargeError();
  absl::MutexLock lock(&mutex_);
  const auto [it, added] = leases_.try_emplace(id);
  if (!added) return ExistsError();
  Lease& lease = it->second;
  lease.granted_ttl = std::max(ttl_seconds, min_ttl_);
  if (primary_) {
    const int64_t now = Now();
    lease.SetExpiry(AddSaturated(now, lease.granted_ttl * kSecond));
    QueueExpiry(id, lease, lease.expiry());
    if (NeedsCheckpoints(lease)) QueueCheckpoint(id, lease, AddSaturated(now, checkpoint_interval_));
  }
  Persist(id, lease);
  metrics_.granted.Add();
  metrics_.ttl.Observe(static_cast<double>(lease.granted_ttl));
  return lease.granted_ttl;
}

absl::StatusOr<std::vector<std::string>> LessorImpl::KeysOf(LeaseId id) const {
  absl::ReaderMutexLock lock(&mutex_);
  const auto it = leases_.find(id);
  if (it == leases_.end()) return NotFoundError();
  if (it->second.keys == nullptr) return std::vector<std::string>();
  return std::vector<std::string>(it->second.keys->begin(), it->second.keys->end());
}

absl::Status LessorImpl::Remove(LeaseId id) {
  absl::MutexLock lock(&mutex_);
  if (leases_.erase(id) == 0) return NotFoundError();  // the queues notice when they come to it
  if (!IsPlanted(PlantedBug::kLeaseRevived)) backend_.Delete(Bucket::kLease, StoredLeaseKey(id));
  metrics_.revoked.Add();
  return absl::OkStatus();
}

void LessorImpl::Checkpoint(LeaseId id, int64_t remaining_ttl_seconds) {
  absl::MutexLock lock(&mutex_);
  const auto it = leases_.find(id);
  if (it == leases_.end()) return;
  Lease& lease = it->second;
  lease.remaining_ttl = remaining_ttl_seconds;
  if (persist_checkpoints_) Persist(id, lease);
  // It was renewed while the checkpoint was on its way, which now would let it end too early.
  const int64_t now = Now();
  if (primary_ && remaining_ttl_seconds > 0 && CeilSeconds(lease.expiry() - now) > remaining_ttl_seconds) {
    QueueCheckpoint(id, lease, now);
  }
}

void LessorImpl::Attach(LeaseId id, std::string_view key) {
  absl::MutexLock lock(&mutex_);
  const auto it = leases_.find(id);
  if (it == leases_.end()) return;
  auto& keys = it->second.keys;
  if (keys == nullptr) keys = std::make_unique<absl::btree_set<std::string, std::less<>>>();
  keys->emplace(key);
}

void LessorImpl::Detach(LeaseId id, std::string_view key) {
  absl::MutexLock lock(&mutex_);
  const auto it = leases_.find(id);
  if (it == leases_.end() || it->second.keys == nullptr) return;
  const auto found = it->second.keys->find(key);
  if (found == it->second.keys->end()) return;
  it->second.keys->erase(found);
  if (it->second.keys->empty()) it->second.keys.reset();
}

bool LessorImpl::Exists(LeaseId id) const {
  absl::ReaderMutexLock lock(&mutex_);
  return leases_.contains(id);
}

size_t LessorImpl::size() const {
  absl::ReaderMutexLock lock(&mutex_);
  return leases_.size();
}

bool LessorImpl::primary() const {
  absl::ReaderMutexLock lock(&mutex_);
  return primary_;
}

absl::StatusOr<int64_t> LessorImpl::Renew(LeaseId id) {
  {
    absl::ReaderMutexLock lock(&mutex_);
    if (!primary_) return NotPrimaryError();
    const auto it = leases_.find(id);
    if (it == leases_.end()) return NotFoundError();
    Lease& lease = it->second;
    const int64_t now = Now();
    if (lease.expiry() <= now) return EndingError();
    const bool queue =
        NeedsCheckpoints(lease) && (lease.remaining_ttl > 0 || lease.checkpoint_ns == kNotQueued);
    if (!queue) {
      lease.SetExpiry(std::max(lease.expiry(), AddSaturated(now, lease.granted_ttl * kSecond)));
      metrics_.renewed.Add();
      return lease.granted_ttl;
    }
  }
  return RenewAndCheckpoint(id);
}

absl::StatusOr<int64_t> LessorImpl::RenewAndCheckpoint(LeaseId id) {
  absl::MutexLock lock(&mutex_);
  if (!primary_) return NotPrimaryError();
  const auto it = leases_.find(id);
  if (it == leases_.end()) return NotFoundError();
  Lease& lease = it->second;
  const int64_t now = Now();
  if (lease.expiry() <= now) return EndingError();
  lease.SetExpiry(std::max(lease.expiry(), AddSaturated(now, lease.granted_ttl * kSecond)));
  if (lease.remaining_ttl > 0) {
    // A next primary would end it by the checkpoint: take that back soon.
    QueueCheckpoint(id, lease, now);
  } else if (lease.checkpoint_ns == kNotQueued) {
    QueueCheckpoint(id, lease, AddSaturated(now, checkpoint_interval_));
  }
  metrics_.renewed.Add();
  return lease.granted_ttl;
}

int64_t LessorImpl::RemainingSeconds(const Lease& lease) const {
  if (!primary_) return lease.TtlForPromotion();
  return std::max<int64_t>(0, (lease.expiry() - Now()) / kSecond);
}

absl::StatusOr<LeaseView> LessorImpl::Get(LeaseId id, bool with_keys) const {
  absl::ReaderMutexLock lock(&mutex_);
  const auto it = leases_.find(id);
  if (it == leases_.end()) return NotFoundError();
  const Lease& lease = it->second;
  LeaseView view = {.id = id,
                    .granted_ttl_seconds = lease.granted_ttl,
                    .remaining_ttl_seconds = RemainingSeconds(lease),
                    .keys = {}};
  if (with_keys && lease.keys != nullptr) view.keys.assign(lease.keys->begin(), lease.keys->end());
  return view;
}

std::vector<LeaseId> LessorImpl::List() const {
  std::vector<std::pair<int64_t, LeaseId>> by_time;
  {
    absl::ReaderMutexLock lock(&mutex_);
    by_time.reserve(leases_.size());
    for (const auto& [id, lease] : leases_) {
      by_time.emplace_back(primary_ ? lease.expiry() : lease.TtlForPromotion(), id);
    }
  }
  std::sort(by_time.begin(), by_time.end());
  std::vector<LeaseId> ids;
  ids.reserve(by_time.size());
  for (const auto& [time, id] : by_time) ids.push_back(id);
  return ids;
}

void LessorImpl::QueueExpiry(LeaseId id, Lease& lease, int64_t when_ns) {
  lease.queued_ns = when_ns;
  expiries_.Push({.when_ns = when_ns, .id = id});
  if (expiries_.size() <= 2 * leases_.size() + kQueueSlack) return;
  std::vector<DueQueue::Entry> entries;
  for (const auto& [i, l] : leases_) entries.push_back({.when_ns = l.queued_ns, .id = i});
  expiries_.Assign(std::move(entries));
}

void LessorImpl::QueueCheckpoint(LeaseId id, Lease& lease, int64_t when_ns) {
  lease.checkpoint_ns = when_ns;
  checkpoints_.Push({.when_ns = when_ns, .id = id});
  if (checkpoints_.size() <= 2 * leases_.size() + kQueueSlack) return;
  std::vector<DueQueue::Entry> entries;
  for (const auto& [i, l] : leases_) {
    if (l.checkpoint_ns != kNotQueued) entries.push_back({.when_ns = l.checkpoint_ns, .id = i});
  }
  checkpoints_.Assign(std::move(entries));
}

void LessorImpl::Promote(std::chrono::nanoseconds extend) {
  absl::MutexLock lock(&mutex_);
  primary_ = true;
  const int64_t now = Now();
  std::vector<DueQueue::Entry> ends;
  ends.reserve(leases_.size());
  std::vector<DueQueue::Entry> checkpoints;
  for (auto& [id, lease] : leases_) {
    int64_t end = AddSaturated(now, AddSaturated(lease.TtlForPromotion() * kSecond, extend.count()));
    if (IsPlanted(PlantedBug::kLeaseNotExtended)) end = std::max(now, lease.expiry());
    ends.push_back({.when_ns = end, .id = id});
    lease.checkpoint_ns = kNotQueued;
    if (!NeedsCheckpoints(lease)) continue;
    lease.checkpoint_ns = AddSaturated(now, checkpoint_interval_);
    checkpoints.push_back({.when_ns = lease.checkpoint_ns, .id = id});
  }
  // Where more end at a time than can be revoked, each waits for its turn.
  std::sort(ends.begin(), ends.end());
  int64_t earliest = now;
  for (DueQueue::Entry& entry : ends) {
    entry.when_ns = std::max(entry.when_ns, earliest);
    earliest = AddSaturated(entry.when_ns, kSecond / kEndsPerSecond);
    Lease& lease = leases_.find(entry.id)->second;
    lease.SetExpiry(entry.when_ns);
    lease.queued_ns = entry.when_ns;
  }
  expiries_.Assign(std::move(ends));
  checkpoints_.Assign(std::move(checkpoints));
}

void LessorImpl::Demote() {
  absl::MutexLock lock(&mutex_);
  primary_ = false;
  expiries_.Clear();
  checkpoints_.Clear();
  for (auto& [id, lease] : leases_) {
    lease.queued_ns = kNotQueued;
    lease.checkpoint_ns = kNotQueued;
  }
}

std::vector<LeaseId> LessorImpl::TakeExpired(size_t limit) {
  std::vector<LeaseId> expired;
  absl::MutexLock lock(&mutex_);
  const int64_t now = Now();
  while (expired.size() < limit) {
    const std::optional<DueQueue::Entry> due = expiries_.PopDue(now);
    if (!due) break;
    const auto it = leases_.find(due->id);
    if (it == leases_.end() || it->second.queued_ns != due->when_ns)
      continue;  // removed, perhaps granted anew
    Lease& lease = it->second;
    if (lease.expiry() > now) {
      QueueExpiry(due->id, lease, lease.expiry());  // renewed
      continue;
    }
    expired.push_back(due->id);
    QueueExpiry(due->id, lease, AddSaturated(now, kOfferAgainAfter));
  }
  return expired;
}

std::optional<Lessor::CheckpointItem> LessorImpl::TakeCheckpoint(LeaseId id, Lease& lease, int64_t now) {
  lease.checkpoint_ns = kNotQueued;
  const int64_t left = lease.expiry() - now;
  if (left <= 0) return std::nullopt;  // it is about to be revoked
  const int64_t since_renewal = lease.granted_ttl * kSecond - left;
  if (lease.remaining_ttl == 0 && since_renewal < checkpoint_interval_) {
    QueueCheckpoint(id, lease, AddSaturated(now, checkpoint_interval_ - std::max<int64_t>(0, since_renewal)));
    return std::nullopt;
  }
  if (left > checkpoint_interval_) QueueCheckpoint(id, lease, AddSaturated(now, checkpoint_interval_));
  int64_t remaining = CeilSeconds(left);
  if (remaining >= lease.granted_ttl) remaining = 0;  // the granted TTL says it
  if (remaining == lease.remaining_ttl) return std::nullopt;
  return CheckpointItem{.id = id, .remaining_ttl_seconds = remaining};
}

std::vector<Lessor::CheckpointItem> LessorImpl::TakeDueCheckpoints(size_t limit) {
  std::vector<CheckpointItem> items;
  absl::MutexLock lock(&mutex_);
  const int64_t now = Now();
  while (items.size() < limit) {
    const std::optional<DueQueue::Entry> due = checkpoints_.PopDue(now);
    if (!due) break;
    const auto it = leases_.find(due->id);
    if (it == leases_.end() || it->second.checkpoint_ns != due->when_ns) continue;
    if (auto item = TakeCheckpoint(due->id, it->second, now)) items.push_back(*item);
  }
  return items;
}

void LessorImpl::CheckInvariants() const {
  absl::ReaderMutexLock lock(&mutex_);
  if (!primary_) {
    KVORUM_CHECK(expiries_.size() == 0 && checkpoints_.size() == 0, "queues of a lessor that is not primary");
  }
  size_t queued = 0;
  for (const DueQueue::Entry& entry : expiries_.entries()) {
    const auto it = leases_.find(entry.id);
    if (it != leases_.end() && it->second.queued_ns == entry.when_ns) ++queued;
  }
  for (const auto& [id, lease] : leases_) {
    KVORUM_CHECK(id != LeaseId(0));
    KVORUM_CHECK(lease.granted_ttl >= min_ttl_ && lease.remaining_ttl >= 0, "lease {:x}", id);
    KVORUM_CHECK(lease.keys == nullptr || !lease.keys->empty(), "lease {:x} has an empty set", id);
    KVORUM_CHECK(primary_ == (lease.queued_ns != kNotQueued), "lease {:x}", id);
  }
  KVORUM_CHECK(!primary_ || queued >= leases_.size(), "{} of {} leases are queued", queued, leases_.size());
  KVORUM_CHECK(expiries_.size() <= 2 * leases_.size() + 2 * kQueueSlack || leases_.empty());
}

}  // namespace

absl::Status NotFoundError() { return absl::NotFoundError("lease not found"); }
absl::Status ExistsError() { return absl::AlreadyExistsError("lease already exists"); }
absl::Status TtlTooLargeError() { return absl::OutOfRangeError("too large lease TTL"); }
absl::Status NotPrimaryError() { return absl::FailedPreconditionError("not a primary lessor"); }
absl::Status EndingError() { return absl::UnavailableError("lease is about to be revoked"); }

absl::StatusOr<std::unique_ptr<Lessor>> Lessor::Open(const LessorOptions& options) {
  KVORUM_CHECK(options.backend != nullptr && options.clock != nullptr);
  KVORUM_CHECK(options.min_ttl_seconds > 0 && options.checkpoint_interval.count() > 0);
  auto lessor = std::make_unique<LessorImpl>(options);
  KVORUM_RETURN_IF_ERROR(lessor->Reload());
  return lessor;
}

}  // namespace kvorum::lease
