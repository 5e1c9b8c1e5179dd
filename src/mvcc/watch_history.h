#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "backend/backend.h"
#include "base/bytes.h"
#include "mvcc/types.h"

namespace kvorum::mvcc {

/// One change of a key. The views live as long as what they were read from.
struct HistoryChange {
  Revision revision;
  bool tombstone = false;
  bool creates = false;  ///< a put of a key that did not exist
  std::string_view key;
  std::string_view record;
};

/// What the watch hub reads of the store's past. Thread-safe.
class WatchHistory {
 public:
  virtual ~WatchHistory() = default;

  virtual int64_t compact_revision() const = 0;
  virtual std::unique_ptr<backend::ReadView> NewView() = 0;

  /// The changes with from <= main <= to, oldest first, until `max_records` and the last main revision begun
  /// are read; the last main revision of which everything was read. Where it is under the compact revision
  /// by the end, changes may be missing.
  virtual absl::StatusOr<int64_t> ReadChanges(backend::ReadView& view, int64_t from, int64_t to,
                                              size_t max_records, std::vector<HistoryChange>* changes) = 0;

  /// The record that the key had at `revision`; nothing where it had none, or where that was compacted.
  virtual std::optional<std::string_view> RecordAt(backend::ReadView& view, std::string_view key,
                                                   int64_t revision) = 0;
};

}  // namespace kvorum::mvcc
