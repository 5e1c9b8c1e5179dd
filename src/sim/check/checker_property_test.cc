// The checkers against the real store: what it does is found good, and one change to the record of it is
// caught.

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <functional>
#include <set>

#include "backend/memory_backend.h"
#include "base/random.h"
#include "member/kv.h"
#include "sim/check/kv_checker.h"
#include "sim/check/kv_execute.h"
#include "sim/check/watch_checker.h"

namespace kvorum::sim {
namespace {

using etcdserverpb::Compare;
using etcdserverpb::PutRequest;
using etcdserverpb::RangeRequest;
using etcdserverpb::RequestOp;
using etcdserverpb::TxnRequest;
using etcdserverpb::WatchCreateRequest;
using etcdserverpb::WatchResponse;
using Outcome = Operation::Outcome;

constexpr Instant kStep = 1'000'000;

/// All leases exist.
class AnyLease final : public mvcc::LeaseBinder {
 public:
  bool Exists(LeaseId) const override { return true; }
  void Attach(LeaseId, std::string_view) override {}
  void Detach(LeaseId, std::string_view) override {}
};

/// A run of random requests on a store, one after the other, each with an interval around its moment; with
/// watchers, leases that end, and a member that is behind.
class World {
 public:
  World(uint64_t seed, size_t operations, int keys) : random_(seed), keys_(keys) {
    mvcc::StoreOptions options;
    options.backend = backend_.get();
    options.leases = &leases_;
    store_ = mvcc::Store::Open(options).value();
    Watch(WatchCreateRequest(), /*all=*/true);
    for (size_t i = 0; i < operations; ++i) Step();
    now_ += kStep;
    for (Watcher& watcher : watchers_) Poll(watcher, /*progress=*/true);
    TakeTruth();
    TakeWatches();
    std::stable_sort(history_.operations.begin(), history_.operations.end(),
                     [](const Operation& a, const Operation& b) { return a.invoked < b.invoked; });
  }

  History& history() { return history_; }

 private:
  struct Watcher {
    std::unique_ptr<mvcc::WatchStream> stream;
    int64_t id = 0;
    WatchHistory record;
  };

  bool Sometimes(uint64_t in) { return random_.Below(in) == 0; }
  std::string Key() { return fmt::format("k{}", random_.Below(static_cast<uint64_t>(keys_))); }
  std::string End() {
    if (Sometimes(4)) return Sometimes(2) ? Key() : std::string(1, '\0');
    return "";
  }
  int64_t AnyRevision() {
    return 1 + static_cast<int64_t>(random_.Below(static_cast<uint64_t>(revision() + 2)));
  }
  int64_t revision() const { return store_->current_revision(); }

