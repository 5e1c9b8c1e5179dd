#pragma once

#include "sim/stage.h"

namespace kvorum::sim {

/// What operators do to members that run: snapshots of the database, each of which has to be what the others
/// have at its revision, and defragmentations.
class Upkeep {
 public:
  explicit Upkeep(Stage* stage) : stage_(*stage), scheduler_(stage->scheduler()) {}

  /// Takes a snapshot of some member's database, and reads it while the member goes on.
  void TakeSnapshot();
  void Defragment();

 private:
  void Restore(MemberId of, member::Member::DatabaseView view);
  void NoteHash(MemberId of, const absl::StatusOr<mvcc::HashResult>& hash);

  Stage& stage_;
  Scheduler& scheduler_;
};

}  // namespace kvorum::sim
