#include "proxy/http/cluster_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/testing/fault_env.h"
#include "base/testing/temp_directory.h"

namespace kvorum::proxy_http {
namespace {

using ::testing::ElementsAre;
using testing::FaultEnv;
using ::testing::HasSubstr;
using testing::TempDirectory;

TEST(ProxyClusterFile, IsWhatEtcdWrites) {
  const std::vector<std::string> urls = {"http://127.0.0.1:2380", "http://[::1]:2380"};
  EXPECT_EQ(ClusterFileText(urls), R"({"PeerURLs":["http://127.0.0.1:2380","http://[::1]:2380"]})");
  EXPECT_EQ(ParseClusterFile(ClusterFileText(urls)).value(), urls);
  EXPECT_THAT(ParseClusterFile(" {\"Other\": {}, \"PeerURLs\": [\"a\"]}\n").value(), ElementsAre("a"));
}

TEST(ProxyClusterFile, RefusesWhatIsNone) {
  for (const std::string_view text :
       {"", "{x", "[]", "{}", R"({"PeerURLs":[]})", R"({"PeerURLs":null})", R"({"PeerURLs":"a"})",
        R"({"PeerURLs":[1]})", R"({"PeerURLs":["a"]} x)"}) {
    EXPECT_EQ(ParseClusterFile(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(ProxyClusterFile, IsReplacedAndForItsOwnerAlone) {
  const TempDirectory directory;
  const std::string path = directory.path() + "/cluster";
  EXPECT_EQ(ReadClusterFile(PosixEnv(), path).status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(WriteClusterFile(PosixEnv(), path, {"http://a:1"}).ok());
  ASSERT_TRUE(WriteClusterFile(PosixEnv(), path, {"http://b:1"}).ok());
  EXPECT_THAT(ReadClusterFile(PosixEnv(), path).value(), ElementsAre("http://b:1"));
  EXPECT_THAT(PosixEnv().ListDirectory(directory.path()).value(), ElementsAre("cluster"));
  struct stat status;
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST(ProxyClusterFile, IsOldOrNewAfterACrash) {
  const std::vector<std::string> before = {"http://before:1"};
  const std::vector<std::string> after = {"http://after:1"};
  bool finished = false;
  for (uint64_t operations = 0; !finished; ++operations) {
    for (const FaultEnv::Keep& keep : {FaultEnv::KeepNothing(), FaultEnv::KeepEverything()}) {
      FaultEnv env;
      ASSERT_TRUE(env.CreateDirectories("/data/proxy", 0700).ok());
      for (const std::string above : {"/", "/data"}) ASSERT_TRUE(env.SyncDirectory(above).ok());
      ASSERT_TRUE(WriteClusterFile(env, "/data/proxy/cluster", before).ok());
      env.StopAfter(operations);
      finished = WriteClusterFile(env, "/data/proxy/cluster", after).ok();
      env.Crash(keep);
      const std::vector<std::string> found = ReadClusterFile(env, "/data/proxy/cluster").value();
      EXPECT_TRUE(found == after || (!finished && found == before)) << operations;
    }
  }
}

TEST(ProxyClusterFile, NamesTheFileThatIsBad) {
  const TempDirectory directory;
  const std::string path = directory.path() + "/cluster";
  ASSERT_TRUE(PosixEnv().OpenForWriting(path, Env::Create::kMustBeNew).value()->Append("{x").ok());
  EXPECT_THAT(std::string(ReadClusterFile(PosixEnv(), path).status().message()), HasSubstr(path));
}

}  // namespace
}  // namespace kvorum::proxy_http
