#include <gtest/gtest.h>

#include <filesystem>
#include <regex>

#include "support/server.h"

namespace kvorum::test {
namespace {

// Every script in etcdctl/, and with version 2 of the API in etcdctl_v2/, is run against a fresh Kvorum and a
// fresh etcd with the same etcdctl; what the
// commands print, and their exit codes, must agree once ids, sizes and times are taken out. In a script `run
// COMMAND…` shows the command, its output and its exit code, and `wait_lines N FILE` waits until FILE has N
// lines.

std::string Normalise(std::string text, const Server& server) {
  const std::pair<const char*, const char*> rules[] = {
      {R"re(("(cluster_id|member_id|leader|ID|id|memberID|lease)":)\d+)re", "$1N"},
      {R"re((raftIndex|raftAppliedIndex|dbSize|dbSizeInUse)":\d+)re", "$1\":N"},
      {R"re("(ClusterID|MemberID)" : \d+)re", "\"$1\" : N"},
      {R"re("(version|storageVersion)":"\d+\.\d+\.\d+")re", "\"$1\":\"V\""},
      {R"re(,"dbSizeQuota":\d+)re", ""},
      {R"re(,"downgradeInfo":\{\})re", ""},
      {R"re(,"storageVersion":"V")re", ""},
      {R"re("took":"[^"]*")re", "\"took\":T"},
      {R"re(took = [0-9a-zµ.]+)re", "took = T"},
      {R"re("ts":"[^"]*")re", "\"ts\":T"},
      {R"re(\b[0-9a-f]{13,16}\b)re", "ID"},
      {R"re(-{2,})re", "--"},
      {R"re( {2,})re", " "},
      {R"re("caller":"[^"]*")re", "\"caller\":C"},
      {R"re("target":"[^"]*")re", "\"target\":E"},
      {R"re(remaining\(\d+s\))re", "remaining(Ns)"},
      {R"re(127\.0\.0\.1:2\d{4}|127\.0\.0\.1:3[01]\d{3})re", "ENDPOINT"},
  };
  for (const auto& [pattern, replacement] : rules)
    text = std::regex_replace(text, std::regex(pattern), replacement);
  for (size_t at; (at = text.find(server.endpoint())) != std::string::npos;) {
    text.replace(at, server.endpoint().size(), "ENDPOINT");
  }
  return text;
}

std::string RunScript(const std::filesystem::path& script, const std::string& api, const Server& server) {
  const TempDir dir;
  const std::string prelude =
      "cd " + Quote(dir.path()) +
      "\nrun() { printf '$ %s\\n' \"$*\"; \"$@\" 2>&1; printf '= %s\\n' $?; }\n"
      "wait_lines() { until [ \"$(wc -l <\"$2\")\" -ge \"$1\" ]; do sleep 0.05; done; }\n. " +
      Quote(script.string());
  const CommandResult result =
      Shell(prelude, {{"ETCDCTL_API", api}, {"ETCDCTL_ENDPOINTS", server.url()}, {"OUT", "out"}});
  EXPECT_EQ(result.err, "") << result.out;
  return Normalise(result.out, server);
}

void ExpectTheSame(const std::filesystem::path& script, const std::string& api) {
  const Server etcd(Server::Kind::kEtcd, {"--enable-v2"});
  const Server kvorum(Server::Kind::kKvorum);
  const std::string expected = RunScript(script, api, etcd);
  ASSERT_NE(expected.find("= 0\n"), std::string::npos) << "the script ran nothing:\n" << expected;
  EXPECT_EQ(RunScript(script, api, kvorum), expected);
}

class EtcdctlScript : public testing::TestWithParam<std::filesystem::path> {};

TEST_P(EtcdctlScript, PrintsWhatItPrintsForEtcd) { ExpectTheSame(GetParam(), "3"); }

class EtcdctlV2Script : public testing::TestWithParam<std::filesystem::path> {};

TEST_P(EtcdctlV2Script, PrintsWhatItPrintsForEtcd) { ExpectTheSame(GetParam(), "2"); }

std::vector<std::filesystem::path> Scripts(const std::string& folder) {
  std::vector<std::filesystem::path> scripts;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) scripts.push_back(entry.path());
  std::sort(scripts.begin(), scripts.end());
  return scripts;
}

INSTANTIATE_TEST_SUITE_P(Etcdctl, EtcdctlScript, testing::ValuesIn(Scripts(KVORUM_E2E_SCRIPTS)),
                         [](const auto& info) { return info.param.stem().string(); });
INSTANTIATE_TEST_SUITE_P(EtcdctlV2, EtcdctlV2Script, testing::ValuesIn(Scripts(KVORUM_E2E_SCRIPTS "_v2")),
                         [](const auto& info) { return info.param.stem().string(); });

}  // namespace
}  // namespace kvorum::test
