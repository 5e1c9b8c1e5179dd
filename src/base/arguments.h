#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace kvorum {

/// One flag of a command of a program, as spf13/cobra reads it: `--name value`, `--name=value`, and for a
/// switch
/// `--name` alone.
struct CommandFlag {
  std::string_view name;
  std::string_view default_value;
  std::string_view help;
  bool is_switch = false;
  char shorthand = 0;    ///< `-w value`; 0: none
  bool is_list = false;  ///< given again, it adds to what was given
};

/// What stands behind a command's name.
class Arguments {
 public:
  /// Flags may stand anywhere before "--". Errors: InvalidArgument with the command line's text, "unknown
  /// flag: --x" and so on.
  static absl::StatusOr<Arguments> Parse(std::span<const CommandFlag> flags,
                                         std::span<const std::string> words);

  bool help() const { return help_; }
  const std::vector<std::string>& rest() const { return rest_; }
  /// REQUIRES, of these: `name` is a flag of the command
  const std::string& Text(std::string_view name) const;
  bool IsGiven(std::string_view name) const;
  /// REQUIRES, too: the flag is a switch
  bool IsOn(std::string_view name) const { return Text(name) == "true"; }
  /// Errors: InvalidArgument where the text is no number.
  absl::StatusOr<uint64_t> Number(std::string_view name) const;

 private:
  struct Value {
    std::string text;
    bool given = false;
  };

  absl::Status Take(std::span<const CommandFlag> flags, std::span<const std::string> words, size_t* at);
  absl::Status Set(const CommandFlag& flag, std::string_view text);

  bool help_ = false;
  std::vector<std::string> rest_;
  std::map<std::string, Value, std::less<>> values_;
};

/// The parts between commas.
std::vector<std::string> SplitList(std::string_view text);

}  // namespace kvorum
