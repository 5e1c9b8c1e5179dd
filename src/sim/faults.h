#pragma once

#include <functional>

#include "sim/admin.h"
#include "sim/disk_faults.h"
#include "sim/stage.h"
#include "sim/upgrades.h"
#include "sim/upkeep.h"

namespace kvorum::sim {

/// What is done to the machines of a stage, as its plan says, until it ends. The fault model stands in
/// plan.h.
class Faults {
 public:
  Faults(Stage* stage, Admin* admin, Upgrades* upgrades)
      : stage_(*stage), admin_(*admin), upgrades_(*upgrades), disks_(stage, admin), upkeep_(stage) {}

  void Begin();
  /// Undoes what goes on: from now on everything works.
  void End();

 private:
  /// `fault` about every `mean`, until the faults end.
  void Recurring(Instant mean, std::function<void()> fault);
  void Pause();
  void Slow();
  void JumpClock();
  void Cut();
  void CutOff(const Node& alone, bool in, bool out);
  void Split();
  void HealLater();
  /// At a rare moment of the member's.
  void MaybeKillSoon(MemberId id);

  Stage& stage_;
  Admin& admin_;
  Upgrades& upgrades_;
  DiskFaults disks_;
  Upkeep upkeep_;
  bool over_ = false;
};

}  // namespace kvorum::sim
