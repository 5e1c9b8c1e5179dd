#pragma once

#include "sim/admin.h"
#include "sim/stage.h"

namespace kvorum::sim {

/// What is done to disks and to the files on them. Each of what a member may not survive is done only as far
/// as the fault model (plan.h) owes a recovery.
class DiskFaults {
 public:
  DiskFaults(Stage* stage, Admin* admin)
      : stage_(*stage), admin_(*admin), scheduler_(stage->scheduler()), random_(scheduler_.chance()) {}

  /// The next sync fails.
  void FailSync();
  /// No room is left, for a while.
  void Fill();
  /// A machine's disk is gone, and perhaps another's.
  void Lose();
  /// Bits of a file at rest flip.
  void Flip();
  /// A machine starts with the database as it was some time ago.
  void SetBackDatabase();
  /// The log is gone, the database is there.
  void LoseLog();
  /// All disks work and have room.
  void End();

 private:
  Stage& stage_;
  Admin& admin_;
  Scheduler& scheduler_;
  Random& random_;
};

}  // namespace kvorum::sim
