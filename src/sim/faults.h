#pragma once

#include <functional>

#include "sim/admin.h"
#include "sim/stage.h"

namespace kvorum::sim {

/// What is done to the machines of a stage, as its plan says, until it ends. The fault model stands in
/// plan.h.
class Faults {
 public:
  Faults(Stage* stage, Admin* admin) : stage_(*stage), admin_(*admin) {}

  void Begin();
  /// Undoes what goes on: from now on everything works.
  void End();

 private:
  /// `fault` about every `mean`, until the faults end.
  void Recurring(Instant mean, std::function<void()> fault);
  void Pause();
  void FailWrite();
  void Cut();

  Stage& stage_;
  Admin& admin_;
  bool over_ = false;
};

}  // namespace kvorum::sim
