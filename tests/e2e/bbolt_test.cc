// etcd's database files and ours: each program reads what the other wrote.

#include <signal.h>

#include <fstream>

#include "bbolt/bbolt.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "support/interop.h"
#include "support/server.h"

namespace kvorum::test {
namespace {

using ::testing::HasSubstr;

/// "HASH REVISION KEYS" as `etcdctl snapshot status` counts them.
std::string StatusOf(const std::string& file) {
  const CommandResult status =
      Shell("etcdctl snapshot status " + Quote(file) + " | sed 's/, [^,]*$//'", {{"ETCDCTL_API", "3"}});
  EXPECT_EQ(status.exit_code, 0) << status.err;
  EXPECT_THAT(status.out, HasSubstr(",")) << status.err;
  return status.out;
}

void ReadAndWriteBack(int signal) {
  Server etcd(Server::Kind::kEtcd);
  ASSERT_NO_FATAL_FAILURE(FillStore(etcd));
  if (signal == SIGKILL) {
    etcd.Kill();
  } else {
    etcd.Terminate();
  }
  const TempDir directory;
  const std::string theirs = etcd.data_dir() + "/member/snap/db";
  auto view = bbolt::OpenFile(theirs, &NullLogger());
  ASSERT_TRUE(view.ok()) << view.status();
  const auto position = bbolt::PositionOf(**view);
  ASSERT_TRUE(position.ok()) << position.status();
  if (signal != SIGKILL) {
    EXPECT_GT(position->index, 40u);
  }
  auto stream = bbolt::FileStream::Create(*std::move(view), *position);
  ASSERT_TRUE(stream.ok()) << stream.status();
  const std::string ours = directory / "db";
  {
    std::ofstream file(ours, std::ios::binary);
    while ((*stream)->left_bytes() > 0) {
      const auto bytes = (*stream)->Next(40'000);
      ASSERT_TRUE(bytes.ok()) << bytes.status();
      file << bytes->view();
    }
  }
  stream->reset();
  EXPECT_EQ(StatusOf(ours), StatusOf(theirs));
}

TEST(BboltInterop, EtcdReadsWhatWasWrittenFromItsFile) { ReadAndWriteBack(SIGTERM); }
TEST(BboltInterop, AFileThatEtcdLeftWhenItWasKilled) { ReadAndWriteBack(SIGKILL); }

}  // namespace
}  // namespace kvorum::test
