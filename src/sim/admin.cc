#include "sim/admin.h"

#include <algorithm>
#include <utility>

namespace kvorum::sim {

namespace {

constexpr Instant kMillisecond = 1'000'000;
constexpr Instant kSecond = 1'000 * kMillisecond;
constexpr size_t kMostMembers = 7;
/// How long somebody goes on asking for a change that can be left.
constexpr Instant kPersistence = 20 * kSecond;
/// How long an answer is waited for.
constexpr Instant kPatience = 3 * kSecond;

bool SameVoters(const std::vector<cluster::Member>& left, const std::vector<cluster::Member>& right) {
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [](const cluster::Member& one, const cluster::Member& other) {
                      return one.id == other.id && one.is_learner == other.is_learner;
                    });
}

}  // namespace

void Admin::Begin() {
  stage_.network().ExpectChanges();
  Tick();
}

void Admin::Tick() {
  Look();
  if (seen_ > 0) Reconcile();
  scheduler_.After(scheduler_.Between(50 * kMillisecond, 500 * kMillisecond), [this] { Tick(); });
}

void Admin::Look() {
  for (Node* node : stage_.present()) {
    if (node->member() == nullptr) continue;
    const uint64_t applied = node->member()->status().applied_index;
    if (applied <= seen_) continue;
    seen_ = applied;
    std::vector<cluster::Member> members = node->member()->cluster().members();
    if (!SameVoters(members, members_)) changed_ = applied;
    members_ = std::move(members);
  }
}

const cluster::Member* Admin::Find(MemberId id) const {
  const auto found = std::find_if(members_.begin(), members_.end(),
                                  [id](const cluster::Member& member) { return member.id == id; });
  return found == members_.end() ? nullptr : &*found;
}

const cluster::Member* Admin::FindUrl(const std::string& url) const {
  const auto found = std::find_if(members_.begin(), members_.end(), [&](const cluster::Member& member) {
    return std::find(member.peer_urls.begin(), member.peer_urls.end(), url) != member.peer_urls.end();
  });
  return found == members_.end() ? nullptr : &*found;
}

Node* Admin::MachineOf(MemberId id) const {
  for (Node* node : stage_.present()) {
    if (node->id() == id) return node;
  }
  return nullptr;
}

std::string Admin::NewUrl() { return fmt::format("http://n{}:2380", ++urls_); }

size_t Admin::voters() const {
  return static_cast<size_t>(std::count_if(members_.begin(), members_.end(),
                                           [](const cluster::Member& member) { return !member.is_learner; }));
}

void Admin::Reconcile() {
  TakeAwayRemoved();
  for (const cluster::Member& member : members_) {
    if (MachineOf(member.id) == nullptr) Adopt(member);
  }
  bool broken = false;
  for (Node* node : stage_.present()) {
    const cluster::Member* member = Find(node->id());
    if (member == nullptr) continue;
    Follow(*node, *member);
    if (!stage_.IsBroken(*node)) continue;
    broken = true;
    Replace(*node);
  }
  PromoteOthers();
  while (!orders_.empty() && IsOver(orders_.front())) orders_.pop_front();
  settled_ =
      orders_.empty() && !broken && !stage_.has_suspects() && members_.size() == stage_.present().size();
  if (!orders_.empty() && !waiting_) Send(orders_.front());
}

/// There may be one learner at a time: who is one, perhaps by a late call, has to be promoted before the
/// next.
void Admin::PromoteOthers() {
  if (!orders_.empty() && orders_.front().kind != Order::Kind::kAddLearner) return;
  for (const cluster::Member& member : members_) {
    const Node* const node = MachineOf(member.id);
    if (!member.is_learner || node == nullptr || stage_.IsBroken(*node)) continue;
    if (!orders_.empty() && orders_.front().url == member.peer_urls.front()) continue;
    std::erase_if(orders_, [&](const Order& order) { return order.id == member.id; });
    orders_.push_front({.kind = Order::Kind::kPromote, .id = member.id, .url = ""});
    return;
  }
}

