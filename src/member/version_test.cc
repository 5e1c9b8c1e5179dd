#include "gtest/gtest.h"
#include "member/member_versions.h"
#include "member/testing/group.h"

namespace kvorum::member {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// Two members, which the test makes believe each other of any release.
class VersionTest : public ::testing::Test {
 protected:
  VersionTest() { OtherSays(""); }
  void Begin() { group_.Begin(2, milliseconds(0)); }
  void Pass(milliseconds time) { group_.Pass(time); }
  World* Leader() { return group_.Leader(); }
  bool Ready() { return group_.at(1).ready() && group_.at(2).ready(); }
  void OtherSays(const std::string& version) { group_.calls().version = version; }
  std::string Version() { return Leader()->member().cluster().version(); }

  /// How the log tells of the membership.
  struct Forms {
    int legacy = 0;
    int current = 0;
  };
  Forms CountForms() {
    Forms forms;
    for (const auto& [index, entry] : Leader()->disk().entries()) {
      if (entry.type != raft::EntryType::kNormal || entry.data.empty()) continue;
      const std::optional<EntryView> view = ParseEntry(entry.data.view());
      if (!view) {
        ++forms.legacy;
      } else if (view->kind >= static_cast<uint32_t>(RequestKind::kClusterVersionSet)) {
        ++forms.current;
      }
    }
    return forms;
  }
  absl::StatusOr<std::string> Downgrade(Member::DowngradeAction action, const std::string& target) {
    std::optional<absl::StatusOr<std::string>> result;
    Leader()->member().ChangeDowngrade(
        action, target, MonotonicTime::max(),
        [&result](absl::StatusOr<std::string> got) { result = std::move(got); });
    for (int i = 0; i < 100 && !result; ++i) Pass(milliseconds(10));
    EXPECT_TRUE(result);
    return result.value_or(absl::UnknownError("no result"));
  }

  Group group_;
};

TEST_F(VersionTest, AMemberOf34IsNeverShownAnEntryThatItDoesNotKnow) {
  OtherSays("3.4.23");
  Begin();
  Pass(seconds(10));
  EXPECT_TRUE(Ready());
  EXPECT_EQ(Version(), "3.4.0");
  for (const cluster::Member& member : group_.at(1).member().cluster().members())
    EXPECT_FALSE(member.name.empty());
  EXPECT_EQ(CountForms().legacy, 3);
  EXPECT_EQ(CountForms().current, 0);
  EXPECT_EQ(Downgrade(Member::DowngradeAction::kEnable, "3.3").status().message(),
            "etcdserver: invalid downgrade target version");
  EXPECT_EQ(CountForms().current, 0);
}

TEST_F(VersionTest, AMemberOf37IsNeverShownARequestOfTheV2Store) {
  OtherSays("3.7.3");
  Begin();
  Pass(seconds(10));
  EXPECT_TRUE(Ready());
  EXPECT_EQ(Version(), "3.7.0");
  EXPECT_EQ(CountForms().legacy, 0);
  EXPECT_EQ(CountForms().current, 3);
}

TEST_F(VersionTest, WaitsForMembersThatAreNotThereYet) {
  Begin();
  Pass(seconds(3));
  EXPECT_FALSE(group_.at(1).ready() || group_.at(2).ready());
  EXPECT_EQ(Version(), "");
  OtherSays("3.4.23");
  Pass(seconds(1));
  EXPECT_TRUE(Ready());
  EXPECT_EQ(Version(), "3.4.0");
  EXPECT_EQ(CountForms().current, 0);
}

TEST_F(VersionTest, BeginsWithoutAMemberThatNeverComes) {
  Begin();
  Pass(seconds(8));
  EXPECT_TRUE(Ready());
  EXPECT_EQ(Version(), "3.0.0");
  OtherSays("3.7.0");
  Pass(seconds(5));
  EXPECT_EQ(Version(), "3.7.0");
}

TEST_F(VersionTest, RisesWithTheOldestMemberAndNeverFalls) {
  OtherSays("3.5.16");
  Begin();
  Pass(seconds(5));
  EXPECT_EQ(Version(), "3.5.0");
  OtherSays("3.6.4-rc.1");
  Pass(seconds(5));
  EXPECT_EQ(Version(), "3.6.0");
  OtherSays("");
  Pass(seconds(5));
  OtherSays("3.5.16");
  Pass(seconds(5));
  OtherSays("nonsense");
  Pass(seconds(5));
  EXPECT_EQ(Version(), "3.6.0");
  OtherSays("3.9.0");
  Pass(seconds(5));
  EXPECT_EQ(Version(), "3.7.0") << "no higher than this member is";
}

TEST_F(VersionTest, GoesDownWhereThatIsAskedFor) {
  using Action = Member::DowngradeAction;
  Begin();
  OtherSays("3.7.3");
  EXPECT_EQ(Downgrade(Action::kValidate, "3.6").status().message(),
            "etcdserver: cluster version not found during downgrade");
  Pass(seconds(5));
  EXPECT_EQ(Downgrade(Action::kValidate, "x").status().message(),
            "etcdserver: wrong downgrade target version format");
  EXPECT_EQ(Downgrade(Action::kEnable, "3.5.0").status().message(),
            "etcdserver: invalid downgrade target version");
  EXPECT_EQ(*Downgrade(Action::kValidate, "3.6.9"), "3.7.0");
  EXPECT_FALSE(Leader()->member().cluster().downgrade().enabled);
  EXPECT_EQ(*Downgrade(Action::kEnable, "3.6"), "3.7.0");
  EXPECT_EQ(Downgrade(Action::kValidate, "3.6").status().message(),
            "etcdserver: cluster has a downgrade job in progress");
  Pass(seconds(5));
  EXPECT_EQ(Version(), "3.6.0");
  Pass(seconds(20));
  EXPECT_TRUE(Leader()->member().cluster().downgrade().enabled) << "this member runs 3.7 still";
  EXPECT_EQ(Version(), "3.6.0");
  EXPECT_EQ(*Downgrade(Action::kCancel, ""), "3.6.0");
  EXPECT_FALSE(Leader()->member().cluster().downgrade().enabled);
  EXPECT_EQ(*Downgrade(Action::kCancel, ""), "3.6.0") << "also where there is none";
  Pass(seconds(5));
  EXPECT_EQ(Version(), "3.7.0");
}

TEST(MembershipForms, AreThoseOfTheOldestMember) {
  const auto of = [](const char* cluster, std::vector<const char*> members) {
    MemberVersions versions;
    for (const char* member : members) {
      auto& said = versions[MemberId(versions.size())];
      if (member != nullptr) said = PeerVersions{.server = member, .cluster = ""};
    }
    return FormFor(cluster, versions);
  };
  EXPECT_EQ(of("", {"3.7.1", "3.4.23"}), MembershipForm::kLegacy);
  EXPECT_EQ(of("", {"3.4.23", nullptr}), MembershipForm::kLegacy);
  EXPECT_EQ(of("", {"3.7.1", nullptr}), std::nullopt);
  EXPECT_EQ(of("3.0.0", {"3.7.1", nullptr}), std::nullopt);
  EXPECT_EQ(of("3.0.0", {"3.7.1", "3.6.0"}), MembershipForm::kCurrent);
  EXPECT_EQ(of("3.4.0", {"3.7.1", nullptr}), MembershipForm::kLegacy);
  EXPECT_EQ(of("3.6.0", {"3.7.1", nullptr}), MembershipForm::kCurrent);
}

}  // namespace
}  // namespace kvorum::member
