#include <charconv>
#include <variant>

#include "base/check.h"
#include "v2store/counters.h"
#include "v2store/event_json.h"
#include "v2store/json_tokenizer.h"
#include "v2store/snapshot.h"

namespace kvorum::v2store {
namespace {

using Token = JsonTokenizer::Token;

/// Twice the names that the longest request line of a client can have, with what is around them.
constexpr size_t kMaxDepth = 1 << 18;
constexpr std::string_view kPermanent = "0001-01-01T00:00:00Z";

/// Builds a snapshot from tokens. `ok` is false once something was not as it should be.
class Builder {
 public:
  explicit Builder(Snapshot before) : snapshot_(std::move(before)) {}

  /// Errors: false.
  bool Read(std::string_view json);
  absl::StatusOr<Snapshot> Take();

 private:
  /// What the object or array that is open means.
  enum class Kind : uint8_t {
    kTop,
    kNode,
    kChildren,
    kHub,
    kHistory,
    kQueue,
    kEvents,
    kEvent,
    kImage,
    kPrevImage,
    kStats,
    kPassedOver,
  };
  /// A node that is not complete yet.
  struct Building {
    Node::Fields fields;
    std::vector<NodeRef> children;
  };

  bool Take(Token token, std::string_view text);
  bool Begin(bool object);
  /// What an object (or else array) is, by where it is and its name.
  Kind KindOfObject() const;
  bool End();
  bool EndNode();
  bool Scalar(Token token, std::string_view text);
  bool NodeScalar(Token token, std::string_view text);
  bool HistoryScalar(Token token, std::string_view text);
  bool EventScalar(Token token, std::string_view text);
  bool ImageScalar(Token token, std::string_view text, NodeImage* image);
  bool StatsScalar(Token token, std::string_view text);
  /// The events in their order.
  bool OrderEvents();