/// Those that are no members any more may run until they hear of it, or somebody comes and takes them away.
void Admin::TakeAwayRemoved() {
  const std::vector<Node*> present = stage_.present();
  for (Node* node : present) {
    if (Find(node->id()) != nullptr) continue;
    const auto [leave, first] = leave_at_.try_emplace(node->id(), scheduler_.now());
    if (first) leave->second += scheduler_.Between(0, 8 * kSecond);
    if (!stage_.IsBroken(*node) && scheduler_.now() < leave->second) continue;
    stage_.Retire(*node);
  }
}

/// Somebody who was asked for: perhaps long ago, by a call that nobody heard the end of.
void Admin::Adopt(const cluster::Member& member) {
  const std::string& url = member.peer_urls.front();
  const std::vector<Node*> present = stage_.present();
  for (Node* node : present) {
    if (Find(node->id()) == nullptr && node->peer_urls().front() == url) stage_.Retire(*node);
  }
  stage_.Join(member.id, url);
}

/// The machine listens where the members look for it, and one that joins is told who they are.
void Admin::Follow(Node& node, const cluster::Member& member) {
  const bool moves =
      !orders_.empty() && orders_.front().kind == Order::Kind::kUpdate && orders_.front().id == member.id;
  if (!moves) node.SetPeerUrls(member.peer_urls);
  if (!node.IsJoining()) return;
  std::map<std::string, std::vector<std::string>> cluster;
  for (const cluster::Member& other : members_) {
    const Node* const machine = MachineOf(other.id);
    if (machine != nullptr) cluster[machine->name()] = other.peer_urls;
  }
  node.SetInitialCluster(std::move(cluster));
}

void Admin::Replace(Node& node) {
  const auto found = std::find_if(orders_.begin(), orders_.end(), [&](const Order& order) {
    return order.kind == Order::Kind::kRemove && order.id == node.id();
  });
  if (found != orders_.end()) return;
  // The machine gets a new disk, or another takes its place.
  std::string url = scheduler_.chance().OneIn(1, 2) ? node.peer_urls().front() : NewUrl();
  orders_.push_front({.kind = Order::Kind::kRemove, .id = node.id(), .url = std::move(url), .replace = true});
}

bool Admin::IsOver(Order& order) {
  using Kind = Order::Kind;
  const cluster::Member* const member =
      order.kind == Kind::kAdd || order.kind == Kind::kAddLearner ? FindUrl(order.url) : Find(order.id);
  switch (order.kind) {
    case Kind::kAdd:
      return member != nullptr;
    case Kind::kAddLearner:
      if (member == nullptr) return false;
      order = {.kind = Kind::kPromote, .id = member->id, .url = ""};
      return false;
    case Kind::kPromote:
      return member == nullptr || !member->is_learner;
    case Kind::kRemove:
      // Never given up: a removal that comes late, when nobody counts on it, could take a quorum away.
      if (member != nullptr) return false;
      if (!order.replace) return true;
      order = {.kind = scheduler_.chance().OneIn(1, 2) ? Kind::kAdd : Kind::kAddLearner,
               .id = MemberId(0),
               .url = order.url};
      return false;
    case Kind::kUpdate:
      return member == nullptr || scheduler_.now() >= order.latest || member->peer_urls.front() == order.url;
  }
  return true;
}

Node* Admin::Leader() {
  for (Node* node : stage_.present()) {
    if (node->ready() && node->member()->status().is_leader) return node;
  }
  return nullptr;
}

/// Whom to ask: anybody. But of two voters the leader has to stay: if it goes before the other has heard that
/// its removal is committed, nobody can ever tell it.
Node* Admin::AskedFor(const Order& order) {
  const cluster::Member* const member = Find(order.id);
  const bool one_of_two = order.kind == Order::Kind::kRemove && voters() == 2 && !member->is_learner;
  if (!one_of_two) return &stage_.Any();
  Node* const leader = Leader();
  if (leader == nullptr || leader->id() != order.id) return leader;
  for (const cluster::Member& other : members_) {
    if (other.id != order.id && !other.is_learner)
      leader->member()->MoveLeader(other.id, MonotonicTime::max(), [](const absl::Status&) {});
  }
  return nullptr;
}

