#include "sim/run.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "fmt/format.h"
#include "sim/check/kv_checker.h"
#include "sim/check/lease_checker.h"
#include "sim/check/member_checker.h"
#include "sim/check/watch_checker.h"
#include "sim/leaser.h"
#include "sim/node.h"
#include "sim/truth.h"
#include "sim/watcher.h"

namespace kvorum::sim {

namespace {

constexpr Instant kMillisecond = 1'000'000;
constexpr Instant kSecond = 1'000 * kMillisecond;
/// A lease lives no longer, after its last renewal, than this.
constexpr Instant kLongestLease = 25 * kSecond;

/// The machines, the clients and what happens to them.
class Stage {
 public:
  Stage(uint64_t seed, const Plan& plan, const Observer& observer)
      : plan_(plan),
        observer_(observer),
        scheduler_(seed),
        network_(&scheduler_, plan.network),
        truth_(&scheduler_) {}
  ~Stage() {
    for (auto& node : nodes_) End(*node, false);
  }

  Result Play();

 private:
  template <typename... Args>
  void Say(fmt::format_string<Args...> format, Args&&... args) {
    if (observer_) observer_(scheduler_.now(), fmt::format(format, std::forward<Args>(args)...));
  }

  void Build();
  void Start(Node& node);
  void Kill(Node& node, bool power_cut);
  void End(Node& node, bool power_cut);
  /// Ends processes that want to end, and starts those that are down.
  void Supervise();
  void CommitDatabases();
  /// `fault` about every `mean`, until the faults end.
  void Recurring(Instant mean, std::function<void()> fault);
  void BeginFaults();
  void EndFaults();
  bool AwaitHealth();
  void Settle(Result* result);
  void Hash();
  void Check();
  Node& Any() { return *nodes_[scheduler_.chance().Below(nodes_.size())]; }
  bool faults_over() const { return faults_over_; }

