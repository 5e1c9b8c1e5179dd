#include "sim/check/kv_execute.h"

#include <algorithm>
#include <map>
#include <optional>
#include <type_traits>

namespace kvorum::sim {
namespace {

using etcdserverpb::Compare;
using etcdserverpb::RangeRequest;
using etcdserverpb::RequestOp;
using etcdserverpb::TxnRequest;
using Pair = const mvccpb::KeyValue*;

/// -1, 0 or 1.
template <typename T>
int Order(const T& a, const T& b) {
  return a < b ? -1 : b < a ? 1 : 0;
}

bool Passes(const RangeRequest& request, const mvccpb::KeyValue& pair) {
  const auto within = [](int64_t value, int64_t least, int64_t most) {
    return (least == 0 || value >= least) && (most == 0 || value <= most);
  };
  return within(pair.mod_revision(), request.min_mod_revision(), request.max_mod_revision()) &&
         within(pair.create_revision(), request.min_create_revision(), request.max_create_revision());
}

bool HasFilter(const RangeRequest& request) {
  return request.min_mod_revision() != 0 || request.max_mod_revision() != 0 ||
         request.min_create_revision() != 0 || request.max_create_revision() != 0;
}

int OrderBy(RangeRequest::SortTarget target, const mvccpb::KeyValue& a, const mvccpb::KeyValue& b) {
  switch (target) {
    case RangeRequest::KEY:
      return Order(a.key(), b.key());
    case RangeRequest::VERSION:
      return Order(a.version(), b.version());
    case RangeRequest::CREATE:
      return Order(a.create_revision(), b.create_revision());
    case RangeRequest::MOD:
      return Order(a.mod_revision(), b.mod_revision());
    case RangeRequest::VALUE:
      return Order(a.value(), b.value());
    default:
      return 0;
  }
}

/// One run of a request over a state with changes of its own above it.
class Run {
 public:
  Run(const KvModel& model, int64_t before, KvEffect* effect)
      : model_(model), before_(before), effect_(effect) {}

  /// What the top level may not do, as the state is before it.
  void Check(const RangeRequest& request) {
    if (request.revision() > before_) Fail(KvEffect::Error::kFutureRevision);
    if (request.revision() <= 0) return;
    if (effect_->oldest_read == 0 || request.revision() < effect_->oldest_read) {
      effect_->oldest_read = request.revision();
    }
  }
  void Check(const etcdserverpb::PutRequest& request) {
    if ((request.ignore_value() || request.ignore_lease()) && model_.Get(request.key(), before_) == nullptr) {
      Fail(KvEffect::Error::kKeyNotFound);
    }
  }
  void Check(const etcdserverpb::DeleteRangeRequest&) {}
  void Check(const TxnRequest& request) {
    const bool holds = std::all_of(request.compare().begin(), request.compare().end(),
                                   [this](const Compare& compare) { return Holds(compare); });
    path_.push_back(holds);
    for (const RequestOp& op : holds ? request.success() : request.failure()) {
      if (op.has_request_range()) Check(op.request_range());
      if (op.has_request_put()) Check(op.request_put());
      if (op.has_request_txn()) Check(op.request_txn());
    }
  }

  etcdserverpb::RangeResponse Do(const RangeRequest& request) const {
    etcdserverpb::RangeResponse response;
    std::vector<Pair> found = request.revision() > 0
                                  ? model_.Range(request.key(), request.range_end(), request.revision())
                                  : Now(request.key(), request.range_end());
    response.set_count(static_cast<int64_t>(found.size()));
    if (request.count_only()) return response;
    const size_t limit =
        request.limit() > 0 ? static_cast<size_t>(request.limit()) : std::numeric_limits<size_t>::max();
    // Without an order the first ones by key are taken, and these are sorted then.
    if (request.sort_order() == RangeRequest::NONE && !HasFilter(request) && found.size() > limit) {
      found.resize(limit + 1);
    }
    std::erase_if(found, [&request](Pair pair) { return !Passes(request, *pair); });
    const bool down = request.sort_order() == RangeRequest::DESCEND;
    std::stable_sort(found.begin(), found.end(), [&request, down](Pair a, Pair b) {
      const int order = OrderBy(request.sort_target(), *a, *b);
      return down ? order > 0 : order < 0;
    });
    response.set_more(found.size() > limit);
    if (response.more()) found.resize(limit);
    for (Pair pair : found) {
      *response.add_kvs() = *pair;
      if (request.keys_only()) response.mutable_kvs()->rbegin()->clear_value();
    }
    return response;
  }

  etcdserverpb::PutResponse Do(const etcdserverpb::PutRequest& request) {
    etcdserverpb::PutResponse response;
    const Pair old = Now(request.key());
    mvccpb::KeyValue pair;
    pair.set_key(request.key());
    pair.set_create_revision(old == nullptr ? before_ + 1 : old->create_revision());
    pair.set_mod_revision(before_ + 1);
    pair.set_version(old == nullptr ? 1 : old->version() + 1);
    if (request.ignore_value()) {
      if (old != nullptr) pair.set_value(old->value());
    } else {
      pair.set_value(request.value());
    }
    if (request.ignore_lease()) {
      if (old != nullptr) pair.set_lease(old->lease());
    } else {
      pair.set_lease(request.lease());
    }
    if (request.prev_kv() && old != nullptr) *response.mutable_prev_kv() = *old;
    mvccpb::Event event;
    event.set_type(mvccpb::Event::PUT);
    *event.mutable_kv() = pair;
    effect_->events.push_back(std::move(event));
    changed_[request.key()] = std::move(pair);
    return response;
  }

