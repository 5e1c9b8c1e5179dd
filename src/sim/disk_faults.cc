#include "sim/disk_faults.h"

#include <utility>

namespace kvorum::sim {

namespace {

constexpr Instant kSecond = 1'000'000'000;

}  // namespace

void DiskFaults::FailSync() {
  Node& node = stage_.Any();
  stage_.Say("the next sync of {} fails", node.name());
  node.disk().env().FailNth(testing::FaultEnv::Op::kSync, 0,
                            absl::InternalError("fdatasync: input/output error"));
}

void DiskFaults::Fill() {
  Node& node = stage_.Any();
  if (node.disk().env().full()) return;
  stage_.Say("the disk of {} is full", node.name());
  node.disk().env().SetFull(true);
  scheduler_.After(scheduler_.Between(0, 6 * kSecond), [this, &node] {
    stage_.Say("the disk of {} has room", node.name());
    node.disk().env().SetFull(false);
  });
}

void DiskFaults::Lose() {
  do {
    Node& node = stage_.Any();
    if (admin_.MayBreak(node)) stage_.LoseDisk(node);
  } while (random_.OneIn(1, 3));
}

void DiskFaults::Flip() {
  Node& node = stage_.Any();
  if (!admin_.MayBreak(node)) return;
  stage_.HarmFiles(node, [&] { stage_.Say("bits flip on {}: {}", node.name(), node.disk().Flip()); });
}

void DiskFaults::SetBackDatabase() {
  Node& node = stage_.Any();
  if (node.IsJoining()) return;
  auto copy = std::make_shared<std::unique_ptr<backend::MemoryBackend>>(node.CopyDatabase());
  scheduler_.After(scheduler_.Between(0, 8 * kSecond), [this, &node, copy] {
    if (!admin_.MayBreak(node)) return;
    stage_.HarmFiles(node, [&] {
      stage_.Say("{} gets its database of index {} back", node.name(), (*copy)->applied().index);
      node.PutDatabase(std::move(*copy));
    });
  });
}

void DiskFaults::LoseLog() {
  Node& node = stage_.Any();
  // With nothing in the database either it is a new machine, which is Lose.
  if (!admin_.MayBreak(node) || node.CopyDatabase()->applied().index == 0) return;
  stage_.HarmFiles(node, [&] {
    stage_.Say("{} loses its log", node.name());
    node.disk().LoseLog();
  });
  scheduler_.After(6 * kSecond, [this, &node] {
    if (node.up()) stage_.violations().push_back(fmt::format("{} started without its log", node.name()));
  });
}

void DiskFaults::End() {
  for (Node* node : stage_.present()) {
    node->disk().env().ClearFaults();
    node->disk().env().SetFull(false);
    node->disk().manner().stall_one_in = 0;
  }
}

}  // namespace kvorum::sim
