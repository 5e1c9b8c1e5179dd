#include "sim/faults.h"

#include <utility>

namespace kvorum::sim {

namespace {

constexpr Instant kSecond = 1'000'000'000;

}  // namespace

void Faults::Recurring(Instant mean, std::function<void()> fault) {
  if (mean == 0) return;
  Scheduler& scheduler = stage_.scheduler();
  scheduler.After(scheduler.Between(0, 2 * mean), [this, mean, fault = std::move(fault)]() mutable {
    if (over_) return;
    fault();
    Recurring(mean, std::move(fault));
  });
}

void Faults::Begin() {
  const Plan& plan = stage_.plan();
  Recurring(plan.kill_every, [this] { stage_.Kill(stage_.Any(), false); });
  Recurring(plan.power_cut_every, [this] { stage_.Kill(stage_.Any(), true); });
  Recurring(plan.all_down_every, [this] {
    for (Node* node : stage_.present()) stage_.Kill(*node, stage_.scheduler().chance().OneIn(1, 2));
  });
  Recurring(plan.pause_every, [this] { Pause(); });
  Recurring(plan.write_error_every, [this] { FailWrite(); });
  Recurring(plan.cut_every, [this] { Cut(); });
  Recurring(plan.transfer_every, [this] { admin_.MoveLeader(); });
  Recurring(plan.change_every, [this] { admin_.Wish(); });
  Recurring(plan.disk_loss_every, [this] { admin_.LoseDisk(); });
}

void Faults::Pause() {
  Node& node = stage_.Any();
  if (!node.up() || node.paused()) return;
  stage_.Say("{} is stopped", node.name());
  node.Pause();
  Scheduler& scheduler = stage_.scheduler();
  scheduler.After(scheduler.Between(0, 4 * kSecond), [this, &node, start = node.starts()] {
    if (node.starts() != start) return;
    stage_.Say("{} goes on", node.name());
    node.Resume();
  });
}

void Faults::FailWrite() {
  Node& node = stage_.Any();
  stage_.Say("the next sync of {} fails", node.name());
  node.disk().env().FailNth(testing::FaultEnv::Op::kSync, 0,
                            absl::InternalError("fdatasync: input/output error"));
}

void Faults::Cut() {
  Scheduler& scheduler = stage_.scheduler();
  Random& random = scheduler.chance();
  Node& alone = stage_.Any();
  const bool in = random.OneIn(2, 3);
  const bool out = !in || random.OneIn(2, 3);
  stage_.Say("{} is cut off{}{}", alone.name(), in ? " in" : "", out ? " out" : "");
  for (Node* other : stage_.present()) {
    if (other == &alone || random.OneIn(1, 6)) continue;
    if (in) stage_.network().Cut(other->id(), alone.id());
    if (out) stage_.network().Cut(alone.id(), other->id());
  }
  scheduler.After(scheduler.Between(0, 6 * kSecond), [this] {
    stage_.Say("the network is whole");
    stage_.network().HealAll();
  });
}

void Faults::End() {
  over_ = true;
  stage_.Say("the faults end");
  admin_.Finish();
  stage_.network().HealAll();
  stage_.network().manner().lost_one_in = 0;
  stage_.network().manner().late_one_in = 0;
  for (Node* node : stage_.present()) {
    node->disk().env().ClearFaults();
    node->disk().manner().stall_one_in = 0;
    if (node->paused()) node->Resume();
  }
}

}  // namespace kvorum::sim
