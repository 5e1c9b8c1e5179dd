#include "cmd/kvorum/process.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kvorum::cmd {
namespace {

/// Runs `body` in a child process; how it ended.
template <typename Body>
int StatusOf(Body body) {
  const pid_t child = fork();
  if (child == 0) {
    body();
    _exit(42);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

TEST(CmdProcess, WaitsForTheSignalThatCame) {
  const int status = StatusOf([] {
    BlockSignals();
    kill(getpid(), SIGTERM);
    _exit(WaitForStopSignal() == SIGTERM ? 0 : 1);
  });
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(CmdProcess, DiesByTheSignalThatItStoppedFor) {
  const int status = StatusOf([] {
    BlockSignals();
    DieBySignal(SIGTERM);
  });
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGTERM);
}

TEST(CmdProcess, StopsAtOnceWhileItWaitsForOthers) {
  const int status = StatusOf([] {
    BlockSignals();
    StopAtOnce stop([](int signal) {
      if (signal != SIGINT) _exit(1);
    });
    kill(getpid(), SIGINT);
    while (true) pause();
  });
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGINT);
}

TEST(CmdProcess, ASignalAfterTheWaitingIsLeftForTheStop) {
  const int status = StatusOf([] {
    BlockSignals();
    {
      StopAtOnce stop([](int) { _exit(1); });
    }
    kill(getpid(), SIGTERM);
    _exit(WaitForStopSignal() == SIGTERM ? 0 : 2);
  });
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(CmdProcess, RaisesTheFileLimitToWhatIsAllowed) {
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(RaiseFileLimit(), limit.rlim_max);
}

TEST(CmdProcess, TellsTheServiceManagerThatItIsReady) {
  std::string folder = testing::TempDir() + "kvorum-notify-XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const std::string path = folder + "/socket";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ASSERT_LT(path.size(), sizeof(address.sun_path));
  std::memcpy(address.sun_path, path.data(), path.size());
  const int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  setenv("NOTIFY_SOCKET", path.c_str(), 1);
  NotifyReady();
  unsetenv("NOTIFY_SOCKET");
  char text[16] = {};
  EXPECT_EQ(recv(fd, text, sizeof(text), MSG_DONTWAIT), 7);
  EXPECT_STREQ(text, "READY=1");
  close(fd);
  std::filesystem::remove_all(folder);
}

TEST(CmdProcess, ResolvesAddressesToThemselves) {
  EXPECT_EQ(ResolveHost("127.0.0.1").value(), "127.0.0.1");
  EXPECT_EQ(ResolveHost("::1").value(), "[::1]");
  EXPECT_FALSE(ResolveHost("no such host").ok());
}

TEST(CmdProcess, NamesSignalsAsGo) {
  EXPECT_EQ(SignalName(SIGTERM), "terminated");
  EXPECT_EQ(SignalName(SIGINT), "interrupt");
}

}  // namespace
}  // namespace kvorum::cmd
