#include <map>

#include "gtest/gtest.h"
#include "member/testing/world.h"
#include "rapidcheck/gtest.h"

namespace kvorum::member {
namespace {

using std::chrono::milliseconds;

/// A client's view: what it asked for and what it was told.
struct Asked {
  std::string key;
  std::string value;
  std::optional<ApplyResult> result;
};

/// Proposals, steps, commits and crashes in a random order; whatever was acknowledged is there ever after.
class CrashRun {
 public:
  explicit CrashRun(uint64_t seed) : random_(seed), world_(seed | 1) {
    world_.options().snapshot_count = 5 + random_.Below(40);
    world_.options().snapshot_catchup_entries = random_.Below(20);
  }

  void Run(int steps) {
    Check(world_.Start().ok(), "start");
    for (int i = 0; i < steps; ++i) {
      switch (random_.Below(12)) {
        case 0:
          world_.backend().CommitNow();
          break;
        case 1:
          world_.Advance(milliseconds(random_.Below(300)));
          break;
        case 2:
          if (random_.OneIn(1, 4)) CrashAndCheck();
          break;
        case 3:
          CompactSome();
          break;
        case 4:
          AskV2();
          break;
        case 5:
        case 6:
        case 7:
          Ask();
          break;
        default:
          for (uint64_t n = random_.Below(30); n > 0; --n) world_.Step();
      }
    }
    world_.Advance(milliseconds(500));
    const uint32_t before = Hash();
    const std::string keys = V2Keys();
    CrashAndCheck();
    world_.Advance(milliseconds(500));
    Check(Hash() == before, "the same log gives the same history");
    Check(V2Keys() == keys, "and the same tree of the v2 API");
  }

 private:
  void Check(bool ok, const char* what) {
    if (!ok) RC_FAIL(what);
  }

  void Ask() {
    asked_.push_back({.key = std::string(1, static_cast<char>('a' + random_.Below(6))),
                      .value = std::to_string(asked_.size())});
    Asked& ask = asked_.back();
    etcdserverpb::TxnRequest txn;
    etcdserverpb::PutRequest* put = txn.add_success()->mutable_request_put();
    put->set_key(ask.key);
    put->set_value(ask.value);
    put = txn.add_success()->mutable_request_put();
    put->set_key("unique/" + ask.value);
    put->set_value(ask.key);
    world_.Propose(RequestKind::kTxn, txn, &ask.result);
  }

  void AskV2() {
    v2_asked_.emplace_back();
    const bool in_order = random_.OneIn(1, 2);
    world_.ProposeV2({.method = in_order ? "POST" : "PUT", .path = in_order ? "/1/queue" : "/1/key"},
                     &v2_asked_.back());
  }
  void CheckV2() {
    for (const std::optional<Member::V2Outcome>& asked : v2_asked_) {
      if (!asked || !asked->status.ok()) continue;
      const auto& made = std::get<v2store::EventPtr>(asked->result);
      if (made->action != v2store::Action::kCreate) continue;
      const v2store::Result found = world_.member().v2_store().Get(made->node.path, false, false);
      Check(std::holds_alternative<v2store::EventPtr>(found), "an acknowledged key of the v2 API is there");
      Check(std::get<v2store::EventPtr>(found)->node == made->node, "as it was made");
    }
  }
  /// Clients' part of the tree: a restart publishes the member again.
  std::string V2Keys() {
    const std::string json = world_.V2Json();
    const size_t begin = json.find("\"1\":{\"Path\":\"/1\"");
    return json.substr(begin, json.find("\"WatcherHub\"") - begin);
  }

  void CompactSome() {
    const int64_t revision = world_.member().store().current_revision();
    if (revision < 5) return;
    etcdserverpb::CompactionRequest request;
    request.set_revision(revision - static_cast<int64_t>(random_.Below(4)));
    compactions_.emplace_back();
    world_.Propose(RequestKind::kCompaction, request, &compactions_.back());
  }

  void CrashAndCheck() {
    const uint64_t kept = random_.Below(3);
    world_.Crash(kept);
    Check(world_.Start().ok(), "restart");
    int64_t last_revision = 0;
    std::map<std::string, std::pair<int64_t, std::string>> newest;  // by key: revision, value
    for (Asked& ask : asked_) {
      // Who was not told by then is never told.
      if (!ask.result || !ask.result->status.ok()) continue;
      last_revision = std::max(last_revision, ask.result->revision);
      auto& [revision, value] = newest[ask.key];
      if (ask.result->revision > revision) std::tie(revision, value) = {ask.result->revision, ask.value};
      Check(world_.Get("unique/" + ask.value) == ask.key, "an acknowledged write is there");
    }
    Check(world_.member().store().current_revision() >= last_revision, "revisions do not go back");
    for (const auto& [key, told] : newest) {
      const auto range = world_.ReadRangeOf(key, "");
      Check(range.kvs_size() == 1, "an acknowledged key is there");
      Check(range.kvs(0).mod_revision() >= told.first, "no older value comes back");
      if (range.kvs(0).mod_revision() == told.first) Check(range.kvs(0).value() == told.second, "its value");
    }
    world_.member().store().CheckInvariants();
    CheckV2();
  }

  uint32_t Hash() {
    std::optional<uint32_t> hash;
    world_.member().HashKv(0, [&hash](absl::StatusOr<mvcc::HashResult> got) { hash = got->hash; });
    world_.Settle();
    return hash.value();
  }

  Random random_;
  std::deque<Asked> asked_;  // results are written into it by the member
  std::deque<std::optional<ApplyResult>> compactions_;
  std::deque<std::optional<Member::V2Outcome>> v2_asked_;
  World world_;  // last: goes before what it writes into
};

RC_GTEST_PROP(Crashes, LoseNothingThatWasAcknowledged, ()) {
  CrashRun run(*rc::gen::arbitrary<uint64_t>());
  run.Run(200);
}

}  // namespace
}  // namespace kvorum::member
