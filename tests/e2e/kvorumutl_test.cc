// kvorumutl and the data of both programs.

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "support/interop.h"
#include "support/server.h"

namespace kvorum::test {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

CommandResult Kvorumutl(const std::string& arguments) {
  const CommandResult result = Shell(KvorumProgram() + "utl " + arguments);
  EXPECT_EQ(result.exit_code, 0) << arguments << ": " << result.err;
  return result;
}

/// The directory of a server that does not run becomes what is restored from the file.
void RestoreInPlace(const Server& server, const std::string& file, const std::string& flags = "") {
  const std::string data = Quote(server.data_dir());
  ASSERT_EQ(Shell("rm -r " + data).exit_code, 0);
  Kvorumutl("snapshot restore " + Quote(file) + " --data-dir " + data + " " + flags);
}

TEST(Kvorumutl, SavesAndRestoresSnapshots) {
  Server server(Server::Kind::kKvorum);
  ASSERT_NO_FATAL_FAILURE(FillStore(server));
  const std::string before = StoreOf(server);
  const TempDir directory;
  const std::string file = directory / "snapshot.db";
  const CommandResult saved = Kvorumutl("snapshot save " + Quote(file) + " --endpoints " + server.url());
  EXPECT_THAT(saved.out, HasSubstr("Snapshot saved at " + file + "\nServer version 3.7.0\n"));

  const std::string theirs = server.Etcdctl("snapshot status " + Quote(file)).out;
  const std::string hash_and_revision = theirs.substr(0, theirs.find(", 47, ") + 6);
  EXPECT_THAT(Kvorumutl("snapshot status " + Quote(file)).out, StartsWith(hash_and_revision + "8, "));
  EXPECT_THAT(Kvorumutl("snapshot status -w json " + Quote(file)).out, HasSubstr("\"version\":\"3.7.0\""));

  server.Terminate();
  ASSERT_NO_FATAL_FAILURE(RestoreInPlace(server, file));
  server.Start();
  EXPECT_EQ(StoreOf(server), before);
}

TEST(Kvorumutl, RestoresASnapshotOfEtcd) {
  Server server(Server::Kind::kEtcd);
  ASSERT_NO_FATAL_FAILURE(FillStore(server));
  const std::string before = StoreOf(server);
  const TempDir directory;
  const std::string file = directory / "snapshot.db";
  ASSERT_EQ(server.Etcdctl("snapshot save " + Quote(file)).exit_code, 0);
  server.Terminate();
  ASSERT_NO_FATAL_FAILURE(RestoreInPlace(server, file));
  server.StartAs(Server::Kind::kKvorum);
  EXPECT_EQ(StoreOf(server), before);

  server.Terminate();
  ASSERT_NO_FATAL_FAILURE(RestoreInPlace(server, file, "--bump-revision 1000 --mark-compacted"));
  server.Start();
  EXPECT_THAT(server.Etcdctl("put later x -w json").out, HasSubstr("\"revision\":1048"));
  EXPECT_THAT(server.Etcdctl("get key1 --rev 1046").err, HasSubstr("required revision has been compacted"));
  EXPECT_EQ(server.Etcdctl("get key1 --print-value-only").out, "txn\n");
}

TEST(Kvorumutl, MakesADirectoryForEtcdAndTheWayBackIsAStart) {
  Server server(Server::Kind::kKvorum, {"--snapshot-count=20"});
  ASSERT_NO_FATAL_FAILURE(FillStore(server));
  const std::string before = StoreOf(server);
  const std::string migrate = "migrate --to etcd-3.4 --data-dir " + Quote(server.data_dir());
  EXPECT_EQ(Shell(KvorumProgram() + "utl " + migrate).exit_code, 1);  // it runs
  server.Terminate();
  Kvorumutl(migrate);
  server.StartAs(Server::Kind::kEtcd);
  EXPECT_EQ(StoreOf(server), before);
  EXPECT_EQ(server.Etcdctl("put from etcd").exit_code, 0);
  const std::string with_etcd = StoreOf(server);
  server.Terminate();
  const CommandResult refused = Shell(KvorumProgram() + "utl " + migrate);
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, HasSubstr("etcd was the last to run here"));

  server.StartAs(Server::Kind::kKvorum);
  EXPECT_EQ(StoreOf(server), with_etcd);
  EXPECT_EQ(server.Etcdctl("put from kvorum").exit_code, 0);
}

TEST(Kvorumutl, TakesKeysOfTheV2ApiToEtcdAndBack) {
  Server server(Server::Kind::kKvorum, {"--snapshot-count=20"});
  ASSERT_NO_FATAL_FAILURE(FillV2Store(server));
  const std::string before = V2StoreOf(server);
  server.Terminate();
  const std::string migrate = "migrate --force --data-dir " + Quote(server.data_dir()) + " --to etcd-";
  for (const char* release : {"3.6", "3.7"}) {
    const CommandResult refused = Shell(KvorumProgram() + "utl " + migrate + release);
    EXPECT_EQ(refused.exit_code, 1) << release;
    EXPECT_THAT(refused.err, HasSubstr("has keys of the v2 API, with which etcd " + std::string(release)));
  }
  Kvorumutl(migrate + "3.4");
  server.StartAs(Server::Kind::kEtcd, {"--enable-v2"});
  EXPECT_EQ(V2StoreOf(server), before);
  ASSERT_NO_FATAL_FAILURE(FillV2Store(server));
  const std::string with_etcd = V2StoreOf(server);
  server.Terminate();
  server.StartAs(Server::Kind::kKvorum);
  EXPECT_EQ(V2StoreOf(server), with_etcd);
}

TEST(Kvorumutl, AForcedNewClusterKeepsKeysOfTheV2Api) {
  Server server(Server::Kind::kKvorum, {"--snapshot-count=20"});
  ASSERT_NO_FATAL_FAILURE(FillV2Store(server));
  const std::string before = V2StoreOf(server);
  server.Kill();
  server.StartAs(Server::Kind::kKvorum, {"--force-new-cluster"});
  EXPECT_EQ(V2StoreOf(server), before);
}

}  // namespace
}  // namespace kvorum::test
