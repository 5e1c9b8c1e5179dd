#include "fmt/format.h"
#include "gtest/gtest.h"
#include "sim/scenarios/scene.h"

namespace kvorum::sim {
namespace {

using Strings = std::vector<std::string>;

/// A compaction goes in steps of one record, each in a commit of its own.
Scene::Options SlowCompactions(uint64_t members) {
  Scene::Options options{.members = members};
  options.member.compaction_batch_limit = 1;
  return options;
}

/// Lets the compaction go on for a while, then ends the process with what the database has by then.
void KillAfter(Scene& scene, Node& node, int milliseconds) {
  for (int i = 0; i < milliseconds; ++i) {
    scene.Let(kMillisecond);
    node.CommitDatabase();
  }
  scene.Restart(node);
}

TEST(CompactionScenario, ACrashInACompactionUpToADeletionDoesNotTakeTheRevisionBack) {
  for (int when = 0; when < 120; when += 3) {
    Scene scene(SlowCompactions(1));
    Node& node = scene.node(0);
    for (int i = 0; i < 4; ++i) scene.Put(node, "a", "x");
    const int64_t last = scene.Delete(node, "a");
    ASSERT_TRUE(scene.Compact(node, last).ok());
    KillAfter(scene, node, when);
    ASSERT_EQ(node.member()->store().current_revision(), last) << "killed after " << when << " ms";
    EXPECT_EQ(scene.Get(node, "a"), "(none)");
    EXPECT_EQ(scene.Put(node, "a", "y"), last + 1);
  }
}

TEST(CompactionScenario, AWatchFromTheCompactedRevisionGetsTheDeletionThere) {
  for (const bool restarted : {false, true}) {
    Scene scene(1);
    Node& node = scene.node(0);
    for (int i = 2; i <= 4; ++i) scene.Put(node, "k", std::to_string(i));
    EXPECT_EQ(scene.Delete(node, "k"), 5);
    scene.Put(node, "k", "6");
    ASSERT_TRUE(scene.Compact(node, 5).ok());
    scene.Let(kSecond);
    ASSERT_FALSE(node.member()->store().compacting());
    if (restarted) scene.Restart(node);
    SceneWatch watch(&scene, node, {.key = "k", .start_revision = 5});
    scene.Let(kSecond);
    EXPECT_EQ(watch.events(), (Strings{"k-@5", "k=6@6"}));
    EXPECT_EQ(watch.compacted(), 0);
  }
}

// The watch comes while that very revision is being compacted, and may find the process anew.
TEST(CompactionScenario, AWatchThatComesDuringTheCompactionGetsTheWholeRevision) {
  for (int when = 0; when < 120; when += 3) {
    for (const bool killed : {false, true}) {
      Scene scene(SlowCompactions(1));
      Node& node = scene.node(0);
      scene.Put(node, "a", "x");
      scene.Put(node, "b", "x");
      scene.Put(node, "a", "y");
      etcdserverpb::DeleteRangeRequest both;
      both.set_key("a");
      both.set_range_end("c");
      ASSERT_TRUE(scene.Ask(node, both).ok());
      ASSERT_TRUE(scene.Compact(node, 5).ok());
      if (killed) {
        KillAfter(scene, node, when);
      } else {
        scene.Let(when * kMillisecond);
      }
      SceneWatch watch(&scene, node, {.key = "a", .end = "c", .start_revision = 5});
      scene.Let(kSecond);
      EXPECT_EQ(watch.events(), (Strings{"a-@5", "b-@5"})) << when << " ms" << (killed ? ", killed" : "");
      EXPECT_EQ(watch.compacted(), 0);
    }
  }
}

// A transaction that reads at a revision fails everywhere or nowhere, whoever was asked.
TEST(CompactionScenario, ATransactionThatReadsWhatWasCompactedFailsOnAllMembers) {
  Scene scene;
  Node& leader = scene.Leader();
  for (int i = 2; i <= 9; ++i) scene.Put(leader, "a", std::to_string(i));
  ASSERT_TRUE(scene.Compact(leader, 6).ok());
  for (const int64_t revision : {3, 1000}) {
    for (Node* node : scene.nodes()) {
      etcdserverpb::TxnRequest txn;
      txn.add_success()->mutable_request_put()->set_key("b");
      etcdserverpb::RangeRequest* range = txn.add_success()->mutable_request_range();
      range->set_key("a");
      range->set_revision(revision);
      EXPECT_FALSE(scene.Ask(*node, txn).ok());
      EXPECT_EQ(scene.Get(*node, "b"), "(none)");
    }
  }
  scene.Settle();
  for (Node* node : scene.nodes()) EXPECT_EQ(node->member()->store().current_revision(), 9);
}

}  // namespace
}  // namespace kvorum::sim
