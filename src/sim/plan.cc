#include "sim/plan.h"

#include <iterator>

#include "fmt/format.h"

namespace kvorum::sim {

namespace {

constexpr Instant kMillisecond = 1'000'000;
constexpr Instant kSecond = 1'000 * kMillisecond;

}  // namespace

Plan Plan::Draw(uint64_t seed) {
  Random random(seed ^ 0x5eed);
  Plan plan;
  const auto chance = [&](uint64_t one_in) { return random.OneIn(1, one_in); };
  const auto between = [&](Instant low, Instant high) {
    return low + static_cast<Instant>(random.Below(static_cast<uint64_t>(high - low) + 1));
  };
  constexpr uint64_t kSizes[] = {1, 3, 3, 3, 5, 5, 7};
  plan.members = kSizes[random.Below(std::size(kSizes))];
  plan.clients = 1 + random.Below(20);
  plan.watchers = random.Below(6);
  plan.leasers = random.Below(8);
  plan.workload.think = between(kMillisecond, 50 * kMillisecond);
  plan.workload.keys = 1 + random.Below(40);
  if (chance(3)) plan.workload.stay = 2 + random.Below(100);
  plan.snapshot_count = chance(4) ? 1 + random.Below(10) : 10 + random.Below(300);
  plan.snapshot_catchup_entries = random.Below(chance(3) ? 4 : 60);
  if (chance(2)) plan.compaction_batch = 1 + random.Below(100);
  plan.pre_vote = !chance(4);
  plan.clock_drift = static_cast<double>(random.Below(5)) / 100;
  plan.disk.max_sync = between(kMillisecond, 20 * kMillisecond);
  if (chance(3)) plan.disk.stall_one_in = 50 + random.Below(500);
  plan.network.max_delay = between(kMillisecond, 30 * kMillisecond);
  if (chance(2)) plan.network.lost_one_in = 5 + random.Below(200);
  if (chance(2)) plan.network.doubled_one_in = 5 + random.Below(200);
  if (chance(2)) plan.network.late_one_in = 5 + random.Below(100);
  const auto every = [&](Instant low, Instant high) { return chance(2) ? between(low, high) : Instant{0}; };
  plan.kill_every = every(kSecond, 10 * kSecond);
  plan.power_cut_every = every(kSecond, 10 * kSecond);
  plan.pause_every = every(kSecond, 10 * kSecond);
  plan.cut_every = every(kSecond, 10 * kSecond);
  plan.write_error_every = chance(3) ? between(3 * kSecond, 15 * kSecond) : 0;
  plan.all_down_every = chance(4) ? between(8 * kSecond, 20 * kSecond) : 0;
  plan.commit_every = between(50 * kMillisecond, 2 * kSecond);
  plan.transfer_every = chance(3) ? between(kSecond, 10 * kSecond) : 0;
  plan.change_every = chance(2) ? between(kSecond, 10 * kSecond) : 0;
  plan.full_every = chance(4) ? between(3 * kSecond, 15 * kSecond) : 0;
  plan.flip_every = chance(4) ? between(2 * kSecond, 15 * kSecond) : 0;
  plan.set_back_every = chance(5) ? between(2 * kSecond, 15 * kSecond) : 0;
  plan.log_loss_every = chance(6) ? between(3 * kSecond, 15 * kSecond) : 0;
  plan.clock_jump_every = chance(4) ? between(kSecond, 10 * kSecond) : 0;
  plan.slow_every = chance(3) ? between(kSecond, 10 * kSecond) : 0;
  plan.snapshot_every = chance(3) ? between(kSecond, 10 * kSecond) : 0;
  plan.defragment_every = chance(4) ? between(kSecond, 10 * kSecond) : 0;
  if (chance(4)) {
    plan.upgrade_every = between(kSecond / 2, 3 * kSecond);
    plan.first_release = random.Below(4);
  }
  plan.disk_loss_every = chance(4) ? between(2 * kSecond, 15 * kSecond) : 0;
  if (chance(3)) plan.kill_at_one_in = 2 + random.Below(15);
  if (chance(2)) {
    plan.v2_clients = 1 + random.Below(12);
    plan.v2_watchers = random.Below(6);
    plan.v2_workload.think = between(2 * kMillisecond, 60 * kMillisecond);
    plan.v2_workload.keys = 1 + random.Below(12);
    plan.v2_workload.longest_ttl = random.Below(10);
    plan.v2_workload.ttl_one_in = random.Below(8);
  }
  return plan;
}

std::string Plan::Text() const {
  const auto ms = [](Instant time) { return time / kMillisecond; };
  return fmt::format(
      "members={} clients={}+{}+{} v2={}+{} ttl={}s keys={} think={}ms stay={} "
      "snapshot_count={}+{} batch={} pre_vote={} drift={} sync<={}ms stall=1/{} "
      "delay<={}ms lost=1/{} doubled=1/{} late=1/{} kill={}ms power={}ms pause={}ms cut={}ms "
      "write_error={}ms all_down={}ms commit={}ms transfer={}ms change={}ms disk_loss={}ms "
      "full={}ms flip={}ms set_back={}ms log_loss={}ms clock_jump={}ms slow={}ms "
      "snapshot={}ms defragment={}ms upgrade={}ms from {} kill_at=1/{}",
      members, clients, watchers, leasers, v2_clients, v2_watchers, v2_workload.longest_ttl, workload.keys,
      ms(workload.think), workload.stay, snapshot_count, snapshot_catchup_entries, compaction_batch, pre_vote,
      clock_drift, ms(disk.max_sync), disk.stall_one_in, ms(network.max_delay), network.lost_one_in,
      network.doubled_one_in, network.late_one_in, ms(kill_every), ms(power_cut_every), ms(pause_every),
      ms(cut_every), ms(write_error_every), ms(all_down_every), ms(commit_every), ms(transfer_every),
      ms(change_every), ms(disk_loss_every), ms(full_every), ms(flip_every), ms(set_back_every),
      ms(log_loss_every), ms(clock_jump_every), ms(slow_every), ms(snapshot_every), ms(defragment_every),
      ms(upgrade_every), first_release, kill_at_one_in);
}

}  // namespace kvorum::sim
