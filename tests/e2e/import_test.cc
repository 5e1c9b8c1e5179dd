// A data directory that etcd wrote goes on under Kvorum.

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "support/interop.h"
#include "support/server.h"

namespace kvorum::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Import, GoesOnWhereEtcdWasStopped) {
  Server server(Server::Kind::kEtcd);
  ASSERT_NO_FATAL_FAILURE(FillStore(server));
  const std::string before = StoreOf(server);
  server.Terminate();
  server.StartAs(Server::Kind::kKvorum);
  EXPECT_EQ(StoreOf(server), before);
  EXPECT_THAT(server.process().output(), HasSubstr("imported etcd's database"));
  EXPECT_THAT(server.Etcdctl("member list").out, HasSubstr("default"));

  EXPECT_EQ(server.Etcdctl("put after import").exit_code, 0);
  const std::string after = StoreOf(server);
  server.Kill();
  server.Start();
  EXPECT_EQ(StoreOf(server), after);
  EXPECT_THAT(server.process().output(), Not(HasSubstr("importing")));
}

TEST(Import, LosesNothingThatEtcdAcknowledgedBeforeItWasKilled) {
  // Without snapshots all comes from the log; with them most of the log is gone.
  for (const char* snapshot_count : {"100000", "5"}) {
    Server server(Server::Kind::kEtcd, {std::string("--snapshot-count=") + snapshot_count});
    ASSERT_NO_FATAL_FAILURE(FillStore(server));
    const std::string before = StoreOf(server);
    server.Kill();
    server.StartAs(Server::Kind::kKvorum);
    EXPECT_EQ(StoreOf(server), before);
    EXPECT_EQ(server.Etcdctl("put after import").exit_code, 0);
  }
}

TEST(Import, TakesTheKeysOfTheV2ApiOver) {
  // From the log alone, and from a snapshot with a little log behind it.
  for (const char* snapshot_count : {"100000", "25"}) {
    const std::vector<std::string> flags = {std::string("--snapshot-count=") + snapshot_count, "--enable-v2"};
    Server server(Server::Kind::kEtcd, flags);
    ASSERT_NO_FATAL_FAILURE(FillV2Store(server));
    ASSERT_NO_FATAL_FAILURE(FillStore(server));
    const std::string before = V2StoreOf(server);
    const std::string keys = StoreOf(server);
    server.Kill();
    server.StartAs(Server::Kind::kKvorum, flags);
    EXPECT_EQ(V2StoreOf(server), before);
    EXPECT_EQ(StoreOf(server), keys);
    ASSERT_NO_FATAL_FAILURE(FillV2Store(server));
    const std::string after = V2StoreOf(server);
    server.Kill();
    server.Start();
    EXPECT_EQ(V2StoreOf(server), after);
  }
}

TEST(Import, IsRefusedWhileEtcdRuns) {
  Server etcd(Server::Kind::kEtcd);
  const CommandResult refused = Shell(KvorumProgram() + " --data-dir=" + Quote(etcd.data_dir()) +
                                      " --listen-client-urls=http://127.0.0.1:" + std::to_string(FreePort()) +
                                      " --advertise-client-urls=http://127.0.0.1:1" +
                                      " --listen-peer-urls=http://127.0.0.1:" + std::to_string(FreePort()));
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.out + refused.err, HasSubstr("locked"));
}

}  // namespace
}  // namespace kvorum::test
