#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "member/testing/fake_calls.h"
#include "member/testing/world.h"

namespace kvorum::member {

/// Several members in one thread, and the wire between them: what is sent arrives within 10 ms, in order,
/// unless one of the two is cut off or down, or the network drops it. `seed` 0: a fixed order.
class Group {
 public:
  explicit Group(uint64_t seed = 0) : random_(seed | 1), seed_(seed) {}
  ~Group() { ending_ = true; }

  /// Makes a new cluster of `members`, waits for a leader and then until `settled` passed.
  void Begin(uint64_t members, std::chrono::milliseconds settled = std::chrono::seconds(6)) {
    std::vector<cluster::Member> first;
    for (uint64_t id = 1; id <= members; ++id) first.push_back(MemberOf(id));
    for (uint64_t id = 1; id <= members; ++id) {
      Make(id).Join(MemberId(id), first, false, port(id), &calls_);
      EXPECT_TRUE(at(id).Begin().ok());
    }
    EXPECT_TRUE(PassUntil([this] { return Leader() != nullptr; }));
    Pass(settled);
  }
  static cluster::Member MemberOf(uint64_t id) {
    return {.id = MemberId(id), .peer_urls = {"http://m" + std::to_string(id)}};
  }
  /// A member that was added to the cluster, whose peer URL is that of MemberOf(`url`), starts.
  World& StartJoining(MemberId id, std::vector<cluster::Member> known) {
    World& world = Make(id.value());
    world.Join(id, std::move(known), true, port(id.value()), &calls_);
    EXPECT_TRUE(world.Begin().ok());
    return world;
  }

  World& at(uint64_t id) { return *nodes_.at(id).world; }
  bool Has(MemberId id) const { return nodes_.contains(id.value()); }
  std::vector<World*> worlds() {
    std::vector<World*> all;
    for (auto& [id, node] : nodes_) all.push_back(node.world.get());
    return all;
  }
  MemberOptions& options() { return options_; }
  FakeCalls& calls() { return calls_; }

  void Pass(std::chrono::milliseconds time) {
    constexpr std::chrono::milliseconds kStep(10);
    for (std::chrono::milliseconds passed(0); passed < time; passed += kStep) {
      for (auto& [id, node] : nodes_) {
        if (node.world->up()) node.world->Advance(kStep);
      }
      Exchange();
    }
  }
  /// Until `done` holds, a minute at most.
  template <typename Done>
  bool PassUntil(Done done) {
    for (int i = 0; i < 1200 && !done(); ++i) Pass(std::chrono::milliseconds(50));
    return done();
  }
  void Exchange() {
    for (int i = 0; i < 100'000 && !wire_.empty(); ++i) {
      Item item = std::move(wire_.front());
      wire_.pop_front();
      if (item.database != nullptr && hold_snapshots_) {
        held_.push_back(std::move(item));
      } else {
        World& busy = at(Deliver(std::move(item)));
        if (busy.up()) busy.Settle();
      }
    }
  }
  void HoldSnapshots(bool hold) { hold_snapshots_ = hold; }
  size_t snapshots_held() const { return held_.size(); }
  /// The receivers have what was held, and have done nothing with it yet.
  void DeliverHeld() {
    for (Item& item : std::exchange(held_, {})) Deliver(std::move(item));
  }

  World* Leader() {
    for (auto& [id, node] : nodes_) {
      if (node.world->up() && !cut_off_.contains(id) && node.world->member().status().is_leader) {
        return node.world.get();
      }
    }
    return nullptr;
  }
  World& Follower() {
    for (auto& [id, node] : nodes_) {
      const bool follows = node.world->up() && !cut_off_.contains(id) &&
                           !node.world->member().status().is_leader &&
                           !node.world->member().cluster().IsLocalLearner();
      if (follows) return *node.world;
    }
    ADD_FAILURE() << "no follower";
    return *nodes_.begin()->second.world;
  }
  static uint64_t IdOf(World& world) { return world.member().id().value(); }
  void CutOff(World& world) { cut_off_.insert(IdOf(world)); }
  void CutOff(uint64_t id) { cut_off_.insert(id); }
  void Heal() { cut_off_.clear(); }
  bool IsCutOff(uint64_t id) const { return cut_off_.contains(id); }
  /// One of `n` messages is lost; 0: none.
  void DropOneIn(uint64_t n) { drop_ = n; }
  size_t snapshots_sent() const { return snapshots_sent_; }
  /// Sees each message that arrives.
  void Watch(std::function<void(const raft::Message&)> watch) { watch_ = std::move(watch); }

