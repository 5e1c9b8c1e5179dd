#include "base/check.h"
#include "v2store/path.h"
#include "v2store/store.h"
#include "v2store/store_impl.h"

namespace kvorum::v2store {
namespace {

using Kind = Counters::Kind;

/// Visits what a reply shows of a directory: `head` for each node before its children, `tail` after them. The
/// path is the node's.
template <typename Head, typename Tail>
void ForEachShown(std::string_view path, const Node& top, bool recursive, Head head, Tail tail) {
  std::string at(path);
  size_t depth = 0;
  const auto leave = [&](const Node& node) {
    tail(node);
    if (--depth == 0) return;
    at.resize(at.size() - node.name().size());
    if (at.size() > 1) at.pop_back();
  };
  Node::Walk(
      top,
      [&](const Node& node) {
        if (depth > 0) {
          if (node.hidden()) return false;
          if (at.size() > 1) at += '/';
          at += node.name();
        }
        ++depth;
        head(at, node);
        if (depth == 1 || recursive) return true;
        leave(node);
        return false;
      },
      leave);
}

/// Takes an event apart without recursion: a tree may be deeper than a stack.
void DeleteGet(Event* event) {
  std::vector<NodeImage> gone = std::move(event->node.nodes);
  while (!gone.empty()) {
    std::vector<NodeImage> nodes = std::move(gone.back().nodes);
    gone.pop_back();
    std::move(nodes.begin(), nodes.end(), std::back_inserter(gone));
  }
  delete event;
}

void TakeImage(std::string_view path, const Node& top, bool recursive, WallTime now, NodeImage* image) {
  std::vector<NodeImage*> begun;
  ForEachShown(
      path, top, recursive,
      [&](std::string_view at, const Node& node) {
        // What has begun stays where it is: a parent gets no other child before its last one is done.
        NodeImage* next = begun.empty() ? image : &begun.back()->nodes.emplace_back();
        *next = ImageOf(at, node, now);
        begun.push_back(next);
      },
      [&](const Node&) { begun.pop_back(); });
}

}  // namespace

Result Store::Get(std::string_view path, bool recursive, bool /*sorted*/) const {
  const CleanPath clean(path);
  NodeRef node;
  uint64_t now_index = 0;
  {
    absl::ReaderMutexLock lock(&impl_->mutex);
    const Tree::Found found = impl_->tree.Find(clean);
    impl_->counters.Count(Kind::kGets, found.node != nullptr);
    if (found.node == nullptr) return impl_->Fail(found);
    node = Node::Share(*found.node);
    now_index = index();
  }
  std::shared_ptr<Event> event(new Event, DeleteGet);
  event->store_index = now_index;
  TakeImage(clean, *node, recursive, impl_->clock->WallNow(), &event->node);
  return event;
}

std::variant<Listing, Error> Store::List(std::string_view path, bool recursive, uint64_t* index_out) const {
  const CleanPath clean(path);
  NodeRef node;
  {
    absl::ReaderMutexLock lock(&impl_->mutex);
    const Tree::Found found = impl_->tree.Find(clean);
    impl_->counters.Count(Kind::kGets, found.node != nullptr);
    if (found.node == nullptr) return impl_->Fail(found);
    node = Node::Share(*found.node);
    *index_out = index();
  }
  return Listing(std::move(node), clean, recursive, impl_->clock->WallNow());
}

bool Store::HasUserKeys() const {
  absl::ReaderMutexLock lock(&impl_->mutex);
  bool has = false;
  impl_->tree.root()->ForEachChild(
      [&has](const Node& node) { has |= node.name() != "0" && !(node.dir() && node.empty()); });
  return has;
}

Stats Store::stats() const {
  Stats stats = impl_->counters.Get();
  stats.watchers = impl_->hub.watchers();
  return stats;
}

}  // namespace kvorum::v2store
