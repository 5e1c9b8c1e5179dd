#include "cluster/version.h"

#include "gtest/gtest.h"

namespace kvorum::cluster {
namespace {

TEST(ClusterVersion, ReadsWhatReleasesSay) {
  EXPECT_EQ(ParseVersion("3.6.4"), (Version{3, 6, 4}));
  EXPECT_EQ(ParseVersion("3.6.0-rc.1"), (Version{3, 6, 0}));
  EXPECT_EQ(ParseVersion("3.7.1+kvorum"), (Version{3, 7, 1}));
  for (const char* bad : {"", "3", "3.6", "3.6.", "3.6.4.1", "v3.6.4", "+3.6.4", "-1.2.3", " 3.6.4", "3.6.4 ",
                          "not_decided", "3..4", "99999999999.0.0"}) {
    EXPECT_EQ(ParseVersion(bad), std::nullopt) << bad;
  }
}

TEST(ClusterVersion, IsOrderedAsReleasesAre) {
  EXPECT_LT(*ParseVersion("3.9.9"), *ParseVersion("3.10.0"));
  EXPECT_LT(*ParseVersion("3.10.1"), *ParseVersion("4.0.0"));
  EXPECT_EQ(ParseVersion("3.6.4")->Cluster().Text(), "3.6.0");
  EXPECT_EQ(ParseVersion("3.6.4")->ShortText(), "3.6");
}

}  // namespace
}  // namespace kvorum::cluster
