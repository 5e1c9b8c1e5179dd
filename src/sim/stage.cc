#include "sim/stage.h"

#include <algorithm>

#include "member/errors.h"

namespace kvorum::sim {

namespace {

constexpr Instant kMillisecond = 1'000'000;
constexpr Instant kSecond = 1'000 * kMillisecond;
constexpr size_t kMostOperations = 1 << 17;

}  // namespace

Stage::Stage(uint64_t seed, const Plan& plan, const Observer& observer)
    : plan_(plan),
      observer_(observer),
      scheduler_(seed),
      network_(&scheduler_, plan.network, &recorder_),
      truth_(&scheduler_),
      v2_truth_(&scheduler_) {}

Stage::~Stage() { EndAll(); }

void Stage::EndAll() {
  for (auto& node : nodes_) End(*node, false);
}

void Stage::Build() {
  BuildMachines();
  BuildClients();
  BuildV2Clients();
  Supervise();
  CommitDatabases();
}

Node& Stage::AddMachine(Node::Options options) {
  options.disk = plan_.disk;
  options.member.snapshot_count = plan_.snapshot_count;
  options.member.snapshot_catchup_entries = plan_.snapshot_catchup_entries;
  options.member.pre_vote = plan_.pre_vote;
  options.member.compaction_batch_limit = plan_.compaction_batch;
  if (!release_.empty()) options.member.release = release_;
  nodes_.push_back(std::make_unique<Node>(&scheduler_, &network_, std::move(options)));
  Node& node = *nodes_.back();
  present_.push_back(&node);
  const double part = static_cast<double>(scheduler_.chance().Below(2001)) / 1000 - 1;
  node.clock().SetRate(1 + part * plan_.clock_drift);
  return node;
}

Node& Stage::Join(MemberId id, std::string url) {
  const std::string name = fmt::format("m{}", nodes_.size() + 1);
  Say("{} is to join as {:x} at {}", name, id.value(), url);
  Node::Options options;
  options.name = name;
  options.peer_url = std::move(url);
  options.joins_as = id;
  return AddMachine(std::move(options));
}

void Stage::BuildMachines() {
  std::map<std::string, std::vector<std::string>> cluster;
  for (uint64_t i = 1; i <= plan_.members; ++i) {
    cluster[fmt::format("m{}", i)] = {fmt::format("http://m{}:2380", i)};
  }
  for (const auto& [name, urls] : cluster) {
    Node::Options options;
    options.name = name;
    options.peer_url = urls[0];
    options.initial_cluster = cluster;
    AddMachine(std::move(options));
  }
  for (Node* node : present_) Start(*node);
}

void Stage::BuildClients() {
  // Addresses alone: what is not used costs nothing, and nothing is moved while it grows.
  history_.operations.reserve(kMostOperations);
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
}

void Stage::BuildV2Clients() {
  const Client::Nodes nodes = [this]() -> const std::vector<Node*>& { return present_; };
  uint64_t id = plan_.clients + plan_.watchers + plan_.leasers;
  for (uint64_t i = 0; i < plan_.v2_clients; ++i) {
    v2_clients_.push_back(
        std::make_unique<V2Client>(++id, &scheduler_, &plan_.v2_workload, nodes, &history_));
    v2_clients_.back()->Start();
  }
  for (uint64_t i = 0; i < plan_.v2_watchers; ++i) {
    v2_watchers_.push_back(std::make_unique<V2Watcher>(++id, &scheduler_, &v2_truth_, nodes, &history_));
    v2_watchers_.back()->Start();
  }
}

void Stage::StopClients() {
  for (const auto& client : clients_) client->Stop();
  for (const auto& watcher : watchers_) watcher->Stop();
  for (const auto& leaser : leasers_) leaser->Stop();
  for (const auto& client : v2_clients_) client->Stop();
  for (const auto& watcher : v2_watchers_) watcher->Stop();
}

Instant Stage::clock_ahead() const {
  Instant most = 0;
  for (const auto& node : nodes_) most = std::max(most, node->clock().furthest_ahead());
  return most;
}

Instant Stage::clock_behind() const {
  Instant most = -kNever;
  for (Node* node : present_) most = std::max(most, -node->clock().wall_offset());
  return most;
}

void Stage::Start(Node& node) {
  const absl::Status status = node.Start();
  Say("{} starts{}", node.name(), status.ok() ? "" : ": " + std::string(status.message()));
  if (status.ok()) {
    suspects_.erase(node.id());
    truth_.Follow(node);
    v2_truth_.Follow(node);
    return;
  }
  // The disk failed once more or is full, or one that joins found nobody who could tell it what it has to
  // know.
  const bool failed =
      absl::IsInternal(status) || (absl::IsResourceExhausted(status) && node.disk().env().full());
  if (failed || node.IsJoining()) {
    down_until_[&node] = scheduler_.now() + kSecond;
    return;
  }
  if (IsSuspect(node)) {
    suspects_.erase(node.id());
    broken_.insert(node.id());
    down_until_[&node] = kNever;
    return;
  }
  if (status == member::RemovedError()) {
    down_until_[&node] = kNever;
    return;
  }
  violations_.push_back(fmt::format("{} does not start: {}", node.name(), std::string(status.message())));
  scheduler_.Stop();
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
  v2_truth_.Leave(node);
  for (const auto& watcher : watchers_) watcher->Leave(node);
  for (const auto& watcher : v2_watchers_) watcher->Leave(node);
  node.Kill(power_cut);
}

void Stage::Retire(Node& node) {
  Say("{} is taken away", node.name());
  End(node, false);
  network_.Remove(node.id());
  broken_.erase(node.id());
  suspects_.erase(node.id());
  std::erase(present_, &node);
}

void Stage::LoseDisk(Node& node) {
  Say("{} loses its disk", node.name());
  End(node, true);
  node.Wipe();
  broken_.insert(node.id());
  down_until_[&node] = kNever;
}

void Stage::HarmFiles(Node& node, absl::FunctionRef<void()> harm) {
  End(node, true);
  harm();
  suspects_.insert(node.id());
  down_until_[&node] = scheduler_.now() + scheduler_.Between(0, 5 * kSecond);
}

/// Whoever starts processes that end may do so with this one too.
void Stage::EndRemoved(Node& node) {
  Say("{} ends, removed", node.name());
  End(node, false);
  const bool again = scheduler_.chance().OneIn(1, 2);
  down_until_[&node] = again ? scheduler_.now() + scheduler_.Between(0, kSecond) : kNever;
}

void Stage::Supervise() {
  for (Node* node : present_) {
    if (node->up() && node->removed()) EndRemoved(*node);
    if (node->up() && node->ended()) Kill(*node, false);
    if (!node->up() && scheduler_.now() >= down_until_[node]) Start(*node);
  }
  scheduler_.After(50 * kMillisecond, [this] { Supervise(); });
}

void Stage::CommitDatabases() {
  for (Node* node : present_) node->CommitDatabase();
  scheduler_.After(plan_.commit_every, [this] { CommitDatabases(); });
}

}  // namespace kvorum::sim
