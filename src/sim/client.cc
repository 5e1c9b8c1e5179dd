#include "sim/client.h"

#include <algorithm>
#include <utility>

#include "fmt/format.h"

namespace kvorum::sim {

namespace {

constexpr Instant kMillisecond = 1'000'000;
/// How long a client waits for an answer.
constexpr Instant kMinPatience = 200 * kMillisecond;
constexpr Instant kMaxPatience = 3'000 * kMillisecond;
constexpr Instant kMinWay = 20'000;
constexpr Instant kMaxWay = 500'000;

}  // namespace

Client::Client(uint64_t id, Scheduler* scheduler, const Workload* workload, const Truth* truth, Nodes nodes,
               History* history)
    : id_(id),
      scheduler_(scheduler),
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
  const uint64_t attempt = ++attempt_;
  waiting_ = true;
  Operation& operation = history_->operations.emplace_back();
  operation.client = id_;
  operation.member = node->id();
  operation.invoked = scheduler_->now();
  operation.request = std::move(request);
  scheduler_->After(scheduler_->Between(kMinWay, kMaxWay),
                    [this, at, attempt, node, start = node->starts()] { Arrive(at, attempt, node, start); });
  give_up_ = scheduler_->After(scheduler_->Between(kMinPatience, kMaxPatience), [this] { Finish(); });
}

void Client::Arrive(size_t at, uint64_t attempt, Node* node, uint64_t start) {
  if (node->paused()) return;  // in its socket: nobody will look at it before the client gave up
  const auto* range = std::get_if<etcdserverpb::RangeRequest>(&history_->operations[at].request);
  const bool served = node->ready() || (node->published() && range != nullptr && range->serializable());
  if (!served || node->starts() != start) {
    return Return(at, attempt, node, node->starts(), absl::UnavailableError("connection refused"));
  }
  Ask(*node->member(), history_->operations[at].request,
      [this, at, attempt, node, start](Answer answer) mutable {
        scheduler_->After(scheduler_->Between(kMinWay, kMaxWay),
                          [this, at, attempt, node, start, answer = std::move(answer)]() mutable {
                            Return(at, attempt, node, start, std::move(answer));
                          });
      });
}

void Client::Return(size_t at, uint64_t attempt, Node* node, uint64_t start, Answer&& answer) {
  if (attempt != attempt_ || !waiting_) return;  // given up
  const bool broke = answer.ok() && (!node->up() || node->starts() != start);
  if (broke) return Finish();
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
  if (std::exchange(waiting_, false)) scheduler_->Cancel(give_up_);
  if (stopped_) return;
  scheduler_->After(scheduler_->Between(0, 2 * workload_->think), [this] { Next(); });
}

}  // namespace kvorum::sim
