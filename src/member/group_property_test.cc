#include <map>
#include <set>

#include "gtest/gtest.h"
#include "member/testing/group.h"
#include "rapidcheck/gtest.h"

namespace kvorum::member {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// Three to five members under a random schedule: writes, crashes, partitions, lost messages, snapshots and
/// changes of the membership. Whatever was acknowledged is on every member in the end, in the order in which
/// it was acknowledged, and no read ever goes back behind a write that was acknowledged before it began.
class GroupRun {
 public:
  explicit GroupRun(uint64_t seed) : random_(seed), group_(seed | 1) {
    group_.options().snapshot_count = 10 + random_.Below(40);
    group_.options().snapshot_catchup_entries = random_.Below(20);
    group_.options().strict_reconfig_check = random_.OneIn(1, 2);
  }

  void Run(int steps) {
    group_.Begin(3 + random_.Below(3), seconds(2));
    for (int i = 0; i < steps; ++i) Disturb();
    Recover();
    CheckEnd();
  }

 private:
  struct Write {
    std::string key;
    std::optional<ApplyResult> result;
  };
  /// A request of the v2 API; of those that made a key in order, nothing takes it away again.
  struct V2Write {
    bool in_order = false;
    std::optional<Member::V2Outcome> outcome;
  };
  struct Read {
    World* world;
    int64_t revision;  // acknowledged when it began
    std::optional<absl::Status> result;
  };

  static void Check(bool ok, const std::string& what) {
    if (!ok) RC_FAIL(what);
  }

  void Disturb() {
    EndRemoved();
    switch (random_.Below(20)) {
      case 0:
        return Crash(Any());
      case 1:
        return Restart();
      case 2:
        if (World* world = Any()) group_.CutOff(*world);
        return;
      case 3:
      case 4:
        return group_.Heal();
      case 5:
        return group_.DropOneIn(random_.OneIn(1, 2) ? 0 : 3 + random_.Below(10));
      case 6:
        if (World* world = Any()) world->backend().CommitNow();
        return;
      case 7:
        if (World* world = Any()) world->HoldDisk(random_.OneIn(1, 2));
        return;
      case 8:
        return ChangeMembers();
      case 9:
      case 10:
        return StartRead();
      case 11:
      case 12:
        return group_.Pass(milliseconds(10 * random_.Below(200)));
      default:
        for (uint64_t n = 1 + random_.Below(8); n > 0; --n) random_.OneIn(1, 2) ? StartWrite() : StartV2();
        group_.Pass(milliseconds(10 * random_.Below(10)));
    }
    CheckReads();
  }

  World* Any() {
    std::vector<World*> up;
    for (World* world : group_.worlds()) {
      if (world->up() && !world->removed()) up.push_back(world);
    }
    return up.empty() ? nullptr : up[random_.Below(up.size())];
  }
  void Crash(World* world) {
    if (world == nullptr) return;
    world->HoldDisk(false);
    world->Crash(random_.Below(4));
  }
  void Restart() {
    for (World* world : group_.worlds()) {
      if (world->up() || world->removed()) continue;
      const absl::Status status = world->Begin();
      if (status.ok()) return;
      Check(status.message() == "the member has been permanently removed from the cluster",
            std::string(status.message()));
      world->GiveUp();
    }
  }

  /// The process of a member that was removed ends.
  void EndRemoved() {
    for (World* world : group_.worlds()) {
      if (world->up() && world->removed()) world->Crash(1);
    }
  }
  /// Who was added without anybody hearing of it starts late.
  void StartMissing() {
    World* leader = group_.Leader();
    if (leader == nullptr) leader = Any();
    if (leader == nullptr) return;
    const std::vector<cluster::Member> members = leader->member().cluster().members();
    for (const cluster::Member& member : members) {
      if (!group_.Has(member.id)) group_.StartJoining(member.id, members);
    }
  }

  void StartWrite() {
    World* world = Any();
    if (world == nullptr) return;
    writes_.push_back({.key = "w" + std::to_string(writes_.size()), .result = std::nullopt});
    etcdserverpb::PutRequest request;
    request.set_key(writes_.back().key);
    world->Propose(RequestKind::kPut, request, &writes_.back().result);
  }
  void StartV2() {
    World* world = Any();
    if (world == nullptr) return;
    V2Write& write = v2_writes_.emplace_back();
    v2store::Request request{
        .method = "PUT", .path = "/1/k" + std::to_string(random_.Below(4)), .value = "v"};
    switch (random_.Below(6)) {
      case 0:
        write.in_order = true;
        request.method = "POST";
        request.path = "/1/queue";
        break;
      case 1:
        request.method = "DELETE";
        break;
      case 2:
        request.prev_index = 5 + random_.Below(40);
        break;
      case 3:
        request.prev_exist = random_.OneIn(1, 2);
        break;
      case 4:
        request.expiration =
            (world->clock().WallNow() + milliseconds(random_.Below(9000))).time_since_epoch().count();
        break;
      default:
        break;
    }
    world->ProposeV2(std::move(request), &write.outcome);
  }
  void CheckV2(World& leader) {
    for (World* world : Members()) {
      Check(world->V2Json() == leader.V2Json(), "the same tree of the v2 API");
    }
    for (const V2Write& write : v2_writes_) {
      if (!write.in_order || !write.outcome || !write.outcome->status.ok()) continue;
      const auto& made = std::get<v2store::EventPtr>(write.outcome->result);
      const v2store::Result found = leader.member().v2_store().Get(made->node.path, false, false);
      Check(std::holds_alternative<v2store::EventPtr>(found), "an acknowledged key is there");
      Check(std::get<v2store::EventPtr>(found)->node.created_index == made->index(), "where it was made");
    }
  }
  int64_t Acknowledged() const {
    int64_t revision = 0;
    for (const Write& write : writes_) {
      if (write.result && write.result->status.ok()) revision = std::max(revision, write.result->revision);
    }
    return revision;
  }
  void StartRead() {
    World* world = Any();
    if (world == nullptr) return;
    reads_.push_back({.world = world, .revision = Acknowledged(), .result = std::nullopt});
    Read& read = reads_.back();
    absl::AnyInvocable<void(absl::Status)> done = [this, &read](absl::Status status) {
      if (status.ok() && read.world->member().store().current_revision() < read.revision) ++stale_reads_;
      read.result = std::move(status);
    };
    if (world->member().ConfirmRead(MonotonicTime::max(), &done)) done(absl::OkStatus());
  }
  void CheckReads() { Check(stale_reads_ == 0, "a read was behind what was acknowledged before it"); }

