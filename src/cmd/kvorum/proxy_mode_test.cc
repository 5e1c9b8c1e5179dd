#include "cmd/kvorum/proxy_mode.h"

#include "base/testing/temp_directory.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kvorum::cmd {
namespace {

class CmdProxyMode : public ::testing::Test {
 protected:
  CmdProxyMode() { config_.data_dir = directory_.path() + "/data"; }
  void Make(const std::string& name) {
    ASSERT_TRUE(PosixEnv().CreateDirectories(config_.data_dir + "/" + name).ok());
  }
  bool IsProxy(const std::string& flag) {
    config_.proxy = flag;
    return IsProxyMode(config_, PosixEnv(), NullLogger()).value();
  }

  const testing::TempDirectory directory_;
  config::Config config_ = config::Defaults();
};

TEST_F(CmdProxyMode, FollowsTheFlagsWhereTheDirectoryIsFresh) {
  EXPECT_FALSE(IsProxy("off"));
  EXPECT_TRUE(IsProxy("on"));
  Make("lost+found");
  EXPECT_TRUE(IsProxy("readonly"));
}

TEST_F(CmdProxyMode, StaysWhatItWas) {
  Make("proxy");
  EXPECT_TRUE(IsProxy("off"));
}

TEST_F(CmdProxyMode, StaysAMember) {
  Make("member");
  EXPECT_FALSE(IsProxy("on"));
}

TEST_F(CmdProxyMode, RefusesADirectoryOfBoth) {
  Make("member");
  Make("proxy");
  EXPECT_EQ(IsProxyMode(config_, PosixEnv(), NullLogger()).status().message(),
            "invalid datadir; both member and proxy directories exist");
}

}  // namespace
}  // namespace kvorum::cmd