  PutRequest Put(const std::string& key) {
    PutRequest put;
    put.set_key(key);
    put.set_prev_kv(Sometimes(3));
    if (Sometimes(8)) {
      put.set_ignore_value(true);
    } else {
      put.set_value(fmt::format("v{}", ++values_));
    }
    if (Sometimes(12)) {
      put.set_ignore_lease(true);
    } else if (Sometimes(4)) {
      put.set_lease(1 + static_cast<int64_t>(random_.Below(3)));
    }
    return put;
  }
  etcdserverpb::DeleteRangeRequest Delete() {
    etcdserverpb::DeleteRangeRequest request;
    request.set_key(Key());
    request.set_range_end(End());
    request.set_prev_kv(Sometimes(2));
    return request;
  }
  RangeRequest Range() {
    RangeRequest request;
    request.set_key(Key());
    request.set_range_end(End());
    if (Sometimes(4)) request.set_revision(AnyRevision());
    if (Sometimes(3)) request.set_limit(1 + static_cast<int64_t>(random_.Below(4)));
    if (Sometimes(3)) request.set_sort_order(static_cast<RangeRequest::SortOrder>(random_.Below(3)));
    if (Sometimes(3)) request.set_sort_target(static_cast<RangeRequest::SortTarget>(random_.Below(5)));
    request.set_keys_only(Sometimes(6));
    request.set_count_only(Sometimes(8));
    if (Sometimes(8)) request.set_min_mod_revision(AnyRevision());
    if (Sometimes(8)) request.set_max_mod_revision(AnyRevision());
    if (Sometimes(8)) request.set_min_create_revision(AnyRevision());
    if (Sometimes(8)) request.set_max_create_revision(AnyRevision());
    return request;
  }
  void Fill(Compare& compare) {
    compare.set_result(static_cast<Compare::CompareResult>(random_.Below(4)));
    compare.set_key(Key());
    compare.set_range_end(End());
    switch (random_.Below(5)) {
      case 0:
        compare.set_target(Compare::VERSION);
        compare.set_version(static_cast<int64_t>(random_.Below(4)));
        break;
      case 1:
        compare.set_target(Compare::CREATE);
        compare.set_create_revision(AnyRevision());
        break;
      case 2:
        compare.set_target(Compare::MOD);
        compare.set_mod_revision(AnyRevision());
        break;
      case 3:
        compare.set_target(Compare::VALUE);
        compare.set_value(fmt::format("v{}", random_.Below(static_cast<uint64_t>(values_) + 1)));
        break;
      default:
        compare.set_target(Compare::LEASE);
        compare.set_lease(static_cast<int64_t>(random_.Below(4)));
    }
  }
  void Fill(google::protobuf::RepeatedPtrField<RequestOp>& ops, int depth, std::set<std::string>& put_keys) {
    for (uint64_t i = random_.Below(4); i > 0; --i) {
      const uint64_t kind = random_.Below(depth > 0 ? 7 : 6);
      if (kind < 3) {
        const std::string key = Key();
        if (put_keys.insert(key).second) *ops.Add()->mutable_request_put() = Put(key);
      } else if (kind < 5) {
        *ops.Add()->mutable_request_range() = Range();
      } else if (kind == 5) {
        *ops.Add()->mutable_request_delete_range() = Delete();
      } else {
        *ops.Add()->mutable_request_txn() = Txn(depth - 1, put_keys);
      }
    }
  }
  TxnRequest Txn(int depth, std::set<std::string> put_keys = {}) {
    TxnRequest txn;
    for (uint64_t i = random_.Below(3); i > 0; --i) Fill(*txn.add_compare());
    Fill(*txn.mutable_success(), depth, put_keys);
    Fill(*txn.mutable_failure(), depth, put_keys);
    return txn;
  }

  void Step() {
    now_ += kStep;
    switch (random_.Below(20)) {
      case 0:
        EndLease(1 + static_cast<int64_t>(random_.Below(3)));
        break;
      case 1:
        if (watchers_.size() < 12) Watch(AnyWatch(), /*all=*/false);
        break;
      case 2:
      case 3:
        for (Watcher& watcher : watchers_) {
          if (Sometimes(2)) Poll(watcher, Sometimes(2));
        }
        break;
      case 4:
        ReadBehind();
        break;
      default:
        Request();
    }
  }

  Operation& Begin() {
    Operation& op = history_.operations.emplace_back();
    op.client = random_.Below(5);
    op.member = MemberId(1);
    op.invoked = now_ - static_cast<Instant>(random_.Below(3 * kStep));
    op.returned = now_ + static_cast<Instant>(random_.Below(3 * kStep));
    return op;
  }

  template <typename Request, typename Response>
  void Run(const Request& request,
           const std::function<absl::StatusOr<member::KvReply>(const std::string&)>& run) {
    Operation& op = Begin();
    op.request = request;
    absl::StatusOr<member::KvReply> reply = run(request.SerializeAsString());
    if (!reply.ok()) {
      op.outcome = Outcome::kRefused;
      op.error = std::string(reply.status().message());
    } else {
      op.outcome = Outcome::kAnswered;
      Response response;
      EXPECT_TRUE(response.ParseFromString(reply->body));
      response.mutable_header()->set_revision(reply->revision);
      op.response = std::move(response);
    }
    if (!Sometimes(10)) return;
    op.outcome = Outcome::kUnknown;
    op.returned = kNever;
    op.response = {};
  }

