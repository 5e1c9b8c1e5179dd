#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace kvorum::bbolt {

/// A bbolt database file, all of it checked when it was opened: each page of the trees is where it says, is
/// used once, has its elements inside and its keys in order. So what is read afterwards cannot fail. Thread
/// rule: as for a constant. The strings that it hands out live as long as it does.
class Database {
 public:
  /// Maps the file and holds bbolt's lock on it, shared. Errors: NotFound, DataLoss, Unavailable where a
  /// process has it open for writing.
  static absl::StatusOr<std::unique_ptr<Database>> Open(const std::string& path);
  /// `content` is borrowed; `name` is for error texts. Errors: DataLoss.
  static absl::StatusOr<std::unique_ptr<Database>> FromBytes(std::string_view content,
                                                             const std::string& name);
  virtual ~Database() = default;
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  /// A tree of records: a page of the file, or a page that stands inside of another's value.
  struct Tree {
    uint64_t root = 0;             ///< 0: `inline_page`
    std::string_view inline_page;  ///< header and elements
  };
  struct Bucket {
    std::string name;
    Tree tree;
  };
  /// In the order of their names.
  const std::vector<Bucket>& buckets() const { return buckets_; }
  /// Null where there is none.
  const Bucket* FindBucket(std::string_view name) const;

  using Visit = absl::FunctionRef<bool(std::string_view key, std::string_view value)>;
  /// Every record with from <= key < to (to empty: to the end), in key order, until `visit` returns false.
  void Scan(const Bucket& bucket, std::string_view from, std::string_view to, Visit visit) const;
  std::optional<std::string_view> Get(const Bucket& bucket, std::string_view key) const;

  /// What the pages ever used take; more bytes may follow.
  uint64_t used_bytes() const { return end_ * page_bytes_; }

 protected:
  Database() = default;
  absl::Status Load(std::string_view content, const std::string& name);

 private:
  friend class Checker;
  bool ScanPage(std::string_view page, std::string_view from, std::string_view to, Visit visit) const;
  /// A page of the file with its overflow. REQUIRES: it was checked
  std::string_view PageAt(uint64_t id) const;
  std::string_view RootOf(const Tree& tree) const;

  std::string_view content_;
  uint64_t page_bytes_ = 0;
  uint64_t end_ = 0;  ///< pages
  std::vector<Bucket> buckets_;
};

}  // namespace kvorum::bbolt
