#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/random.h"
#include "proxy/tcp/gateway.h"

namespace kvorum::proxy_tcp {

/// Which server the next client goes to. Of the servers that answer, those of the lowest priority number take
/// turns: where some of them have weights, each pick is drawn by weight, and one of a hundred goes to those
/// without (RFC 2782: "a very small chance of being selected"); where none has, each has its turn.
///
/// Not thread-safe.
class Balancer {
 public:
  Balancer(std::vector<Remote> remotes, uint64_t seed);

  const std::vector<Remote>& remotes() const { return remotes_; }
  /// Nothing where no server is active.
  std::optional<size_t> Pick();

  bool IsActive(size_t remote) const { return active_[remote]; }
  void SetActive(size_t remote, bool active);
  std::vector<size_t> Inactive() const;

 private:
  size_t Draw(const std::vector<size_t>& weighted, uint64_t total);

  const std::vector<Remote> remotes_;
  std::vector<bool> active_;
  Random random_;
  size_t turn_ = 0;
};

}  // namespace kvorum::proxy_tcp
