#pragma once

#include <memory>
#include <string_view>

#include "robustness/scene.h"

namespace kvorum::robustness {

/// Follows one member by a watch of everything and tells the ledger of each revision: from the first one on,
/// and after each time the connection broke from some way before what it had told, so that a member that came
/// back with another past is found out.
class Witness {
 public:
  Witness(Scene* scene, Endpoint* endpoint);
  ~Witness();

  /// The last revision that the member told of.
  int64_t told() const { return told_; }

 private:
  void Watch(int64_t from);
  void Take(std::string_view message);

  Scene* const scene_;
  Endpoint* const endpoint_;
  uint64_t attempt_ = 0;
  int64_t told_ = 1;
  std::unique_ptr<grpc::ClientConnection::Stream> stream_;
};

}  // namespace kvorum::robustness
