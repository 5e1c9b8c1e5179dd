#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace kvorum::config {

struct Flag;

/// A command line by Go's rules: one dash or two, `-x=v` or `-x v`, booleans bare or with `=`.
struct CommandLine {
  bool help = false;
  bool version = false;
  std::string config_file;
  /// In the order given; values as text, checked for their form.
  std::vector<std::pair<const Flag*, std::string>> flags;
  /// What stands after the flags.
  std::vector<std::string> rest;
};

/// `arguments` without the program's name. Errors: InvalidArgument with Go's text, for which the exit status
/// is 2. Reading stops at -h, --help.
absl::StatusOr<CommandLine> ParseCommandLine(std::span<const std::string> arguments);

/// What others may see of this flag's value: "***" stands for a password.
std::string ShownValue(std::string_view flag, std::string_view value);
/// The same of a command line, which may be none.
std::vector<std::string> ShownArguments(std::vector<std::string> arguments);

/// The text for standard error on a mistake and for --help.
std::string UsageText();
/// Every flag with default and meaning, by section.
std::string HelpText();

}  // namespace kvorum::config
