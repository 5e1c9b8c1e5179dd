#include "sim/scenarios/scene.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "fmt/format.h"
#include "sim/check/member_checker.h"
#include "sim/check/raft_checker.h"
#include "sim/truth.h"

namespace kvorum::sim {

namespace {

constexpr size_t kTakeBytes = 1 << 20;
constexpr Instant kCommitEvery = 100 * kMillisecond;

std::string UrlOf(size_t i) { return fmt::format("http://m{}:2380", i); }

}  // namespace

Scene::Scene(Options options) : options_(std::move(options)), network_(&scheduler_, {}, &recorder_) {
  std::map<std::string, std::vector<std::string>> cluster;
  for (size_t i = 1; i <= options_.members; ++i) cluster[fmt::format("m{}", i)] = {UrlOf(i)};
  for (size_t i = 1; i <= options_.members; ++i) {
    Node::Options node{.name = fmt::format("m{}", i),
                       .peer_url = UrlOf(i),
                       .initial_cluster = cluster,
                       .member = options_.member,
                       .disk = options_.disk};
    if (i == 1) node.wrap_database = options_.wrap_first_database;
    present_.push_back(
        nodes_.emplace_back(std::make_unique<Node>(&scheduler_, &network_, std::move(node))).get());
  }
  for (Node* node : present_) KVORUM_CHECK(node->Start().ok());
  for (Node* node : present_) KVORUM_CHECK(Until([node] { return node->ready(); }));
  Supervise();
}

Scene::~Scene() {
  for (auto& node : nodes_) node->Kill(false);
  for (const Violations& found : {CheckRaft(history_), CheckMembers(history_)}) {
    KVORUM_CHECK(found.empty(), "{}", found.front());
  }
}

void Scene::Supervise() {
  for (Node* node : present_) node->CommitDatabase();
  scheduler_.After(kCommitEvery, [this] { Supervise(); });
}

bool Scene::Until(absl::FunctionRef<bool()> condition, Instant bound) {
  const Instant latest = scheduler_.now() + bound;
  while (!condition()) {
    if (scheduler_.now() >= latest) return false;
    Let(kMillisecond);
  }
  return true;
}

Node& Scene::Leader() {
  Node* leader = nullptr;
  const auto there = [&] {
    for (Node* node : present_) {
      if (node->member() == nullptr || !node->member()->status().is_leader) continue;
      const auto followers = std::count_if(present_.begin(), present_.end(), [node](Node* other) {
        return other->member() != nullptr && other->member()->status().leader == node->id() &&
               other->member()->status().term == node->member()->status().term;
      });
      if (2 * static_cast<size_t>(followers) > present_.size()) leader = node;
    }
    return leader != nullptr;
  };
  KVORUM_CHECK(Until(there), "nobody leads");
  return *leader;
}

Node& Scene::Other(const Node& than, const Node* nor) {
  const auto other = std::find_if(present_.begin(), present_.end(),
                                  [&](Node* node) { return node != &than && node != nor; });
  KVORUM_CHECK(other != present_.end());
  return **other;
}

void Scene::Settle() {
  const auto settled = [this] {
    return std::all_of(present_.begin(), present_.end(), [this](Node* node) {
      return node->ready() &&
             node->member()->status().applied_index == present_.front()->member()->status().committed_index;
    });
  };
  KVORUM_CHECK(Until(settled), "the members do not come to the same entry");
}

Scene::Answer Scene::Ask(Node& node, const Operation::Request& request, Instant bound) {
  auto answer = std::make_shared<std::optional<Answer>>();
  if (node.member() == nullptr) return absl::UnavailableError("connection refused");
  sim::Ask(*node.member(), request, [answer](Answer given) { *answer = std::move(given); });
  if (!Until([&] { return answer->has_value(); }, bound)) return absl::DeadlineExceededError("no answer");
  return **answer;
}

int64_t Scene::Put(Node& node, const std::string& key, const std::string& value, int64_t lease) {
  etcdserverpb::PutRequest request;
  request.set_key(key);
  request.set_value(value);
  request.set_lease(lease);
  const Answer answer = Ask(node, request);
  KVORUM_CHECK(answer.ok(), "put: {}", answer.status().ToString());
  return std::get<etcdserverpb::PutResponse>(*answer).header().revision();
}

int64_t Scene::Delete(Node& node, const std::string& key) {
  etcdserverpb::DeleteRangeRequest request;
  request.set_key(key);
  const Answer answer = Ask(node, request);
  KVORUM_CHECK(answer.ok(), "delete: {}", answer.status().ToString());
  return std::get<etcdserverpb::DeleteRangeResponse>(*answer).header().revision();
}

absl::Status Scene::Compact(Node& node, int64_t revision) {
  etcdserverpb::CompactionRequest request;
  request.set_revision(revision);
  return Ask(node, request).status();
}

std::string Scene::Get(Node& node, const std::string& key, bool serializable) {
  etcdserverpb::RangeRequest request;
  request.set_key(key);
  request.set_serializable(serializable);
  const Answer answer = Ask(node, request);
  if (!answer.ok()) return std::string(answer.status().message());
  const auto& response = std::get<etcdserverpb::RangeResponse>(*answer);
  return response.kvs().empty() ? "(none)" : response.kvs(0).value();
}

absl::Status Scene::Propose(Node& node, member::RequestKind kind,
                            const google::protobuf::MessageLite& request) {
  member::Member& member = *node.member();
  const member::RequestId id = member.NextRequestId();
  auto status = std::make_shared<std::optional<absl::Status>>();
  member.Propose(id, member::BuildEntry(kind, request.SerializeAsString(), id, {}), MonotonicTime::max(),
                 [status](const member::ApplyResult& result) { *status = result.status; });
  if (!Until([&] { return status->has_value(); })) return absl::DeadlineExceededError("no answer");
  return **status;
}

void Scene::Grant(Node& node, int64_t lease, int64_t ttl_seconds) {
  etcdserverpb::LeaseGrantRequest request;
  request.set_id(lease);
  request.set_ttl(ttl_seconds);
  const absl::Status status = Propose(node, member::RequestKind::kLeaseGrant, request);
  KVORUM_CHECK(status.ok(), "no lease: {}", status.ToString());
}

absl::Status Scene::Renew(Node& node, int64_t lease) {
  auto status = std::make_shared<std::optional<absl::Status>>();
  node.member()->RenewLease(LeaseId(lease),
                            [status](const absl::StatusOr<int64_t>& ttl) { *status = ttl.status(); });
  if (!Until([&] { return status->has_value(); })) return absl::DeadlineExceededError("no answer");
  return **status;
}

void Scene::CutOff(const Node& node) {
  for (const Node* other : present_) {
    if (other == &node) continue;
    network_.Cut(node.id(), other->id());
    network_.Cut(other->id(), node.id());
  }
}

void Scene::Restart(Node& node, bool power_cut) {
  node.Kill(power_cut);
  Start(node);
}

void Scene::Start(Node& node) {
  const absl::Status status = node.Start();
  KVORUM_CHECK(status.ok(), "{} does not start: {}", node.name(), status.ToString());
  KVORUM_CHECK(Until([&node] { return node.published(); }), "{} is not served", node.name());
}

Node& Scene::Join(bool learner) {
  Node& leader = Leader();
  const size_t number = nodes_.size() + 1;
  auto members = std::make_shared<std::optional<absl::StatusOr<std::vector<cluster::Member>>>>();
  cluster::Member added;
  added.peer_urls = {UrlOf(number)};
  added.is_learner = learner;
  leader.member()->AddMember(
      added, MonotonicTime::max(),
      [members](absl::StatusOr<std::vector<cluster::Member>> now) { *members = std::move(now); });
  KVORUM_CHECK(Until([&] { return members->has_value(); }) && (*members)->ok(), "no member was added");
  const std::string name = fmt::format("m{}", number);
  std::map<std::string, std::vector<std::string>> cluster;
  MemberId own;
  for (const cluster::Member& member : ***members) {
    const bool is_new = member.peer_urls == added.peer_urls;
    if (is_new) own = member.id;
    cluster[is_new ? name : member.name] = member.peer_urls;
  }
  Node::Options node{.name = name,
                     .peer_url = UrlOf(number),
                     .initial_cluster = std::move(cluster),
                     .joins_as = own,
                     .member = options_.member,
                     .disk = options_.disk};
  present_.push_back(
      nodes_.emplace_back(std::make_unique<Node>(&scheduler_, &network_, std::move(node))).get());
  Start(*present_.back());
  return *present_.back();
}

void Scene::Leave(Node& node) {
  node.Kill(false);
  std::erase(present_, &node);
}

SceneWatch::SceneWatch(Scene* scene, Node& node, mvcc::WatchSpec spec, bool reading)
    : reading_(reading), alive_(std::make_shared<bool>(true)) {
  const std::weak_ptr<bool> alive = alive_;
  stream_ = node.member()->store().watch_hub().NewStream([this, scene, alive] {
    scene->scheduler().After(0, [this, alive] {
      if (!alive.expired() && reading_) Read();
    });
  });
  KVORUM_CHECK(stream_->Watch(0, std::move(spec)).ok());
}

void SceneWatch::Read() {
  reading_ = true;
  for (const mvcc::WatchBatch& batch : stream_->Take(kTakeBytes)) {
    if (batch.compact_revision != 0) compacted_ = batch.compact_revision;
    for (const Revision& revision : RevisionsOf(batch)) {
      for (const mvccpb::Event& event : revision.events) {
        const std::string what = event.type() == mvccpb::Event::DELETE ? "-" : "=" + event.kv().value();
        events_.push_back(fmt::format("{}{}@{}", event.kv().key(), what, revision.revision));
      }
    }
  }
}

}  // namespace kvorum::sim