  Snapshot snapshot_;
  std::vector<Kind> open_;
  std::string key_;  // of the value that comes next
  std::vector<Building> nodes_;
  NodeRef root_;
  bool has_queue_ = false;
  std::vector<std::shared_ptr<Event>> events_;
  uint64_t size_ = 0;
  uint64_t front_ = 0;
  uint64_t capacity_ = 0;
};

template <typename Number>
bool TakeNumber(Token token, std::string_view text, Number* number) {
  if (token == Token::kNull) return true;
  if (token != Token::kNumber) return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
  return error == std::errc() && end == text.data() + text.size();
}

bool TakeText(Token token, std::string_view text, std::string* to) {
  if (token == Token::kNull) return true;
  if (token != Token::kString) return false;
  *to = text;
  return true;
}

bool TakeText(Token token, std::string_view text, Bytes* to) {
  if (token == Token::kNull) return true;
  if (token != Token::kString) return false;
  *to = Bytes::Copy(text);
  return true;
}

bool TakeFlag(Token token, bool* flag) {
  *flag = token == Token::kTrue;
  return token == Token::kTrue || token == Token::kFalse || token == Token::kNull;
}

bool TakeExpires(Token token, std::string_view text, std::optional<WallTime>* expires) {
  expires->reset();
  if (token == Token::kNull || (token == Token::kString && text == kPermanent)) return true;
  if (token != Token::kString) return false;
  *expires = ParseTime(text);
  return expires->has_value();
}

bool IsName(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string_view::npos;
}

bool Builder::Read(std::string_view json) {
  JsonTokenizer reader(json, kMaxDepth);
  for (;;) {
    const Token token = reader.Next();
    if (token == Token::kEnd) return true;
    if (token == Token::kError || !Take(token, reader.text())) return false;
  }
}

bool Builder::Take(Token token, std::string_view text) {
  switch (token) {
    case Token::kBeginObject:
    case Token::kBeginArray:
      return Begin(token == Token::kBeginObject);
    case Token::kEndObject:
    case Token::kEndArray:
      return End();
    case Token::kKey:
      key_ = text;
      return true;
    case Token::kString:
    case Token::kNumber:
    case Token::kTrue:
    case Token::kFalse:
    case Token::kNull:
      return !open_.empty() && Scalar(token, text);
    case Token::kEnd:
    case Token::kError:
      break;
  }
  return false;
}

Builder::Kind Builder::KindOfObject() const {
  if (open_.empty()) return Kind::kTop;
  switch (open_.back()) {
    case Kind::kTop:
      if (key_ == "Root") return Kind::kNode;
      if (key_ == "WatcherHub") return Kind::kHub;
      if (key_ == "Stats") return Kind::kStats;
      return Kind::kPassedOver;
    case Kind::kNode:
      return key_ == "Children" ? Kind::kChildren : Kind::kPassedOver;
    case Kind::kChildren:
      return Kind::kNode;
    case Kind::kHub:
      return key_ == "EventHistory" ? Kind::kHistory : Kind::kPassedOver;
    case Kind::kHistory:
      return key_ == "Queue" ? Kind::kQueue : Kind::kPassedOver;
    case Kind::kEvents:
      return Kind::kEvent;
    case Kind::kEvent:
      if (key_ == "node") return Kind::kImage;
      return key_ == "prevNode" ? Kind::kPrevImage : Kind::kPassedOver;
    case Kind::kQueue:
    case Kind::kImage:
    case Kind::kPrevImage:
    case Kind::kStats:
    case Kind::kPassedOver:
      return Kind::kPassedOver;
  }
  return Kind::kPassedOver;
}

bool Builder::Begin(bool object) {
  Kind kind = Kind::kPassedOver;
  if (object) {
    kind = KindOfObject();
  } else if (open_.empty() || open_.back() == Kind::kChildren || open_.back() == Kind::kEvents) {
    return false;
  } else if (open_.back() == Kind::kQueue && key_ == "Events") {
    kind = Kind::kEvents;
  }
  if (kind == Kind::kNode) {
    if (open_.back() == Kind::kChildren && !IsName(key_)) return false;
    nodes_.emplace_back();
    if (open_.back() == Kind::kChildren) nodes_.back().fields.name = key_;
  }
  if (kind == Kind::kChildren) nodes_.back().fields.dir = true;
  if (kind == Kind::kQueue) has_queue_ = true;
  if (kind == Kind::kEvent) events_.push_back(std::make_shared<Event>());
  if (kind == Kind::kPrevImage) events_.back()->prev_node.emplace();
  open_.push_back(kind);
  return true;
}

bool Builder::End() {
  const Kind ended = open_.back();
  open_.pop_back();
  return ended != Kind::kNode || EndNode();
}

bool Builder::EndNode() {
  Building done = std::move(nodes_.back());
  nodes_.pop_back();
  if (done.fields.dir) {
    done.fields.value = Bytes();
  } else if (done.fields.value.is_null()) {
    done.fields.value = Bytes::Copy("");
  }
  // Nobody may write them, so that nothing could make them expire.
  const bool top = nodes_.empty();
  const bool read_only = top || (nodes_.size() == 1 && (done.fields.name == "0" || done.fields.name == "1"));
  if (read_only) done.fields.expires.reset();
  NodeRef node = Node::New(std::move(done.fields));
  for (NodeRef& child : done.children) Node::Edit(node)->Put(std::move(child));
  if (!top) {
    nodes_.back().children.push_back(std::move(node));
    return true;
  }
  root_ = std::move(node);
  return root_->dir();
}

bool Builder::Scalar(Token token, std::string_view text) {
  switch (open_.back()) {
    case Kind::kTop:
      if (key_ == "CurrentIndex") return TakeNumber(token, text, &snapshot_.index);
      return token == Token::kNull || (key_ != "Root" && key_ != "WatcherHub" && key_ != "Stats");
    case Kind::kNode:
      return NodeScalar(token, text);
    case Kind::kChildren:
      return false;
    case Kind::kHub:
      return token == Token::kNull || key_ != "EventHistory";
    case Kind::kHistory:
    case Kind::kQueue:
      return HistoryScalar(token, text);
    case Kind::kEvents:
      events_.emplace_back();
      return token == Token::kNull;
    case Kind::kEvent:
      return EventScalar(token, text);
    case Kind::kImage:
      return ImageScalar(token, text, &events_.back()->node);
    case Kind::kPrevImage:
      return ImageScalar(token, text, &*events_.back()->prev_node);
    case Kind::kStats:
      return StatsScalar(token, text);
    case Kind::kPassedOver:
      return true;
  }
  return true;
}

bool Builder::NodeScalar(Token token, std::string_view text) {
  Node::Fields& node = nodes_.back().fields;
  if (key_ == "CreatedIndex") return TakeNumber(token, text, &node.created_index);
  if (key_ == "ModifiedIndex") return TakeNumber(token, text, &node.modified_index);
  if (key_ == "ExpireTime") return TakeExpires(token, text, &node.expires);
  if (key_ == "Value") return TakeText(token, text, &node.value);
  return key_ != "Children" || token == Token::kNull;
}

bool Builder::HistoryScalar(Token token, std::string_view text) {
  if (open_.back() == Kind::kHistory) {
    if (key_ == "StartIndex") return TakeNumber(token, text, &snapshot_.past.start_index);
    if (key_ == "LastIndex") return TakeNumber(token, text, &snapshot_.past.last_index);
    return key_ != "Queue" || token == Token::kNull;
  }
  if (key_ == "Size") return TakeNumber(token, text, &size_);
  if (key_ == "Front") return TakeNumber(token, text, &front_);
  if (key_ == "Capacity") return TakeNumber(token, text, &capacity_);
  return key_ != "Events" || token == Token::kNull;
}

bool Builder::EventScalar(Token token, std::string_view text) {
  Event& event = *events_.back();
  if (key_ == "refresh") return TakeFlag(token, &event.refresh);
  if (key_ != "action") return token == Token::kNull || (key_ != "node" && key_ != "prevNode");
  for (int i = 0; i <= static_cast<int>(Action::kExpire); ++i) {
    event.action = static_cast<Action>(i);
    if (token == Token::kString && text == Name(event.action)) return true;
  }
  return false;
}

bool Builder::ImageScalar(Token token, std::string_view text, NodeImage* image) {
  if (key_ == "key") return TakeText(token, text, &image->path);
  if (key_ == "value") return TakeText(token, text, &image->value);
  if (key_ == "dir") return TakeFlag(token, &image->dir);
  if (key_ == "expiration") return TakeExpires(token, text, &image->expires);
  if (key_ == "ttl") return TakeNumber(token, text, &image->ttl);
  if (key_ == "modifiedIndex") return TakeNumber(token, text, &image->modified_index);
  if (key_ == "createdIndex") return TakeNumber(token, text, &image->created_index);
  return true;
}

bool Builder::StatsScalar(Token token, std::string_view text) {
  for (const StatsField& field : kStatsFields) {
    if (key_ == field.name) return TakeNumber(token, text, &(snapshot_.stats.*field.value));
  }
  return true;
}

bool Builder::OrderEvents() {
  if (!has_queue_) return true;
  if (capacity_ > events_.size() || size_ > capacity_ || (size_ > 0 && front_ >= capacity_)) return false;
  snapshot_.past.events.clear();
  uint64_t last = 0;
  for (uint64_t i = 0; i < size_; ++i) {
    std::shared_ptr<Event> event = std::move(events_[(front_ + i) % capacity_]);
    if (event == nullptr || event->index() <= last || event->index() > snapshot_.past.last_index)
      return false;
    last = event->index();
    event->store_index = last;
    snapshot_.past.events.push_back(std::move(event));
  }
  return last == 0 || last == snapshot_.past.last_index;
}

absl::StatusOr<Snapshot> Builder::Take() {
  if (!root_ || !OrderEvents())
    return absl::DataLossError("the v2 store's snapshot lacks its tree or its events");
  snapshot_.root = std::move(root_);
  return std::move(snapshot_);
}

}  // namespace

absl::StatusOr<Snapshot> SnapshotFromJson(std::string_view json, Snapshot before) {
  Builder builder(std::move(before));
  if (!builder.Read(json)) return absl::DataLossError("the v2 store's snapshot has a bad form");
  return builder.Take();
}

}  // namespace kvorum::v2store
