#include "v2store/listing.h"

#include <algorithm>

#include "base/go_json.h"
#include "v2store/event_json.h"

namespace kvorum::v2store {
namespace {

/// A value up to this size is written at once, and of a larger one at least so much.
constexpr size_t kWholeValue = 4 << 10;

/// Where to cut `text` at `size` or a little before, so that no UTF-8 sequence is cut.
size_t CutBefore(std::string_view text, size_t size) {
  constexpr size_t kLongestSequence = 4;
  const auto continues = [text](size_t i) { return (static_cast<uint8_t>(text[i]) & 0xc0) == 0x80; };
  size_t at = size;
  while (continues(at) && size - at < kLongestSequence) --at;
  return continues(at) ? size : at;
}

}  // namespace

Listing::Listing(NodeRef top, std::string_view path, bool recursive, WallTime now)
    : top_(std::move(top)), path_(path), recursive_(recursive), now_(now) {}

void Listing::Append(std::string* out, size_t limit) {
  const size_t full = out->size() + limit;
  if (!begun_) {
    begun_ = true;
    *out += "{\"action\":\"get\",\"node\":";
    Begin(*top_, out);
  }
  while (!done_ && out->size() < full) {
    if (value_left_) {
      AppendValue(out, full - out->size());
      continue;
    }
    Place& place = way_.back();
    const Node* child = NextShown(place);
    if (child == nullptr) {
      End(out);
      continue;
    }
    *out += place.has_shown_one ? "," : ",\"nodes\":[";
    place.has_shown_one = true;
    if (path_.size() > 1) path_ += '/';
    path_ += child->name();
    Begin(*child, out);
  }
}

const Node* Listing::NextShown(Place& place) const {
  if (!recursive_ && way_.size() > 1) return nullptr;
  const Node* child = place.children.Next();
  while (child != nullptr && child->hidden()) child = place.children.Next();
  return child;
}

void Listing::Begin(const Node& node, std::string* out) {
  way_.push_back({&node, Node::Children(node)});
  AppendNodeKey(*out, path_, Keys::kShown);
  if (!node.dir()) {
    const std::string_view value = node.value().view();
    if (value.size() > kWholeValue) {
      *out += ",\"value\":\"";
      value_left_ = value;
      return;
    }
    AppendNodeValue(*out, value);
  }
  EndHead(node, out);
}

void Listing::EndHead(const Node& node, std::string* out) const {
  AppendNodeKind(*out, node.dir(), node.expires(), node.expires() ? ShownTtl(*node.expires(), now_) : 0);
}

void Listing::AppendValue(std::string* out, size_t limit) {
  std::string_view& left = *value_left_;
  const size_t wanted = std::max(limit, kWholeValue);
  const size_t size = wanted < left.size() ? CutBefore(left, wanted) : left.size();
  AppendJsonText(*out, left.substr(0, size));
  left.remove_prefix(size);
  if (!left.empty()) return;
  value_left_.reset();
  *out += '"';
  EndHead(*way_.back().node, out);
}

void Listing::End(std::string* out) {
  const Place ended = way_.back();
  way_.pop_back();
  if (ended.has_shown_one) *out += ']';
  AppendNodeTail(*out, ended.node->modified_index(), ended.node->created_index());
  if (way_.empty()) {
    *out += "}\n";
    done_ = true;
    return;
  }
  path_.resize(path_.size() - ended.node->name().size());
  if (path_.size() > 1) path_.pop_back();
}

}  // namespace kvorum::v2store
