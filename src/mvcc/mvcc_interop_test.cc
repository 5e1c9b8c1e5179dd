// The same random history in an etcd and in a Store, and the hashes that both give. Skips where etcd, etcdctl
// or curl is not installed.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "absl/strings/escaping.h"
#include "backend/memory_backend.h"
#include "base/random.h"
#include "gtest/gtest.h"
#include "mvcc/store.h"
#include "mvcc/testing/fake_lessor.h"

extern char** environ;

namespace kvorum::mvcc {
namespace {

namespace fs = std::filesystem;

bool Installed(const std::string& program) {
  return system(("command -v " + program + " >/dev/null").c_str()) == 0;
}

std::string Output(const std::string& command) {
  FILE* pipe = popen(command.c_str(), "r");
  std::string output;
  char buffer[4096];
  while (const size_t n = fread(buffer, 1, sizeof buffer, pipe)) output.append(buffer, n);
  return pclose(pipe) == 0 ? output : "";
}

/// The number behind `"name":` in JSON, or `missing`.
int64_t Number(const std::string& json, const std::string& name, int64_t missing) {
  const size_t at = json.find("\"" + name + "\":");
  return at == std::string::npos ? missing : strtoll(json.c_str() + at + name.size() + 3, nullptr, 10);
}

uint16_t FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  socklen_t size = sizeof address;
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  close(fd);
  return ntohs(address.sin_port);
}

/// A running etcd of one member, with requests to it collected and sent together.
class Etcd {
 public:
  Etcd() {
    std::string pattern = (fs::temp_directory_path() / "mvcc_interop.XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
    url_ = fmt::format("http://127.0.0.1:{}", FreePort());
    const std::string peer = fmt::format("http://127.0.0.1:{}", FreePort());
    const std::string log = (directory_ / "log").string();
    std::vector<std::string> args = {"etcd",
                                     "--data-dir",
                                     (directory_ / "data").string(),
                                     "--listen-client-urls",
                                     url_,
                                     "--advertise-client-urls",
                                     url_,
                                     "--listen-peer-urls",
                                     peer,
                                     "--initial-advertise-peer-urls",
                                     peer,
                                     "--initial-cluster",
                                     "default=" + peer,
                                     "--logger",
                                     "zap",
                                     "--log-outputs",
                                     log};
    std::vector<char*> argv;
    for (std::string& arg : args) argv.push_back(arg.data());
    argv.push_back(nullptr);
    EXPECT_EQ(posix_spawnp(&pid_, "etcd", nullptr, nullptr, argv.data(), environ), 0);
  }
  ~Etcd() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    fs::remove_all(directory_);
  }

  bool WaitReady() {
    return Output(fmt::format("curl -s --retry 20 --retry-delay 1 --retry-all-errors --max-time 20 {}/health",
                              url_))
               .find("true") != std::string::npos;
  }

  void Request(const std::string& path, const std::string& body) {
    requests_ += requests_.empty() ? "" : "next\n";
    std::string quoted;
    for (const char c : body) {
      if (c == '"' || c == '\\') quoted += '\\';
      quoted += c;
    }
    requests_ += fmt::format("url = \"{}/v3/{}\"\ndata = \"{}\"\nsilent\nfail\n", url_, path, quoted);
  }
  /// All requests since the last call, one after the other over one connection.
  void Send() {
    const fs::path file = directory_ / "requests";
    std::ofstream(file) << requests_;
    requests_.clear();
    EXPECT_NE(Output(fmt::format("curl -K {} 2>&1", file.string())), "");
  }
  HashResult Hash(int64_t revision) {
    const std::string json = Output(
        fmt::format("ETCDCTL_API=3 etcdctl --endpoints={} endpoint hashkv --rev={} -w json", url_, revision));
    return {.hash = static_cast<uint32_t>(Number(json, "hash", 0)),
            .revision = revision,
            .compact_revision = Number(json, "compact_revision", 0),
            .current_revision = Number(json, "revision", 0)};
  }

 private:
  fs::path directory_;
  std::string url_;
  std::string requests_;
  pid_t pid_ = 0;
};

std::string Base64(std::string_view text) {
  return absl::Base64Escape(absl::string_view(text.data(), text.size()));
}

struct History {
  Etcd etcd;
  std::unique_ptr<backend::MemoryBackend> backend = backend::MemoryBackend::Create();
  testing::FakeLessor lessor{{4660}};
  std::unique_ptr<Store> store = *Store::Open({.backend = backend.get(), .leases = &lessor});
  Random random{20};

