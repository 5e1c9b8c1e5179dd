#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "backend/backend.h"
#include "backend/lmdb_env.h"
#include "backend/records.h"
#include "backend/write_buffer.h"

namespace kvorum::backend {

/// Where the data is between two rotations of the buffers: what LMDB may not have yet, oldest buffer first,
/// and LMDB. The last buffer is the one that is written to. Immutable; views share it.
struct DatabaseState {
  std::shared_ptr<LmdbEnv> env;
  std::vector<std::shared_ptr<WriteBuffer>> buffers;
};

/// What outlives the views.
class ViewOwner {
 public:
  virtual ~ViewOwner() = default;
  /// The view has let go of everything by then. Any thread.
  virtual void ViewClosed(const DatabaseState* state) = 0;
};

/// A view of the buffers and LMDB as of one change.
class LmdbView final : public ReadView {
 public:
  /// `txn` is a transaction of `state`'s environment that has nothing newer than the last buffer, or the
  /// status that all reads are to give. `sequence` is the last change to be seen.
  LmdbView(ViewOwner& owner, std::shared_ptr<const DatabaseState> state, absl::StatusOr<MDB_txn*> txn,
           uint64_t sequence);
  ~LmdbView() override;

  absl::StatusOr<std::optional<std::string_view>> Get(Bucket bucket, std::string_view key) override;
  absl::StatusOr<std::optional<Located>> Locate(Bucket bucket, std::string_view key) override;
  absl::Status Check(Bucket bucket, std::string_view key, std::string_view value) override;
  absl::Status Scan(Bucket bucket, std::string_view from, std::string_view to,
                    absl::FunctionRef<bool(std::string_view, std::string_view)> visit) override;

 private:
  using Visit = absl::FunctionRef<bool(std::string_view, std::string_view)>;

  /// How many records appended to buffer `i` are to be seen.
  size_t AppendedTo(size_t i) const;
  /// For Bucket::kKey where it has nothing but appended records in the buffers.
  absl::Status ScanAppended(std::string_view from, std::string_view to, Visit visit);
  absl::Status ScanMerged(Bucket bucket, std::string_view from, std::string_view to, Visit visit);

  ViewOwner& owner_;
  std::shared_ptr<const DatabaseState> state_;
  const absl::StatusOr<MDB_txn*> txn_;
  const uint64_t sequence_;
  const size_t appended_to_last_;
  bool reads_keys_ = false;                 ///< a key of Bucket::kKey was looked up in LMDB
  std::optional<RecordCursor> key_cursor_;  ///< from the second such look-up on
};

}  // namespace kvorum::backend
