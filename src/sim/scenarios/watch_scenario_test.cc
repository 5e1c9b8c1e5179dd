#include "fmt/format.h"
#include "gtest/gtest.h"
#include "sim/scenarios/scene.h"

namespace kvorum::sim {
namespace {

using Strings = std::vector<std::string>;

Scene::Options ShortLogs() {
  Scene::Options options;
  options.member.snapshot_count = 10;
  options.member.snapshot_catchup_entries = 5;
  return options;
}

Strings Puts(int64_t from, int64_t to) {
  Strings events;
  for (int64_t revision = from; revision <= to; ++revision) {
    events.push_back(fmt::format("a={}@{}", revision, revision));
  }
  return events;
}

/// Puts "a" until the revision is `to`; each value is its revision.
void PutUpTo(Scene& scene, Node& node, int64_t to) {
  while (node.member()->store().current_revision() < to) {
    scene.Put(node, "a", std::to_string(node.member()->store().current_revision() + 1));
  }
}

/// A follower that was cut off while the others went on, so far that only a snapshot brings it back.
struct Laggard {
  explicit Laggard(Scene& scene) : leader(scene.Leader()), node(scene.Other(leader)) {}
  void GoesOn(Scene& scene, int64_t to) const {
    const uint64_t before = scene.network().snapshots();
    scene.CutOff(node);
    PutUpTo(scene, leader, to);
    scene.network().HealAll();
    ASSERT_TRUE(scene.Until([&] { return node.member()->store().current_revision() == to; }));
    ASSERT_GT(scene.network().snapshots(), before);
    scene.Let(kSecond);
  }
  Node& leader;
  Node& node;
};

TEST(WatchScenario, ASnapshotDoesNotTakeAWatcherBackInTime) {
  Scene scene(ShortLogs());
  const Laggard laggard(scene);
  SceneWatch watch(&scene, laggard.node, {.key = "a"});
  PutUpTo(scene, laggard.leader, 10);
  ASSERT_TRUE(scene.Until([&] { return watch.events() == Puts(2, 10); }));
  laggard.GoesOn(scene, 60);
  EXPECT_EQ(watch.events(), Puts(2, 60));
  PutUpTo(scene, laggard.leader, 62);
  EXPECT_TRUE(scene.Until([&] { return watch.events() == Puts(2, 62); }));
}

TEST(WatchScenario, ASnapshotDoesNotTakeAWatcherBackBeforeItsStart) {
  Scene scene(ShortLogs());
  const Laggard laggard(scene);
  PutUpTo(scene, laggard.leader, 10);
  scene.Settle();
  SceneWatch soon(&scene, laggard.node, {.key = "a", .start_revision = 40});
  SceneWatch later(&scene, laggard.node, {.key = "a", .start_revision = 80});
  laggard.GoesOn(scene, 60);
  EXPECT_EQ(soon.events(), Puts(40, 60));
  EXPECT_EQ(later.events(), Strings{});
  EXPECT_EQ(later.Progress(), 0) << "what lies before its start says nothing to it";
  PutUpTo(scene, laggard.leader, 81);
  EXPECT_TRUE(scene.Until([&] { return later.events() == Puts(80, 81); }));
}

// A client that goes on elsewhere, at a member that lags behind what the client has seen.
TEST(WatchScenario, AMemberThatLagsSendsNothingOfWhatTheClientHasSeen) {
  Scene scene;
  Node& leader = scene.Leader();
  Node& behind = scene.Other(leader);
  PutUpTo(scene, leader, 5);
  scene.Settle();
  scene.CutOff(behind);
  PutUpTo(scene, leader, 9);
  SceneWatch watch(&scene, behind, {.key = "a", .start_revision = 10});
  EXPECT_EQ(watch.Progress(), 0);
  scene.network().HealAll();
  ASSERT_TRUE(scene.Until([&] { return behind.member()->store().current_revision() == 9; }));
  scene.Let(kSecond);
  EXPECT_EQ(watch.events(), Strings{});
  EXPECT_EQ(watch.Progress(), 9) << "the next one is the first that it wants";
  PutUpTo(scene, leader, 11);
  EXPECT_TRUE(scene.Until([&] { return watch.events() == Puts(10, 11); }));
}

TEST(WatchScenario, ProgressIsNotToldAheadOfEvents) {
  Scene scene(1);
  Node& node = scene.node(0);
  PutUpTo(scene, node, 20);
  SceneWatch slow(&scene, node, {.key = "a", .start_revision = 2}, false);
  EXPECT_EQ(slow.Progress(), 0) << "it has its history yet to come";
  scene.Let(kSecond);
  EXPECT_EQ(slow.Progress(), 0) << "what was read for it is not taken yet";
  slow.Read();
  EXPECT_EQ(slow.events(), Puts(2, 20));
  EXPECT_EQ(slow.Progress(), 20);

  SceneWatch live(&scene, node, {.key = "a"}, false);
  PutUpTo(scene, node, 21);
  EXPECT_EQ(live.Progress(), 0) << "an event waits";
  live.Read();
  EXPECT_EQ(live.Progress(), 21);
}

// The same request at a watcher whose keys are quiet: it is told at once that it has everything.
TEST(WatchScenario, AWatcherOfQuietKeysIsToldItsProgress) {
  Scene scene(1);
  Node& node = scene.node(0);
  PutUpTo(scene, node, 20);
  SceneWatch watch(&scene, node, {.key = "quiet", .start_revision = 10});
  EXPECT_TRUE(scene.Until([&] { return watch.Progress() == 20; }, kSecond));
  EXPECT_EQ(watch.events(), Strings{});
}

// One that reads too slowly falls behind; what it lacks is compacted meanwhile.
TEST(WatchScenario, ASlowWatcherIsToldThatItsEventsWereCompacted) {
  Scene scene(1);
  Node& node = scene.node(0);
  SceneWatch slow(&scene, node, {.key = "a"}, false);
  SceneWatch other(&scene, node, {.key = "a"});
  const std::string large(64 << 10, 'x');
  for (int i = 0; i < 400; ++i) scene.Put(node, "a", large);
  const int64_t last = node.member()->store().current_revision();
  ASSERT_TRUE(scene.Compact(node, last).ok());
  scene.Let(kSecond);
  int64_t read = 0;
  for (int i = 0; i < 100 && slow.compacted() == 0; ++i) {
    slow.Read();
    scene.Let(10 * kMillisecond);
    read = static_cast<int64_t>(slow.events().size());
  }
  // What it was sent has no gap, and where it ends before the last one, it was told why.
  for (int64_t i = 0; i < read; ++i) {
    const std::string& event = slow.events()[static_cast<size_t>(i)];
    EXPECT_EQ(event.substr(event.rfind('@')), fmt::format("@{}", i + 2));
  }
  EXPECT_LT(read, last - 1) << "all was kept for it";
  EXPECT_EQ(slow.compacted(), last);
  EXPECT_EQ(other.events().size(), 400u);
}

// Watchers are made as fast as keys are written: each gets everything from its start on, once.
TEST(WatchScenario, WatchersMadeInAHurryLoseNothing) {
  Scene scene;
  Node& leader = scene.Leader();
  Node& follower = scene.Other(leader);
  std::vector<std::pair<int64_t, std::unique_ptr<SceneWatch>>> watches;
  for (int i = 0; i < 300; ++i) {
    etcdserverpb::PutRequest put;
    put.set_key("a");
    put.set_value(std::to_string(i + 2));
    Ask(*leader.member(), put, [](const Scene::Answer&) {});
    const int64_t revision = follower.member()->store().current_revision();
    const int64_t start = std::max<int64_t>(2, revision + 1 - i % 7);
    watches.emplace_back(
        start, std::make_unique<SceneWatch>(
                   &scene, follower, mvcc::WatchSpec{.key = "a", .start_revision = start}, i % 3 != 0));
    scene.scheduler().RunUntil(scene.scheduler().now() + 100'000);
  }
  ASSERT_TRUE(scene.Until([&] { return follower.member()->store().current_revision() == 301; }));
  scene.Let(kSecond);
  for (auto& [start, watch] : watches) {
    for (int i = 0; i < 10; ++i) {
      watch->Read();
      scene.Let(kMillisecond);
    }
    EXPECT_EQ(watch->events(), Puts(start, 301));
  }
}

}  // namespace
}  // namespace kvorum::sim
