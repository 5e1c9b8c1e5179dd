#include "sim/workload.h"

#include <algorithm>
#include <array>

#include "fmt/format.h"

namespace kvorum::sim {

bool NeverHappened(std::string_view message) {
  static constexpr std::string_view kServer = "etcdserver: ";
  static constexpr std::array<std::string_view, 8> kTexts = {"connection refused",
                                                             "mvcc: required revision has been compacted",
                                                             "mvcc: required revision is a future revision",
                                                             "mvcc: database space exceeded",
                                                             "key not found",
                                                             "too many requests",
                                                             "lease not found",
                                                             "no space"};
  if (message.substr(0, kServer.size()) == kServer) message.remove_prefix(kServer.size());
  return std::find(kTexts.begin(), kTexts.end(), message) != kTexts.end();
}

std::string Requests::Key() { return fmt::format("k{}", random_.Below(workload_->keys)); }

std::string Requests::Value() {
  std::string value = fmt::format("{}.{}", client_, ++values_);
  if (value.size() < workload_->value_bytes) value.resize(workload_->value_bytes, '.');
  return value;
}

Operation::Request Requests::Txn(int64_t last) {
  etcdserverpb::TxnRequest txn;
  const std::string key = Key();
  etcdserverpb::Compare* compare = txn.add_compare();
  compare->set_key(key);
  switch (random_.Below(4)) {
    case 0:
      compare->set_target(etcdserverpb::Compare::VERSION);
      compare->set_result(random_.OneIn(1, 2) ? etcdserverpb::Compare::EQUAL
                                              : etcdserverpb::Compare::GREATER);
      compare->set_version(0);
      break;
    case 1:
      compare->set_target(etcdserverpb::Compare::MOD);
      compare->set_result(etcdserverpb::Compare::LESS);
      compare->set_mod_revision(last + 1 - static_cast<int64_t>(random_.Below(8)));
      break;
    case 2:
      compare->set_target(etcdserverpb::Compare::CREATE);
      compare->set_result(etcdserverpb::Compare::NOT_EQUAL);
      compare->set_create_revision(0);
      break;
    default:
      compare->set_target(etcdserverpb::Compare::VALUE);
      compare->set_result(etcdserverpb::Compare::GREATER);
      compare->set_value(fmt::format("{}", random_.Below(9)));
      break;
  }
  for (auto* branch : {txn.mutable_success(), txn.mutable_failure()}) {
    for (uint64_t n = random_.Below(3); n > 0; --n) {
      etcdserverpb::RequestOp* op = branch->Add();
      switch (random_.Below(4)) {
        case 0:
          op->mutable_request_range()->set_key(Key());
          break;
        case 1:
          // A key of its own, for no key may be put twice in one transaction.
          op->mutable_request_delete_range()->set_key(fmt::format("d{}", random_.Below(workload_->keys)));
          break;
        default:
          op->mutable_request_put()->set_key(fmt::format("t{}.{}", n, random_.Below(workload_->keys)));
          op->mutable_request_put()->set_value(Value());
          op->mutable_request_put()->set_prev_kv(random_.OneIn(1, 3));
      }
    }
  }
  return txn;
}

Operation::Request Requests::Next(int64_t last) {
  const Workload& w = *workload_;
  uint64_t pick = random_.Below(w.put + w.get + w.get_serializable + w.list + w.get_old + w.remove +
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
    put.set_prev_kv(random_.OneIn(1, 4));
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
    range.set_range_end(random_.OneIn(1, 2) ? "l" : std::string(1, '\0'));
    if (random_.OneIn(1, 3)) range.set_limit(static_cast<int64_t>(1 + random_.Below(w.keys)));
    range.set_keys_only(random_.OneIn(1, 6));
    range.set_count_only(random_.OneIn(1, 6));
    return range;
  }
  if (is(w.get_old)) {
    range.set_key("k");
    range.set_range_end("l");
    range.set_revision(std::max<int64_t>(1, last - static_cast<int64_t>(random_.Below(100))));
    return range;
  }
  etcdserverpb::DeleteRangeRequest remove;
  if (is(w.remove)) {
    remove.set_key(Key());
    remove.set_prev_kv(random_.OneIn(1, 4));
    return remove;
  }
  if (is(w.remove_range)) {
    remove.set_key("k1");
    remove.set_range_end("k2");
    remove.set_prev_kv(random_.OneIn(1, 2));
    return remove;
  }
  if (is(w.txn)) return Txn(last);
  etcdserverpb::CompactionRequest compact;
  compact.set_revision(std::max<int64_t>(1, last - static_cast<int64_t>(50 + random_.Below(200))));
  compact.set_physical(random_.OneIn(1, 3));
  return compact;
}

etcdserverpb::WatchCreateRequest PickWatch(Random& random, int64_t last, int64_t next) {
  etcdserverpb::WatchCreateRequest request;
  switch (random.Below(4)) {
    case 0:
      request.set_key(std::string(1, '\0'));
      request.set_range_end(std::string(1, '\0'));
      break;
    case 1:
      request.set_key("k");
      request.set_range_end("l");
      break;
    default:
      request.set_key("k" + std::to_string(random.Below(8)));
      break;
  }
  if (next > 0 && random.OneIn(2, 3)) {
    request.set_start_revision(next);
  } else if (random.OneIn(1, 2)) {
    request.set_start_revision(std::max<int64_t>(1, last - 20 + static_cast<int64_t>(random.Below(40))));
  }
  request.set_prev_kv(random.OneIn(1, 3));
  if (random.OneIn(1, 8)) request.add_filters(etcdserverpb::WatchCreateRequest::NOPUT);
  if (random.OneIn(1, 8)) request.add_filters(etcdserverpb::WatchCreateRequest::NODELETE);
  return request;
}

}  // namespace kvorum::sim
