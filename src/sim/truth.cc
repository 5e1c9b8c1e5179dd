#include "sim/truth.h"

#include <utility>

#include "base/check.h"
#include "base/wire.h"

namespace kvorum::sim {

namespace {

constexpr size_t kTakeBytes = 1 << 20;
constexpr uint32_t kEventsField = 11;  // of a WatchResponse

}  // namespace

struct Truth::Follower {
  Node* node = nullptr;
  std::unique_ptr<mvcc::WatchStream> stream;
};

std::vector<Revision> RevisionsOf(const mvcc::WatchBatch& batch) {
  std::vector<Revision> revisions;
  for (const Bytes& bytes : batch.events) {
    wire::Reader reader(bytes.view());
    wire::Field field;
    while (reader.Next(&field)) {
      KVORUM_CHECK(field.number == kEventsField);
      mvccpb::Event event;
      KVORUM_CHECK(event.ParseFromArray(field.bytes.data(), static_cast<int>(field.bytes.size())));
      AddEvent(std::move(event), &revisions);
    }
  }
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
    for (Revision& revision : RevisionsOf(batch)) {
      const auto number = static_cast<uint64_t>(revision.revision);
      if (ledger_.Learn(follower.node->name(), std::move(revision), scheduler_->now())) {
        scheduler_->Note(number);
      }
    }
  }
}

}  // namespace kvorum::sim
