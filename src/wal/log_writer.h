#pragma once

#include <memory>

#include "base/metrics.h"
#include "base/thread_executor.h"
#include "wal/log_storage.h"
#include "wal/wal.h"

namespace kvorum::wal {

/// The log-writer thread: takes everything that waits, writes it with one vectored write and one sync, and
/// reports all of it done (group commit). Makes the next segment ahead of need.
class LogWriter final : public LogStorage {
 public:
  /// `purge_keep` segments are kept when others are released (--max-wals; 0: all).
  LogWriter(std::unique_ptr<Wal> wal, std::string directory, size_t purge_keep, const Options& options);
  /// Finishes what is queued.
  ~LogWriter() override;

  void Enqueue(Write write) override;
  void ReleaseTo(raft::Index index) override;

  /// Finishes what is queued and joins the thread; later writes get Cancelled.
  void Stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kvorum::wal