  /// Proposes and waits for at most `patience`.
  template <typename Request>
  std::optional<ApplyResult> Do(World& world, RequestKind kind, const Request& request,
                                std::chrono::milliseconds patience) {
    auto& result = results_.emplace_back();
    world.Propose(kind, request, &result);
    Wait(patience, [&result] { return result.has_value(); });
    return result;
  }
  std::optional<ApplyResult> Put(World& world, const std::string& key, std::chrono::milliseconds patience,
                                 int64_t lease = 0) {
    etcdserverpb::PutRequest request;
    request.set_key(key);
    request.set_value(key);
    request.set_lease(lease);
    return Do(world, RequestKind::kPut, request, patience);
  }
  std::optional<Member::V2Outcome> DoV2(World& world, v2store::Request request,
                                        std::chrono::milliseconds patience = std::chrono::seconds(1)) {
    auto& outcome = outcomes_.emplace_back();
    world.ProposeV2(std::move(request), &outcome);
    Wait(patience, [&outcome] { return outcome.has_value(); });
    return outcome;
  }
  std::optional<absl::Status> Read(World& world, std::chrono::milliseconds patience) {
    auto& result = statuses_.emplace_back();
    absl::AnyInvocable<void(absl::Status)> done = [&result](absl::Status status) { result = status; };
    if (world.member().ConfirmRead(MonotonicTime::max(), &done)) return absl::OkStatus();
    Wait(patience, [&result] { return result.has_value(); });
    return result;
  }
  using Members = absl::StatusOr<std::vector<cluster::Member>>;
  /// Calls `change` with what is to be done with its result, and waits for it.
  template <typename Change>
  Members DoChange(Change change, std::chrono::milliseconds patience = std::chrono::seconds(10)) {
    auto& result = members_.emplace_back();
    change([&result](Members members) {
      EXPECT_FALSE(result.has_value());
      result = std::move(members);
    });
    Wait(patience, [&result] { return result.has_value(); });
    return result.value_or(absl::DeadlineExceededError("no answer"));
  }
  Members Add(World& world, cluster::Member member) {
    return DoChange([&](auto done) { world.member().AddMember(member, MonotonicTime::max(), done); });
  }
  Members Remove(World& world, MemberId id) {
    return DoChange([&](auto done) { world.member().RemoveMember(id, MonotonicTime::max(), done); });
  }

  uint32_t Hash(World& world) {
    std::optional<uint32_t> hash;
    world.member().HashKv(0, [&hash](absl::StatusOr<mvcc::HashResult> got) {
      EXPECT_TRUE(got.ok()) << got.status();
      if (got.ok()) hash = got->hash;
    });
    for (int i = 0; i < 100 && !hash; ++i) world.Settle();
    return hash.value_or(0);
  }

 private:
  struct Item {
    raft::Message message;
    std::unique_ptr<backend::MemoryBackend> database;  // of a snapshot
  };

  class Port final : public PeerTransport {
   public:
    Port(Group* group, uint64_t local) : group_(group), local_(local) {}
    void Send(std::vector<raft::Message> messages) override {
      for (raft::Message& message : messages) {
        EXPECT_NE(message.type, raft::MessageType::kSnap);
        const uint64_t to = message.to.value();
        const bool known = peers_.contains(to) || heard_from_.contains(to);
        if (known) group_->wire_.push_back({std::move(message), nullptr});
      }
    }
    void SendSnapshot(OutgoingSnapshot snapshot) override {
      ++group_->snapshots_sent_;
      auto copy = backend::MemoryBackend::Create();
      copy->Replace(std::move(snapshot.database), {}, [](absl::Status status) { EXPECT_TRUE(status.ok()); });
      group_->wire_.push_back({std::move(snapshot.message), std::move(copy)});
    }
    void AddPeer(raft::NodeId id, const std::vector<std::string>& urls) override {
      EXPECT_NE(id.value(), local_);
      peers_[id.value()] = urls;
    }
    void RemovePeer(raft::NodeId id) override { peers_.erase(id.value()); }
    void UpdatePeer(raft::NodeId id, const std::vector<std::string>& urls) override {
      peers_[id.value()] = urls;
    }
    std::optional<MonotonicTime> ActiveSince(raft::NodeId id) const override {
      if (!peers_.contains(id.value()) || !group_->Reaches(local_, id.value())) return std::nullopt;
      return MonotonicTime();
    }

    /// Members that spoke to this one; they say where they are to be answered.
    std::set<uint64_t> heard_from_;

   private:
    Group* const group_;
    const uint64_t local_;
    std::map<uint64_t, std::vector<std::string>> peers_;  // what the member told
  };

