// The log and a real etcd: each goes on with what the other wrote. Needs `etcd` and `etcdctl` on the PATH.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/sha.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "absl/time/clock.h"
#include "base/testing/temp_directory.h"
#include "base/wire.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "raft/codec.h"
#include "wal/testing.h"

namespace kvorum::wal {
namespace {

using raft::EntryType;
using raft::Index;
using raft::NodeId;
using raft::Term;
using ::testing::HasSubstr;

constexpr absl::Duration kBound = absl::Seconds(120);
constexpr char kToken[] = "interop";

/// A running program whose output goes to a file.
class Process {
 public:
  Process(const std::vector<std::string>& command, const std::string& output) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    std::vector<char*> arguments;
    for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    const int error = posix_spawnp(&pid_, arguments[0], &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) {
      pid_ = -1;
      ADD_FAILURE() << "this test needs " << command[0] << " on the PATH: " << std::strerror(error);
    }
  }
  ~Process() {
    if (pid_ > 0) kill(pid_, SIGKILL);
    Wait();
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void Terminate() {
    if (pid_ > 0) kill(pid_, SIGTERM);
    Wait();
  }
  /// The exit status; -1 where it did not exit by itself.
  int Wait() {
    int status = 0;
    if (pid_ <= 0 || waitpid(pid_, &status, 0) != pid_) return -1;
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  bool HasEnded() {
    int status = 0;
    if (pid_ > 0 && waitpid(pid_, &status, WNOHANG) == 0) return false;
    pid_ = -1;
    return true;
  }

 private:
  pid_t pid_ = -1;
};

/// A port that nobody listened on a moment ago.
int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  close(fd);
  return ntohs(address.sin_port);
}

/// The first 8 bytes of the SHA-1 (reference: apply.md §7.4).
uint64_t IdOf(const std::string& text) {
  unsigned char digest[SHA_DIGEST_LENGTH];
  SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  uint64_t id = 0;
  for (int i = 0; i < 8; ++i) id = id << 8 | digest[i];
  return id;
}

class WalInterop : public ::testing::Test {
 protected:
  WalInterop() {
    metadata_.node_id = IdOf(peer_url_ + kToken);
    std::string big_endian;
    for (int shift = 56; shift >= 0; shift -= 8) {
      big_endian += static_cast<char>(metadata_.node_id >> shift);
    }
    metadata_.cluster_id = IdOf(big_endian);
    setenv("ETCDCTL_API", "3", 1);
  }

  std::string WalPath() const { return directory_.path() + "/data/member/wal"; }
  std::string OutputPath() const { return directory_.path() + "/etcd.log"; }

  /// Starts etcd on the data directory and waits until it serves.
  std::unique_ptr<Process> StartEtcd(const std::vector<std::string>& more = {}) {
    std::vector<std::string> command = {"etcd",
                                        "--name=one",
                                        "--data-dir=" + directory_.path() + "/data",
                                        "--listen-client-urls=" + client_url_,
                                        "--advertise-client-urls=" + client_url_,
                                        "--listen-peer-urls=" + peer_url_,
                                        "--initial-advertise-peer-urls=" + peer_url_,
                                        "--initial-cluster=one=" + peer_url_,
                                        std::string("--initial-cluster-token=") + kToken};
    command.insert(command.end(), more.begin(), more.end());
    auto etcd = std::make_unique<Process>(command, OutputPath());
    const absl::Time deadline = absl::Now() + kBound;
    while (Etcdctl({"endpoint", "health"}) != 0) {
      if (etcd->HasEnded() || absl::Now() > deadline) {
        ADD_FAILURE() << "etcd does not serve:\n" << PosixEnv().ReadFile(OutputPath()).value_or("");
        break;
      }
    }
    return etcd;
  }
  int Etcdctl(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"etcdctl", "--endpoints=" + client_url_});
    return Process(arguments, directory_.path() + "/etcdctl.out").Wait();
  }
  std::string EtcdctlOutput() { return PosixEnv().ReadFile(directory_.path() + "/etcdctl.out").value(); }

  testing::TempDirectory directory_;
  const std::string client_url_ = "http://127.0.0.1:" + std::to_string(FreePort());
  const std::string peer_url_ = "http://127.0.0.1:" + std::to_string(FreePort());
  const Options options_ = {.env = &PosixEnv()};
  Metadata metadata_;
};

size_t CountEntriesWith(const std::vector<raft::Entry>& entries, std::string_view text) {
  return std::count_if(entries.begin(), entries.end(), [&](const raft::Entry& entry) {
    return entry.data.view().find(text) != std::string_view::npos;
  });
}

TEST_F(WalInterop, ReadsWhatEtcdWrote) {
  auto etcd = StartEtcd({"--snapshot-count=10"});
  for (int i = 0; i < 30; ++i) ASSERT_EQ(Etcdctl({"put", "some-key", std::to_string(i)}), 0);
  etcd->Terminate();

  const auto read = ReadOnly(WalPath(), SnapshotRecord(), options_);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->metadata, metadata_);
  ASSERT_GE(read->entries.size(), 32u);
  for (size_t i = 0; i < read->entries.size(); ++i) ASSERT_EQ(read->entries[i].index, Index(i + 1));
  EXPECT_EQ(read->entries[0].type, EntryType::kConfChange);
  EXPECT_EQ(raft::DecodeConfChange(read->entries[0].data.view()).value().node_id, NodeId(metadata_.node_id));
  EXPECT_EQ(CountEntriesWith(read->entries, "some-key"), 30u);
  EXPECT_EQ(read->hard_state.term, read->entries.back().term);
  EXPECT_EQ(read->hard_state.vote, NodeId(metadata_.node_id));
  EXPECT_EQ(read->hard_state.commit, read->entries.back().index);

  const auto snapshots = ValidSnapshots(WalPath(), options_);
  ASSERT_TRUE(snapshots.ok()) << snapshots.status();
  ASSERT_GE(snapshots->size(), 3u);
  const auto after = ReadOnly(WalPath(), snapshots->back(), options_);
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_EQ(after->entries.front().index, snapshots->back().index + 1);
}