  void Request() {
    const uint64_t kind = random_.Below(40);
    if (kind < 12) {
      Run<PutRequest, etcdserverpb::PutResponse>(Put(Key()), [this](const std::string& bytes) {
        return member::ApplyPut(*store_, leases_, *member::ParsePutRequest(bytes), member::Want::kReply);
      });
    } else if (kind < 16) {
      Run<etcdserverpb::DeleteRangeRequest, etcdserverpb::DeleteRangeResponse>(
          Delete(), [this](const std::string& bytes) {
            return member::ApplyDeleteRange(*store_, *member::ParseDeleteRangeRequest(bytes),
                                            member::Want::kReply);
          });
    } else if (kind < 26) {
      Run<RangeRequest, etcdserverpb::RangeResponse>(Range(), [this](const std::string& bytes) {
        return member::ReadRange(*store_, *member::ParseRangeRequest(bytes));
      });
    } else if (kind < 39) {
      Run<TxnRequest, etcdserverpb::TxnResponse>(Txn(2), [this](const std::string& bytes) {
        return member::ApplyTxn(*store_, leases_, *member::ParseTxnRequest(bytes), member::Want::kReply);
      });
    } else {
      etcdserverpb::CompactionRequest compaction;
      const int64_t back = static_cast<int64_t>(random_.Below(20));
      compaction.set_revision(Sometimes(4) ? AnyRevision() : std::max<int64_t>(1, revision() - back));
      Run<etcdserverpb::CompactionRequest, etcdserverpb::CompactionResponse>(
          compaction, [&](const std::string&) -> absl::StatusOr<member::KvReply> {
            TakeTruth();
            const absl::Status status = store_->StartCompaction(compaction.revision());
            if (!status.ok()) return status;
            while (store_->CompactStep(1000)) {
            }
            return member::KvReply{.body = "", .revision = revision()};
          });
    }
  }

  /// From a member that is somewhere behind, and never goes back.
  void ReadBehind() {
    behind_ =
        std::max({behind_, store_->compact_revision(), revision() - static_cast<int64_t>(random_.Below(10))});
    RangeRequest request = Range();
    request.set_revision(behind_);
    const absl::StatusOr<member::KvReply> reply =
        member::ReadRange(*store_, *member::ParseRangeRequest(request.SerializeAsString()));
    ASSERT_TRUE(reply.ok());
    Operation& op = Begin();
    op.member = MemberId(2);
    // In turn, so that the order is known.
    op.invoked = now_ - 1;
    op.returned = now_;
    request.set_revision(0);
    request.set_serializable(true);
    op.request = request;
    op.outcome = Outcome::kAnswered;
    etcdserverpb::RangeResponse response;
    ASSERT_TRUE(response.ParseFromString(reply->body));
    response.mutable_header()->set_revision(behind_);
    op.response = std::move(response);
  }

  void EndLease(int64_t lease) {
    const mvcc::RangeResult all = store_->Range({.range = {.key = "k", .end = "l"}}).value();
    std::unique_ptr<mvcc::WriteTxn> txn = store_->Begin();
    for (std::string_view record : all.records) {
      mvccpb::KeyValue pair;
      ASSERT_TRUE(pair.ParseFromArray(record.data(), static_cast<int>(record.size())));
      if (pair.lease() == lease) txn->DeleteRange({.key = pair.key(), .end = {}});
    }
    txn->End();
  }

  WatchCreateRequest AnyWatch() {
    WatchCreateRequest request;
    request.set_key(Key());
    request.set_range_end(Sometimes(3) ? "" : "l");
    if (Sometimes(2)) request.set_start_revision(AnyRevision());
    request.set_prev_kv(Sometimes(2));
    if (Sometimes(6)) request.add_filters(WatchCreateRequest::NOPUT);
    if (Sometimes(6)) request.add_filters(WatchCreateRequest::NODELETE);
    return request;
  }

  void Watch(WatchCreateRequest request, bool all) {
    Watcher& watcher = all ? truth_ : watchers_.emplace_back();
    watcher.stream = store_->watch_hub().NewStream([] {});
    mvcc::WatchSpec spec{.key = request.key(), .end = request.range_end()};
    spec.start_revision = request.start_revision() == 0 ? revision() + 1 : request.start_revision();
    if (all) spec.end = std::string(1, '\0');
    spec.prev_kv = request.prev_kv();
    for (int filter : request.filters()) {
      (filter == WatchCreateRequest::NOPUT ? spec.no_put : spec.no_delete) = true;
    }
    watcher.id = watcher.stream->Watch(0, spec).value();
    watcher.record.member = MemberId(1);
    watcher.record.request = std::move(request);
    watcher.record.created = now_;
    Add(watcher, revision()).set_created(true);
  }

  WatchResponse& Add(Watcher& watcher, int64_t revision) {
    watcher.record.received.push_back(now_);
    WatchResponse& response = watcher.record.responses.emplace_back();
    response.mutable_header()->set_revision(revision);
    return response;
  }

