#pragma once

#include "robustness/scene.h"

namespace kvorum::robustness {

/// A client that lives with leases: asks for one, puts a few keys under it ("l1.0" …), renews it for a while,
/// then revokes it or forgets it; and so on.
class Leaser {
 public:
  static constexpr int64_t kMinTtlSeconds = 2;
  static constexpr int64_t kMaxTtlSeconds = 5;

  Leaser(uint64_t id, Scene* scene) : id_(id), scene_(scene) {}

  void Start();
  /// No further lease is begun, and none is renewed.
  void Stop() { stopped_ = true; }

 private:
  void Grant();
  void Put(uint64_t left);
  void Renew(uint64_t left);
  void SendRenewal(uint64_t left);
  void EndRenewal(uint64_t attempt, uint64_t left);
  void Revoke();
  void Again();
  sim::LeaseHistory& lease() { return scene_->history().leases[at_]; }

  const uint64_t id_;
  Scene* const scene_;
  bool stopped_ = false;
  uint64_t leases_ = 0;
  uint64_t values_ = 0;
  size_t at_ = 0;  // of the history's leases
  uint64_t renewal_ = 0;
  std::unique_ptr<grpc::ClientConnection::Stream> stream_;  // of the renewal under way
};

}  // namespace kvorum::robustness