  const Plan& plan_;
  const Observer& observer_;
  Scheduler scheduler_;
  Network network_;
  Truth truth_;
  History history_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<Node*> present_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<std::unique_ptr<Watcher>> watchers_;
  std::vector<std::unique_ptr<Leaser>> leasers_;
  std::map<Node*, Instant> down_until_;
  bool faults_over_ = false;
  Instant healthy_ = kNever;  // from when on the cluster was well again
  uint64_t kills_ = 0;
  Violations violations_;
};

void Stage::Build() {
  std::map<std::string, std::vector<std::string>> cluster;
  for (uint64_t i = 1; i <= plan_.members; ++i) {
    cluster[fmt::format("m{}", i)] = {fmt::format("http://m{}:2380", i)};
  }
  for (const auto& [name, urls] : cluster) {
    Node::Options options;
    options.name = name;
    options.peer_url = urls[0];
    options.initial_cluster = cluster;
    options.disk = plan_.disk;
    options.member.snapshot_count = plan_.snapshot_count;
    options.member.snapshot_catchup_entries = plan_.snapshot_catchup_entries;
    options.member.pre_vote = plan_.pre_vote;
    nodes_.push_back(std::make_unique<Node>(&scheduler_, &network_, options));
    present_.push_back(nodes_.back().get());
    const double part = static_cast<double>(scheduler_.chance().Below(2001)) / 1000 - 1;
    nodes_.back()->clock().SetRate(1 + part * plan_.clock_drift);
  }
  for (Node* node : present_) Start(*node);
  const Client::Nodes nodes = [this]() -> const std::vector<Node*>& { return present_; };
  for (uint64_t i = 1; i <= plan_.clients; ++i) {
    clients_.push_back(std::make_unique<Client>(i, &scheduler_, &plan_.workload, &truth_, nodes, &history_));
    clients_.back()->Start();
  }
  for (uint64_t i = 1; i <= plan_.watchers; ++i) {
    watchers_.push_back(std::make_unique<Watcher>(plan_.clients + i, &scheduler_, &truth_, nodes, &history_));
    watchers_.back()->Start();
  }
  for (uint64_t i = 1; i <= plan_.leasers; ++i) {
    leasers_.push_back(
        std::make_unique<Leaser>(plan_.clients + plan_.watchers + i, &scheduler_, nodes, &history_));
    leasers_.back()->Start();
  }
  Supervise();
  CommitDatabases();
}

void Stage::Start(Node& node) {
  const absl::Status status = node.Start();
  Say("{} starts{}", node.name(), status.ok() ? "" : ": " + std::string(status.message()));
  if (status.code() == absl::StatusCode::kInternal) {  // the disk failed once more
    down_until_[&node] = scheduler_.now() + kSecond;
    return;
  }
  if (!status.ok()) {
    violations_.push_back(fmt::format("{} does not start: {}", node.name(), std::string(status.message())));
    scheduler_.Stop();
    return;
  }
  truth_.Follow(node);
}

void Stage::Kill(Node& node, bool power_cut) {
  if (!node.up()) return;
  ++kills_;
  Say("{} {}", node.name(), power_cut ? "loses power" : "is killed");
  End(node, power_cut);
  down_until_[&node] = scheduler_.now() + scheduler_.Between(0, 5 * kSecond);
}

void Stage::End(Node& node, bool power_cut) {
  truth_.Leave(node);
  for (const auto& watcher : watchers_) watcher->Leave(node);
  node.Kill(power_cut);
}

void Stage::Supervise() {
  for (Node* node : present_) {
    if (node->up() && node->ended()) {
      if (node->disk().broke_promise()) {
        violations_.push_back(fmt::format("{} acknowledged a write after one that failed", node->name()));
      }
      Kill(*node, false);
    }
    if (!node->up() && scheduler_.now() >= down_until_[node]) Start(*node);
  }
  scheduler_.After(50 * kMillisecond, [this] { Supervise(); });
}

void Stage::CommitDatabases() {
  for (Node* node : present_) node->CommitDatabase();
  scheduler_.After(plan_.commit_every, [this] { CommitDatabases(); });
}

void Stage::Recurring(Instant mean, std::function<void()> fault) {
  if (mean == 0) return;
  scheduler_.After(scheduler_.Between(0, 2 * mean), [this, mean, fault = std::move(fault)]() mutable {
    if (faults_over_) return;
    fault();
    Recurring(mean, std::move(fault));
  });
}

void Stage::BeginFaults() {
  Recurring(plan_.kill_every, [this] { Kill(Any(), false); });
  Recurring(plan_.power_cut_every, [this] { Kill(Any(), true); });
  Recurring(plan_.all_down_every, [this] {
    for (Node* node : present_) Kill(*node, scheduler_.chance().OneIn(1, 2));
  });
  Recurring(plan_.pause_every, [this] {
    Node& node = Any();
    if (!node.up() || node.paused()) return;
    Say("{} is stopped", node.name());
    node.Pause();
    scheduler_.After(scheduler_.Between(0, 4 * kSecond), [this, &node, start = node.starts()] {
      if (node.starts() != start) return;
      Say("{} goes on", node.name());
      node.Resume();
    });
  });
  Recurring(plan_.write_error_every, [this] {
    Node& node = Any();
    Say("the next sync of {} fails", node.name());
    node.disk().env().FailNth(testing::FaultEnv::Op::kSync, 0,
                              absl::InternalError("fdatasync: input/output error"));
  });
  Recurring(plan_.cut_every, [this] {
    Random& random = scheduler_.chance();
    Node& alone = Any();
    const bool in = random.OneIn(2, 3);
    const bool out = !in || random.OneIn(2, 3);
    Say("{} is cut off{}{}", alone.name(), in ? " in" : "", out ? " out" : "");
    for (Node* other : present_) {
      if (other == &alone || random.OneIn(1, 6)) continue;
      if (in) network_.Cut(other->id(), alone.id());
      if (out) network_.Cut(alone.id(), other->id());
    }
    scheduler_.After(scheduler_.Between(0, 6 * kSecond), [this] {
      Say("the network is whole");
      network_.HealAll();
    });
  });
}

void Stage::EndFaults() {
  faults_over_ = true;
  Say("the faults end");
  network_.HealAll();
  network_.manner().lost_one_in = 0;
  network_.manner().late_one_in = 0;
  for (Node* node : present_) {
    node->disk().env().ClearFaults();
    node->disk().manner().stall_one_in = 0;
    if (node->paused()) node->Resume();
  }
}

/// Whether every member takes a write within the patience.
bool Stage::AwaitHealth() {
  const Instant latest = scheduler_.now() + plan_.patience;
  size_t healthy = 0;
  while (healthy < present_.size() && scheduler_.now() < latest && !scheduler_.stopped()) {
    healthy = 0;
    auto answers = std::make_shared<size_t>(0);
    for (Node* node : present_) {
      if (!node->ready()) continue;
      etcdserverpb::RangeRequest read;
      read.set_key("k0");
      Ask(*node->member(), read, [answers](const absl::StatusOr<Operation::Response>& answer) {
        if (answer.ok()) ++*answers;
      });
    }
    scheduler_.RunUntil(std::min(latest, scheduler_.now() + kSecond));
    healthy = *answers;
  }
  return healthy == present_.size();
}

void Stage::Settle(Result* result) {
  // Whoever is healthy comes to the same point once nobody writes.
  for (const auto& client : clients_) client->Stop();
  for (const auto& watcher : watchers_) watcher->Stop();
  for (const auto& leaser : leasers_) leaser->Stop();
  // Every lease is over by then.
  if (!leasers_.empty()) scheduler_.RunUntil(scheduler_.now() + kLongestLease);
  const Instant latest = scheduler_.now() + plan_.patience;
  const auto settled = [this] {
    const int64_t revision = present_[0]->up() ? present_[0]->member()->store().current_revision() : -1;
    return std::all_of(present_.begin(), present_.end(), [&](Node* node) {
      return node->up() && node->member()->store().current_revision() == revision &&
             truth_.last() == revision;
    });
  };
  do {
    scheduler_.RunUntil(scheduler_.now() + 2 * kSecond);
  } while (!settled() && scheduler_.now() < latest && !scheduler_.stopped());
  if (!settled()) {
    result->verdict = Result::Verdict::kLiveness;
    std::string where;
    for (Node* node : present_) {
      where +=
          fmt::format(" {}:{}", node->name(), node->up() ? node->member()->store().current_revision() : -1);
    }
    result->violations.push_back(
        fmt::format("the members do not come to one revision: truth {},{}", truth_.last(), where));
    return;
  }
  Hash();
  scheduler_.RunUntil(scheduler_.now() + 5 * kSecond);
  for (const auto& watcher : watchers_) watcher->Close();
  history_.revisions = truth_.revisions();
}

void Stage::Hash() {
  for (Node* node : present_) {
    node->member()->HashKv(0, [this, id = node->id()](absl::StatusOr<mvcc::HashResult> hash) {
      if (!hash.ok()) return;
      history_.hashes.push_back({.member = id,
                                 .revision = hash->revision,
                                 .compact_revision = hash->compact_revision,
                                 .hash = hash->hash});
    });
  }
}

void Stage::Check() {
  const auto add = [this](const Violations& more) {
    violations_.insert(violations_.end(), more.begin(), more.end());
  };
  const KvModel model(history_.revisions, &violations_);
  const KvVerdict verdict = CheckKv(history_, model);
  add(verdict.violations);
  add(CheckWatches(history_, model));
  add(CheckLeases(history_, model, verdict,
                  {.clock_drift = 2 * plan_.clock_drift,
                   .most_late = 5 * kSecond,
                   .disturbances = {{.begin = 0, .end = healthy_}},
                   .request_lifetime = 10 * kSecond,
                   .end_of_run = scheduler_.now()}));
  add(CheckMembers(history_));
  if (history_.hashes.size() != present_.size()) violations_.push_back("not every member gave its hash");
}

Result Stage::Play() {
  Result result;
  Build();
  scheduler_.RunUntil(3 * kSecond);
  BeginFaults();
  scheduler_.RunUntil(3 * kSecond + plan_.faulty);
  if (!scheduler_.stopped()) {
    EndFaults();
    const bool healthy = AwaitHealth();
    healthy_ = scheduler_.now();
    if (!healthy && !scheduler_.stopped()) {
      result.verdict = Result::Verdict::kLiveness;
      result.violations.push_back(
          fmt::format("not every member answers {} s after the last fault", plan_.patience / kSecond));
    }
  }
  if (!scheduler_.stopped() && result.verdict == Result::Verdict::kGood) Settle(&result);

  violations_.insert(violations_.end(), truth_.violations().begin(), truth_.violations().end());
  if (result.verdict == Result::Verdict::kGood && !scheduler_.stopped()) Check();
  if (!violations_.empty()) {
    result.verdict = Result::Verdict::kSafety;
    result.violations.insert(result.violations.begin(), violations_.begin(), violations_.end());
  }
  result.trace = scheduler_.trace();
  result.events = scheduler_.events();
  for (const auto& client : clients_) result.answered += client->answered();
  result.messages = network_.messages();
  result.snapshots = network_.snapshots();
  result.kills = kills_;
  result.revisions = truth_.last();
  result.simulated = scheduler_.now();
  return result;
}

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
  plan.leasers = random.Below(4);
  plan.workload.think = between(kMillisecond, 50 * kMillisecond);
  plan.workload.keys = 1 + random.Below(40);
  plan.snapshot_count = 10 + random.Below(300);
  plan.snapshot_catchup_entries = random.Below(60);
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
  return plan;
}

std::string Plan::Text() const {
  const auto ms = [](Instant time) { return time / kMillisecond; };
  return fmt::format(
      "members={} clients={}+{}+{} keys={} think={}ms snapshot_count={}+{} pre_vote={} drift={} sync<={}ms "
      "stall=1/{} "
      "delay<={}ms lost=1/{} doubled=1/{} late=1/{} kill={}ms power={}ms pause={}ms cut={}ms "
      "write_error={}ms "
      "all_down={}ms commit={}ms",
      members, clients, watchers, leasers, workload.keys, ms(workload.think), snapshot_count,
      snapshot_catchup_entries, pre_vote, clock_drift, ms(disk.max_sync), disk.stall_one_in,
      ms(network.max_delay), network.lost_one_in, network.doubled_one_in, network.late_one_in, ms(kill_every),
      ms(power_cut_every), ms(pause_every), ms(cut_every), ms(write_error_every), ms(all_down_every),
      ms(commit_every));
}

Result Simulate(uint64_t seed, const Plan& plan, const Observer& observer) {
  return Stage(seed, plan, observer).Play();
}

}  // namespace kvorum::sim
