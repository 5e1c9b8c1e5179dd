#pragma once

#include <memory>

#include "backend/backend.h"

namespace kvorum::backend {

/// A backend in memory that keeps what was committed apart from what was not, for tests and the simulator.
/// Everything is done, and `done` called, when the call returns; but for a Commit within an entry.
class MemoryBackend : public Backend {
 public:
  static std::unique_ptr<MemoryBackend> Create();

  /// Commits only happen here and in `Commit`.
  virtual void CommitNow() = 0;
  /// A backend that has what was committed, as after a crash.
  virtual std::unique_ptr<MemoryBackend> Crash() = 0;
};

}  // namespace kvorum::backend