TEST_F(WalInterop, GoesOnWhereEtcdStoppedAndEtcdGoesOnAfterThat) {
  StartEtcd()->Terminate();
  {
    auto opened = Wal::Open(WalPath(), SnapshotRecord(), options_);
    ASSERT_TRUE(opened.ok()) << opened.status();
    raft::HardState state = opened->recovered.hard_state;
    // What a new leader proposes: an entry without data.
    ++state.term;
    state.commit = opened->recovered.entries.back().index + 1;
    const std::vector<raft::Entry> entries = {{.term = state.term, .index = state.commit}};
    const Batch batch = {state, entries};
    ASSERT_TRUE(opened->wal->Save(std::span(&batch, 1)).ok());
  }
  auto etcd = StartEtcd();
  EXPECT_EQ(Etcdctl({"put", "k", "v"}), 0);
}

TEST_F(WalInterop, EachRefusesALogThatTheOtherHolds) {
  auto etcd = StartEtcd();
  EXPECT_TRUE(absl::IsUnavailable(Wal::Open(WalPath(), SnapshotRecord(), options_).status()));
  etcd->Terminate();
  EXPECT_TRUE(Wal::Open(WalPath(), SnapshotRecord(), options_).ok());
}

// A log as a new one-member cluster of ours begins it, and no database: etcd builds everything from it.
TEST_F(WalInterop, EtcdServesFromALogOfOurs) {
  const raft::ConfChange change = {
      .type = raft::ConfChangeType::kAddNode,
      .node_id = NodeId(metadata_.node_id),
      .context = Bytes::Copy(
          fmt::format(R"({{"id":{},"peerURLs":["{}"],"name":"one"}})", metadata_.node_id, peer_url_))};
  {
    auto wal = Wal::Create(WalPath(), metadata_, options_);
    ASSERT_TRUE(wal.ok()) << wal.status();
    const std::vector<raft::Entry> entries = {{.type = EntryType::kConfChange,
                                               .term = Term(1),
                                               .index = Index(1),
                                               .data = Bytes::Copy(raft::Encode(change))}};
    const Batch batch = {State(1, 0, 1), entries};
    ASSERT_TRUE((*wal)->Save(std::span(&batch, 1)).ok());
  }
  auto etcd = StartEtcd();
  ASSERT_EQ(Etcdctl({"put", "key", "value-of-etcd"}), 0);
  ASSERT_EQ(Etcdctl({"get", "key"}), 0);
  EXPECT_EQ(EtcdctlOutput(), "key\nvalue-of-etcd\n");
  ASSERT_EQ(Etcdctl({"endpoint", "status", "-w", "json"}), 0);
  EXPECT_THAT(EtcdctlOutput(), HasSubstr(fmt::format("\"leader\":{}", metadata_.node_id)));
  EXPECT_THAT(EtcdctlOutput(), HasSubstr(fmt::format("\"cluster_id\":{}", metadata_.cluster_id)));
  etcd->Terminate();

  auto opened = Wal::Open(WalPath(), SnapshotRecord(), options_);
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(CountEntriesWith(opened->recovered.entries, "value-of-etcd"), 1u);
}

// Several segments, as large as real ones.
TEST_F(WalInterop, EtcdServesFromManySegmentsOfOurs) {
  StartEtcd()->Terminate();
  {
    auto opened = Wal::Open(WalPath(), SnapshotRecord(), options_);
    ASSERT_TRUE(opened.ok()) << opened.status();
    raft::HardState state = opened->recovered.hard_state;
    Index last = opened->recovered.entries.back().index;
    // Puts of one large value: InternalRaftRequest{header = 100 {ID = 1}, put = 4 {key = 1, value = 2}}.
    for (int i = 1; i <= 150; ++i) {
      std::string put, header, request;
      wire::AppendBytes(put, 1, "large");
      wire::AppendBytes(put, 2, std::string(1'000'000, static_cast<char>('a' + i % 26)));
      wire::AppendBytes(request, 4, put);
      wire::AppendUint(header, 1, static_cast<uint64_t>(i));
      wire::AppendBytes(request, 100, header);
      const std::vector<raft::Entry> entries = {
          {.term = state.term, .index = ++last, .data = Bytes::Copy(request)}};
      state.commit = last;
      const Batch batch = {state, entries};
      ASSERT_TRUE(opened->wal->Save(std::span(&batch, 1)).ok());
    }
  }
  EXPECT_GE(PosixEnv().ListDirectory(WalPath()).value().size(), 3u);
  auto etcd = StartEtcd();
  ASSERT_EQ(Etcdctl({"get", "large"}), 0);
  EXPECT_EQ(EtcdctlOutput(), "large\n" + std::string(1'000'000, 'a' + 150 % 26) + "\n");
}

}  // namespace
}  // namespace kvorum::wal
