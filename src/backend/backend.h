#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/bytes.h"

namespace kvorum::backend {

/// The tables of the database, in the order of their names on disk (reference: backend-schema.md §1).
enum class Bucket : uint8_t {
  kAlarm,
  kAuth,
  kAuthRoles,
  kAuthUsers,
  kCluster,
  kKey,
  kLease,
  kMembers,
  kMembersRemoved,
  kMeta,
};
inline constexpr size_t kBucketCount = 10;
/// "alarm" and so on.
std::string_view BucketName(Bucket bucket);

/// What ReadView::Locate found.
struct Located {
  std::string_view value;
  bool checked = true;  ///< false: the value is to be used after ReadView::Check only
};

/// The database at one moment: everything that was put before the view was made, durable yet or not. The
/// views of strings that it hands out live as long as it does. Not thread-safe; distinct views are
/// independent, and none of them ever waits for the disk behind a commit. Keep it short: an open view keeps
/// old pages in use.
///
/// In Bucket::kKey keys are written once and deletions are promises that nobody looks any more: a view may or
/// may not see a deletion there that was made after what it read about (mvcc/ knows which keys exist).
class ReadView {
 public:
  virtual ~ReadView() = default;

  /// DataLoss where the record's checksum does not fit.
  virtual absl::StatusOr<std::optional<std::string_view>> Get(Bucket bucket, std::string_view key) = 0;

  /// As Get, but may leave the checksum to Check, and so not touch the value. For reads of so many records
  /// that their bytes should pass through the processor once: when they are used, not when they are found.
  virtual absl::StatusOr<std::optional<Located>> Locate(Bucket bucket, std::string_view key);
  /// DataLoss where the checksum of a record does not fit. REQUIRES: Locate gave `value` for `key`, unchecked
  virtual absl::Status Check(Bucket bucket, std::string_view key, std::string_view value);

  /// Every record with from <= key < to (to empty: to the end), in key order, until `visit` returns false.
  virtual absl::Status Scan(Bucket bucket, std::string_view from, std::string_view to,
                            absl::FunctionRef<bool(std::string_view key, std::string_view value)> visit) = 0;
};

struct Sizes {
  int64_t total_bytes = 0;   ///< of the file; what the quota is held against
  int64_t in_use_bytes = 0;  ///< without pages that are free
};

/// The position of the replicated log up to which the database has everything.
struct AppliedPosition {
  uint64_t index = 0;
  uint64_t term = 0;
};

/// The embedded database. Writes go to a buffer in memory and return; a committer moves them to disk every
/// batch interval, or batch limit of writes, together with the applied position: after a crash the database
/// is as it was after some whole entry, and says which. One writer thread (the applier); views from any
/// thread.
class Backend {
 public:
  virtual ~Backend() = default;

  /// Everything between BeginEntry and EndEntry becomes durable together, with `position` (the backend itself
  /// writes consistent_index and term into Bucket::kMeta, with each commit). Writes outside are each on their
  /// own. EndEntry waits only where the buffer is over its limit. REQUIRES: positions do not fall
  virtual void BeginEntry() = 0;
  virtual void EndEntry(AppliedPosition position) = 0;

  /// REQUIRES, of both: `key` is not empty
  virtual void Put(Bucket bucket, std::string_view key, Bytes value) = 0;
  virtual void Delete(Bucket bucket, std::string_view key) = 0;

  /// Thread-safe.
  virtual std::unique_ptr<ReadView> NewReadView() = 0;

  /// The applied position of the last EndEntry, or the one found on disk. Thread-safe.
  virtual AppliedPosition applied() const = 0;

  /// Calls `done` when everything put so far is durable; in the middle of an entry, that is after its end.
  /// Thread-safe; `done` runs on the committer's thread.
  virtual void Commit(absl::AnyInvocable<void(absl::Status)> done) = 0;

  /// Thread-safe; as of the last commit, plus what waits in the buffer.
  virtual Sizes sizes() const = 0;

  /// Rewrites the file without its free pages while reads and writes go on; none of them waits longer than
  /// for the final swap. `done` runs on another thread. Errors: FailedPrecondition while one is running,
  /// ResourceExhausted where the disk has no room for a second file, DataLoss where a record is damaged; the
  /// database goes on as it was.
  virtual void Defragment(absl::AnyInvocable<void(absl::Status)> done) = 0;

  /// Puts `content` in the place of everything, and `position` in the place of the applied position: the
  /// database that came with a snapshot. Views that are open keep what they see. After a crash the database
  /// is either the old or the new one. `done` runs on another thread. Errors: ResourceExhausted where the
  /// disk has no room, DataLoss where `content` is damaged; the database is as it was then. REQUIRES: no
  /// entry is open, and nothing is put until `done` was called
  virtual void Replace(std::unique_ptr<ReadView> content, AppliedPosition position,
                       absl::AnyInvocable<void(absl::Status)> done) = 0;

  /// Commits what is there and closes. No call may follow. REQUIRES: no entry is open, no view is left
  virtual absl::Status Close() = 0;
};

}  // namespace kvorum::backend