  void Poll(Watcher& watcher, bool progress) {
    for (;;) {
      while (store_->watch_hub().CatchUpStep(1000)) {
      }
      const std::vector<mvcc::WatchBatch> batches = watcher.stream->Take(1 << 20);
      if (batches.empty()) break;
      for (const mvcc::WatchBatch& batch : batches) {
        WatchResponse& response = Add(watcher, batch.revision);
        response.set_canceled(batch.compact_revision != 0);
        response.set_compact_revision(batch.compact_revision);
        for (const Bytes& event : batch.events) {
          ASSERT_TRUE(response.MergeFromString(std::string(event.view())));
        }
      }
    }
    const int64_t synced = progress ? watcher.stream->SyncedRevision(watcher.id) : 0;
    if (synced != 0) Add(watcher, synced);
  }

  void TakeTruth() {
    Poll(truth_, false);
    for (const WatchResponse& response : truth_.record.responses) {
      for (const mvccpb::Event& event : response.events()) {
        if (history_.revisions.empty() || history_.revisions.back().revision != event.kv().mod_revision()) {
          history_.revisions.push_back({.revision = event.kv().mod_revision(), .events = {}, .seen = now_});
        }
        history_.revisions.back().events.push_back(event);
      }
    }
    truth_.record.responses.clear();
  }

  void TakeWatches() {
    for (const Watcher& watcher : watchers_) {
      history_.watches.push_back(watcher.record);
      history_.watches.back().open_at_end = !watcher.record.responses.back().canceled();
    }
  }

