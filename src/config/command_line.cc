#include "config/command_line.h"

#include "base/status.h"
#include "config/flag_table.h"
#include "config/go_text.h"

namespace kvorum::config {
namespace {

/// One argument taken apart: `-name=value`.
struct Argument {
  std::string_view name;
  std::optional<std::string_view> value;
};

absl::StatusOr<Argument> Split(std::string_view text) {
  std::string_view name = text.substr(text.starts_with("--") ? 2 : 1);
  if (name.empty() || name[0] == '-' || name[0] == '=') {
    return absl::InvalidArgumentError(fmt::format("bad flag syntax: {}", text));
  }
  Argument argument;
  const size_t equals = name.find('=', 1);
  argument.name = name.substr(0, equals);
  if (equals != std::string_view::npos) argument.value = name.substr(equals + 1);
  return argument;
}

/// The flags that are about the command line itself.
const Flag& VersionFlag() {
  static const auto* const flag = new Flag{"version", Kind::kBool, "false", "", {}, ""};
  return *flag;
}
const Flag& ConfigFileFlag() {
  static const auto* const flag = new Flag{"config-file", Kind::kString, "", "", {}, ""};
  return *flag;
}

const Flag* Find(std::string_view name) {
  if (name == "version") return &VersionFlag();
  if (name == "config-file") return &ConfigFileFlag();
  return FindFlag(name);
}

bool NeedsNoValue(const Flag& flag) {
  if (!flag.replaced_by.empty()) return NeedsNoValue(*FindFlag(flag.replaced_by));
  return flag.kind == Kind::kBool || flag.kind == Kind::kIgnored;
}

absl::Status Take(const Flag& flag, std::string_view text, CommandLine* out) {
  const absl::StatusOr<Value> value = ParseValue(flag, text);
  if (!value.ok()) {
    const bool boolean = NeedsNoValue(flag);
    return absl::InvalidArgumentError(
        fmt::format("invalid {} {} for {}-{}: {}", boolean ? "boolean value" : "value", Quoted(text),
                    boolean ? "" : "flag ", flag.name, std::string(value.status().message())));
  }
  if (&flag == &VersionFlag()) {
    out->version = std::get<bool>(*value);
  } else if (&flag == &ConfigFileFlag()) {
    out->config_file = text;
  } else {
    out->flags.emplace_back(&flag, text);
  }
  return absl::OkStatus();
}

}  // namespace

std::string ShownValue(std::string_view flag, std::string_view value) {
  constexpr std::string_view kHidden = "***";
  if (flag == "discovery-password") return std::string(kHidden);
  const size_t colon = flag == "discovery-user" ? value.find(':') : std::string_view::npos;
  if (colon == std::string_view::npos) return std::string(value);
  return fmt::format("{}:{}", value.substr(0, colon), kHidden);
}

std::vector<std::string> ShownArguments(std::vector<std::string> arguments) {
  std::string flag;  // whose value comes next
  for (std::string& text : arguments) {
    const std::string own_flag = std::exchange(flag, {});
    if (!text.starts_with('-')) {
      text = ShownValue(own_flag, text);
      continue;
    }
    const absl::StatusOr<Argument> argument = Split(text);
    if (!argument.ok()) continue;
    if (!argument->value.has_value()) {
      flag = argument->name;
      continue;
    }
    const std::string shown = ShownValue(argument->name, *argument->value);
    text.replace(text.size() - argument->value->size(), std::string::npos, shown);
  }
  return arguments;
}

absl::StatusOr<CommandLine> ParseCommandLine(std::span<const std::string> arguments) {
  CommandLine out;
  size_t next = 0;
  while (next < arguments.size()) {
    const std::string_view text = arguments[next];
    if (text.size() < 2 || text[0] != '-') break;
    ++next;
    if (text == "--") break;
    KVORUM_ASSIGN_OR_RETURN(const Argument argument, Split(text));
    const Flag* flag = Find(argument.name);
    if (flag == nullptr && (argument.name == "help" || argument.name == "h")) {
      out.help = true;
      return out;
    }
    if (flag == nullptr && (argument.name == "peers" || argument.name == "peers-file")) {
      return absl::InvalidArgumentError(
          fmt::format("flag {} is no longer supported.", Quoted(fmt::format("-{}", argument.name))));
    }
    if (flag == nullptr) {
      return absl::InvalidArgumentError(fmt::format("flag provided but not defined: -{}", argument.name));
    }
    std::optional<std::string_view> value = argument.value;
    if (!value.has_value() && NeedsNoValue(*flag)) value = "true";
    if (!value.has_value() && next < arguments.size()) value = arguments[next++];
    if (!value.has_value()) {
      return absl::InvalidArgumentError(fmt::format("flag needs an argument: -{}", flag->name));
    }
    KVORUM_RETURN_IF_ERROR(Take(*flag, *value, &out));
  }
  out.rest.assign(arguments.begin() + static_cast<ptrdiff_t>(next), arguments.end());
  return out;
}

std::string UsageText() {
  return R"(Usage:

  kvorum [flags]
    Start a member.

  kvorum --version
    Show the version.

  kvorum -h | --help
    Show this help, and every flag.

  kvorum --config-file
    Path of a YAML file with the configuration; flags and environment are ignored then.

  kvorum gateway
    Pass TCP connections on to members.
)";
}

std::string HelpText() {
  std::string text;
  for (const FlagSection& section : FlagSections()) {
    if (section.title.empty()) continue;  // names of older releases
    text += fmt::format("{}:\n", section.title);
    for (const Flag& flag : section.flags) {
      if (!flag.built) continue;
      const bool quoted = flag.kind != Kind::kUint && flag.kind != Kind::kUint32 && flag.kind != Kind::kInt &&
                          flag.kind != Kind::kBool;
      const std::string_view quote = quoted ? "'" : "";
      text += fmt::format("  --{} {}{}{}\n    {}\n", flag.name, quote, flag.default_text, quote, flag.help);
    }
    text += '\n';
  }
  return text +
         "Every flag can be set in the environment: --listen-client-urls is ETCD_LISTEN_CLIENT_URLS.\n";
}

}  // namespace kvorum::config
