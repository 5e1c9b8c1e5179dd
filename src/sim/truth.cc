#include "sim/truth.h"

#include <bit>
#include <utility>

#include "base/check.h"
#include "base/wire.h"

namespace kvorum::sim {

namespace {

constexpr size_t kTakeBytes = 1 << 20;
constexpr uint32_t kEventsField = 11;  // of a WatchResponse

mvccpb::Event Parse(const Bytes& encoded) {
  wire::Reader reader(encoded.view());
  wire::Field field;
  mvccpb::Event event;
  KVORUM_CHECK(reader.Next(&field) && field.number == kEventsField && reader.rest().empty());
  KVORUM_CHECK(event.ParseFromArray(field.bytes.data(), static_cast<int>(field.bytes.size())));
  return event;
}

int64_t RevisionOf(const Bytes& encoded) {
  constexpr uint32_t kKv = 2;           // of an event
  constexpr uint32_t kModRevision = 3;  // of a key-value
  wire::Reader outer(encoded.view());
  wire::Field field;
  KVORUM_CHECK(outer.Next(&field));
  for (wire::Reader event(field.bytes); event.Next(&field);) {
    if (field.number != kKv) continue;
    for (wire::Reader kv(field.bytes); kv.Next(&field);) {
      if (field.number == kModRevision) return static_cast<int64_t>(field.varint);
    }
  }
  return 0;
}

}  // namespace

struct Truth::Follower {
  Node* node = nullptr;
  std::unique_ptr<mvcc::WatchStream> stream;
};

std::vector<Revision> RevisionsOf(const mvcc::WatchBatch& batch) {
  std::vector<Revision> revisions;
  for (const Bytes& event : batch.events) AddEvent(Parse(event), &revisions);
  return revisions;
}

Truth::~Truth() {
  for (auto& [id, follower] : followers_) follower->stream.reset();
}

void Truth::Follow(Node& node) {
  auto follower = std::make_shared<Follower>();
  follower->node = &node;
  followers_[node.id().value()] = follower;
  const std::weak_ptr<Follower> weak = follower;
  follower->stream = node.member()->store().watch_hub().NewStream([this, weak] {
    scheduler_->After(0, [this, weak] {
      const std::shared_ptr<Follower> still = weak.lock();
      if (still != nullptr && still->stream != nullptr) Take(*still);
    });
  });
  const auto watching = follower->stream->Watch(
      0, {.key = std::string(1, '\0'), .end = std::string(1, '\0'), .start_revision = last() + 1});
  KVORUM_CHECK(watching.ok());
}

void Truth::Leave(Node& node) {
  const auto found = followers_.find(node.id().value());
  if (found == followers_.end()) return;
  found->second->stream.reset();
  followers_.erase(found);
}

void Truth::Take(Follower& follower) {
  for (const mvcc::WatchBatch& batch : follower.stream->Take(kTakeBytes)) {
    if (batch.compact_revision != 0) {
      // What it lacks the others tell.
      follower.stream
          ->Watch(0, {.key = std::string(1, '\0'),
                      .end = std::string(1, '\0'),
                      .start_revision = batch.compact_revision})
          .IgnoreError();
      continue;
    }
    const std::span<const Bytes> events = batch.events;
    size_t begin = 0;  // of those of `revision`
    uint64_t bytes = 0;
    int64_t revision = events.empty() ? 0 : RevisionOf(events[0]);
    for (size_t end = 1; end <= events.size(); ++end) {
      bytes = std::rotl(bytes, 7) ^ std::hash<std::string_view>()(events[end - 1].view());
      const int64_t next = end < events.size() ? RevisionOf(events[end]) : 0;
      if (next == revision) continue;
      Learn(follower, revision, bytes, events.subspan(begin, end - begin));
      begin = end;
      bytes = 0;
      revision = next;
    }
  }
}

void Truth::Learn(const Follower& follower, int64_t number, uint64_t bytes, std::span<const Bytes> events) {
  const auto at = static_cast<size_t>(number);
  if (at >= told_.size()) told_.resize(2 * at + 1);
  if (told_[at] == bytes) return;
  Revision revision{.revision = number};
  for (const Bytes& event : events) revision.events.push_back(Parse(event));
  if (!ledger_.Learn(follower.node->name(), std::move(revision), scheduler_->now())) return;
  told_[at] = bytes;
  scheduler_->Note(static_cast<uint64_t>(number));
}

}  // namespace kvorum::sim