  Random random_;
  const int keys_;
  std::unique_ptr<backend::MemoryBackend> backend_ = backend::MemoryBackend::Create();
  AnyLease leases_;
  std::unique_ptr<mvcc::Store> store_;
  std::vector<Watcher> watchers_;
  Watcher truth_;
  History history_;
  Instant now_ = 10 * kStep;
  int64_t values_ = 0;
  int64_t behind_ = 1;
};

Violations Check(const History& history) {
  Violations violations;
  const KvModel model(history.revisions, &violations);
  Violations kv = CheckKv(history, model).violations;
  Violations watches = CheckWatches(history, model);
  violations.insert(violations.end(), kv.begin(), kv.end());
  violations.insert(violations.end(), watches.begin(), watches.end());
  return violations;
}

std::string First(const Violations& violations) { return violations.empty() ? "" : violations[0]; }

RC_GTEST_PROP(CheckerProperty, FindsNothingInWhatTheStoreDoes, ()) {
  World world(*rc::gen::arbitrary<uint64_t>(), *rc::gen::inRange<size_t>(1, 400), *rc::gen::inRange(1, 8));
  const Violations violations = Check(world.history());
  RC_ASSERT(First(violations) == "");
}

TEST(CheckerProperty, ChecksTenThousandOperationsWithoutASearch) {
  World world(1, 13'000, 200);
  ASSERT_GE(world.history().operations.size(), 9'000U);
  EXPECT_EQ(First(Check(world.history())), "");
}

/// What a mutation needs to know of a good history.
struct Subject {
  explicit Subject(History& good)
      : history(good), model(good.revisions, &none), verdict(CheckKv(good, model)) {}

  /// Places of operations that have the property.
  std::vector<size_t> Operations(const std::function<bool(const Operation&)>& property) const {
    std::vector<size_t> found;
    for (size_t i = 0; i < history.operations.size(); ++i) {
      if (property(history.operations[i])) found.push_back(i);
    }
    return found;
  }
  /// Revisions that an answered operation made.
  std::vector<int64_t> Claimed(const std::function<bool(const Revision&)>& property) const {
    std::vector<int64_t> found;
    for (const Revision& revision : history.revisions) {
      const size_t maker = verdict.maker(revision.revision);
      if (maker != kNobody && history.operations[maker].outcome == Outcome::kAnswered && property(revision)) {
        found.push_back(revision.revision);
      }
    }
    return found;
  }
  Revision& at(int64_t revision) { return history.revisions[static_cast<size_t>(revision - 2)]; }
  Operation& maker(int64_t revision) { return history.operations[verdict.maker(revision)]; }
  /// The newest revision that was answered before `when`.
  int64_t AnsweredBefore(Instant when) const {
    int64_t newest = 1;
    for (const Operation& op : history.operations) {
      if (op.outcome == Outcome::kAnswered && op.returned < when) newest = std::max(newest, HeaderOf(op));
    }
    return newest;
  }
  static int64_t HeaderOf(const Operation& op) {
    return std::visit([](const auto& response) { return response.header().revision(); }, op.response);
  }
  static void SetHeader(Operation& op, int64_t revision) {
    std::visit([revision](auto& response) { response.mutable_header()->set_revision(revision); },
               op.response);
  }

  History& history;
  Violations none;
  KvModel model;
  KvVerdict verdict;
};

/// Of the whole range from the first case on.
template <typename T>
T AnyBelow(T bound) {
  return *rc::gen::resize(rc::kNominalSize, rc::gen::inRange<T>(0, bound));
}

template <typename T>
T Pick(const std::vector<T>& from) {
  RC_PRE(!from.empty());
  return from[AnyBelow(from.size())];
}

bool Answered(const Operation& op) { return op.outcome == Outcome::kAnswered; }
const etcdserverpb::RangeResponse* RangeAnswer(const Operation& op) {
  return Answered(op) ? std::get_if<etcdserverpb::RangeResponse>(&op.response) : nullptr;
}
bool HasPut(const Revision& revision) {
  return std::any_of(revision.events.begin(), revision.events.end(),
                     [](const mvccpb::Event& event) { return event.type() == mvccpb::Event::PUT; });
}
bool Any(const Revision&) { return true; }

/// A response with events of a watch that has to have everything.
WatchResponse& PickEvents(History& history, int least) {
  std::vector<WatchResponse*> responses;
  for (WatchHistory& watch : history.watches) {
    if (!watch.open_at_end) continue;
    for (WatchResponse& response : watch.responses) {
      if (response.events_size() >= least) responses.push_back(&response);
    }
  }
  return *Pick(responses);
}

struct Mutation {
  const char* name;
  void (*mutate)(Subject&);
};

const Mutation kMutations[] = {
    {"two revisions change places",
     [](Subject& s) {
       const int64_t r = Pick(
           s.Claimed([&](const Revision& revision) { return revision.revision < s.model.last_revision(); }));
       std::swap(s.at(r).events, s.at(r + 1).events);
       for (int64_t revision : {r, r + 1}) {
         for (mvccpb::Event& event : s.at(revision).events) event.mutable_kv()->set_mod_revision(revision);
       }
     }},
    {"another value was written",
     [](Subject& s) {
       std::vector<mvccpb::Event*> puts;
       for (Revision& revision : s.history.revisions) {
         for (mvccpb::Event& event : revision.events) {
           if (event.type() == mvccpb::Event::PUT) puts.push_back(&event);
         }
       }
       Pick(puts)->mutable_kv()->set_value("nobody's");
     }},
    {"the last write is lost",
     [](Subject& s) {
       RC_PRE(!s.Claimed(Any).empty() && s.Claimed(Any).back() == s.model.last_revision());
       s.history.revisions.pop_back();
     }},
    {"a revision lost an event",
     [](Subject& s) {
       auto& events =
           s.at(Pick(s.Claimed([](const Revision& revision) { return revision.events.size() > 1; }))).events;
       events.erase(events.begin() + AnyBelow(static_cast<int64_t>(events.size())));
     }},
    {"an event has the wrong version",
     [](Subject& s) {
       mvccpb::Event& event = s.at(Pick(s.Claimed(HasPut))).events[0];
       event.mutable_kv()->set_version(event.kv().version() + 1);
     }},
    {"an answered put was refused",
     [](Subject& s) {
       s.history
           .operations[Pick(s.Operations([](const Operation& op) {
             const auto* put = std::get_if<PutRequest>(&op.request);
             return Answered(op) && put != nullptr && !put->ignore_value();
           }))]
           .outcome = Outcome::kRefused;
     }},
    {"two writes share a revision",
     [](Subject& s) {
       const int64_t a = Pick(s.Claimed(Any));
       const int64_t b = Pick(s.Claimed(Any));
       RC_PRE(a != b);
       Subject::SetHeader(s.maker(a), b);
     }},
    {"a write was asked for after it was seen",
     [](Subject& s) {
       Operation& op = s.maker(Pick(s.Claimed(Any)));
       const auto last = Pick(s.Operations([&](const Operation& other) {
         return Answered(other) && &other != &op && Subject::HeaderOf(other) >= Subject::HeaderOf(op);
       }));
       op.invoked = s.history.operations[last].returned + 1;
       op.returned = op.invoked + 1;
     }},
    {"a read is stale",
     [](Subject& s) {
       Operation& op = s.history.operations[Pick(s.Operations([&](const Operation& other) {
         return RangeAnswer(other) != nullptr && !std::get<RangeRequest>(other.request).serializable() &&
                std::get<RangeRequest>(other.request).revision() == 0 && s.AnsweredBefore(other.invoked) > 1;
       }))];
       const int64_t state = s.AnsweredBefore(op.invoked) - 1;
       op.response = Execute(s.model, op.request, state).response;
       Subject::SetHeader(op, state);
     }},
    {"a member goes back",
     [](Subject& s) {
       const std::vector<size_t> reads =
           s.Operations([](const Operation& op) { return op.member == MemberId(2); });
       const size_t later = Pick(reads);
       const size_t earlier = Pick(reads);
       Operation& op = s.history.operations[later];
       RC_PRE(earlier < later && Subject::HeaderOf(s.history.operations[earlier]) > 1);
       const int64_t state = Subject::HeaderOf(s.history.operations[earlier]) - 1;
       op.response = Execute(s.model, op.request, state).response;
       Subject::SetHeader(op, state);
     }},
    {"a count is wrong",
     [](Subject& s) {
       Operation& op = s.history.operations[Pick(
           s.Operations([](const Operation& other) { return RangeAnswer(other) != nullptr; }))];
       auto& response = std::get<etcdserverpb::RangeResponse>(op.response);
       response.set_count(response.count() + 1);
     }},
    {"a pair is missing in an answer",
     [](Subject& s) {
       Operation& op = s.history.operations[Pick(s.Operations([](const Operation& other) {
         return RangeAnswer(other) != nullptr && RangeAnswer(other)->kvs_size() > 0;
       }))];
       auto& kvs = *std::get<etcdserverpb::RangeResponse>(op.response).mutable_kvs();
       kvs.DeleteSubrange(AnyBelow(kvs.size()), 1);
     }},
    {"a transaction tells the other branch",
     [](Subject& s) {
       Operation& op = s.history.operations[Pick(s.Operations([](const Operation& other) {
         return Answered(other) && std::holds_alternative<TxnRequest>(other.request);
       }))];
       auto& response = std::get<etcdserverpb::TxnResponse>(op.response);
       response.set_succeeded(!response.succeeded());
     }},
    {"a watcher misses an event",
     [](Subject& s) {
       auto& events = *PickEvents(s.history, 1).mutable_events();
       const int i = AnyBelow(events.size());
       // What a compaction takes out of its own revision may be missing.
       RC_PRE(std::none_of(events.begin() + i + 1, events.end(), [&](const mvccpb::Event& later) {
         return later.kv().key() == events[i].kv().key() &&
                later.kv().mod_revision() == events[i].kv().mod_revision();
       }));
       events.DeleteSubrange(i, 1);
     }},
    {"a watcher gets an event twice",
     [](Subject& s) {
       WatchResponse& response = PickEvents(s.history, 1);
       const mvccpb::Event event = response.events(AnyBelow(response.events_size()));
       *response.add_events() = event;
     }},
    {"a watcher gets events in another order",
     [](Subject& s) {
       WatchResponse& response = PickEvents(s.history, 2);
       const int i = 1 + AnyBelow(response.events_size() - 1);
       RC_PRE(response.events(i - 1).SerializeAsString() != response.events(i).SerializeAsString());
       response.mutable_events()->SwapElements(i - 1, i);
     }},
    {"a watcher gets another value",
     [](Subject& s) { PickEvents(s.history, 1).mutable_events(0)->mutable_kv()->set_value("nobody's"); }},
    {"a watcher is told of progress too early",
     [](Subject& s) {
       std::vector<std::pair<WatchResponse*, int64_t>> early;
       for (WatchHistory& watch : s.history.watches) {
         for (size_t i = 2; i < watch.responses.size(); ++i) {
           if (watch.responses[i - 1].events_size() == 0 && watch.responses[i].events_size() > 0) {
             if (i > 1)
               early.emplace_back(&watch.responses[i - 1], watch.responses[i].events(0).kv().mod_revision());
           }
         }
       }
       const auto [response, revision] = Pick(early);
       response->mutable_header()->set_revision(revision);
     }},
};

RC_GTEST_PROP(CheckerProperty, CatchesAnyOneChange, ()) {
  World world(*rc::gen::arbitrary<uint64_t>(), 150, *rc::gen::inRange(1, 8));
  const Mutation& mutation = kMutations[AnyBelow(std::size(kMutations))];
  RC_TAG(mutation.name);
  RC_LOG() << mutation.name;
  Subject subject(world.history());
  RC_ASSERT(First(subject.verdict.violations) == "");
  mutation.mutate(subject);
  RC_ASSERT(First(Check(world.history())) != "");
}

}  // namespace
}  // namespace kvorum::sim
