#include "proxy/tcp/balancer.h"

#include <utility>

#include "base/check.h"

namespace kvorum::proxy_tcp {
namespace {

/// One pick of so many goes to servers without weight where others have one.
constexpr uint64_t kWeightlessShare = 100;

}  // namespace

Balancer::Balancer(std::vector<Remote> remotes, uint64_t seed)
    : remotes_(std::move(remotes)), active_(remotes_.size(), true), random_(seed) {}

std::optional<size_t> Balancer::Pick() {
  std::optional<uint16_t> best;
  uint64_t total = 0;
  std::vector<size_t> weighted;
  std::vector<size_t> weightless;
  for (size_t i = 0; i < remotes_.size(); ++i) {
    const Remote& remote = remotes_[i];
    if (!active_[i] || (best && remote.priority > *best)) continue;
    if (best != remote.priority) {
      best = remote.priority;
      total = 0;
      weighted.clear();
      weightless.clear();
    }
    total += remote.weight;
    (remote.weight > 0 ? weighted : weightless).push_back(i);
  }
  if (!best) return std::nullopt;
  if (weighted.empty() || (!weightless.empty() && random_.OneIn(1, kWeightlessShare))) {
    return weightless[turn_++ % weightless.size()];
  }
  return Draw(weighted, total);
}

size_t Balancer::Draw(const std::vector<size_t>& weighted, uint64_t total) {
  uint64_t drawn = random_.Below(total);
  for (const size_t i : weighted) {
    if (drawn < remotes_[i].weight) return i;
    drawn -= remotes_[i].weight;
  }
  KVORUM_CHECK(false, "weights do not add up to {}", total);
  return 0;
}

void Balancer::SetActive(size_t remote, bool active) { active_[remote] = active; }

std::vector<size_t> Balancer::Inactive() const {
  std::vector<size_t> inactive;
  for (size_t i = 0; i < active_.size(); ++i) {
    if (!active_[i]) inactive.push_back(i);
  }
  return inactive;
}

}  // namespace kvorum::proxy_tcp
