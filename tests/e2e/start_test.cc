#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <filesystem>
#include <fstream>

#include "support/server.h"

namespace kvorum::test {
namespace {

// Starting, stopping, and refusing to start: one clear line, exit status 1, nothing touched.

struct Ended {
  int exit_code = -1;
  std::string output;
};

Ended RunKvorum(const std::string& arguments) {
  const CommandResult result = Shell(Quote(KvorumProgram()) + " " + arguments);
  return {result.exit_code, result.out + result.err};
}

std::string Ports() {
  const std::string client = "http://127.0.0.1:" + std::to_string(FreePort());
  const std::string peer = "http://127.0.0.1:" + std::to_string(FreePort());
  return " --listen-client-urls=" + client + " --advertise-client-urls=" + client +
         " --listen-peer-urls=" + peer + " --initial-advertise-peer-urls=" + peer +
         " --initial-cluster=default=" + peer;
}

TEST(Start, PrintsTheVersionThatToolsParse) {
  const Ended ended = RunKvorum("--version");
  EXPECT_EQ(ended.exit_code, 0);
  EXPECT_EQ(ended.output.substr(0, 18), "etcd Version: 3.7.");
}

TEST(Start, RefusesAnUnknownFlag) {
  const Ended ended = RunKvorum("--no-such-flag=1");
  EXPECT_EQ(ended.exit_code, 2);
  EXPECT_NE(ended.output.find("no-such-flag"), std::string::npos) << ended.output;
}

TEST(Start, RefusesAStrayArgument) {
  const Ended ended = RunKvorum("stray");
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_NE(ended.output.find(R"(\"stray\" is not a valid flag)"), std::string::npos) << ended.output;
}

TEST(Start, RefusesElectionTimeoutsThatDoNotFit) {
  const TempDir dir;
  const Ended ended =
      RunKvorum("--data-dir=" + (dir / "data") + " --heartbeat-interval=100 --election-timeout=200");
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_NE(ended.output.find(
                "--election-timeout[200ms] should be at least as 5 times as --heartbeat-interval[100ms]"),
            std::string::npos)
      << ended.output;
  EXPECT_FALSE(std::filesystem::exists(dir / "data"));
}

TEST(Start, RefusesABusyPortAndTouchesNothing) {
  const Server running(Server::Kind::kKvorum);
  const TempDir dir;
  const std::string peer = "http://127.0.0.1:" + std::to_string(FreePort());
  const Ended ended =
      RunKvorum("--data-dir=" + (dir / "data") + " --listen-client-urls=" + running.url() +
                " --advertise-client-urls=" + running.url() + " --listen-peer-urls=" + peer +
                " --initial-advertise-peer-urls=" + peer + " --initial-cluster=default=" + peer);
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_NE(ended.output.find("bind: address already in use"), std::string::npos) << ended.output;
  EXPECT_FALSE(std::filesystem::exists(dir / "data"));
}

TEST(Start, RefusesADataDirectoryInUse) {
  const Server running(Server::Kind::kKvorum);
  const Ended ended = RunKvorum("--data-dir=" + running.data_dir() + Ports());
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_NE(ended.output.find(running.data_dir()), std::string::npos) << ended.output;
  EXPECT_EQ(running.Etcdctl("put still alive").out, "OK\n");
}

TEST(Start, RefusesADamagedLogAndLeavesItAlone) {
  Server server(Server::Kind::kKvorum);
  for (int i = 0; i < 20; ++i) ASSERT_EQ(server.Etcdctl("put k" + std::to_string(i) + " value").out, "OK\n");
  server.Kill();
  const std::string segment = server.data_dir() + "/member/wal/0000000000000000-0000000000000000.wal";
  ASSERT_TRUE(std::filesystem::exists(segment));
  {
    std::fstream file(segment, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(400);
    file.write("\xff\xff\xff\xff", 4);
  }
  const auto written = std::filesystem::last_write_time(segment);
  const Ended ended = RunKvorum("--data-dir=" + server.data_dir() + Ports());
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_NE(ended.output.find("0000000000000000-0000000000000000.wal"), std::string::npos) << ended.output;
  EXPECT_EQ(std::filesystem::last_write_time(segment), written);
}

TEST(Start, RefusesAFileInPlaceOfTheDataDirectory) {
  const TempDir dir;
  std::ofstream(dir / "data") << "not a directory";
  const Ended ended = RunKvorum("--data-dir=" + (dir / "data") + Ports());
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_NE(ended.output.find(dir / "data"), std::string::npos) << ended.output;
}

TEST(Start, RefusesAClusterThatItIsNotIn) {
  const TempDir dir;
  const Ended ended = RunKvorum("--data-dir=" + (dir / "data") + Ports() + " --name=c" +
                                " --initial-cluster=a=http://127.0.0.1:2380,b=http://127.0.0.1:2480");
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_NE(ended.output.find("couldn't find local name"), std::string::npos) << ended.output;
  EXPECT_FALSE(std::filesystem::exists(dir / "data"));
}

TEST(Start, TakesSettingsFromTheEnvironment) {
  const TempDir dir;
  const std::string client = "http://127.0.0.1:" + std::to_string(FreePort());
  const std::string peer = "http://127.0.0.1:" + std::to_string(FreePort());
  Process process({KvorumProgram()}, {{"ETCD_DATA_DIR", dir / "data"},
                                      {"ETCD_LISTEN_CLIENT_URLS", client},
                                      {"ETCD_ADVERTISE_CLIENT_URLS", client},
                                      {"ETCD_LISTEN_PEER_URLS", peer},
                                      {"ETCD_INITIAL_ADVERTISE_PEER_URLS", peer},
                                      {"ETCD_INITIAL_CLUSTER", "default=" + peer}});
  ASSERT_TRUE(process.WaitForOutput("ready to serve client requests")) << process.output();
  EXPECT_EQ(Shell("curl -s " + client + "/health").out, R"({"health":"true","reason":""})");
}

TEST(Start, TakesSettingsFromAFile) {
  const TempDir dir;
  const std::string client = "http://127.0.0.1:" + std::to_string(FreePort());
  const std::string peer = "http://127.0.0.1:" + std::to_string(FreePort());
  std::ofstream(dir / "kvorum.yaml") << "name: fromfile\ndata-dir: " << dir / "data"
                                     << "\nlisten-client-urls: " << client
                                     << "\nadvertise-client-urls: " << client
                                     << "\nlisten-peer-urls: " << peer
                                     << "\ninitial-advertise-peer-urls: " << peer
                                     << "\ninitial-cluster: fromfile=" << peer << "\n";
  Process process({KvorumProgram(), "--config-file", dir / "kvorum.yaml"});
  ASSERT_TRUE(process.WaitForOutput("ready to serve client requests")) << process.output();
  const CommandResult members =
      Shell("etcdctl member list", {{"ETCDCTL_API", "3"}, {"ETCDCTL_ENDPOINTS", client}});
  EXPECT_NE(members.out.find("fromfile"), std::string::npos) << members.out << members.err;
}

TEST(Stop, EndsByTheSignalAndKeepsEverything) {
  Server server(Server::Kind::kKvorum);
  ASSERT_EQ(server.Etcdctl("put kept yes").out, "OK\n");
  const int status = server.Terminate();
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM) << status;
  EXPECT_NE(server.process().output().find("received signal; shutting down"), std::string::npos);
  server.Start();
  EXPECT_EQ(server.Etcdctl("get kept --print-value-only").out, "yes\n");
}

TEST(Stop, DoesNotWaitForIdleWatchers) {
  Server server(Server::Kind::kKvorum);
  Process watcher({"etcdctl", "watch", "k"},
                  {{"ETCDCTL_API", "3"}, {"ETCDCTL_ENDPOINTS", server.endpoint()}});
  ASSERT_TRUE(Eventually([&] {
    return Shell("curl -s " + server.url() + "/metrics").out.find("etcd_debugging_mvcc_watcher_total 1\n") !=
           std::string::npos;
  }));
  const int status = server.Terminate();
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM) << status;
}

TEST(Restart, GoesOnWithTheSameMemberAndHistory) {
  Server server(Server::Kind::kKvorum, {"--snapshot-count=10", "--snapshot-catchup-entries=5"});
  for (int i = 0; i < 40; ++i) ASSERT_EQ(server.Etcdctl("put k" + std::to_string(i % 7) + " v").out, "OK\n");
  ASSERT_EQ(server.Etcdctl("compaction 20").out, "compacted revision 20\n");
  const std::string hash = server.Etcdctl("endpoint hashkv").out;
  const std::string members = server.Etcdctl("member list").out;
  for (int round = 0; round < 3; ++round) {
    server.Kill();
    server.Start();
    EXPECT_EQ(server.Etcdctl("endpoint hashkv").out, hash);
    EXPECT_EQ(server.Etcdctl("member list").out, members);
  }
  EXPECT_NE(Shell("ls " + server.data_dir() + "/member/snap").out.find(".snap"), std::string::npos);
}

}  // namespace
}  // namespace kvorum::test
