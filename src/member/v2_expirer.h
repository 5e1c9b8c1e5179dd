#pragma once

#include "member/proposer.h"
#include "member/v2_gate.h"
#include "v2store/store.h"

namespace kvorum::member {

/// On the leader: tells the log the time twice a second while keys of the v2 API may expire, which makes
/// every member remove the same ones at the same place (reference: v2-replication.md §1.5). Nothing else
/// expires them. Lives on the apply executor; not thread-safe.
class V2Expirer {
 public:
  V2Expirer(const v2store::Store* store, const V2Gate* gate, Proposer* proposer, const SharedState* state,
            const Ports& ports)
      : store_(*store), gate_(*gate), proposer_(*proposer), state_(*state), ports_(ports) {}

  void Start() { Arm(); }
  void Stop();

 private:
  void Arm();
  void ProposeSync();

  const v2store::Store& store_;
  const V2Gate& gate_;
  Proposer& proposer_;
  const SharedState& state_;
  const Ports ports_;
  bool stopped_ = false;
  Executor::TimerId timer_ = 0;
};

}  // namespace kvorum::member
