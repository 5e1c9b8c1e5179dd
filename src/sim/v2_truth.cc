#include "sim/v2_truth.h"

#include <utility>

#include "fmt/format.h"
#include "sim/check/v2_notes.h"

namespace kvorum::sim {

namespace {

/// What nobody is told of is looked for so often.
constexpr Instant kPollInterval = 50'000'000;

bool Same(const v2store::NodeImage& a, const v2store::NodeImage& b) {
  // But for the ttl, which is shown by each member's own clock.
  return a.path == b.path && a.value == b.value && a.dir == b.dir && a.expires == b.expires &&
         a.modified_index == b.modified_index && a.created_index == b.created_index;
}

bool Same(const v2store::Event& a, const v2store::Event& b) {
  return a.action == b.action && a.refresh == b.refresh && Same(a.node, b.node) &&
         a.prev_node.has_value() == b.prev_node.has_value() &&
         (!a.prev_node || Same(*a.prev_node, *b.prev_node));
}

std::string Text(const v2store::Event& event) {
  std::string text;
  v2store::AppendJson(text, event);
  return text;
}

/// What has to be equal of a store's snapshot: all but what members count for themselves, and the ttl.
std::string Comparable(std::string json) {
  constexpr std::string_view kStats = ",\"Stats\":{";
  if (const size_t begin = json.rfind(kStats); begin != std::string::npos) {
    json.erase(begin, json.find('}', begin) + 1 - begin);
  }
  constexpr std::string_view kTtl = ",\"ttl\":";
  for (size_t at = json.find(kTtl); at != std::string::npos; at = json.find(kTtl, at)) {
    json.erase(at, json.find_first_not_of("-0123456789", at + kTtl.size()) - at);
  }
  return json;
}

}  // namespace

struct V2Truth::Follower : v2store::WatchSink {
  void OnEvent(const v2store::EventPtr&, const std::shared_ptr<const std::string>&) override { wake(); }
  void OnLost() override { wake(); }

  Node* node = nullptr;
  std::function<void()> wake;
  bool woken = false;
  uint64_t next = 1;       // index that is to be taken
  uint64_t recovered = 0;  // what the store said of snapshots taken over
  std::unique_ptr<v2store::Watcher> watcher;
};

V2Truth::V2Truth(Scheduler* scheduler) : scheduler_(scheduler) {
  scheduler_->After(kPollInterval, [this] { Poll(); });
}

V2Truth::~V2Truth() {
  for (auto& [id, follower] : followers_) follower->watcher.reset();
}

void V2Truth::Poll() {
  for (auto& [id, follower] : followers_) Take(*follower);
  scheduler_->After(kPollInterval, [this] { Poll(); });
}

void V2Truth::Follow(Node& node) {
  auto follower = std::make_shared<Follower>();
  follower->node = &node;
  followers_[node.id().value()] = follower;
  follower->wake = [this, weak = std::weak_ptr<Follower>(follower)] {
    const std::shared_ptr<Follower> awake = weak.lock();
    if (awake == nullptr || std::exchange(awake->woken, true)) return;
    scheduler_->After(0, [this, weak] {
      const std::shared_ptr<Follower> still = weak.lock();
      if (still == nullptr || still->watcher == nullptr) return;
      still->woken = false;
      Take(*still);
    });
  };
  follower->recovered = node.member()->v2_store().auth_changes();
  Watch(follower);
  Take(*follower);
}

void V2Truth::Watch(const std::shared_ptr<Follower>& follower) {
  auto begun = follower->node->running()->v2_store().Watch({.path = "/", .recursive = true, .stream = true},
                                                           follower.get());
  follower->watcher = std::move(std::get<v2store::Store::WatchStart>(begun).watcher);
}

void V2Truth::Leave(Node& node) {
  const auto found = followers_.find(node.id().value());
  if (found == followers_.end()) return;
  Take(*found->second);
  found->second->watcher.reset();
  followers_.erase(found);
}

void V2Truth::Take(Follower& follower) {
  const v2store::Store& store = follower.node->running()->v2_store();
  // Nobody in a run writes what is counted there: it rises when a snapshot was taken over, and all of the
  // history is another one.
  if (std::exchange(follower.recovered, store.auth_changes()) != store.auth_changes()) {
    follower.next = 1;
    Watch(followers_.at(follower.node->id().value()));
  }
  const std::vector<v2store::EventPtr> events = store.EventsSince(follower.next);
  for (const v2store::EventPtr& event : events) Learn(follower, event);
  if (!events.empty()) follower.next = events.back()->index() + 1;
  if (follower.next != store.index() + 1) {
    violations_.push_back(fmt::format("the v2 store of {} is at index {}, its history at {}",
                                      follower.node->name(), store.index(), follower.next - 1));
    follower.next = store.index() + 1;
  }
}

void V2Truth::Learn(const Follower& follower, const v2store::EventPtr& event) {
  const uint64_t index = event->index();
  const Known* known = nullptr;
  if (index <= events_.size()) {
    known = &events_[index - 1];
  } else if (const auto early = early_.find(index); early != early_.end()) {
    known = &early->second;
  }
  if (known != nullptr) {
    if (!Same(*known->event, *event)) {
      violations_.push_back(fmt::format("index {} of the v2 store of {} is {}, of another member {}", index,
                                        follower.node->name(), Text(*event), Text(*known->event)));
    }
    return;
  }
  scheduler_->Note(index);
  early_.emplace(index, Known{.event = event, .seen = scheduler_->now()});
  while (!early_.empty() && early_.begin()->first == events_.size() + 1) {
    events_.push_back(std::move(early_.begin()->second));
    early_.erase(early_.begin());
  }
}

std::vector<V2Event> V2Truth::Events() const {
  std::vector<V2Event> events;
  for (const Known& known : events_) events.push_back(NoteOf(*known.event, known.seen));
  for (const auto& [index, known] : early_) events.push_back(NoteOf(*known.event, known.seen));
  return events;
}

void V2Truth::CompareStores(const std::vector<Node*>& nodes) {
  std::string first;
  for (Node* node : nodes) {
    std::string json = Comparable(node->member()->v2_store().SaveView()->ToJson());
    if (node == nodes[0]) {
      first = std::move(json);
      continue;
    }
    if (json == first) continue;
    size_t at = 0;
    while (at < json.size() && at < first.size() && json[at] == first[at]) ++at;
    const size_t from = at < 200 ? 0 : at - 200;
    violations_.push_back(fmt::format("the v2 stores of {} and {} differ: …{} and …{}", nodes[0]->name(),
                                      node->name(), first.substr(from, 300), json.substr(from, 300)));
  }
}

}  // namespace kvorum::sim
