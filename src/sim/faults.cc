#include "sim/faults.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace kvorum::sim {

namespace {

constexpr Instant kMillisecond = 1'000'000;
constexpr Instant kSecond = 1'000 * kMillisecond;
/// How long a rare moment lasts.
constexpr Instant kMoment = 20 * kMillisecond;

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
  if (plan.kill_at_one_in != 0) stage_.recorder().OnRare([this](MemberId id) { MaybeKillSoon(id); });
  Recurring(plan.kill_every, [this] { stage_.Kill(stage_.Any(), false); });
  Recurring(plan.power_cut_every, [this] { stage_.Kill(stage_.Any(), true); });
  Recurring(plan.all_down_every, [this] {
    for (Node* node : stage_.present()) stage_.Kill(*node, stage_.scheduler().chance().OneIn(1, 2));
  });
  Recurring(plan.pause_every, [this] { Pause(); });
  Recurring(plan.write_error_every, [this] { disks_.FailSync(); });
  Recurring(plan.cut_every, [this] { Cut(); });
  Recurring(plan.transfer_every, [this] { admin_.MoveLeader(); });
  Recurring(plan.change_every, [this] { admin_.Wish(); });
  Recurring(plan.disk_loss_every, [this] { disks_.Lose(); });
  Recurring(plan.full_every, [this] { disks_.Fill(); });
  Recurring(plan.flip_every, [this] { disks_.Flip(); });
  Recurring(plan.set_back_every, [this] { disks_.SetBackDatabase(); });
  Recurring(plan.log_loss_every, [this] { disks_.LoseLog(); });
  Recurring(plan.clock_jump_every, [this] { JumpClock(); });
  Recurring(plan.slow_every, [this] { Slow(); });
  Recurring(plan.snapshot_every, [this] { upkeep_.TakeSnapshot(); });
  Recurring(plan.defragment_every, [this] { upkeep_.Defragment(); });
  Recurring(plan.upgrade_every, [this] { upgrades_.Step(); });
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
    // It may take itself for the leader still, and hear nothing else.
    if (over_ || !stage_.scheduler().chance().OneIn(1, 4)) return;
    CutOff(node, true, true);
    HealLater();
  });
}

void Faults::MaybeKillSoon(MemberId id) {
  Scheduler& scheduler = stage_.scheduler();
  if (over_ || !scheduler.chance().OneIn(1, stage_.plan().kill_at_one_in)) return;
  scheduler.After(scheduler.Between(0, kMoment), [this, id] {
    const auto& nodes = stage_.present();
    const auto node = std::find_if(nodes.begin(), nodes.end(), [id](const Node* n) { return n->id() == id; });
    if (over_ || node == nodes.end()) return;
    stage_.Kill(**node, stage_.scheduler().chance().OneIn(1, 2));
  });
}

/// One thread does what it has to do, but takes its time.
void Faults::Slow() {
  Node& node = stage_.Any();
  if (!node.up()) return;
  Scheduler& scheduler = stage_.scheduler();
  const size_t thread = scheduler.chance().Below(Node::kThreads);
  const Instant lag =
      scheduler.Between(kMillisecond, scheduler.chance().OneIn(1, 4) ? 3 * kSecond : kSecond / 5);
  stage_.Say("thread {} of {} is up to {} ms late", thread, node.name(), lag / kMillisecond);
  node.Slow(thread, lag);
  scheduler.After(scheduler.Between(0, 6 * kSecond), [&node, thread, start = node.starts()] {
    if (node.starts() == start) node.Slow(thread, 0);
  });
}

void Faults::JumpClock() {
  Scheduler& scheduler = stage_.scheduler();
  Node& node = stage_.Any();
  const Instant most = scheduler.chance().OneIn(1, 2) ? 10 * kSecond : 100'000 * kSecond;
  const Instant offset = scheduler.Between(-most, most);
  stage_.Say("the wall clock of {} is {} s off", node.name(), offset / kSecond);
  node.clock().SetWallOffset(offset);
}

void Faults::Cut() {
  Random& random = stage_.scheduler().chance();
  if (random.OneIn(1, 3)) return Split();
  const bool in = random.OneIn(2, 3);
  const bool out = !in || random.OneIn(2, 3);
  CutOff(stage_.Any(), in, out);
  HealLater();
}

void Faults::CutOff(const Node& alone, bool in, bool out) {
  stage_.Say("{} is cut off{}{}", alone.name(), in ? " in" : "", out ? " out" : "");
  for (Node* other : stage_.present()) {
    if (other == &alone || stage_.scheduler().chance().OneIn(1, 6)) continue;
    if (in) stage_.network().Cut(other->id(), alone.id());
    if (out) stage_.network().Cut(alone.id(), other->id());
  }
}

void Faults::Split() {
  stage_.Say("the network is split");
  std::vector<const Node*> here;
  std::vector<const Node*> there;
  for (const Node* node : stage_.present()) {
    (stage_.scheduler().chance().OneIn(1, 2) ? here : there).push_back(node);
  }
  for (const Node* one : here) {
    for (const Node* other : there) {
      stage_.network().Cut(one->id(), other->id());
      stage_.network().Cut(other->id(), one->id());
    }
  }
  HealLater();
}

void Faults::HealLater() {
  Scheduler& scheduler = stage_.scheduler();
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
  disks_.End();
  for (Node* node : stage_.present()) {
    if (node->paused()) node->Resume();
    for (size_t thread = 0; thread < Node::kThreads; ++thread) node->Slow(thread, 0);
  }
}

}  // namespace kvorum::sim
