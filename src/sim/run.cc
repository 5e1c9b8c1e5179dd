#include "sim/run.h"

#include <algorithm>
#include <memory>

#include "fmt/format.h"
#include "sim/admin.h"
#include "sim/check/kv_checker.h"
#include "sim/check/lease_checker.h"
#include "sim/check/member_checker.h"
#include "sim/check/raft_checker.h"
#include "sim/check/v2_checker.h"
#include "sim/check/watch_checker.h"
#include "sim/faults.h"
#include "sim/stage.h"
#include "sim/upgrades.h"

namespace kvorum::sim {

namespace {

constexpr Instant kSecond = 1'000'000'000;
/// A lease lives no longer, after its last renewal, than this.
constexpr Instant kLongestLease = 25 * kSecond;
/// A node of the v2 API lives no longer, after its time, than this while there is a leader: it tells the time
/// twice a second, to the log and by it to the others.
constexpr Instant kLongestAfterlife = 2 * kSecond;

/// The phases of a run, and what is made of it.
class Run {
 public:
  Run(uint64_t seed, const Plan& plan, const Observer& observer, const PhaseObserver& on_phase)
      : stage_(seed, plan, observer),
        on_phase_(on_phase),
        scheduler_(stage_.scheduler()),
        admin_(&stage_),
        upgrades_(&stage_, plan.first_release),
        faults_(&stage_, &admin_, &upgrades_) {}
  ~Run() { stage_.EndAll(); }

  Result Play();

 private:
  bool AwaitHealth();
  std::string Ailments();
  void Settle(Result* result);
  void Hash();
  void Check();
  Violations& violations() { return stage_.violations(); }
  void Begin(Phase phase) const {
    if (on_phase_) on_phase_(phase);
  }

