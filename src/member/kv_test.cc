#include "member/kv.h"

#include <map>
#include <set>

#include "backend/memory_backend.h"
#include "base/random.h"
#include "gtest/gtest.h"
#include "member/range_view.h"
#include "proto/rpc.pb.h"
#include "rapidcheck/gtest.h"

namespace kvorum::member {
namespace {

using etcdserverpb::Compare;
using etcdserverpb::DeleteRangeRequest;
using etcdserverpb::PutRequest;
using etcdserverpb::RangeRequest;
using etcdserverpb::RangeResponse;
using etcdserverpb::RequestOp;
using etcdserverpb::TxnRequest;
using etcdserverpb::TxnResponse;
using mvccpb::KeyValue;

/// Leases 1 to 3 exist.
class ThreeLeases final : public mvcc::LeaseBinder {
 public:
  bool Exists(LeaseId lease) const override { return lease.value() >= 1 && lease.value() <= 3; }
  void Attach(LeaseId, std::string_view) override {}
  void Detach(LeaseId, std::string_view) override {}
};

/// What the store has to do, done in the simplest way: a copy of everything for each revision.
class Model {
 public:
  using Keys = std::map<std::string, KeyValue>;

  int64_t revision() const { return static_cast<int64_t>(history_.size()); }

  /// Empty where the transaction is refused.
  std::string Txn(const TxnRequest& request, TxnResponse* response) {
    now_ = history_.back();
    changed_ = false;
    std::vector<bool> path;
    Choose(request, path);
    size_t at = 0;
    if (std::string error = Check(request, path, at); !error.empty()) return error;
    at = 0;
    Run(request, path, at, response);
    if (changed_) history_.push_back(now_);
    response->mutable_header()->set_revision(revision());
    return "";
  }

 private:
  static bool In(const std::string& key, const std::string& from, const std::string& end) {
    if (end.empty()) return key == from;
    return key >= from && (end == std::string(1, '\0') || key < end);
  }
  static Keys Find(const Keys& keys, const std::string& from, const std::string& end) {
    Keys out;
    for (const auto& [key, kv] : keys) {
      if (In(key, from, end)) out[key] = kv;
    }
    return out;
  }
  template <typename T>
  static bool Compares(int result, const T& a, const T& b) {
    switch (result) {
      case Compare::EQUAL:
        return a == b;
      case Compare::GREATER:
        return a > b;
      case Compare::LESS:
        return a < b;
      case Compare::NOT_EQUAL:
        return a != b;
      default:
        return true;
    }
  }
  static bool Holds(const Compare& c, const KeyValue& kv) {
    switch (c.target()) {
      case Compare::VERSION:
        return Compares(c.result(), kv.version(), c.version());
      case Compare::CREATE:
        return Compares(c.result(), kv.create_revision(), c.create_revision());
      case Compare::MOD:
        return Compares(c.result(), kv.mod_revision(), c.mod_revision());
      case Compare::LEASE:
        return Compares(c.result(), kv.lease(), c.lease());
      case Compare::VALUE:
        return Compares(c.result(), kv.value(), c.value());
      default:
        return Compares(c.result(), 0, 0);
    }
  }
  bool Holds(const Compare& c) const {
    const Keys found = Find(history_.back(), c.key(), c.range_end());
    if (found.empty()) return c.target() != Compare::VALUE && Holds(c, KeyValue());
    for (const auto& [key, kv] : found) {
      if (!Holds(c, kv)) return false;
    }
    return true;
  }

  void Choose(const TxnRequest& request, std::vector<bool>& path) const {
    bool holds = true;
    for (const Compare& c : request.compare()) holds = holds && Holds(c);
    path.push_back(holds);
    for (const RequestOp& op : holds ? request.success() : request.failure()) {
      if (op.has_request_txn()) Choose(op.request_txn(), path);
    }
  }

  std::string Check(const TxnRequest& request, const std::vector<bool>& path, size_t& at) const {
    for (const RequestOp& op : path[at++] ? request.success() : request.failure()) {
      if (op.has_request_range() && op.request_range().revision() > revision()) {
        return "mvcc: required revision is a future revision";
      }
      if (op.has_request_put()) {
        const PutRequest& put = op.request_put();
        if ((put.ignore_value() || put.ignore_lease()) && !history_.back().contains(put.key())) {
          return "etcdserver: key not found";
        }
        if (put.lease() > 3) return "lease not found";
      }
      if (op.has_request_txn()) {
        if (std::string error = Check(op.request_txn(), path, at); !error.empty()) return error;
      }
    }
    return "";
  }