  etcdserverpb::DeleteRangeResponse Do(const etcdserverpb::DeleteRangeRequest& request) {
    etcdserverpb::DeleteRangeResponse response;
    std::vector<std::string> keys;
    for (Pair pair : Now(request.key(), request.range_end())) {
      keys.push_back(pair->key());
      if (request.prev_kv()) *response.add_prev_kvs() = *pair;
    }
    response.set_deleted(static_cast<int64_t>(keys.size()));
    for (std::string& key : keys) {
      mvccpb::Event event;
      event.set_type(mvccpb::Event::DELETE);
      event.mutable_kv()->set_key(key);
      event.mutable_kv()->set_mod_revision(before_ + 1);
      effect_->events.push_back(std::move(event));
      changed_[std::move(key)] = std::nullopt;
    }
    return response;
  }

  etcdserverpb::TxnResponse Do(const TxnRequest& request) {
    etcdserverpb::TxnResponse response;
    response.set_succeeded(path_[next_++]);
    for (const RequestOp& op : response.succeeded() ? request.success() : request.failure()) {
      etcdserverpb::ResponseOp& answer = *response.add_responses();
      if (op.has_request_range()) *answer.mutable_response_range() = WithRevision(Do(op.request_range()));
      if (op.has_request_put()) *answer.mutable_response_put() = WithRevision(Do(op.request_put()));
      if (op.has_request_delete_range()) {
        *answer.mutable_response_delete_range() = WithRevision(Do(op.request_delete_range()));
      }
      if (op.has_request_txn()) {
        *answer.mutable_response_txn() = Do(op.request_txn());
        answer.mutable_response_txn()->mutable_header();
      }
    }
    return response;
  }

 private:
  void Fail(KvEffect::Error error) {
    if (effect_->error == KvEffect::Error::kNone) effect_->error = error;
  }

  /// An answer inside a transaction says the revision of that point.
  template <typename Response>
  Response WithRevision(Response response) const {
    response.mutable_header()->set_revision(before_ + (effect_->events.empty() ? 0 : 1));
    return response;
  }

  Pair Now(const std::string& key) const {
    const auto changed = changed_.find(key);
    if (changed == changed_.end()) return model_.Get(key, before_);
    return changed->second ? &*changed->second : nullptr;
  }
  std::vector<Pair> Now(const std::string& key, const std::string& range_end) const {
    std::vector<Pair> found = model_.Range(key, range_end, before_);
    if (changed_.empty()) return found;
    std::erase_if(found, [this](Pair pair) { return changed_.contains(pair->key()); });
    for (const auto& [changed, pair] : changed_) {
      if (pair && InRange(changed, key, range_end)) found.push_back(&*pair);
    }
    std::sort(found.begin(), found.end(), [](Pair a, Pair b) { return a->key() < b->key(); });
    return found;
  }

  static bool Holds(const Compare& compare, const mvccpb::KeyValue& pair) {
    // The union is read by the target; of another kind it is zero or empty, as unset fields are.
    int order = 0;
    switch (compare.target()) {
      case Compare::VERSION:
        order = Order(pair.version(), compare.version());
        break;
      case Compare::CREATE:
        order = Order(pair.create_revision(), compare.create_revision());
        break;
      case Compare::MOD:
        order = Order(pair.mod_revision(), compare.mod_revision());
        break;
      case Compare::VALUE:
        order = Order(pair.value(), compare.value());
        break;
      case Compare::LEASE:
        order = Order(pair.lease(), compare.lease());
        break;
      default:
        break;
    }
    switch (compare.result()) {
      case Compare::EQUAL:
        return order == 0;
      case Compare::GREATER:
        return order > 0;
      case Compare::LESS:
        return order < 0;
      case Compare::NOT_EQUAL:
        return order != 0;
      default:
        return true;
    }
  }
  /// In the state before the transaction.
  bool Holds(const Compare& compare) const {
    const std::vector<Pair> found = model_.Range(compare.key(), compare.range_end(), before_);
    if (found.empty()) return compare.target() != Compare::VALUE && Holds(compare, mvccpb::KeyValue());
    return std::all_of(found.begin(), found.end(), [&compare](Pair pair) { return Holds(compare, *pair); });
  }

  const KvModel& model_;
  const int64_t before_;
  KvEffect* const effect_;
  std::map<std::string, std::optional<mvccpb::KeyValue>> changed_;  // none: deleted
  std::vector<bool> path_;  // of each transaction on the path, in order: whether its compares hold
  size_t next_ = 0;
};

}  // namespace

KvEffect Execute(const KvModel& model, const Operation::Request& request, int64_t before) {
  KvEffect effect;
  Run run(model, before, &effect);
  std::visit(
      [&](const auto& message) {
        if constexpr (std::is_same_v<std::decay_t<decltype(message)>, etcdserverpb::CompactionRequest>) {
          effect.response = etcdserverpb::CompactionResponse();
        } else {
          run.Check(message);
          if (effect.error == KvEffect::Error::kNone) effect.response = run.Do(message);
        }
      },
      request);
  return effect;
}

bool IsSerializable(const Operation::Request& request) {
  if (const auto* range = std::get_if<RangeRequest>(&request)) return range->serializable();
  const auto* txn = std::get_if<TxnRequest>(&request);
  if (txn == nullptr) return false;
  const auto all = [](const auto& ops) {
    return std::all_of(ops.begin(), ops.end(), [](const RequestOp& op) {
      return op.has_request_range() && op.request_range().serializable();
    });
  };
  return all(txn->success()) && all(txn->failure());
}

}  // namespace kvorum::sim
