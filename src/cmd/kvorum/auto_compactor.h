#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "base/executor.h"
#include "base/log.h"

namespace kvorum::cmd {

/// Compacts the history by itself (reference: flags.md, "Auto compaction"): by age, to the revision that was
/// current one period ago; or by count, to so many revisions behind the current one. Only on the leader.
///
/// Lives on one executor, where every call to it is made.
class AutoCompactor {
 public:
  struct Options {
    std::chrono::nanoseconds period{0};  ///< 0: by count
    int64_t revisions = 0;
  };
  /// What it looks at and acts on.
  struct Store {
    std::function<int64_t()> current_revision;
    std::function<bool()> is_leader;
    /// Compacts; `done` on any thread. OutOfRange where that revision was compacted already.
    std::function<void(int64_t revision, absl::AnyInvocable<void(absl::Status)> done)> compact;
  };

  /// The executor and the logger are borrowed; the executor outlives the object.
  AutoCompactor(const Options& options, Store store, Executor* executor, Logger* logger);
  ~AutoCompactor();

  /// Begins; a period passes before the first compaction.
  void Start();

 private:
  void ScheduleNext();
  void OnTimer();
  /// The revision that is due; 0: none.
  int64_t DueRevision();
  void Compact(int64_t revision);
  void OnCompacted(int64_t revision, MonotonicTime begin, const absl::Status& status);

  const Options options_;
  const Store store_;
  Executor* const executor_;
  Logger* const logger_;
  const std::chrono::nanoseconds interval_;  ///< between compactions
  const std::chrono::nanoseconds step_;      ///< between looks
  const size_t samples_kept_;                ///< looks in one period, and one

  Executor::TimerId timer_ = 0;
  bool running_ = false;  ///< a compaction is
  MonotonicTime last_time_;
  int64_t last_revision_ = 0;
  std::deque<int64_t> samples_;                                 ///< the revision at each look, oldest first
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // shared with callbacks that come late
};

}  // namespace kvorum::cmd