  void Run(const TxnRequest& request, const std::vector<bool>& path, size_t& at, TxnResponse* response) {
    const bool holds = path[at++];
    response->set_succeeded(holds);
    for (const RequestOp& op : holds ? request.success() : request.failure()) {
      etcdserverpb::ResponseOp* out = response->add_responses();
      if (op.has_request_range()) Range(op.request_range(), out->mutable_response_range());
      if (op.has_request_put()) Put(op.request_put(), out->mutable_response_put());
      if (op.has_request_delete_range()) {
        Delete(op.request_delete_range(), out->mutable_response_delete_range());
      }
      if (op.has_request_txn()) {
        out->mutable_response_txn()->mutable_header();
        Run(op.request_txn(), path, at, out->mutable_response_txn());
      }
    }
  }
  int64_t RevisionNow() const { return revision() + (changed_ ? 1 : 0); }

  void Put(const PutRequest& put, etcdserverpb::PutResponse* response) {
    KeyValue& kv = now_[put.key()];
    if (put.prev_kv() && kv.version() != 0) *response->mutable_prev_kv() = kv;
    changed_ = true;
    kv.set_key(put.key());
    if (kv.version() == 0) kv.set_create_revision(RevisionNow());
    kv.set_mod_revision(RevisionNow());
    kv.set_version(kv.version() + 1);
    if (!put.ignore_value()) kv.set_value(put.value());
    if (!put.ignore_lease()) kv.set_lease(put.lease());
    response->mutable_header()->set_revision(RevisionNow());
  }
  void Delete(const DeleteRangeRequest& request, etcdserverpb::DeleteRangeResponse* response) {
    for (const auto& [key, kv] : Find(now_, request.key(), request.range_end())) {
      if (request.prev_kv()) *response->add_prev_kvs() = kv;
      now_.erase(key);
      response->set_deleted(response->deleted() + 1);
      changed_ = true;
    }
    response->mutable_header()->set_revision(RevisionNow());
  }
  void Range(const RangeRequest& request, RangeResponse* response) {
    response->mutable_header()->set_revision(RevisionNow());
    const Keys& keys = request.revision() == 0 ? now_ : history_[static_cast<size_t>(request.revision() - 1)];
    const Keys found = Find(keys, request.key(), request.range_end());
    response->set_count(static_cast<int64_t>(found.size()));
    if (request.count_only()) return;
    std::vector<KeyValue> kvs;
    const bool filtered = request.min_mod_revision() != 0 || request.max_create_revision() != 0;
    for (const auto& [key, kv] : found) {
      if (request.min_mod_revision() != 0 && kv.mod_revision() < request.min_mod_revision()) continue;
      if (request.max_create_revision() != 0 && kv.create_revision() > request.max_create_revision())
        continue;
      kvs.push_back(kv);
    }
    // Without an order, only what the limit lets through is sorted.
    const size_t limit = static_cast<size_t>(request.limit());
    if (request.sort_order() == RangeRequest::NONE && limit != 0 && !filtered && kvs.size() > limit + 1) {
      kvs.resize(limit + 1);
    }
    const auto by = [&request](const KeyValue& kv) -> std::pair<int64_t, std::string> {
      switch (request.sort_target()) {
        case RangeRequest::VERSION:
          return {kv.version(), ""};
        case RangeRequest::CREATE:
          return {kv.create_revision(), ""};
        case RangeRequest::MOD:
          return {kv.mod_revision(), ""};
        case RangeRequest::VALUE:
          return {0, kv.value()};
        default:
          return {0, kv.key()};
      }
    };
    std::stable_sort(kvs.begin(), kvs.end(), [&](const KeyValue& a, const KeyValue& b) {
      return request.sort_order() == RangeRequest::DESCEND ? by(b) < by(a) : by(a) < by(b);
    });
    if (limit != 0 && kvs.size() > limit) {
      kvs.resize(limit);
      response->set_more(true);
    }
    for (KeyValue& kv : kvs) {
      if (request.keys_only()) kv.clear_value();
      *response->add_kvs() = kv;
    }
  }

  std::vector<Keys> history_{Keys()};  // by revision - 1
  Keys now_;
  bool changed_ = false;
};

/// Random requests over few keys, so that they meet.
class Maker {
 public:
  explicit Maker(Random& random) : random_(random) {}

  TxnRequest Txn(int depth, int64_t revision) {
    TxnRequest txn;
    for (uint64_t i = random_.Below(3); i > 0; --i) Fill(*txn.add_compare(), revision);
    std::set<std::string> puts;
    for (uint64_t i = random_.Below(4); i > 0; --i) Fill(*txn.add_success(), depth, revision, puts);
    for (uint64_t i = random_.Below(4); i > 0; --i) Fill(*txn.add_failure(), depth, revision, puts);
    return txn;
  }

