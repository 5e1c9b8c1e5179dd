#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"

namespace kvorum::scenarios {

// The form of scenario files: directives, each with its expected output behind a line of four dashes. Source:
// reference raft.md §14.

/// `key`, `key=value` or `key=(value, value)`.
struct Arg {
  std::string key;
  std::vector<std::string> values;
};

struct Directive {
  size_t line = 0;  ///< of the command, from 1
  std::string command;
  std::vector<Arg> args;
  std::string input;     ///< between the command and the dashes, trimmed
  std::string expected;  ///< each line with its newline

  // Where the expected output stands, in lines from 0: [expected_begin, expected_end), with the dashes of a
  // block that has blank lines.
  size_t expected_begin = 0;
  size_t expected_end = 0;
};

/// A directive that the file's author got wrong: what is printed then is no output of the directive.
absl::Status Malformed(std::string_view text);
bool IsMalformed(const absl::Status& status);

/// The directives of a file. Error: Malformed, with the line.
absl::StatusOr<std::vector<Directive>> ParseFile(std::string_view content);

/// Words and arguments of a command line; `line` for the error.
absl::StatusOr<Directive> ParseCommand(std::string_view text, size_t line);

/// The file with the outputs that it should have: `outputs` has one for each directive.
std::string Rewritten(std::string_view content, const std::vector<Directive>& directives,
                      const std::vector<std::string>& outputs);

/// Lines of `expected` and `actual`, marked ' ', '-' and '+'.
std::string Diff(std::string_view expected, std::string_view actual);

/// `text` with a newline at the end, unless it is empty.
std::string WithNewline(std::string text);

// Values, as the format's own reader takes them. Error: Malformed.

absl::StatusOr<uint64_t> ToUint(const std::string& text);
absl::StatusOr<int> ToInt(const std::string& text);
absl::StatusOr<bool> ToBool(const std::string& text);

std::vector<std::string_view> SplitLines(std::string_view text);
std::string_view Trim(std::string_view text);

}  // namespace kvorum::scenarios