  /// Who promotes is asked without delay; what is asked else is answered as the test says.
  class Calls final : public FakeCalls {
   public:
    explicit Calls(Group* group) : group_(group) { version = "3.7.1"; }
    void PromoteMember(Urls urls, MemberId id, MonotonicTime deadline,
                       Done<std::vector<cluster::Member>> done) override {
      for (auto& [other, node] : group_->nodes_) {
        if (!node.world->up() || group_->cut_off_.contains(other)) continue;
        const auto self = node.world->member().cluster().Find(MemberId(other));
        if (!self || self->peer_urls != urls) continue;
        return node.world->member().PromoteMember(id, deadline, std::move(done));
      }
      done(absl::UnavailableError("nobody there"));
    }

   private:
    Group* const group_;
  };

  /// The sender gets to know what became of a snapshot also where the receiver crashes.
  class SnapshotReport {
   public:
    SnapshotReport(Group* group, uint64_t from, uint64_t to) : group_(group), from_(from), to_(to) {}
    ~SnapshotReport() { Tell(false); }
    void Tell(bool finished) {
      if (std::exchange(told_, true) || group_->ending_ || !group_->at(from_).up()) return;
      group_->at(from_).member().ReportSnapshot(raft::NodeId(to_), finished);
    }

   private:
    Group* const group_;
    const uint64_t from_;
    const uint64_t to_;
    bool told_ = false;
  };

  struct Node {
    std::unique_ptr<Port> port;
    std::unique_ptr<World> world;
  };

  World& Make(uint64_t id) {
    Node& node = nodes_[id];
    node.port = std::make_unique<Port>(this, id);
    node.world = std::make_unique<World>(seed_ == 0 ? 0 : seed_ + id);
    node.world->options() = options_;
    node.world->options().name = "m" + std::to_string(id);
    for (auto& [other, one] : nodes_) {
      if (other != id) node.world->clock().Set(one.world->clock().Now());
    }
    return *node.world;
  }
  Port* port(uint64_t id) { return nodes_.at(id).port.get(); }

  bool Reaches(uint64_t from, uint64_t to) const {
    const auto it = nodes_.find(to);
    return it != nodes_.end() && it->second.world->up() && !cut_off_.contains(from) && !cut_off_.contains(to);
  }

  /// Who has something to do after it.
  uint64_t Deliver(Item item) {
    const uint64_t from = item.message.from.value();
    const uint64_t to = item.message.to.value();
    const bool lost = !Reaches(from, to) || (drop_ != 0 && random_.OneIn(1, drop_));
    World* sender = nodes_.contains(from) && nodes_.at(from).world->up() ? &at(from) : nullptr;
    if (lost) {
      if (sender == nullptr) return nodes_.begin()->first;
      sender->member().ReportUnreachable(raft::NodeId(to));
      if (item.database != nullptr) sender->member().ReportSnapshot(raft::NodeId(to), false);
      return from;
    }
    World& receiver = at(to);
    port(to)->heard_from_.insert(from);
    if (watch_) watch_(item.message);
    if (item.database == nullptr) {
      receiver.member().Receive(std::move(item.message));
    } else {
      receiver.disk().TakeDatabase(item.message.snapshot->metadata.index, std::move(item.database));
      auto report = std::make_shared<SnapshotReport>(this, from, to);
      receiver.member().ReceiveSnapshot(std::move(item.message),
                                        [report](absl::Status status) { report->Tell(status.ok()); });
    }
    return to;
  }

  template <typename Done>
  void Wait(std::chrono::milliseconds patience, Done done) {
    for (std::chrono::milliseconds passed(0); passed < patience && !done(); passed += kWait) Pass(kWait);
  }
  static constexpr std::chrono::milliseconds kWait{10};

  MemberOptions options_;
  Random random_;
  const uint64_t seed_;
  Calls calls_{this};
  std::deque<Item> wire_;
  std::deque<Item> held_;
  bool hold_snapshots_ = false;
  std::set<uint64_t> cut_off_;
  uint64_t drop_ = 0;
  std::function<void(const raft::Message&)> watch_;
  size_t snapshots_sent_ = 0;
  bool ending_ = false;
  // Members write into these as long as they live.
  std::deque<std::optional<ApplyResult>> results_;
  std::deque<std::optional<Member::V2Outcome>> outcomes_;
  std::deque<std::optional<absl::Status>> statuses_;
  std::deque<std::optional<Members>> members_;
  std::map<uint64_t, Node> nodes_;
};

}  // namespace kvorum::member
