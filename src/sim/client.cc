#include "sim/client.h"

#include <array>
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

/// After these errors the request has not happened and will not.
bool NeverHappened(const absl::Status& status) {
  static constexpr std::array<std::string_view, 7> kTexts = {"connection refused",
                                                             "mvcc: required revision has been compacted",
                                                             "mvcc: required revision is a future revision",
                                                             "etcdserver: key not found",
                                                             "etcdserver: too many requests",
                                                             "lease not found",
                                                             "etcdserver: no space"};
  for (const std::string_view text : kTexts) {
    if (std::string_view(status.message().data(), status.message().size()) == text) return true;
  }
  return false;
}

}  // namespace

Client::Client(uint64_t id, Scheduler* scheduler, const Workload* workload, const Truth* truth, Nodes nodes,
               History* history)
    : id_(id),
      scheduler_(scheduler),
      workload_(workload),
      truth_(truth),
      nodes_(std::move(nodes)),
      history_(history) {}

void Client::Start() {
  scheduler_->After(scheduler_->Between(0, 2 * workload_->think), [this] { Next(); });
}

std::string Client::Key() { return fmt::format("k{}", scheduler_->chance().Below(workload_->keys)); }

std::string Client::Value() {
  std::string value = fmt::format("{}.{}", id_, ++values_);
  if (value.size() < workload_->value_bytes) value.resize(workload_->value_bytes, '.');
  return value;
}

Operation::Request Client::Txn() {
  Random& random = scheduler_->chance();
  etcdserverpb::TxnRequest txn;
  const std::string key = Key();
  etcdserverpb::Compare* compare = txn.add_compare();
  compare->set_key(key);
  switch (random.Below(4)) {
    case 0:
      compare->set_target(etcdserverpb::Compare::VERSION);
      compare->set_result(random.OneIn(1, 2) ? etcdserverpb::Compare::EQUAL : etcdserverpb::Compare::GREATER);
      compare->set_version(0);
      break;
    case 1:
      compare->set_target(etcdserverpb::Compare::MOD);
      compare->set_result(etcdserverpb::Compare::LESS);
      compare->set_mod_revision(truth_->last() + 1 - static_cast<int64_t>(random.Below(8)));
      break;
    case 2:
      compare->set_target(etcdserverpb::Compare::CREATE);
      compare->set_result(etcdserverpb::Compare::NOT_EQUAL);
      compare->set_create_revision(0);
      break;
    default:
      compare->set_target(etcdserverpb::Compare::VALUE);
      compare->set_result(etcdserverpb::Compare::GREATER);
      compare->set_value(fmt::format("{}", random.Below(9)));
      break;
  }
  for (auto* branch : {txn.mutable_success(), txn.mutable_failure()}) {
    for (uint64_t n = random.Below(3); n > 0; --n) {
      etcdserverpb::RequestOp* op = branch->Add();
      switch (random.Below(4)) {
        case 0:
          op->mutable_request_range()->set_key(Key());
          break;
        case 1:
          // A key of its own, for no key may be put twice in one transaction.
          op->mutable_request_delete_range()->set_key(fmt::format("d{}", random.Below(workload_->keys)));
          break;
        default:
          op->mutable_request_put()->set_key(fmt::format("t{}.{}", n, random.Below(workload_->keys)));
          op->mutable_request_put()->set_value(Value());
          op->mutable_request_put()->set_prev_kv(random.OneIn(1, 3));
      }
    }
  }
  return txn;
}

Operation::Request Client::Pick() {
  Random& random = scheduler_->chance();
  const Workload& w = *workload_;
  uint64_t pick = random.Below(w.put + w.get + w.get_serializable + w.list + w.get_old + w.remove +
                               w.remove_range + w.txn + w.compact);
  const auto is = [&pick](uint64_t part) {
    if (pick < part) return true;
    pick -= part;
    return false;
  };
  if (is(w.put)) {
    etcdserverpb::PutRequest put;
    put.set_key(Key());
    put.set_value(Value());
    put.set_prev_kv(random.OneIn(1, 4));
    return put;
  }
  etcdserverpb::RangeRequest range;
  if (is(w.get)) {
    range.set_key(Key());
    return range;
  }
  if (is(w.get_serializable)) {
    range.set_key(Key());
    range.set_serializable(true);
    return range;
  }
  if (is(w.list)) {
    range.set_key("k");
    range.set_range_end(random.OneIn(1, 2) ? "l" : std::string(1, '\0'));
    if (random.OneIn(1, 3)) range.set_limit(static_cast<int64_t>(1 + random.Below(w.keys)));
    range.set_keys_only(random.OneIn(1, 6));
    range.set_count_only(random.OneIn(1, 6));
    return range;
  }
  if (is(w.get_old)) {
    range.set_key("k");
    range.set_range_end("l");
    range.set_revision(std::max<int64_t>(1, truth_->last() - static_cast<int64_t>(random.Below(100))));
    return range;
  }
  etcdserverpb::DeleteRangeRequest remove;
  if (is(w.remove)) {
    remove.set_key(Key());
    remove.set_prev_kv(random.OneIn(1, 4));
    return remove;
  }
  if (is(w.remove_range)) {
    remove.set_key("k1");
    remove.set_range_end("k2");
    remove.set_prev_kv(random.OneIn(1, 2));
    return remove;
  }
  if (is(w.txn)) return Txn();
  etcdserverpb::CompactionRequest compact;
  compact.set_revision(std::max<int64_t>(1, truth_->last() - static_cast<int64_t>(50 + random.Below(200))));
  return compact;
}

void Client::Next() {
  if (stopped_) return;
  Begin(Pick());
}

void Client::Begin(Operation::Request request) {
  const std::vector<Node*>& nodes = nodes_();
  Node* node = nodes[scheduler_->chance().Below(nodes.size())];
  if (!node->up()) return Finish();  // nobody listens: it was never sent
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
  scheduler_->After(scheduler_->Between(kMinPatience, kMaxPatience), [this, attempt] { GiveUp(attempt); });
}

void Client::Arrive(size_t at, uint64_t attempt, Node* node, uint64_t start) {
  if (node->paused()) return;  // in its socket: nobody will look at it before the client gave up
  if (!node->ready() || node->starts() != start) {
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

void Client::Return(size_t at, uint64_t attempt, Node* node, uint64_t start, Answer answer) {
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
  } else if (NeverHappened(answer.status())) {
    operation.outcome = Operation::Outcome::kRefused;
    operation.error = std::string(answer.status().message());
    operation.returned = scheduler_->now();
  }
  Finish();
}

void Client::GiveUp(uint64_t attempt) {
  if (attempt == attempt_ && waiting_) Finish();
}

void Client::Finish() {
  waiting_ = false;
  if (stopped_) return;
  scheduler_->After(scheduler_->Between(0, 2 * workload_->think), [this] { Next(); });
}

}  // namespace kvorum::sim