 private:
  std::string Key() { return std::string(1, static_cast<char>('a' + random_.Below(5))); }
  std::string End() {
    switch (random_.Below(4)) {
      case 0:
        return std::string(1, '\0');
      case 1:
        return Key();
      default:
        return "";
    }
  }
  void Fill(Compare& c, int64_t revision) {
    c.set_result(static_cast<Compare::CompareResult>(random_.Below(4)));
    c.set_target(static_cast<Compare::CompareTarget>(random_.Below(5)));
    c.set_key(Key());
    c.set_range_end(End());
    const int64_t number = static_cast<int64_t>(random_.Below(static_cast<uint64_t>(revision) + 1));
    switch (c.target()) {
      case Compare::VERSION:
        c.set_version(number % 4);
        break;
      case Compare::CREATE:
        c.set_create_revision(number);
        break;
      case Compare::MOD:
        c.set_mod_revision(number);
        break;
      case Compare::LEASE:
        c.set_lease(number % 4);
        break;
      default:
        c.set_value(std::string(random_.Below(3), 'v'));
        break;
    }
  }
  void Fill(RequestOp& op, int depth, int64_t revision, std::set<std::string>& puts) {
    const uint64_t kind = random_.Below(depth > 0 ? 10 : 9);
    if (kind < 3) {
      PutRequest& put = *op.mutable_request_put();
      put.set_key(Key());
      // One put of a key at a time: the API refuses others.
      if (!puts.insert(put.key()).second) {
        op.mutable_request_range()->set_key("a");
        return;
      }
      put.set_prev_kv(random_.OneIn(1, 2));
      put.set_ignore_value(random_.OneIn(1, 8));
      if (!put.ignore_value()) put.set_value(std::string(random_.Below(3), 'v'));
      put.set_ignore_lease(random_.OneIn(1, 8));
      if (!put.ignore_lease() && random_.OneIn(1, 3)) {
        put.set_lease(static_cast<int64_t>(random_.Below(random_.OneIn(1, 10) ? 5 : 4)));
      }
    } else if (kind < 5) {
      DeleteRangeRequest& erase = *op.mutable_request_delete_range();
      erase.set_key(Key());
      erase.set_range_end(End());
      erase.set_prev_kv(random_.OneIn(1, 2));
    } else if (kind < 9) {
      Fill(*op.mutable_request_range(), revision);
    } else {
      *op.mutable_request_txn() = Txn(depth - 1, revision);
    }
  }
  void Fill(RangeRequest& range, int64_t revision) {
    range.set_key(Key());
    range.set_range_end(End());
    range.set_limit(static_cast<int64_t>(random_.Below(4)));
    if (random_.OneIn(1, 4)) {
      range.set_revision(static_cast<int64_t>(random_.Below(static_cast<uint64_t>(revision) + 1)) +
                         (random_.OneIn(1, 20) ? 5 : 0));
    }
    range.set_sort_order(static_cast<RangeRequest::SortOrder>(random_.Below(3)));
    range.set_sort_target(static_cast<RangeRequest::SortTarget>(random_.Below(5)));
    range.set_keys_only(random_.OneIn(1, 4));
    range.set_count_only(random_.OneIn(1, 6));
    if (random_.OneIn(1, 5)) range.set_min_mod_revision(revision / 2);
    if (random_.OneIn(1, 5)) range.set_max_create_revision(revision / 2);
  }

  Random& random_;
};

/// The response with the header that the API puts before it.
TxnResponse ResponseOf(const KvReply& reply) {
  TxnResponse response;
  RC_ASSERT(response.ParseFromString(reply.body));
  response.mutable_header()->set_revision(reply.revision);
  return response;
}

RC_GTEST_PROP(KvModel, TransactionsDoWhatTheModelDoes, ()) {
  Random random(*rc::gen::arbitrary<uint64_t>());
  Maker maker(random);
  Model model;
  const ThreeLeases leases;
  ThreeLeases binder;
  const auto backend = backend::MemoryBackend::Create();
  auto store = mvcc::Store::Open({.backend = backend.get(), .leases = &binder});
  RC_ASSERT(store.ok());
  for (int i = 0; i < 40; ++i) {
    const std::string encoded = maker.Txn(2, model.revision()).SerializeAsString();
    TxnRequest request;
    RC_ASSERT(request.ParseFromString(encoded));
    const std::optional<TxnRequestView> view = ParseTxnRequest(encoded);
    RC_ASSERT(view.has_value());
    TxnResponse expected;
    const std::string error = model.Txn(request, &expected);
    // What changes nothing can be answered without the log just as well.
    const bool local = IsReadOnly(*view) && random.OneIn(1, 2);
    const Want want = random.OneIn(1, 5) ? Want::kEffectOnly : Want::kReply;
    const absl::StatusOr<KvReply> reply =
        local ? ReadTxn(**store, *view) : ApplyTxn(**store, leases, *view, want);
    RC_ASSERT(std::string(reply.status().message()) == error);
    RC_ASSERT((*store)->current_revision() == model.revision());
    if (!reply.ok()) continue;
    if (local || want == Want::kReply) {
      RC_ASSERT(ResponseOf(*reply).DebugString() == expected.DebugString());
    } else {
      RC_ASSERT(reply->body.empty());
    }
  }
  (*store)->CheckInvariants();
}

class KvTest : public ::testing::Test {
 protected:
  absl::StatusOr<KvReply> Put(const PutRequestView& put) {
    return ApplyPut(*store_, leases_, put, Want::kReply);
  }

