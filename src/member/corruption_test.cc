#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "member/testing/group.h"

namespace kvorum::member {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// Three members, of which some answer questions about their hashes as the test wants.
class CorruptionTest : public ::testing::Test {
 protected:
  CorruptionTest() {
    group_.calls().on_hash = [this](const std::string& url, int64_t revision) -> absl::StatusOr<Hash> {
      const size_t number = std::stoul(url.substr(std::string("http://m").size()));
      absl::StatusOr<Hash> hash = group_.at(number).member().store().Hash(revision);
      const auto lie = lies_.find(MemberId(number));
      if (hash.ok() && lie != lies_.end()) lie->second(*hash);
      if (absent_.contains(MemberId(number))) return absl::UnavailableError("gone");
      return hash;
    };
  }
  template <typename F>
  void Begin(F set) {
    set(group_.options());
    group_.Begin(3, seconds(1));
    for (World* world : group_.worlds()) ASSERT_TRUE(world->ready());
  }
  World& Leader() { return *group_.Leader(); }
  MemberId Follower(size_t number) {
    for (World* world : group_.worlds()) {
      if (world != group_.Leader() && number-- == 0) return world->member().id();
    }
    return MemberId(0);
  }
  void Lie(MemberId id, std::function<void(mvcc::HashResult&)> lie) { lies_[id] = std::move(lie); }
  void Put(const std::string& key) { EXPECT_TRUE(group_.Put(Leader(), key, milliseconds(300))); }
  void Compact(int64_t revision) {
    etcdserverpb::CompactionRequest request;
    request.set_revision(revision);
    EXPECT_TRUE(group_.Do(Leader(), RequestKind::kCompaction, request, milliseconds(300)));
    group_.Pass(milliseconds(300));
  }
  std::vector<Alarm> Alarms() { return Leader().member().alarms(); }
  static Alarm Corrupt(MemberId id) { return {.member = id, .type = AlarmType::kCorrupt}; }

