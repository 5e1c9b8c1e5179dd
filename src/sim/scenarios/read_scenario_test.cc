#include "gtest/gtest.h"
#include "sim/scenarios/planting.h"
#include "sim/scenarios/scene.h"

namespace kvorum::sim {
namespace {

using raft::MessageType;

etcdserverpb::RangeRequest ReadOf(const std::string& key) {
  etcdserverpb::RangeRequest request;
  request.set_key(key);
  return request;
}

/// The value that a read gave, "" while it was not answered, or the error.
struct Told {
  std::string text;
  void Ask(Node& node, const std::string& key) {
    sim::Ask(*node.member(), ReadOf(key), [this](Scene::Answer answer) {
      text = answer.ok() ? std::get<etcdserverpb::RangeResponse>(*answer).kvs(0).value()
                         : std::string(answer.status().message());
    });
  }
};

/// Lets the other members elect a leader while this one is stopped, and writes by them.
void WriteBehindItsBack(Scene& scene, Node& stopped, const std::string& value) {
  stopped.Pause();
  Node& leader = scene.Leader();
  ASSERT_NE(&leader, &stopped);
  scene.Put(leader, "x", value);
}

TEST(ReadScenario, ALeaderThatWasStoppedDoesNotAnswerFromThePast) {
  for (const uint64_t members : {3, 5}) {
    Scene scene(members);
    Node& old = scene.Leader();
    scene.Put(old, "x", "old");
    scene.network().SetFilter([&old](const raft::Message& message) {
      return message.to != raft::NodeId(old.id().value()) && message.from != raft::NodeId(old.id().value());
    });
    WriteBehindItsBack(scene, old, "new");
    old.Resume();
    ASSERT_TRUE(old.member()->status().is_leader) << "as far as it knows";
    Told told;
    told.Ask(old, "x");
    scene.Let(20 * kMillisecond);
    EXPECT_EQ(told.text, "");
    scene.network().SetFilter(nullptr);
    EXPECT_TRUE(scene.Until([&] { return !told.text.empty(); }));
    EXPECT_NE(told.text, "old");
  }
}

/// A leader of five and one follower are stopped, and the others go on without them; then the two come back
/// and hear each other, and nobody else, for a moment. What the follower read, begun at once.
std::string ReadByALeaderWithOneFollower() {
  Scene scene(5);
  Node& old = scene.Leader();
  Node& follower = scene.Other(old);
  scene.Put(old, "x", "old");
  scene.Settle();
  const auto is_here = [&](raft::NodeId id) {
    return id.value() == old.id().value() || id.value() == follower.id().value();
  };
  scene.network().SetFilter(
      [&](const raft::Message& message) { return is_here(message.from) == is_here(message.to); });
  follower.Pause();
  WriteBehindItsBack(scene, old, "new");
  old.Resume();
  follower.Resume();
  EXPECT_TRUE(old.member()->status().is_leader) << "as far as it knows";
  EXPECT_EQ(follower.member()->status().leader, old.id()) << "as far as it knows";
  Told told;
  told.Ask(follower, "x");
  scene.Let(50 * kMillisecond);
  scene.network().SetFilter(nullptr);
  EXPECT_TRUE(scene.Until([&] { return !told.text.empty(); }));
  return told.text;
}

TEST(ReadScenario, OneFollowerConfirmsNoReadInAClusterOfFive) {
  EXPECT_NE(ReadByALeaderWithOneFollower(), "old");
}

#if KVORUM_PLANTED_BUGS
TEST(ReadScenario, OneFollowerWhoseWordIsEnoughReadsFromThePast) {
  const Planting planting(PlantedBug::kWitnessMinority);
  EXPECT_EQ(ReadByALeaderWithOneFollower(), "old");
}
#endif

// A follower repeats its question because the answer was lost, and acknowledgements of the round that
// answered it the first time arrive late: a read that began in between is not confirmed by them.
TEST(ReadScenario, ARepeatedQuestionDoesNotConfirmReadsThatCameBeforeItsRepetition) {
  Scene scene(5);
  Node& old = scene.Leader();
  scene.Put(old, "x", "old");
  std::vector<Node*> others;
  for (Node* node : scene.nodes()) {
    if (node != &old) others.push_back(node);
  }
  const auto is = [](raft::NodeId id, const Node& node) { return id.value() == node.id().value(); };
  std::vector<raft::Message> late;
  std::optional<raft::Message> again;
  bool lost = false;
  bool cut = false;
  scene.network().SetFilter([&](const raft::Message& message) {
    if (cut && (is(message.from, old) || is(message.to, old))) return false;
    const bool slow = is(message.from, *others[2]) || is(message.from, *others[3]);
    if (message.type == MessageType::kHeartbeatResp && !message.context.empty() && slow) {
      late.push_back(message);
      return false;
    }
    if (message.type == MessageType::kReadIndexResp && is(message.to, *others[0])) {
      lost = true;
      return false;
    }
    if (message.type == MessageType::kReadIndex && lost) {
      again = message;
      return false;
    }
    return true;
  });
  Told first;
  first.Ask(*others[0], "x");
  ASSERT_TRUE(scene.Until([&] { return lost && again && late.size() >= 2; }));
  cut = true;
  WriteBehindItsBack(scene, old, "new");
  old.Resume();
  ASSERT_TRUE(old.member()->status().is_leader) << "as far as it knows";
  Told told;
  told.Ask(old, "x");
  scene.Let(kMillisecond);
  scene.network().Inject(*again);
  scene.Let(kMillisecond);
  for (const raft::Message& message : late) scene.network().Inject(message);
  scene.Let(kMillisecond);
  EXPECT_EQ(told.text, "");
  scene.network().SetFilter(nullptr);
  EXPECT_TRUE(scene.Until([&] { return !told.text.empty(); }));
  EXPECT_NE(told.text, "old");
}

}  // namespace
}  // namespace kvorum::sim
