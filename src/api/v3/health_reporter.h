#pragma once

#include <functional>

#include "base/executor.h"
#include "base/log.h"
#include "member/member.h"

namespace kvorum::api_v3 {

/// Says whether this member can serve, so that clients which ask move on to another one where not: not while
/// it has known no leader for an election time-out (an ordinary election is shorter than that), and not while
/// its disk is stuck. All of it happens on the executor, which should be one that waits for no disk. Borrows
/// everything, until Stop.
class HealthReporter {
 public:
  struct Parts {
    const member::Member* member = nullptr;
    Executor* executor = nullptr;
    Logger* logger = nullptr;
    std::function<void(bool serving)> report;  ///< called when it changes
  };
  explicit HealthReporter(Parts parts) : parts_(std::move(parts)) {}

  /// On the executor. Reports at once.
  void Start();
  /// On the executor. Reports that nothing is served any more.
  void Stop();

 private:
  void Look();
  /// Why this member cannot serve; empty: it can.
  std::string_view Trouble();
  void Report(bool serving);

  const Parts parts_;
  bool stopped_ = false;
  bool serving_ = false;
  MonotonicTime last_leader_;  // when there was one
  Executor::TimerId timer_ = 0;
};

}  // namespace kvorum::api_v3
