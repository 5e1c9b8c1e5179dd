#include "sim/upkeep.h"

#include <utility>

#include "base/check.h"
#include "mvcc/store.h"

namespace kvorum::sim {

namespace {

constexpr Instant kSecond = 1'000'000'000;

}  // namespace

void Upkeep::TakeSnapshot() {
  Node& node = stage_.Any();
  if (!node.published()) return;
  stage_.Say("a snapshot is taken of {}", node.name());
  node.member()->ReadDatabase([this, id = node.id()](absl::StatusOr<member::Member::DatabaseView> view) {
    if (!view.ok()) return;
    // It is on its way for as long as a slow client takes.
    auto held = std::make_shared<member::Member::DatabaseView>(*std::move(view));
    scheduler_.After(scheduler_.Between(0, 2 * kSecond), [this, id, held] { Restore(id, std::move(*held)); });
  });
}

void Upkeep::Restore(MemberId of, member::Member::DatabaseView view) {
  const std::unique_ptr<backend::MemoryBackend> database = backend::MemoryBackend::Create();
  database->Replace(std::move(view.view), view.position,
                    [](const absl::Status& status) { KVORUM_CHECK(status.ok()); });
  const absl::StatusOr<std::unique_ptr<mvcc::Store>> store = mvcc::Store::Open({.backend = database.get()});
  if (!store.ok()) {
    stage_.violations().push_back(
        fmt::format("a snapshot of {:x} cannot be restored: {}", of.value(), store.status().ToString()));
    return;
  }
  const int64_t revision = (*store)->current_revision();
  NoteHash(of, (*store)->Hash(revision));
  for (Node* node : stage_.present()) {
    if (!node->published()) continue;
    node->member()->HashKv(revision, [this, id = node->id()](const absl::StatusOr<mvcc::HashResult>& hash) {
      NoteHash(id, hash);
    });
  }
}

void Upkeep::NoteHash(MemberId of, const absl::StatusOr<mvcc::HashResult>& hash) {
  if (!hash.ok()) return;  // compacted meanwhile, or not there yet
  stage_.history().hashes.push_back({.member = of,
                                     .revision = hash->revision,
                                     .compact_revision = hash->compact_revision,
                                     .hash = hash->hash});
}

void Upkeep::Defragment() {
  Node& node = stage_.Any();
  if (!node.published()) return;
  stage_.Say("{} is defragmented", node.name());
  node.member()->Defragment([](const absl::Status&) {});
}

}  // namespace kvorum::sim
