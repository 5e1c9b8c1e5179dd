#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sim/errand.h"
#include "sim/history.h"
#include "sim/node.h"
#include "sim/truth.h"
#include "sim/workload.h"

namespace kvorum::sim {

/// One client of the key-value API: sends a request to some member, waits for the answer or gives up, and
/// notes what became of it. The way there and back takes time, and ends where the process does.
class Client {
 public:
  using Nodes = std::function<const std::vector<Node*>&()>;

  /// Everything is borrowed.
  Client(uint64_t id, Scheduler* scheduler, const Workload* workload, const Truth* truth, Nodes nodes,
         History* history);

  void Start();
  /// No new request is begun.
  void Stop() { stopped_ = true; }
  bool idle() const { return !errand_.under_way(); }
  uint64_t answered() const { return answered_; }

 private:
  using Answer = absl::StatusOr<Operation::Response>;

  void Next();
  void Begin(Operation::Request request);
  Node* Choose();
  void Arrive(size_t at, const Errand::Trip& trip);
  void Return(size_t at, const Errand::Trip& trip, Answer&& answer);
  void Finish();

  const uint64_t id_;
  Scheduler* const scheduler_;
  Errand errand_;
  const Workload* const workload_;
  Requests requests_;
  const Truth* const truth_;
  const Nodes nodes_;
  History* const history_;
  Node* node_ = nullptr;  // where the last request went
  bool stopped_ = false;
  uint64_t answered_ = 0;
};

/// Sends `request` to the member, as the v3 API does behind its checks; `done` runs once, at any time, while
/// the process lives.
void Ask(member::Member& member, const Operation::Request& request,
         absl::AnyInvocable<void(absl::StatusOr<Operation::Response>)> done);

}  // namespace kvorum::sim
