#include "sim/upgrades.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

namespace kvorum::sim {

namespace {

struct Release {
  std::string_view server;
  std::string_view cluster;
};
constexpr std::array<Release, Upgrades::kReleases> kKnown = {
    {{"3.4.34", "3.4.0"}, {"3.5.21", "3.5.0"}, {"3.6.1", "3.6.0"}, {"3.7.1", "3.7.0"}}};
/// Longer than any request lives.
constexpr Instant kPatience = 12'000'000'000;

}  // namespace

Upgrades::Upgrades(Stage* stage, size_t first)
    : stage_(*stage), scheduler_(stage->scheduler()), target_(first) {
  stage_.SetRelease(std::string(kKnown[first].server));
}

void Upgrades::Restart(Node& node) {
  stage_.Say("{} is to be of release {}", node.name(), kKnown[target_].server);
  node.SetRelease(std::string(kKnown[target_].server));
  stage_.Kill(node, false);
}

bool Upgrades::IsAgreed() const {
  bool known = false;
  for (Node* node : stage_.present()) {
    if (!node->published()) continue;
    if (node->member()->cluster().version() > kKnown[target_].cluster) return false;
    known = true;
  }
  return known;
}

bool Upgrades::IsGoingDown() const {
  const std::vector<Node*>& nodes = stage_.present();
  return std::any_of(nodes.begin(), nodes.end(), [](Node* node) {
    return node->published() && node->member()->cluster().downgrade().enabled;
  });
}

void Upgrades::Step() {
  // On the way down the cluster goes first.
  if (scheduler_.now() < unclear_until_ || !IsAgreed()) return;
  stage_.SetRelease(std::string(kKnown[target_].server));
  const bool going_down = IsGoingDown();
  const std::vector<Node*>& nodes = stage_.present();
  const auto other = std::find_if(nodes.begin(), nodes.end(),
                                  [&](Node* node) { return node->release() != kKnown[target_].server; });
  Random& random = scheduler_.chance();
  if (other != nodes.end()) {
    if (random.OneIn(1, 8)) return Cancel();
    return Restart(**other);
  }
  if (going_down) return;  // not at its end
  if (target_ + 1 < kReleases && random.OneIn(2, 3)) {
    ++target_;
    stage_.Say("the members are to be of release {}", kKnown[target_].server);
  } else if (target_ > 0 && done()) {
    AskForDowngrade();
  }
}

void Upgrades::AskForDowngrade() {
  Node& node = stage_.Any();
  if (!node.ready()) return;
  const size_t to = target_ - 1;
  unclear_until_ = scheduler_.now() + kPatience;
  stage_.Say("{} is asked to downgrade to {}", node.name(), kKnown[to].cluster);
  node.member()->ChangeDowngrade(
      member::Member::DowngradeAction::kEnable, std::string(kKnown[to].cluster), MonotonicTime::max(),
      [this, to](const absl::StatusOr<std::string>& version) {
        stage_.Say("  it is told: {}", version.ok() ? *version : std::string(version.status().message()));
        if (version.ok() && target_ == to + 1) target_ = to;
        if (version.ok() || absl::IsInvalidArgument(version.status())) unclear_until_ = 0;
      });
}

/// The downgrade under way, if there is one; the members that are down already come up again.
void Upgrades::Cancel() {
  Node& node = stage_.Any();
  if (!node.ready() || !node.member()->cluster().downgrade().enabled) return;
  stage_.Say("{} is asked to downgrade no more", node.name());
  node.member()->ChangeDowngrade(member::Member::DowngradeAction::kCancel, "", MonotonicTime::max(),
                                 [](const absl::StatusOr<std::string>&) {});
  // From now on nobody goes down any more: the cluster may be up again at any moment.
  if (target_ + 1 < kReleases) ++target_;
}

void Upgrades::Finish() {
  if (scheduler_.now() < unclear_until_) return;
  // What was asked for may be under way though nobody was told so.
  for (Node* node : stage_.present()) {
    if (!node->published() || !node->member()->cluster().downgrade().enabled) continue;
    const std::string target = node->member()->cluster().downgrade().target_version;
    const auto found = std::find_if(kKnown.begin(), kKnown.end(),
                                    [&](const Release& release) { return release.cluster == target; });
    if (found != kKnown.end()) target_ = static_cast<size_t>(found - kKnown.begin());
  }
  const std::vector<Node*> nodes = stage_.present();
  if (!IsAgreed()) {
    // The cluster goes down from the release of all its members, or not at all.
    const bool can = target_ + 1 == kReleases || std::all_of(nodes.begin(), nodes.end(), [&](Node* node) {
                       return node->release() == kKnown[target_ + 1].server;
                     });
    if (!can) Cancel();
    return;
  }
  stage_.SetRelease(std::string(kKnown[target_].server));
  for (Node* node : nodes) {
    if (node->release() != kKnown[target_].server) Restart(*node);
  }
}

bool Upgrades::done() const {
  const std::vector<Node*>& nodes = stage_.present();
  return std::all_of(nodes.begin(), nodes.end(), [&](Node* node) {
    return node->published() && node->release() == kKnown[target_].server &&
           node->member()->cluster().version() == kKnown[target_].cluster &&
           !node->member()->cluster().downgrade().enabled;
  });
}

}  // namespace kvorum::sim