  Stage stage_;
  const PhaseObserver& on_phase_;
  Scheduler& scheduler_;
  Admin admin_;
  Upgrades upgrades_;
  Faults faults_;
  size_t hashes_ = 0;         // of the end
  Instant healthy_ = kNever;  // from when on the cluster was well again
};

/// Whether, within the patience, every member answers, all are of one release, and the membership is what it
/// should be.
bool Run::AwaitHealth() {
  const Instant latest = scheduler_.now() + stage_.plan().patience;
  bool healthy = false;
  while (!healthy && scheduler_.now() < latest && !scheduler_.stopped()) {
    auto answers = std::make_shared<size_t>(0);
    for (Node* node : stage_.present()) {
      if (!node->published()) continue;
      etcdserverpb::RangeRequest read;
      read.set_key("k0");
      Ask(*node->member(), read, [answers](const absl::StatusOr<Operation::Response>& answer) {
        if (answer.ok()) ++*answers;
      });
    }
    upgrades_.Finish();
    scheduler_.RunUntil(std::min(latest, scheduler_.now() + kSecond));
    healthy = upgrades_.done() && *answers == stage_.present().size() && admin_.settled();
  }
  return healthy;
}

/// What keeps the cluster from being well.
std::string Run::Ailments() {
  std::string what = admin_.settled() ? "" : " the membership is not what it should be;";
  if (!upgrades_.done()) what += " the members have not come to one release;";
  for (Node* node : stage_.present()) {
    if (!node->published()) {
      what += fmt::format(" {} is {};", node->name(), node->up() ? "not published" : "down");
      continue;
    }
    const cluster::Cluster& cluster = node->member()->cluster();
    what += fmt::format(
        " {} is of {} in a cluster of {}{};", node->name(), node->release(), cluster.version(),
        cluster.downgrade().enabled ? ", going down to " + cluster.downgrade().target_version : "");
  }
  return what + " or not every member answers";
}

void Run::Settle(Result* result) {
  // Whoever is healthy comes to the same point once nobody writes.
  stage_.StopClients();
  // Every lease is over by then.
  if (!stage_.leasers().empty()) scheduler_.RunUntil(scheduler_.now() + kLongestLease);
  // And every node of the v2 API that has an end.
  if (!stage_.v2_clients().empty()) {
    const auto longest = static_cast<Instant>(stage_.plan().v2_workload.longest_ttl) * kSecond;
    scheduler_.RunUntil(scheduler_.now() + longest + kLongestAfterlife);
  }
  const Instant latest = scheduler_.now() + stage_.plan().patience;
  const auto settled = [this] {
    const int64_t revision = stage_.truth().last();
    const uint64_t v2_index = stage_.v2_truth().last();
    return std::all_of(stage_.present().begin(), stage_.present().end(), [&](Node* node) {
      return node->up() && node->member()->store().current_revision() == revision &&
             node->member()->v2_store().index() == v2_index;
    });
  };
  do {
    scheduler_.RunUntil(scheduler_.now() + 2 * kSecond);
  } while (!settled() && scheduler_.now() < latest && !scheduler_.stopped());
  if (!settled()) {
    result->verdict = Result::Verdict::kLiveness;
    std::string where;
    for (Node* node : stage_.present()) {
      if (!node->up()) continue;
      where += fmt::format(" {}: {} and {}", node->name(), node->member()->store().current_revision(),
                           node->member()->v2_store().index());
    }
    result->violations.push_back(
        fmt::format("the members do not come to one revision and v2 index: truth {} and {},{}",
                    stage_.truth().last(), stage_.v2_truth().last(), where));
    return;
  }
  Hash();
  stage_.v2_truth().CompareStores(stage_.present());
  for (Node* node : stage_.present()) ReadWholeV2Store(*node, scheduler_.now(), &stage_.history());
  scheduler_.RunUntil(scheduler_.now() + 5 * kSecond);
  for (const auto& watcher : stage_.watchers()) watcher->Close();
  for (const auto& watcher : stage_.v2_watchers()) watcher->Close();
  stage_.history().revisions = stage_.truth().revisions();
  stage_.history().v2_events = stage_.v2_truth().Events();
}

void Run::Hash() {
  for (Node* node : stage_.present()) {
    node->member()->HashKv(0, [this, id = node->id()](absl::StatusOr<mvcc::HashResult> hash) {
      if (!hash.ok()) return;
      ++hashes_;
      stage_.history().hashes.push_back({.member = id,
                                         .revision = hash->revision,
                                         .compact_revision = hash->compact_revision,
                                         .hash = hash->hash});
    });
  }
}

void Run::Check() {
  const auto add = [this](const Violations& more) {
    violations().insert(violations().end(), more.begin(), more.end());
  };
  const KvModel model(stage_.history().revisions, &violations());
  const KvVerdict verdict = CheckKv(stage_.history(), model);
  add(verdict.violations);
  add(CheckWatches(stage_.history(), model));
  add(CheckLeases(stage_.history(), model, verdict,
                  {.clock_drift = 2 * stage_.plan().clock_drift,
                   .most_late = 5 * kSecond,
                   .disturbances = {{.begin = 0, .end = healthy_}},
                   .request_lifetime = 10 * kSecond,
                   .end_of_run = scheduler_.now()}));
  add(CheckV2(stage_.history(), {.unix_at_start = NodeClock::kEpoch,
                                 .clock_ahead = stage_.clock_ahead(),
                                 .clock_behind = stage_.clock_behind(),
                                 .most_late = kLongestAfterlife,
                                 .healthy = healthy_,
                                 .end_of_run = scheduler_.now(),
                                 .every_index_told = true}));
  if (hashes_ != stage_.present().size()) violations().push_back("not every member gave its hash");
}

Result Run::Play() {
  Result result;
  stage_.Build();
  admin_.Begin();
  scheduler_.RunUntil(3 * kSecond);
  Begin(Phase::kFaults);
  faults_.Begin();
  scheduler_.RunUntil(3 * kSecond + stage_.plan().faulty);
  Begin(Phase::kSettling);
  if (!scheduler_.stopped()) {
    faults_.End();
    const bool healthy = AwaitHealth();
    healthy_ = scheduler_.now();
    if (!healthy && !scheduler_.stopped()) {
      result.verdict = Result::Verdict::kLiveness;
      result.violations.push_back(
          fmt::format("{} s after the last fault:{}", stage_.plan().patience / kSecond, Ailments()));
    }
  }
  if (!scheduler_.stopped() && result.verdict == Result::Verdict::kGood) Settle(&result);
  Begin(Phase::kChecks);

  for (const Violations& more : {stage_.truth().violations(), stage_.v2_truth().violations(),
                                 CheckRaft(stage_.history()), CheckMembers(stage_.history())}) {
    violations().insert(violations().end(), more.begin(), more.end());
  }
  if (result.verdict == Result::Verdict::kGood && !scheduler_.stopped()) Check();
  if (!violations().empty()) {
    result.verdict = Result::Verdict::kSafety;
    result.violations.insert(result.violations.begin(), violations().begin(), violations().end());
  }
  Begin(Phase::kOver);
  result.trace = scheduler_.trace();
  result.events = scheduler_.events();
  for (const auto& client : stage_.clients()) result.answered += client->answered();
  for (const auto& client : stage_.v2_clients()) result.v2_answered += client->answered();
  result.messages = stage_.network().messages();
  result.snapshots = stage_.network().snapshots();
  result.kills = stage_.kills();
  result.revisions = stage_.truth().last();
  result.v2_index = stage_.v2_truth().last();
  result.simulated = scheduler_.now();
  return result;
}

}  // namespace

Result Simulate(uint64_t seed, const Plan& plan, const Observer& observer, const PhaseObserver& on_phase) {
  return Run(seed, plan, observer, on_phase).Play();
}

}  // namespace kvorum::sim
