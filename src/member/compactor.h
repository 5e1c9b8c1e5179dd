#pragma once

#include <map>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "member/member.h"
#include "member/ports.h"
#include "mvcc/store.h"

namespace kvorum::member {

/// Runs scheduled compactions in small steps between the entries that are applied, and tells those who wait
/// for the end. Lives on the apply executor; nothing here is thread-safe.
class Compactor {
 public:
  Compactor(mvcc::Store* store, const MemberOptions& options, const Ports& ports)
      : store_(store), options_(options), ports_(ports) {}

  /// Goes on with what the store has scheduled.
  void Run();
  /// `done` when everything up to `revision` is removed, durably. REQUIRES: a compaction to `revision` or
  /// later was accepted.
  void Wait(int64_t revision, absl::AnyInvocable<void(absl::Status)> done);
  /// Nothing is compacted until `Resume`, by when the store may be another.
  void Pause() { paused_ = true; }
  void Resume();
  void Stop(const absl::Status& status);

 private:
  using Done = absl::AnyInvocable<void(absl::Status)>;

  void Step();
  void Finished();

  mvcc::Store* const store_;
  const MemberOptions options_;
  const Ports ports_;
  bool running_ = false;
  bool stopped_ = false;
  bool paused_ = false;
  Executor::TimerId timer_ = 0;
  std::multimap<int64_t, Done> waiting_;  // by revision
};

}  // namespace kvorum::member
