#pragma once

#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "mvcc/watch_hub.h"

namespace kvorum::mvcc {

class WatchStreamImpl final : public WatchStream {
 public:
  WatchStreamImpl(WatchHubImpl* hub, absl::AnyInvocable<void()> ready);
  ~WatchStreamImpl() override;

  absl::StatusOr<int64_t> Watch(int64_t watch_id, WatchSpec spec) override;
  bool Cancel(int64_t watch_id) override;
  std::vector<WatchBatch> Take(size_t max_bytes) override;
  int64_t SyncedRevision() override;
  int64_t SyncedRevision(int64_t watch_id) override;
  size_t watcher_count() const override { return watchers_.size(); }

 private:
  WatchBatch& BatchFor(std::vector<WatchBatch>* batches, const QueuedEvent& event);

  WatchHubImpl& hub_;
  const std::shared_ptr<StreamState> state_;
  /// Each holds a reference.
  absl::flat_hash_map<int64_t, Watcher*> watchers_;
  int64_t next_id_ = 0;
  int64_t latest_start_ = 0;  ///< the highest start revision ever asked for
  uint64_t take_number_ = 0;
};

}  // namespace kvorum::mvcc
