#pragma once

#include <lmdb.h>

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "backend/backend.h"

namespace kvorum::backend {

// Records as they stand in LMDB's tables (docs/formats.md, "Database directory"): behind each value its
// checksum, and keys longer than LMDB takes gathered in bags.

/// The status of an error code of LMDB or the system: "ACTION PATH: cause".
absl::Status LmdbError(int code, std::string_view action, std::string_view path);

/// A table within a transaction. Borrowed; a handful of words, passed by value.
struct Table {
  MDB_txn* txn;
  MDB_dbi dbi;
  Bucket bucket;
  std::string_view path;  ///< for error texts
};

enum class Place : uint8_t { kAnywhere, kBehindAll };

/// `kBehindAll` promises that no key of the table is at or above `key`.
absl::Status PutRecord(const Table& table, std::string_view key, std::string_view value, Place place);
/// Nothing happens where there is no such record.
absl::Status DeleteRecord(const Table& table, std::string_view key);
/// Valid as long as the transaction. DataLoss where the checksum does not fit.
absl::StatusOr<std::optional<std::string_view>> GetRecord(const Table& table, std::string_view key);

/// DataLoss where the checksum behind `value` does not fit. REQUIRES: RecordCursor::Locate gave it, unchecked
absl::Status CheckRecord(const Table& table, std::string_view key, std::string_view value);

/// Walks over the records of a table in key order.
class RecordCursor {
 public:
  explicit RecordCursor(const Table& table) : table_(table) {}
  ~RecordCursor();
  RecordCursor(const RecordCursor&) = delete;
  RecordCursor& operator=(const RecordCursor&) = delete;

  /// The value of one record. Cheaper than GetRecord for a key that is near the one before. Errors: DataLoss.
  /// REQUIRES: no Seek on this cursor
  absl::StatusOr<std::optional<std::string_view>> Find(std::string_view key);
  /// The same, but the checksum may be left to CheckRecord.
  absl::StatusOr<std::optional<Located>> Locate(std::string_view key);

  /// To the first record whose key is not below `from`. Errors: DataLoss.
  absl::Status Seek(std::string_view from);
  /// REQUIRES: valid()
  absl::Status Next();
  bool valid() const { return valid_; }
  /// Both valid as long as the transaction.
  std::string_view key() const { return key_; }
  std::string_view value() const { return value_; }

 private:
  absl::Status Open();
  absl::Status Step(MDB_cursor_op operation, std::string_view from);
  absl::Status TakeFromBag();

  const Table table_;
  MDB_cursor* cursor_ = nullptr;
  bool try_next_ = false;  ///< Locate looks at the next record first
  unsigned misses_ = 0;    ///< where it was another one
  bool valid_ = false;
  std::string_view key_;
  std::string_view value_;
  std::string_view bag_;  ///< what was not visited yet of the bag under the cursor
};

}  // namespace kvorum::backend
