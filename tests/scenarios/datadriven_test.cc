#include "datadriven.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "describe.h"

namespace kvorum::scenarios {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(DatadrivenTest, ReadsArgumentsOfEveryForm) {
  const Directive directive = ParseCommand("go bare empty= one=v list=(a, b,(c,d)) none=()", 1).value();
  EXPECT_EQ(directive.command, "go");
  ASSERT_EQ(directive.args.size(), 5u);
  EXPECT_THAT(directive.args[0].values, IsEmpty());
  EXPECT_THAT(directive.args[1].values, ElementsAre(""));
  EXPECT_THAT(directive.args[2].values, ElementsAre("v"));
  EXPECT_THAT(directive.args[3].values, ElementsAre("a", "b", "(c,d)"));
  EXPECT_THAT(directive.args[4].values, ElementsAre(""));
  EXPECT_FALSE(ParseCommand("go list=(a", 1).ok());
}

TEST(DatadrivenTest, ReadsInputOutputAndContinuedLines) {
  const auto directives = ParseFile(
      "# a comment\n\ngo 1 \\\n  2\nsome\ninput\n----\nout\nput\n\n  # another\nsubtest x\n\nstop\n----\n");
  ASSERT_TRUE(directives.ok());
  ASSERT_EQ(directives->size(), 2u);
  EXPECT_EQ((*directives)[0].line, 3u);
  EXPECT_EQ((*directives)[0].args.size(), 2u);
  EXPECT_EQ((*directives)[0].input, "some\ninput");
  EXPECT_EQ((*directives)[0].expected, "out\nput\n");
  EXPECT_EQ((*directives)[1].expected, "");
}

TEST(DatadrivenTest, OutputBetweenDoubleDashesMayHaveBlankLines) {
  const auto directives = ParseFile("go\n----\n----\na\n\nb\n----\n----\n\nstop\n----\nok\n");
  ASSERT_TRUE(directives.ok());
  EXPECT_EQ((*directives)[0].expected, "a\n\nb\n");
  EXPECT_EQ((*directives)[1].expected, "ok\n");
  EXPECT_FALSE(ParseFile("go\n----\n----\na\n").ok());
}

TEST(DatadrivenTest, RewritingKeepsEverythingButTheOutput) {
  const std::string content = "# c\ngo\ninput\n----\nold\nlines\n\n# d\nstop\n----\n";
  const auto directives = ParseFile(content).value();
  EXPECT_EQ(Rewritten(content, directives, {"new\n", "ok\n"}),
            "# c\ngo\ninput\n----\nnew\n\n# d\nstop\n----\nok\n");
  EXPECT_EQ(Rewritten(content, directives, {"a\n\nb\n", ""}),
            "# c\ngo\ninput\n----\n----\na\n\nb\n----\n----\n\n# d\nstop\n----\n");
}

TEST(DatadrivenTest, ADiffMarksWhatWentAndWhatCame) {
  EXPECT_EQ(Diff("a\nb\nc\n", "a\nx\nc\n"), " a\n-b\n+x\n c\n");
}

TEST(DescribeTest, QuotesAsGoDoes) {
  EXPECT_EQ(GoQuoted("a\"\\\n\t\x01\x7f"), "\"a\\\"\\\\\\n\\t\\x01\\x7f\"");
  EXPECT_EQ(GoQuoted("\xc3\xa9\xff\xe2\x88\x9e"), "\"\xc3\xa9\\xff\xe2\x88\x9e\"");
}

TEST(DescribeTest, ShowsReadStatesAndRejections) {
  raft::Ready ready;
  ready.read_states.push_back({.index = raft::Index(7), .context = Bytes::Copy("ab")});
  ready.messages_after_persist.push_back({.type = raft::MessageType::kAppResp,
                                          .to = raft::NodeId(26),
                                          .reject = true,
                                          .reject_hint = raft::Index(3)});
  EXPECT_EQ(DescribeReady(ready),
            "Ready MustSync=false:\nReadStates [{7 [97 98]}]\nMessages:\n"
            "None->1a MsgAppResp Term:0 Log:0/0 Rejected (Hint: 3)\n");
}

}  // namespace
}  // namespace kvorum::scenarios
