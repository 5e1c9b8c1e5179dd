#include "v2store/store.h"

#include "base/check.h"
#include "base/planted_bug.h"
#include "v2store/path.h"
#include "v2store/store_impl.h"

namespace kvorum::v2store {
namespace {

using Expires = std::optional<WallTime>;
using Kind = Counters::Kind;

/// What would expire before 2000-01-01T00:00:00Z when it is made does not expire at all.
constexpr WallTime kEarliestExpiry{std::chrono::seconds(946'684'800)};

Expires AtCreation(Expires expires) { return expires && *expires < kEarliestExpiry ? std::nullopt : expires; }

/// "[given != actual]" for what does not hold; empty where all does. Zero and empty: not asked for.
std::string CompareCause(const Node& node, std::string_view prev_value, uint64_t prev_index) {
  std::string cause;
  if (!prev_value.empty() && prev_value != node.value().view()) {
    cause = fmt::format("[{} != {}]", prev_value, node.value().view());
  }
  const bool any_index = prev_index == 0 || IsPlanted(PlantedBug::kV2CasAnyIndex);
  if (!any_index && prev_index != node.modified_index()) {
    cause += fmt::format("{}[{} != {}]", cause.empty() ? "" : " ", prev_index, node.modified_index());
  }
  return cause;
}

/// Some failures count as successes: those that etcd's counters have always missed (reference: v2-keys.md
/// §9.1).
bool CountsAsSuccess(Kind kind, ErrorCode code) {
  switch (kind) {
    case Kind::kUpdate:
      return code == ErrorCode::kRootReadOnly || code == ErrorCode::kNotFile;
    case Kind::kCompareAndSwap:
    case Kind::kDelete:
      return code == ErrorCode::kRootReadOnly;
    case Kind::kCompareAndDelete:
      return code == ErrorCode::kCompareFailed || code == ErrorCode::kNotFile;
    case Kind::kGets:
    case Kind::kSets:
    case Kind::kCreate:
      return false;
  }
  return false;
}

Expires ExpiresOf(const RequestView& request) {
  if (request.expiration == 0) return std::nullopt;
  return WallTime(std::chrono::nanoseconds(request.expiration));
}

/// The value that a file gets: a refresh keeps the one it has.
Bytes NewValue(const Node* old, std::string_view value, bool refresh) {
  return refresh ? old->value() : Bytes::Copy(value);
}

}  // namespace

NodeImage ImageOf(std::string_view path, const Node& node, WallTime now) {
  NodeImage image;
  image.path = path;
  image.dir = node.dir();
  image.value = node.value();
  if (node.expires()) {
    image.expires = node.expires();
    image.ttl = ShownTtl(*node.expires(), now);
  }
  image.modified_index = node.modified_index();
  image.created_index = node.created_index();
  return image;
}

Error Store::Impl::Fail(ErrorCode code, std::string_view cause) const {
  return {code, std::string(cause), index.load(std::memory_order_relaxed)};
}

Error Store::Impl::Fail(const Tree::Found& missing) const { return Fail(missing.code, missing.cause); }

std::shared_ptr<Event> Store::Impl::NewEvent(Action action, std::string_view path, const Node* prev) const {
  auto event = std::make_shared<Event>();
  event->action = action;
  event->store_index = index.load(std::memory_order_relaxed) + 1;
  event->node.path = path;
  event->node.modified_index = event->node.created_index = event->store_index;
  if (prev != nullptr) {
    event->prev_node = ImageOf(path, *prev, prev->expires() ? clock->WallNow() : WallTime());
  }
  return event;
}

Store::Impl::Change Store::Impl::Commit(std::shared_ptr<Event> event, NodeRef removed) {
  index.store(event->store_index, std::memory_order_release);
  ttls.store(tree.expiring().size(), std::memory_order_release);
  if (event->node.path.starts_with("/2")) auth_changes.fetch_add(1, std::memory_order_release);
  return {std::move(event), std::move(removed)};
}

Store::Impl::Change Store::Impl::Put(std::shared_ptr<Event> event, Node::Fields fields) {
  NodeImage& node = event->node;
  fields.created_index = node.created_index;
  fields.modified_index = node.modified_index;
  node.dir = fields.dir;
  node.value = fields.value;
  if (fields.expires) {
    node.expires = fields.expires;
    node.ttl = ShownTtl(*fields.expires, clock->WallNow());
  }
  tree.Put(node.path, std::move(fields));
  return Commit(std::move(event));
}

Store::Impl::Change Store::Impl::Remove(Action action, std::string_view path, const Node& node) {
  std::shared_ptr<Event> event = NewEvent(action, path, &node);
  event->node.dir = node.dir();
  event->node.created_index = node.created_index();
  return Commit(std::move(event), tree.Remove(path));
}

Store::Impl::Outcome Store::Impl::Create(std::string_view path, bool dir, std::string_view value,
                                         Expires expires) {
  absl::MutexLock lock(&mutex);
  if (IsReadOnly(path)) return Fail(ErrorCode::kRootReadOnly, "/");
  const Tree::Found found = tree.Find(path);
  if (found.node != nullptr) return Fail(ErrorCode::kKeyExists, path);
  if (found.code == ErrorCode::kNotDir) {
    counters.Count(Kind::kSets, false);  // besides the creation: as etcd counts it
    return Fail(found);
  }
  return Put(NewEvent(Action::kCreate, path, nullptr),
             {.value = dir ? Bytes() : Bytes::Copy(value), .dir = dir, .expires = AtCreation(expires)});
}

Store::Impl::Outcome Store::Impl::Set(std::string_view path, bool dir, std::string_view value,
                                      Expires expires, bool refresh) {
  absl::MutexLock lock(&mutex);
  const Tree::Found found = tree.Find(path);
  if (found.node == nullptr && (refresh || found.code != ErrorCode::kKeyNotFound)) return Fail(found);
  if (IsReadOnly(path)) return Fail(ErrorCode::kRootReadOnly, "/");
  if (found.node != nullptr && found.node->dir()) return Fail(ErrorCode::kNotFile, path);
  std::shared_ptr<Event> event = NewEvent(Action::kSet, path, found.node);
  event->refresh = refresh;
  return Put(std::move(event), {.value = dir ? Bytes() : NewValue(found.node, value, refresh),
                                .dir = dir,
                                .expires = AtCreation(expires)});
}

Store::Impl::Outcome Store::Impl::Update(std::string_view path, std::string_view value, Expires expires,
                                         bool refresh) {
  absl::MutexLock lock(&mutex);
  if (IsReadOnly(path)) return Fail(ErrorCode::kRootReadOnly, "/");
  const Tree::Found found = tree.Find(path);
  if (found.node == nullptr) return Fail(found);
  if (found.node->dir() && !value.empty()) return Fail(ErrorCode::kNotFile, path);
  std::shared_ptr<Event> event = NewEvent(Action::kUpdate, path, found.node);
  event->refresh = refresh;
  event->node.created_index = found.node->created_index();
  if (!found.node->dir()) {
    return Put(std::move(event), {.value = NewValue(found.node, value, refresh), .expires = expires});
  }
  // The event shows the new index, but the directory keeps the one it has.
  event->node.dir = true;
  if (expires) {
    event->node.expires = expires;
    event->node.ttl = ShownTtl(*expires, clock->WallNow());
  }
  tree.SetDirectoryExpires(path, expires);
  return Commit(std::move(event));
}

Store::Impl::Outcome Store::Impl::CompareAndSwap(std::string_view path, std::string_view prev_value,
                                                 uint64_t prev_index, std::string_view value, Expires expires,
                                                 bool refresh) {
  absl::MutexLock lock(&mutex);
  if (IsReadOnly(path)) return Fail(ErrorCode::kRootReadOnly, "/");
  const Tree::Found found = tree.Find(path);
  if (found.node == nullptr) return Fail(found);
  if (found.node->dir()) return Fail(ErrorCode::kNotFile, path);
  if (const std::string cause = CompareCause(*found.node, prev_value, prev_index); !cause.empty()) {
    return Fail(ErrorCode::kCompareFailed, cause);
  }
  std::shared_ptr<Event> event = NewEvent(Action::kCompareAndSwap, path, found.node);
  event->refresh = refresh;
  event->node.created_index = found.node->created_index();
  return Put(std::move(event), {.value = NewValue(found.node, value, refresh), .expires = expires});
}

Store::Impl::Outcome Store::Impl::Delete(std::string_view path, bool dir, bool recursive) {
  absl::MutexLock lock(&mutex);
  if (IsReadOnly(path)) return Fail(ErrorCode::kRootReadOnly, "/");
  const Tree::Found found = tree.Find(path);
  if (found.node == nullptr) return Fail(found);
  if (found.node->dir()) {
    if (!dir && !recursive) return Fail(ErrorCode::kNotFile, path);
    if (!recursive && !found.node->empty()) return Fail(ErrorCode::kDirNotEmpty, path);
  }
  return Remove(Action::kDelete, path, *found.node);
}

Store::Impl::Outcome Store::Impl::CompareAndDelete(std::string_view path, std::string_view prev_value,
                                                   uint64_t prev_index) {
  absl::MutexLock lock(&mutex);
  const Tree::Found found = tree.Find(path);
  if (found.node == nullptr) return Fail(found);
  if (found.node->dir()) return Fail(ErrorCode::kNotFile, path);  // which read-only nodes are as well
  if (const std::string cause = CompareCause(*found.node, prev_value, prev_index); !cause.empty()) {
    return Fail(ErrorCode::kCompareFailed, cause);
  }
  return Remove(Action::kCompareAndDelete, path, *found.node);
}

std::optional<Store::Impl::Change> Store::Impl::ExpireFirst(WallTime cutoff) {
  absl::MutexLock lock(&mutex);
  if (tree.expiring().empty() || tree.expiring().begin()->at > cutoff) return std::nullopt;
  const std::string path = tree.expiring().begin()->path;
  const Tree::Found found = tree.Find(path);
  KVORUM_CHECK(found.node != nullptr, "{} expires and is not there", path);
  return Remove(Action::kExpire, path, *found.node);
}

Result Store::Impl::Finish(Kind kind, Outcome outcome) {
  if (const Error* error = std::get_if<Error>(&outcome)) {
    counters.Count(kind, CountsAsSuccess(kind, error->code));
    return *error;
  }
  counters.Count(kind, true);
  Change& change = std::get<Change>(outcome);
  EventPtr event = std::move(change.event);
  hub.Notify(event, change.removed.get());
  return event;
}

Store::Store(const Clock* clock) : impl_(std::make_unique<Impl>(clock, index_, ttls_, auth_changes_)) {}
Store::~Store() = default;

Result Store::Create(std::string_view path, bool dir, std::string_view value, bool unique,
                     std::optional<WallTime> expires) {
  const std::string numbered = unique ? fmt::format("{}/{:020}", path, index() + 1) : std::string();
  const CleanPath clean(unique ? numbered : path);
  return impl_->Finish(Kind::kCreate, impl_->Create(clean, dir, value, expires));
}

Result Store::Set(std::string_view path, bool dir, std::string_view value, std::optional<WallTime> expires,
                  bool refresh) {
  return impl_->Finish(Kind::kSets, impl_->Set(CleanPath(path), dir, value, expires, refresh));
}

Result Store::Update(std::string_view path, std::string_view value, std::optional<WallTime> expires,
                     bool refresh) {
  return impl_->Finish(Kind::kUpdate, impl_->Update(CleanPath(path), value, expires, refresh));
}

Result Store::CompareAndSwap(std::string_view path, std::string_view prev_value, uint64_t prev_index,
                             std::string_view value, std::optional<WallTime> expires, bool refresh) {
  return impl_->Finish(Kind::kCompareAndSwap, impl_->CompareAndSwap(CleanPath(path), prev_value, prev_index,
                                                                    value, expires, refresh));
}

Result Store::Delete(std::string_view path, bool dir, bool recursive) {
  return impl_->Finish(Kind::kDelete, impl_->Delete(CleanPath(path), dir, recursive));
}

Result Store::CompareAndDelete(std::string_view path, std::string_view prev_value, uint64_t prev_index) {
  return impl_->Finish(Kind::kCompareAndDelete,
                       impl_->CompareAndDelete(CleanPath(path), prev_value, prev_index));
}

void Store::Expire(WallTime cutoff) {
  while (std::optional<Impl::Change> change = impl_->ExpireFirst(cutoff)) {
    impl_->counters.CountExpired();
    impl_->hub.Notify(std::move(change->event), change->removed.get());
  }
}

Result Store::Apply(const RequestView& request) {
  const std::string_view path = request.path;
  const Expires expires = ExpiresOf(request);
  const bool refresh = request.refresh.value_or(false);
  const bool compares = request.prev_index != 0 || !request.prev_value.empty();
  if (request.method == "POST") return Create(path, request.dir, request.value, true, expires);
  if (request.method == "PUT") {
    if (request.prev_exist && !*request.prev_exist) {
      return Create(path, request.dir, request.value, false, expires);
    }
    if (compares) {
      return CompareAndSwap(path, request.prev_value, request.prev_index, request.value, expires, refresh);
    }
    if (request.prev_exist) return Update(path, request.value, expires, refresh);
    return Set(path, request.dir, request.value, expires, refresh);
  }
  if (request.method == "DELETE") {
    if (compares) return CompareAndDelete(path, request.prev_value, request.prev_index);
    return Delete(path, request.dir, request.recursive);
  }
  if (request.method == "QGET") return Get(path, request.recursive, request.sorted);
  if (request.method == "SYNC") {
    const WallTime cutoff(std::chrono::nanoseconds(request.time));
    Expire(IsPlanted(PlantedBug::kV2OwnClock) ? impl_->clock->WallNow() : cutoff);
    return EventPtr();
  }
  return Error{ErrorCode::kRaftInternal, "etcdserver: unknown method", 0};
}

std::variant<Store::WatchStart, Error> Store::Watch(const WatchRequest& request, WatchSink* sink) {
  return impl_->hub.Watch(CleanPath(request.path), request, index_, sink);
}

std::vector<EventPtr> Store::EventsSince(uint64_t index) const { return impl_->hub.EventsSince(index); }

}  // namespace kvorum::v2store
