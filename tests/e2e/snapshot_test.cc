// Snapshots that Kvorum streams: etcd's tools take them, and etcd starts from them.

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "support/interop.h"
#include "support/server.h"

namespace kvorum::test {
namespace {

using ::testing::HasSubstr;

TEST(Snapshot, EtcdGoesOnFromOneThatKvorumMade) {
  Server server(Server::Kind::kKvorum);
  ASSERT_NO_FATAL_FAILURE(FillStore(server));
  const std::string before = StoreOf(server);
  const TempDir directory;
  const std::string file = directory / "snapshot.db";
  const CommandResult saved = server.Etcdctl("snapshot save " + Quote(file));
  ASSERT_EQ(saved.exit_code, 0) << saved.err;
  EXPECT_THAT(saved.out, HasSubstr("Snapshot saved at"));
  EXPECT_THAT(server.Etcdctl("snapshot status " + Quote(file)).out, HasSubstr(", 47, "));
  server.Terminate();

  const std::string old = server.data_dir() + ".old";
  const CommandResult restored = Shell("mv " + Quote(server.data_dir()) + " " + Quote(old) +
                                       " && ETCDCTL_API=3 etcdctl snapshot restore " + Quote(file) +
                                       " --data-dir " + Quote(server.data_dir()));
  ASSERT_EQ(restored.exit_code, 0) << restored.err;
  server.StartAs(Server::Kind::kEtcd);
  EXPECT_EQ(StoreOf(server), before);
  EXPECT_EQ(server.Etcdctl("put after restore").exit_code, 0);
}

}  // namespace
}  // namespace kvorum::test
