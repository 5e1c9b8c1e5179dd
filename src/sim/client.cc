#include "sim/client.h"

#include <algorithm>
#include <utility>

namespace kvorum::sim {

Client::Client(uint64_t id, Scheduler* scheduler, const Workload* workload, const Truth* truth, Nodes nodes,
               History* history)
    : id_(id),
      scheduler_(scheduler),
      errand_(scheduler),
      workload_(workload),
      requests_(id, workload, &scheduler->chance()),
      truth_(truth),
      nodes_(std::move(nodes)),
      history_(history) {}

void Client::Start() {
  scheduler_->After(scheduler_->Between(0, 2 * workload_->think), [this] { Next(); });
}

void Client::Next() {
  if (stopped_) return;
  Begin(requests_.Next(truth_->last()));
}

Node* Client::Choose() {
  const std::vector<Node*>& nodes = nodes_();
  const bool gone = std::find(nodes.begin(), nodes.end(), node_) == nodes.end();
  if (!gone && !scheduler_->chance().OneIn(1, workload_->stay)) return node_;
  return nodes[scheduler_->chance().Below(nodes.size())];
}

void Client::Begin(Operation::Request request) {
  Node* const node = node_ = Choose();
  if (!node->up()) {  // nobody listens: it was never sent
    node_ = nullptr;
    return Finish();
  }
  const size_t at = history_->operations.size();
  Operation& operation = history_->operations.emplace_back();
  operation.client = id_;
  operation.member = node->id();
  operation.invoked = scheduler_->now();
  operation.request = std::move(request);
  errand_.Begin(
      node, [this, at](const Errand::Trip& trip) { Arrive(at, trip); }, [this] { Finish(); });
}

void Client::Arrive(size_t at, const Errand::Trip& trip) {
  if (trip.IsStuck()) return;
  const Node* const node = trip.node;
  const auto* range = std::get_if<etcdserverpb::RangeRequest>(&history_->operations[at].request);
  const bool served = node->ready() || (node->published() && range != nullptr && range->serializable());
  if (!served || trip.IsCutShort()) return Return(at, trip, absl::UnavailableError("connection refused"));
  Ask(*trip.node->member(), history_->operations[at].request, [this, at, trip](Answer answer) mutable {
    errand_.Return(
        [this, at, trip, answer = std::move(answer)]() mutable { Return(at, trip, std::move(answer)); });
  });
}

void Client::Return(size_t at, const Errand::Trip& trip, Answer&& answer) {
  if (!errand_.IsAwaited(trip)) return;
  if (answer.ok() && trip.IsCutShort()) return Finish();
  Operation& operation = history_->operations[at];
  if (answer.ok()) {
    operation.outcome = Operation::Outcome::kAnswered;
    operation.response = *std::move(answer);
    operation.returned = scheduler_->now();
    ++answered_;
    scheduler_->Note(at);
  } else if (NeverHappened({answer.status().message().data(), answer.status().message().size()})) {
    operation.outcome = Operation::Outcome::kRefused;
    operation.error = std::string(answer.status().message());
    operation.returned = scheduler_->now();
  }
  Finish();
}

void Client::Finish() {
  errand_.End();
  if (stopped_) return;
  scheduler_->After(scheduler_->Between(0, 2 * workload_->think), [this] { Next(); });
}

}  // namespace kvorum::sim
