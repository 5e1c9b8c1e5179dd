#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "base/ids.h"

namespace kvorum::mvcc {

/// A point in the store's history. All changes of one transaction share `main`; `sub` counts them from 0.
struct Revision {
  int64_t main = 0;
  int64_t sub = 0;
  auto operator<=>(const Revision&) const = default;
};

/// A set of keys as the API gives it (reference: v3-api.md §6.1): `end` empty: the key alone; `end` one zero
/// byte: every key >= key; else key <= k < end.
struct KeyRange {
  std::string_view key;
  std::string_view end;

  bool single() const { return end.empty(); }
  bool open_ended() const { return end.size() == 1 && end[0] == '\0'; }
  bool contains(std::string_view k) const {
    if (single()) return k == key;
    return k >= key && (open_ended() || k < end);
  }
};

/// OutOfRange "mvcc: required revision has been compacted".
absl::Status CompactedError();
/// OutOfRange "mvcc: required revision is a future revision".
absl::Status FutureRevisionError();
bool IsCompacted(const absl::Status& status);

/// What the store asks of the leases when keys change. Called by the writer only, inside a transaction.
class LeaseBinder {
 public:
  virtual ~LeaseBinder() = default;
  virtual bool Exists(LeaseId lease) const = 0;
  virtual void Attach(LeaseId lease, std::string_view key) = 0;
  virtual void Detach(LeaseId lease, std::string_view key) = 0;
};

}  // namespace kvorum::mvcc
