#pragma once

#include <cstddef>

#include "sim/stage.h"

namespace kvorum::sim {

/// Takes the members to other releases, one after another, by restarts: up one minor release at a time, or
/// down after the cluster has been told to go there.
class Upgrades {
 public:
  static constexpr size_t kReleases = 4;
  /// Machines begin as the `first` of the releases, the oldest of which is 0.
  Upgrades(Stage* stage, size_t first);

  /// One member more, or the next release.
  void Step();
  /// All members go where they were going. Called ever again until `done`.
  void Finish();
  /// Every member is of one release, and so is the cluster.
  bool done() const;

 private:
  void Restart(Node& node);
  void AskForDowngrade();
  void Cancel();
  /// Whether the cluster is not ahead of the release where its members are going.
  bool IsAgreed() const;
  bool IsGoingDown() const;

  Stage& stage_;
  Scheduler& scheduler_;
  size_t target_;
  Instant unclear_until_ = 0;  // a downgrade was asked for, and may yet begin
};

}  // namespace kvorum::sim