  std::string SomeKey() { return fmt::format("key{}", random.Below(40)); }
  std::string Put(WriteTxn* txn, const std::string& key) {
    const std::string value(random.Below(40), 'v');
    const int64_t lease = random.OneIn(1, 5) ? 4660 : 0;
    txn->Put(key, value, LeaseId(lease));
    return fmt::format(R"({{"key":"{}","value":"{}","lease":"{}"}})", Base64(key), Base64(value), lease);
  }
  std::string Delete(WriteTxn* txn, const std::string& key, const std::string& end) {
    txn->DeleteRange({key, end});
    return fmt::format(R"({{"key":"{}","range_end":"{}"}})", Base64(key), Base64(end));
  }
  void Change() {
    auto txn = store->Begin();
    switch (random.Below(5)) {
      case 0:
        return etcd.Request("kv/deleterange", Delete(txn.get(), SomeKey(), ""));
      case 1: {
        // Several changes of distinct keys under one revision.
        std::set<std::string> keys;
        std::string operations;
        while (keys.size() < 4) {
          const std::string key = SomeKey();
          if (!keys.insert(key).second) continue;
          operations += operations.empty() ? "" : ",";
          operations += keys.size() % 2 == 0
                            ? fmt::format(R"({{"request_put":{}}})", Put(txn.get(), key))
                            : fmt::format(R"({{"request_delete_range":{}}})", Delete(txn.get(), key, ""));
        }
        return etcd.Request("kv/txn", fmt::format(R"({{"success":[{}]}})", operations));
      }
      case 2:
        if (random.OneIn(1, 4)) return etcd.Request("kv/deleterange", Delete(txn.get(), "key1", "key2"));
        [[fallthrough]];
      default:
        return etcd.Request("kv/put", Put(txn.get(), SomeKey()));
    }
  }
  void Compact() {
    const int64_t from = std::max<int64_t>(store->compact_revision(), 1) + 1;
    const int64_t at = from + static_cast<int64_t>(random.Below(store->current_revision() - from + 1));
    ASSERT_TRUE(store->StartCompaction(at).ok());
    while (store->CompactStep(100)) {
    }
    etcd.Request("kv/compaction", fmt::format(R"({{"revision":"{}","physical":true}})", at));
  }
  void ExpectEqual(int64_t revision) {
    const HashResult theirs = etcd.Hash(revision);
    const absl::StatusOr<HashResult> ours = store->Hash(revision);
    ASSERT_TRUE(ours.ok()) << ours.status();
    EXPECT_EQ(ours->current_revision, theirs.current_revision);
    EXPECT_EQ(ours->compact_revision, theirs.compact_revision);
    EXPECT_EQ(ours->hash, theirs.hash) << "at revision " << revision;
  }
};

TEST(MvccInterop, GivesTheHashesOfEtcdForTheSameHistory) {
  for (const char* program : {"etcd", "etcdctl", "curl"}) {
    if (!Installed(program)) GTEST_SKIP() << program << " is not installed";
  }
  History history;
  ASSERT_TRUE(history.etcd.WaitReady());
  history.etcd.Request("lease/grant", R"({"ID":"4660","TTL":"100000"})");
  for (int round = 0; round < 12; ++round) {
    for (int i = 0; i < 60; ++i) history.Change();
    if (round > 0) history.Compact();
    history.etcd.Send();
    history.ExpectEqual(history.store->current_revision());
    // etcd 3.4 refuses the compacted revision itself.
    const int64_t first = std::max<int64_t>(history.store->compact_revision() + 1, 2);
    if (first > history.store->current_revision()) continue;
    history.ExpectEqual(first);
    history.ExpectEqual(
        first + static_cast<int64_t>(history.random.Below(history.store->current_revision() - first + 1)));
    if (::testing::Test::HasFailure()) return;
  }
  // Nothing lives: the one case in which the hash looks at what no reader sees.
  history.etcd.Request("kv/deleterange", history.Delete(history.store->Begin().get(), "a", "z"));
  history.Compact();
  history.etcd.Send();
  history.ExpectEqual(history.store->current_revision());
}

}  // namespace
}  // namespace kvorum::mvcc