  ThreeLeases leases_;
  std::unique_ptr<backend::MemoryBackend> backend_ = backend::MemoryBackend::Create();
  std::unique_ptr<mvcc::Store> store_ =
      mvcc::Store::Open({.backend = backend_.get(), .leases = &leases_}).value();
};

TEST_F(KvTest, APutSaysWhatWasThereBefore) {
  ASSERT_TRUE(Put({.key = "a", .value = "1", .lease = LeaseId(2)}).ok());
  etcdserverpb::PutResponse response;
  const KvReply reply = Put({.key = "a", .value = "2", .prev_kv = true}).value();
  ASSERT_TRUE(response.ParseFromString(reply.body));
  EXPECT_EQ(reply.revision, 3);
  EXPECT_EQ(response.prev_kv().value(), "1");
  EXPECT_EQ(response.prev_kv().lease(), 2);
  EXPECT_EQ(Put({.key = "b", .prev_kv = true})->body, "");
}

TEST_F(KvTest, APutMayKeepValueOrLease) {
  EXPECT_EQ(Put({.key = "a", .ignore_value = true}).status().message(), "etcdserver: key not found");
  ASSERT_TRUE(Put({.key = "a", .value = "1", .lease = LeaseId(2)}).ok());
  ASSERT_TRUE(Put({.key = "a", .lease = LeaseId(3), .ignore_value = true}).ok());
  ASSERT_TRUE(Put({.key = "a", .value = "2", .ignore_lease = true}).ok());
  const mvcc::RangeResult found = store_->Range({.range = {.key = "a"}}).value();
  const RecordView record = ParseRecord(found.records[0]);
  EXPECT_EQ(record.value, "2");
  EXPECT_EQ(record.lease, LeaseId(3));
  EXPECT_EQ(record.version, 3);
}

TEST_F(KvTest, ACheckThatFailsLeavesEverythingAsItWas) {
  ASSERT_TRUE(Put({.key = "a", .value = "1"}).ok());
  TxnRequest txn;
  txn.add_success()->mutable_request_put()->set_key("b");
  txn.add_success()->mutable_request_put()->set_key("c");
  txn.mutable_success(1)->mutable_request_put()->set_ignore_value(true);
  const std::string encoded = txn.SerializeAsString();
  const auto reply = ApplyTxn(*store_, leases_, *ParseTxnRequest(encoded), Want::kReply);
  EXPECT_EQ(reply.status().message(), "etcdserver: key not found");
  EXPECT_EQ(store_->current_revision(), 2);
  EXPECT_EQ(store_->key_count(), 1);
}

TEST_F(KvTest, ARangeInATransactionBelowTheCompactionIsRefused) {
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(Put({.key = "a"}).ok());
  ASSERT_TRUE(store_->StartCompaction(4).ok());
  TxnRequest txn;
  txn.add_success()->mutable_request_range()->set_key("a");
  txn.mutable_success(0)->mutable_request_range()->set_revision(3);
  const std::string encoded = txn.SerializeAsString();
  EXPECT_TRUE(
      mvcc::IsCompacted(ApplyTxn(*store_, leases_, *ParseTxnRequest(encoded), Want::kEffectOnly).status()));
  EXPECT_TRUE(mvcc::IsCompacted(ReadTxn(*store_, *ParseTxnRequest(encoded)).status()));
}

TEST_F(KvTest, ACompareWithoutItsValueComparesWithNothing) {
  TxnRequest txn;
  Compare* c = txn.add_compare();
  c->set_key("a");
  c->set_target(Compare::VERSION);
  c->set_value("not a version");
  const std::string encoded = txn.SerializeAsString();
  TxnResponse response;
  ASSERT_TRUE(response.ParseFromString(ReadTxn(*store_, *ParseTxnRequest(encoded))->body));
  EXPECT_TRUE(response.succeeded());
}

}  // namespace
}  // namespace kvorum::member
