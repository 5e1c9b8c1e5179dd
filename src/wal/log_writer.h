#pragma once

#include <memory>
#include <string>

#include "wal/log_storage.h"
#include "wal/wal.h"

namespace kvorum::wal {

/// The log-writer thread: takes everything that waits, writes it with one vectored write and one sync, and
/// reports all of it done (group commit). A second thread makes the next segment ahead of need and removes
/// old ones.
///
///     Enqueue ─▶ queue ─▶ thread "wal-writer": Wal::Save ─▶ done, done, …
///     SaveNow ─▶ the same on the caller's thread, while "wal-writer" sleeps
///     ReleaseTo ────────▶ Wal::ReleaseTo ─▶ thread "wal-segments": Purge, Wal::PrepareNextSegment
///
/// Thread-safe, but for Stop and the destructor.
class LogWriter final : public LogStorage {
 public:
  /// `purge_keep` segments are kept when others are released (--max-wals; 0: all).
  LogWriter(std::unique_ptr<Wal> wal, std::string directory, size_t purge_keep, const Options& options);
  /// Finishes what is queued.
  ~LogWriter() override;

  void Enqueue(Write write) override;
  void SaveNow(std::vector<Write> writes) override;
  void ReleaseTo(raft::Index index) override;

  /// Finishes what is queued and joins the threads; later writes get Cancelled, inside Enqueue.
  void Stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kvorum::wal
