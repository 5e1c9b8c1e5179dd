#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "config/config.h"

namespace kvorum::config {

/// How a flag's text is read.
enum class Kind : uint8_t {
  kString,
  kBool,
  kUint,
  kUint32,
  kInt,
  kDuration,
  kUrls,          ///< at least one URL
  kOptionalUrls,  ///< or the empty text
  kOrigins,       ///< URLs, "*" or the empty text
  kList,          ///< comma-separated, sorted, without doubles
  kGates,         ///< Name=bool,Name=bool
  kIgnored,       ///< accepted without a meaning
};

/// A list that the config file may give as a YAML list.
using Gates = std::map<std::string, bool>;
using Value = std::variant<std::string, bool, uint64_t, int64_t, Duration, std::vector<Url>,
                           std::vector<std::string>, Gates>;

/// Where the value goes: a member of Config, or nowhere.
using Target = std::variant<std::monostate, std::string Config::*, bool Config::*, uint64_t Config::*,
                            int64_t Config::*, Duration Config::*, std::vector<Url> Config::*,
                            std::vector<std::string> Config::*, Gates Config::*>;

/// One setting. Parser, help, environment and config file are all made from this.
struct Flag {
  std::string_view name;
  Kind kind;
  std::string_view default_text;
  std::string_view file_key;  ///< dots nest; empty: not in the file
  Target target;
  /// What it means; for one whose part is not built, the part's name.
  std::string_view help;
  /// Its part is not built: any other value than the default is refused, and help does not show it.
  bool built = true;
  std::string_view choices = {};  ///< the values allowed, separated by '|'; empty: any
  /// A name of older releases for this flag, or for this feature gate.
  std::string_view replaced_by = {};
  std::string_view replaced_by_gate = {};

  /// ETCD_LISTEN_CLIENT_URLS.
  std::string EnvironmentName() const;
};

struct FlagSection {
  std::string_view title;
  std::vector<Flag> flags;
};

/// Every flag, in the order of the help text. Lives for the whole process.
const std::vector<FlagSection>& FlagSections();
/// nullptr where there is no such flag.
const Flag* FindFlag(std::string_view name);

/// Reads a value. Errors: InvalidArgument with the cause alone ("parse error").
absl::StatusOr<Value> ParseValue(const Flag& flag, std::string_view text);
/// REQUIRES: `value` is of the flag's kind
void Assign(const Flag& flag, Value value, Config* config);

/// Go's name of the kind in the errors of its JSON decoder.
std::string_view GoTypeName(Kind kind);

/// The stage of --v2-deprecation at which the v2 API is served.
inline constexpr std::string_view kV2NotYet = "not-yet";

/// The gates and their defaults.
const Gates& DefaultGates();
/// Whether another value than the default can be had.
bool IsBuiltGate(std::string_view gate);

}  // namespace kvorum::config