  void ChangeMembers() {
    World* world = Any();
    if (world == nullptr) return;
    const std::vector<cluster::Member> members = world->member().cluster().members();
    if (members.empty()) return;
    auto& result = changes_.emplace_back();
    const auto done = [&result](Group::Members got) { result = std::move(got); };
    const cluster::Member& one = members[random_.Below(members.size())];
    switch (random_.Below(4)) {
      case 0:
        if (members.size() > 3) world->member().RemoveMember(one.id, MonotonicTime::max(), done);
        return;
      case 1:
        world->member().UpdateMember(one.id, {"http://u" + std::to_string(changes_.size())},
                                     MonotonicTime::max(), done);
        return;
      case 2:
        world->member().MoveLeader(one.id, MonotonicTime::max(), [](absl::Status) {});
        return;
      default:
        if (members.size() < 5) Join(*world);
    }
  }
  /// Somebody is added, as a learner or not, and started at once.
  void Join(World& through) {
    const bool learner = random_.OneIn(1, 2);
    const std::string url = "http://j" + std::to_string(changes_.size());
    const Group::Members members = group_.Add(through, {.peer_urls = {url}, .is_learner = learner});
    if (!members.ok()) return;
    for (const cluster::Member& member : *members) {
      if (member.peer_urls == std::vector<std::string>{url}) group_.StartJoining(member.id, *members);
    }
  }

  void Recover() {
    group_.Heal();
    group_.DropOneIn(0);
    for (World* world : group_.worlds()) world->HoldDisk(false);
    for (size_t i = 0; i < group_.worlds().size(); ++i) Restart();
    const auto settle = [this] {
      EndRemoved();
      StartMissing();
      return Settled();
    };
    Check(group_.PassUntil(settle), "everybody catches up");
    group_.Pass(seconds(15));  // whatever waits has its answer by now
    Check(group_.PassUntil(settle), "everybody stays caught up");
  }
  /// Who belongs to the cluster still.
  std::vector<World*> Members() {
    std::vector<World*> members;
    World* leader = group_.Leader();
    if (leader == nullptr) return members;
    for (World* world : group_.worlds()) {
      if (world->up() && leader->member().cluster().Find(world->member().id())) members.push_back(world);
    }
    return members;
  }
  bool Settled() {
    World* leader = group_.Leader();
    if (leader == nullptr) return false;
    for (World* world : Members()) {
      if (!world->fatal().ok()) RC_FAIL(world->fatal().ToString());
      if (world->member().status().applied_index != leader->member().status().applied_index) return false;
    }
    return true;
  }

  void CheckEnd() {
    CheckReads();
    World& leader = *group_.Leader();
    const uint32_t hash = group_.Hash(leader);
    for (World* world : Members()) {
      Check(group_.Hash(*world) == hash, "the same history everywhere");
      Check(world->member().cluster().members() == leader.member().cluster().members(), "the same members");
      world->member().store().CheckInvariants();
    }
    CheckV2(leader);
    for (const Write& write : writes_) {
      if (!write.result || !write.result->status.ok()) continue;
      const auto range = leader.ReadRangeOf(write.key, "");
      Check(range.kvs_size() == 1, "an acknowledged write is there");
      Check(range.kvs(0).mod_revision() == write.result->revision, "where it was acknowledged");
    }
  }

  Random random_;
  // Members write into these as long as they live.
  std::deque<Write> writes_;
  std::deque<V2Write> v2_writes_;
  std::deque<Read> reads_;
  std::deque<std::optional<Group::Members>> changes_;
  int stale_reads_ = 0;
  Group group_;
};

// Replays a leader that one member has not heard of: it answers whoever speaks to it.
TEST(Groups, AnswerALeaderThatIsNewToThem) { GroupRun(175808450900).Run(120); }

RC_GTEST_PROP(Groups, LoseNothingAndAgree, ()) {
  GroupRun run(*rc::gen::arbitrary<uint64_t>());
  run.Run(120);
}

}  // namespace
}  // namespace kvorum::member
