#pragma once

#include <lmdb.h>

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "backend/backend.h"
#include "backend/records.h"
#include "backend/write_buffer.h"

namespace kvorum::backend {

/// When what was committed is safe from a power cut.
enum class Durability : uint8_t {
  kEachCommit,
  kOnSync,  ///< of a database that is being made: after Sync() only
};

enum class WaitFor : uint8_t { kWhatWasBegun, kAll };

/// An open LMDB environment with our tables, and a pool of read transactions, so that a new view costs no
/// slot in LMDB's reader table. Thread-safe, but one thread at a time writes.
class LmdbEnv {
 public:
  /// Makes a new, empty database in `directory`, which exists and has none.
  static absl::Status Create(const std::string& directory);
  /// Checks the database in `directory`, and changes nothing but that a file without its last free pages, as
  /// LMDB leaves it at times, gets them. Errors: NotFound where there is none, DataLoss where it is damaged,
  /// FailedPrecondition where it is no database of ours.
  static absl::Status Validate(const std::string& directory);
  /// REQUIRES: Validate was OK
  static absl::StatusOr<std::shared_ptr<LmdbEnv>> Open(const std::string& directory, uint64_t map_size_bytes,
                                                       Durability durability);
  /// REQUIRES: no transaction is open
  ~LmdbEnv();
  LmdbEnv(const LmdbEnv&) = delete;
  LmdbEnv& operator=(const LmdbEnv&) = delete;

  /// A read transaction of the last commit; back with EndRead.
  absl::StatusOr<MDB_txn*> BeginRead();
  void EndRead(MDB_txn* txn);
  absl::StatusOr<MDB_txn*> BeginWrite();
  /// Ends `txn` in any case.
  absl::Status CommitWrite(MDB_txn* txn);

  Table TableOf(MDB_txn* txn, Bucket bucket) const {
    return {.txn = txn, .dbi = tables_[static_cast<size_t>(bucket)], .bucket = bucket, .path = data_path_};
  }

  /// Makes everything committed durable, and every later commit.
  absl::Status Sync();
  /// Makes the system write what was committed, and waits for all of it, or only for what an earlier call
  /// began, so that at most two calls' worth is on its way to the disk while more is made. It need not be
  /// safe from a power cut yet.
  absl::Status WriteOut(WaitFor wait_for);
  absl::Status BecomeDurable();

  absl::StatusOr<AppliedPosition> ReadPosition();
  /// The highest key of Bucket::kKey; empty where there is none.
  absl::StatusOr<std::string> LastKey();
  absl::StatusOr<Sizes> ReadSizes();

  const std::string& data_path() const { return data_path_; }
  /// Of the directory as it is now called: a new database is moved into place while it is open.
  void Moved(const std::string& directory);

 private:
  LmdbEnv() = default;
  absl::Status OpenTables(unsigned flags);

  std::string data_path_;
  MDB_env* env_ = nullptr;
  std::array<MDB_dbi, kBucketCount> tables_{};

  absl::Mutex mutex_;
  std::vector<MDB_txn*> idle_reads_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace kvorum::backend
