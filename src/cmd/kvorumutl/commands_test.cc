#include "cmd/kvorumutl/commands.h"

#include <sstream>

#include "base/arguments.h"
#include "base/testing/temp_directory.h"
#include "cmd/kvorumutl/migrate.h"
#include "cmd/kvorumutl/output.h"
#include "cmd/kvorumutl/restore.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kvorum::utl {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Ran {
  int status = 0;
  std::string out;
  std::string error;
};
Ran RunWords(const std::vector<std::string>& words) {
  std::ostringstream out;
  std::ostringstream error;
  const int status =
      RunCommand(words, {.out = out, .error = error, .env = PosixEnv(), .logger = NullLogger()});
  return {status, out.str(), error.str()};
}

TEST(KvorumutlCommandLine, TakesFlagsAsEtcdutlDoes) {
  const std::vector<CommandFlag> flags = {
      {"name", "default", ""}, {"write-out", "simple", "", false, 'w'}, {"skip", "false", "", true}};
  const std::vector<std::string> words = {"--name=a=b", "file", "-w", "json", "--skip", "--", "--name"};
  const auto arguments = Arguments::Parse(flags, words);
  ASSERT_TRUE(arguments.ok()) << arguments.status();
  EXPECT_EQ(arguments->Text("name"), "a=b");
  EXPECT_EQ(arguments->Text("write-out"), "json");
  EXPECT_TRUE(arguments->IsOn("skip"));
  EXPECT_THAT(arguments->rest(), ElementsAre("file", "--name"));
  for (const auto& [word, text] :
       {std::pair("--nam", "unknown flag: --nam"), std::pair("-x", "unknown shorthand flag: 'x' in -x"),
        std::pair("--name", "flag needs an argument: --name"),
        std::pair("--skip=yes", "invalid argument \"yes\" for \"--skip\" flag")}) {
    EXPECT_THAT(std::string(Arguments::Parse(flags, std::vector<std::string>{word}).status().message()),
                HasSubstr(text));
  }
}

TEST(KvorumutlCommandLine, ReadsAnInitialCluster) {
  const auto cluster = ParseInitialCluster("a=http://x:1,b=http://y:1,a=http://z:1");
  ASSERT_TRUE(cluster.ok());
  EXPECT_THAT(cluster->at("a"), ElementsAre("http://x:1", "http://z:1"));
  for (const char* bad : {"a", "=http://x", "a=", "a=x:1"})
    EXPECT_FALSE(ParseInitialCluster(bad).ok()) << bad;
}

TEST(KvorumutlOutput, PrintsSizesAsGoDoes) {
  for (const auto& [bytes, text] :
       {std::pair<uint64_t, const char*>(9, "9 B"), std::pair<uint64_t, const char*>(999, "999 B"),
        std::pair<uint64_t, const char*>(20480, "20 kB"),
        std::pair<uint64_t, const char*>(2'097'152, "2.1 MB"),
        std::pair<uint64_t, const char*>(94'000'000'000, "94 GB")}) {
    EXPECT_EQ(HumanBytes(bytes), text);
  }
}

TEST(KvorumutlOutput, DrawsTables) {
  EXPECT_EQ(TableText({"hash", "total keys"}, {"3ac02441", "5"}),
            "+----------+------------+\n"
            "|   HASH   | TOTAL KEYS |\n"
            "+----------+------------+\n"
            "| 3ac02441 |          5 |\n"
            "+----------+------------+\n");
}

TEST(KvorumutlMigrate, KnowsWhichReleasesThereAre) {
  EXPECT_EQ(*ReleaseFrom("etcd-3.4"), (Release{3, 4}));
  EXPECT_EQ(*ReleaseFrom("3.7"), (Release{3, 7}));
  for (const char* bad : {"", "3", "3.6.0", "v3.6", "etcd-", "3.x", "3.06"}) {
    EXPECT_THAT(std::string(ReleaseFrom(bad).status().message()), HasSubstr("wrong target version format"))
        << bad;
  }
  EXPECT_THAT(std::string(ReleaseFrom("3.3").status().message()), HasSubstr("Minimal \"3.4\""));
  EXPECT_FALSE(ReleaseFrom("3.8").ok());
}

TEST(KvorumutlCommands, SayWhatIsWrongWithEtcdutlsTextsAndStatuses) {
  const kvorum::testing::TempDirectory directory;
  const std::string nothing = directory.path() + "/none";
  const std::vector<std::tuple<std::vector<std::string>, int, std::string>> cases = {
      {{"snapshot", "status"}, kExitBadArguments, "snapshot status requires exactly one argument"},
      {{"snapshot", "status", "f", "-w", "protobuf"},
       kExitBadFeature,
       "protobuf not supported as output format"},
      {{"snapshot", "status", "f", "-w", "x"}, kExitBadFeature, "unsupported output format"},
      {{"snapshot", "status", nothing}, kExitError, nothing},
      {{"snapshot", "restore"}, kExitBadArguments, "snapshot restore requires exactly one argument"},
      {{"snapshot", "restore", "f", "--bump-revision", "5"},
       kExitBadArguments,
       "--mark-compacted required if --revision-bump > 0"},
      {{"snapshot", "restore", "f", "--bump-revision", "x"}, kExitError, "invalid syntax"},
      {{"snapshot", "save", "f", "--endpoints", "a,b"}, kExitBadArguments, "one selected node"},
      {{"migrate", "--to", "3.6"}, kExitError, "required flag(s) \"data-dir\" not set"},
      {{"migrate", "--data-dir", nothing, "--to", "3.1"}, kExitBadArguments, "not supported"},
      {{"migrate", "--data-dir", nothing, "--to", "3.6"}, kExitError, "is no data directory"},
      {{"nothing"}, kExitError, "unknown command \"nothing\""},
      {{"version", "--x"}, kExitError, "unknown flag: --x"},
  };
  for (const auto& [words, status, text] : cases) {
    const Ran ran = RunWords(words);
    EXPECT_EQ(ran.status, status) << text;
    EXPECT_THAT(ran.error, HasSubstr(text));
    EXPECT_EQ(ran.out, "");
  }
  EXPECT_THAT(RunWords({"version"}).out, HasSubstr("API version: 3.7\n"));
  EXPECT_THAT(RunWords({"snapshot", "restore", "--help"}).out, HasSubstr("--mark-compacted"));
}

}  // namespace
}  // namespace kvorum::utl