  using Hash = mvcc::HashResult;
  Group group_;
  std::map<MemberId, std::function<void(Hash&)>> lies_;
  std::set<MemberId> absent_;
};

TEST_F(CorruptionTest, EqualMembersRaiseNothing) {
  Begin([](MemberOptions& options) {
    options.corrupt_check_time = seconds(1);
    options.compact_hash_check = true;
    options.compact_hash_check_time = seconds(1);
  });
  for (int i = 0; i < 5; ++i) Put("k");
  Compact(4);
  group_.Pass(seconds(5));
  EXPECT_GE(group_.calls().asked, 8);
  EXPECT_THAT(Alarms(), IsEmpty());
}

TEST_F(CorruptionTest, TheLeaderFindsAFollowerWithAnotherHash) {
  Begin([](MemberOptions& options) { options.corrupt_check_time = seconds(1); });
  Put("k");
  Lie(Follower(1), [](Hash& hash) { ++hash.hash; });
  group_.Pass(seconds(2));
  EXPECT_THAT(Alarms(), ElementsAre(Corrupt(Follower(1))));
}

TEST_F(CorruptionTest, AFollowerIsNeverAhead) {
  Begin([](MemberOptions& options) { options.corrupt_check_time = seconds(1); });
  Lie(Follower(0), [](Hash& hash) { hash.current_revision += 100; });
  group_.Pass(seconds(2));
  EXPECT_THAT(Alarms(), ElementsAre(Corrupt(Follower(0))));
}

TEST_F(CorruptionTest, MembersThatDoNotAnswerAreNotAccused) {
  Begin([](MemberOptions& options) { options.corrupt_check_time = seconds(1); });
  Lie(Follower(0), [](Hash& hash) { ++hash.hash; });
  absent_ = {Follower(0)};
  group_.Pass(seconds(3));
  EXPECT_THAT(Alarms(), IsEmpty());
}

TEST_F(CorruptionTest, OfCompactionsTheMajorityIsRight) {
  Begin([](MemberOptions& options) {
    options.compact_hash_check = true;
    options.compact_hash_check_time = seconds(20);
  });
  for (int i = 0; i < 5; ++i) Put("k");
  Compact(4);
  Lie(Follower(1), [](Hash& hash) { ++hash.hash; });
  group_.Pass(seconds(20));
  EXPECT_THAT(Alarms(), ElementsAre(Corrupt(Follower(1))));
}

TEST_F(CorruptionTest, WithoutAMajorityNobodyKnowsWhoIsRight) {
  Begin([](MemberOptions& options) {
    options.compact_hash_check = true;
    options.compact_hash_check_time = seconds(20);
  });
  for (int i = 0; i < 5; ++i) Put("k");
  Compact(4);
  Lie(Follower(0), [](Hash& hash) { hash.hash += 1; });
  Lie(Follower(1), [](Hash& hash) { hash.hash += 2; });
  group_.Pass(seconds(20));
  EXPECT_THAT(Alarms(), ElementsAre(Corrupt(MemberId(0))));
}

TEST_F(CorruptionTest, AnOlderCompactionIsComparedWhereTheNewestCannotBe) {
  Begin([](MemberOptions& options) {
    options.compact_hash_check = true;
    options.compact_hash_check_time = seconds(20);
  });
  for (int i = 0; i < 5; ++i) Put("k");
  Compact(3);
  Compact(5);
  Lie(Follower(0), [](Hash& hash) {
    if (hash.revision == 5) hash.compact_revision = -1;
    if (hash.revision == 3) ++hash.hash;
  });
  group_.Pass(seconds(20));
  EXPECT_THAT(Alarms(), ElementsAre(Corrupt(Follower(0))));
}

class InitialCheckTest : public ::testing::Test {
 protected:
  InitialCheckTest() {
    world_.options().initial_corrupt_check = true;
    world_.Join(World::kId, {{.id = World::kId, .peer_urls = {"http://self"}}}, false, nullptr, &calls_);
    EXPECT_TRUE(world_.Start().ok());
    std::optional<absl::StatusOr<std::vector<cluster::Member>>> added;
    world_.member().AddMember({.peer_urls = {"http://other"}, .is_learner = true}, MonotonicTime::max(),
                              [&added](auto members) { added = std::move(members); });
    world_.Advance(milliseconds(100));
    EXPECT_TRUE(added && added->ok());
    world_.Put("a", "b");
    world_.backend().CommitNow();
    world_.Crash();
  }
  FakeCalls calls_;
  World world_;
};

TEST_F(InitialCheckTest, BeginsWhereTheOthersHaveTheSame) {
  calls_.on_hash = [](const std::string&, int64_t revision) -> absl::StatusOr<mvcc::HashResult> {
    EXPECT_EQ(revision, 2);
    return mvcc::HashResult{.hash = 3628877040, .revision = 2, .compact_revision = -1, .current_revision = 2};
  };
  EXPECT_TRUE(world_.Start().ok());
}

TEST_F(InitialCheckTest, BeginsWhereNobodyAnswers) { EXPECT_TRUE(world_.Start().ok()); }

TEST_F(InitialCheckTest, BeginsWhereTheOthersWereCompactedOtherwise) {
  calls_.on_hash = [](const std::string&, int64_t) {
    return mvcc::HashResult{.hash = 1, .revision = 2, .compact_revision = 2, .current_revision = 2};
  };
  EXPECT_TRUE(world_.Start().ok());
}

TEST_F(InitialCheckTest, DoesNotBeginWithOtherData) {
  calls_.on_hash = [](const std::string&, int64_t) {
    return mvcc::HashResult{.hash = 1, .revision = 2, .compact_revision = -1, .current_revision = 2};
  };
  EXPECT_TRUE(world_.Begin().ok());
  world_.Advance(seconds(20));
  EXPECT_FALSE(world_.ready());
  EXPECT_EQ(world_.fatal().message(), "1234 found data inconsistency with peers");
}

}  // namespace
}  // namespace kvorum::member
