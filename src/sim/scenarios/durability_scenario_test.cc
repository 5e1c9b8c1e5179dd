#include "base/random.h"
#include "fmt/format.h"
#include "gtest/gtest.h"
#include "sim/scenarios/scene.h"
#include "sim/scenarios/torn_backend.h"

namespace kvorum::sim {
namespace {

TEST(DurabilityScenario, AMemberAloneLosesNoWriteThatItAcknowledged) {
  Scene::Options options{.members = 1};
  options.disk = {.min_sync = 5 * kMillisecond, .max_sync = 20 * kMillisecond};
  Scene scene(options);
  Node& node = scene.node(0);
  for (int i = 0; i < 20; ++i) {
    const std::string value = std::to_string(i);
    etcdserverpb::PutRequest put;
    put.set_key("k");
    put.set_value(value);
    // The power goes in the instant in which the client is told.
    Ask(*node.member(), put, [&](const Scene::Answer& answer) {
      if (answer.ok()) scene.scheduler().After(0, [&node] { node.Kill(true); });
    });
    ASSERT_TRUE(scene.Until([&node] { return !node.up(); }));
    scene.Start(node);
    EXPECT_EQ(scene.Get(node, "k"), value);
  }
}

TEST(DurabilityScenario, ALeaderAcknowledgesNothingThatAMajorityCanForget) {
  Scene::Options options;
  options.disk = {.min_sync = 5 * kMillisecond, .max_sync = 20 * kMillisecond};
  Scene scene(options);
  for (int i = 0; i < 10; ++i) {
    const std::string value = std::to_string(i);
    etcdserverpb::PutRequest put;
    put.set_key("k");
    put.set_value(value);
    bool told = false;
    Ask(*scene.Leader().member(), put, [&](const Scene::Answer& answer) {
      if (answer.ok()) told = true;
      scene.scheduler().After(0, [&] {
        for (Node* node : scene.nodes()) node->Kill(true);
      });
    });
    ASSERT_TRUE(scene.Until([&] { return !scene.node(0).up(); }));
    ASSERT_TRUE(told);
    for (Node* node : scene.nodes()) ASSERT_TRUE(node->Start().ok());
    EXPECT_EQ(scene.Get(scene.Leader(), "k"), value);
  }
}

uint32_t HashOf(Scene& scene, Node& node) {
  std::optional<uint32_t> hash;
  node.member()->HashKv(0, [&hash](absl::StatusOr<mvcc::HashResult> result) { hash = result->hash; });
  EXPECT_TRUE(scene.Until([&] { return hash.has_value(); }));
  return hash.value_or(0);
}

/// Several writes in one entry.
etcdserverpb::TxnRequest Change(int i) {
  etcdserverpb::TxnRequest txn;
  for (const char* key : {"a", "b"}) {
    etcdserverpb::PutRequest* put = txn.add_success()->mutable_request_put();
    put->set_key(key);
    put->set_value(std::to_string(i));
  }
  txn.add_success()->mutable_request_delete_range()->set_key("c");
  return txn;
}

// The database is committed behind any single write of it, and the process dies there: the entries that it
// has are the ones that it says it has, and no entry is applied twice or never.
TEST(DurabilityScenario, ADatabaseCommittedAnywhereGoesOnWithTheRightEntry) {
  Random random(1);
  Scene::Options options;
  TornBackend* torn = nullptr;
  options.wrap_first_database = [&torn](backend::MemoryBackend* database) {
    auto wrapped = std::make_unique<TornBackend>(database);
    torn = wrapped.get();
    return wrapped;
  };
  Scene scene(options);
  Node& node = scene.node(0);
  Node& other = scene.node(1);
  int torn_runs = 0;
  for (int run = 0; run < 60; ++run) {
    torn->TearAfter(random.Below(30));
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(scene.Ask(other, Change(run * 3 + i)).ok());
      scene.Put(other, "c", "x");
    }
    scene.Settle();
    std::unique_ptr<backend::MemoryBackend> image = torn->TakeImage();
    node.Kill(false);
    if (image != nullptr) {
      ++torn_runs;
      node.PutDatabase(std::move(image));
    }
    scene.Start(node);
    scene.Settle();
    ASSERT_EQ(node.member()->store().current_revision(), other.member()->store().current_revision());
    ASSERT_EQ(HashOf(scene, node), HashOf(scene, other)) << "run " << run;
  }
  EXPECT_GT(torn_runs, 20);
}

}  // namespace
}  // namespace kvorum::sim
