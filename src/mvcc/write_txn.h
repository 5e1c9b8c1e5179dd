#pragma once

#include "mvcc/store_impl.h"

namespace kvorum::mvcc {

/// The open transaction. Its changes go into index and backend at once, under a main revision that readers
/// outside do not know yet.
class StoreImpl::Txn final : public WriteTxn {
 public:
  explicit Txn(StoreImpl* store);
  ~Txn() override { End(); }

  absl::StatusOr<RangeResult> Range(const RangeOptions& options) override;
  void Put(std::string_view key, std::string_view value, LeaseId lease) override;
  int64_t DeleteRange(const KeyRange& range) override;
  int64_t revision() const override { return begin_ + (changed() ? 1 : 0); }
  bool changed() const override { return next_sub_ > 0; }
  void End() override;

 private:
  Revision NextRevision() { return {begin_ + 1, next_sub_++}; }
  std::vector<const IndexedKey*> LiveKeys(const KeyRange& range);

  StoreImpl& store_;
  const int64_t begin_;  ///< the store's revision when the transaction began
  int64_t next_sub_ = 0;
  int64_t live_delta_ = 0;
  uint64_t puts_ = 0;
  uint64_t ranges_ = 0;
  uint64_t deletes_ = 0;
  bool ended_ = false;
};

}  // namespace kvorum::mvcc