void Admin::Send(const Order& order) {
  using Kind = Order::Kind;
  Node* const asked = AskedFor(order);
  if (asked == nullptr || !asked->ready()) return;
  Node& node = *asked;
  waiting_ = true;
  const uint64_t call = ++call_;
  const auto over = [this, call] {
    if (call == call_) waiting_ = false;
  };
  scheduler_.After(kPatience, over);
  auto done = [this, over](const absl::StatusOr<std::vector<cluster::Member>>& members) {
    stage_.Say("  it is told: {}", members.ok() ? "done" : std::string(members.status().message()));
    over();
  };
  member::Member& member = *node.member();
  const MonotonicTime ever = MonotonicTime::max();
  switch (order.kind) {
    case Kind::kAdd:
    case Kind::kAddLearner: {
      const bool learner = order.kind == Kind::kAddLearner;
      stage_.Say("{} is asked to add {} {}", node.name(), learner ? "learner" : "voter", order.url);
      return member.AddMember({.peer_urls = {order.url}, .is_learner = learner}, ever, std::move(done));
    }
    case Kind::kPromote:
      stage_.Say("{} is asked to promote {:x}", node.name(), order.id.value());
      return member.PromoteMember(order.id, ever, std::move(done));
    case Kind::kRemove:
      stage_.Say("{} is asked to remove {:x}", node.name(), order.id.value());
      return member.RemoveMember(order.id, ever, std::move(done));
    case Kind::kUpdate:
      stage_.Say("{} is asked to move {:x} to {}", node.name(), order.id.value(), order.url);
      return member.UpdateMember(order.id, {order.url}, ever, std::move(done));
  }
}

void Admin::Wish() {
  using Kind = Order::Kind;
  if (finishing_ || !settled_ || stage_.has_suspects()) return;
  settled_ = false;
  Random& random = scheduler_.chance();
  const Instant latest = scheduler_.now() + kPersistence;
  const bool grows = members_.size() < kMostMembers;
  Node& node = stage_.Any();
  const bool last = voters() == 1 && !Find(node.id())->is_learner;
  switch (random.Below(6)) {
    case 0:
      if (grows) orders_.push_back({.kind = Kind::kAdd, .id = MemberId(0), .url = NewUrl()});
      return;
    case 1:
      if (grows) orders_.push_back({.kind = Kind::kAddLearner, .id = MemberId(0), .url = NewUrl()});
      return;
    case 2:
    case 3: {
      // With or without another in its place.
      if (last) return;
      const bool replace = random.OneIn(1, 2);
      orders_.push_back({.kind = Kind::kRemove, .id = node.id(), .url = NewUrl(), .replace = replace});
      return;
    }
    case 4: {
      // It can be found at both until it is known at the new one.
      const std::string url = NewUrl();
      std::vector<std::string> urls = node.peer_urls();
      urls.push_back(url);
      node.SetPeerUrls(std::move(urls));
      orders_.push_back({.kind = Kind::kUpdate, .id = node.id(), .url = url, .latest = latest});
      return;
    }
    default:
      return MoveLeader();
  }
}

void Admin::MoveLeader() {
  Node& to = stage_.Any();
  Node* const leader = Leader();
  if (leader == nullptr) return;
  stage_.Say("{} is asked to let {} lead", leader->name(), to.name());
  leader->member()->MoveLeader(to.id(), MonotonicTime::max(), [](const absl::Status&) {});
}

/// One that does not know of the last change may be the one that is needed to tell the others, and cannot: a
/// member counts votes among those that it knows to be voters. One that has yet to start knows nothing.
bool Admin::KnowsVoters(Node& node) const {
  return node.member() != nullptr && node.member()->status().applied_index >= changed_;
}

bool Admin::MayBreak(const Node& node) const {
  if (finishing_ || !settled_ || stage_.IsBroken(node) || stage_.IsSuspect(node)) return false;
  const cluster::Member* const member = Find(node.id());
  if (member == nullptr) return false;
  if (member->is_learner) return true;
  size_t harmed = 0;
  for (Node* other : stage_.present()) {
    const cluster::Member* const found = Find(other->id());
    const bool counts = found != nullptr && !found->is_learner;
    const bool lacks = stage_.IsBroken(*other) || stage_.IsSuspect(*other) || !KnowsVoters(*other);
    harmed += counts && lacks ? 1 : 0;
  }
  return harmed < (voters() - 1) / 2;
}

}  // namespace kvorum::sim
