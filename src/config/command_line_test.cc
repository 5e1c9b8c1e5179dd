#include "config/command_line.h"

#include "config/flag_table.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kvorum::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

absl::StatusOr<CommandLine> Parse(const std::vector<std::string>& arguments) {
  return ParseCommandLine(arguments);
}

std::vector<std::string> Flags(const std::vector<std::string>& arguments) {
  std::vector<std::string> out;
  const CommandLine line = Parse(arguments).value();
  for (const auto& [flag, text] : line.flags) {
    out.push_back(fmt::format("{}={}", flag->name, text));
  }
  return out;
}

std::string ErrorOf(const std::vector<std::string>& arguments) {
  return std::string(Parse(arguments).status().message());
}

TEST(ConfigCommandLine, TakesGosSpellings) {
  EXPECT_THAT(Flags({"-name", "a"}), ElementsAre("name=a"));
  EXPECT_THAT(Flags({"--name", "a"}), ElementsAre("name=a"));
  EXPECT_THAT(Flags({"-name=a"}), ElementsAre("name=a"));
  EXPECT_THAT(Flags({"--name=a=b"}), ElementsAre("name=a=b"));
  EXPECT_THAT(Flags({"--name="}), ElementsAre("name="));
  EXPECT_THAT(Flags({"--name", "--data-dir"}), ElementsAre("name=--data-dir"));
  EXPECT_THAT(Flags({"--pre-vote", "--memory-mlock=false"}),
              ElementsAre("pre-vote=true", "memory-mlock=false"));
  EXPECT_THAT(Flags({"--experimental-memory-mlock"}), ElementsAre("experimental-memory-mlock=true"));
}

TEST(ConfigCommandLine, ABooleanTakesNoFollowingValue) {
  const CommandLine line = Parse({"--pre-vote", "false"}).value();
  EXPECT_THAT(line.rest, ElementsAre("false"));
}

TEST(ConfigCommandLine, StopsAtDoubleDashAndAtOtherArguments) {
  EXPECT_THAT(Parse({"--", "--name"}).value().rest, ElementsAre("--name"));
  EXPECT_THAT(Parse({"x", "--name"}).value().rest, ElementsAre("x", "--name"));
  EXPECT_THAT(Parse({"-"}).value().rest, ElementsAre("-"));
}

TEST(ConfigCommandLine, KnowsHelpVersionAndFile) {
  EXPECT_TRUE(Parse({"--help", "--nonsense"}).value().help);
  EXPECT_TRUE(Parse({"-h"}).value().help);
  EXPECT_TRUE(Parse({"--version"}).value().version);
  EXPECT_EQ(Parse({"--config-file", "x"}).value().config_file, "x");
}

TEST(ConfigCommandLine, RefusesInGosWords) {
  EXPECT_EQ(ErrorOf({"--nope"}), "flag provided but not defined: -nope");
  EXPECT_EQ(ErrorOf({"--name"}), "flag needs an argument: -name");
  EXPECT_EQ(ErrorOf({"--=x"}), "bad flag syntax: --=x");
  EXPECT_EQ(ErrorOf({"---name"}), "bad flag syntax: ---name");
  EXPECT_EQ(ErrorOf({"--heartbeat-interval=x"}),
            "invalid value \"x\" for flag -heartbeat-interval: parse error");
  EXPECT_EQ(ErrorOf({"--heartbeat-interval=99999999999999999999"}),
            "invalid value \"99999999999999999999\" for flag -heartbeat-interval: value out of range");
  EXPECT_EQ(ErrorOf({"--pre-vote=x"}), "invalid boolean value \"x\" for -pre-vote: parse error");
  EXPECT_EQ(ErrorOf({"--grpc-keepalive-timeout=1"}),
            "invalid value \"1\" for flag -grpc-keepalive-timeout: parse error");
  EXPECT_EQ(ErrorOf({"--max-concurrent-streams=x"}),
            "invalid value \"x\" for flag -max-concurrent-streams: strconv.ParseUint: parsing \"x\": invalid "
            "syntax");
  EXPECT_EQ(
      ErrorOf({"--listen-client-urls=127.0.0.1:1"}),
      "invalid value \"127.0.0.1:1\" for flag -listen-client-urls: parse \"127.0.0.1:1\": first path segment "
      "in URL cannot contain colon");
  EXPECT_EQ(ErrorOf({"--v2-deprecation=soon"}),
            "invalid value \"soon\" for flag -v2-deprecation: invalid value \"soon\"");
  EXPECT_EQ(ErrorOf({"--feature-gates=Nope=true"}),
            "invalid value \"Nope=true\" for flag -feature-gates: unrecognized feature gate: Nope");
  EXPECT_EQ(ErrorOf({"--peers=x"}), "flag \"-peers\" is no longer supported.");
}

TEST(ConfigCommandLine, FlagsOfOldReleasesAreNotDefined) {
  for (const char* name : {"debug", "log-output", "log-package-levels", "addr", "bind-addr", "peer-addr",
                           "ca-file", "next-cluster-version-compatible", "experimental-v3demo"}) {
    EXPECT_EQ(ErrorOf({fmt::format("--{}=x", name)}),
              fmt::format("flag provided but not defined: -{}", name));
  }
}

TEST(ConfigCommandLine, HidesPasswordsFromOthers) {
  EXPECT_THAT(
      ShownArguments({"kvorum", "--name", "m", "--discovery-user=u:a=b:c", "-discovery-password", "x",
                      "--discovery-password=y", "-", "--discovery-user", "u:z", "--discovery-user=u"}),
      ElementsAre("kvorum", "--name", "m", "--discovery-user=u:***", "-discovery-password", "***",
                  "--discovery-password=***", "-", "--discovery-user", "u:***", "--discovery-user=u"));
}

TEST(ConfigHelp, ShowsWhatIsBuiltAndNothingElse) {
  const std::string help = HelpText();
  EXPECT_THAT(help, HasSubstr("Member:\n  --name 'default'\n"));
  EXPECT_THAT(help, HasSubstr("  --heartbeat-interval 100\n"));
  EXPECT_THAT(help, HasSubstr("--io-threads 0\n"));
  for (const FlagSection& section : FlagSections()) {
    for (const Flag& flag : section.flags) {
      const std::string line = fmt::format("--{} ", flag.name);
      const bool shown = flag.built && !section.title.empty();
      EXPECT_EQ(help.find("\n  " + line) != std::string::npos, shown) << flag.name;
    }
  }
}

TEST(ConfigFlagTable, EverySettingIsFoundByItsEnvironmentName) {
  EXPECT_EQ(FindFlag("listen-client-urls")->EnvironmentName(), "ETCD_LISTEN_CLIENT_URLS");
  for (const FlagSection& section : FlagSections()) {
    for (const Flag& flag : section.flags) {
      EXPECT_EQ(FindFlag(flag.name), &flag);
      if (!flag.replaced_by.empty()) {
        EXPECT_NE(FindFlag(flag.replaced_by), nullptr) << flag.name;
      }
      if (!flag.replaced_by_gate.empty()) {
        EXPECT_TRUE(DefaultGates().contains(std::string(flag.replaced_by_gate)));
      }
    }
  }
}

}  // namespace
}  // namespace kvorum::config
