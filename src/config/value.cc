#include <limits>
#include <set>

#include "base/check.h"
#include "base/status.h"
#include "config/flag_table.h"
#include "config/go_text.h"

namespace kvorum::config {
namespace {

absl::Status NumberStatus(NumberError error) {
  return absl::InvalidArgumentError(error == NumberError::kRange ? "value out of range" : "parse error");
}

absl::StatusOr<Value> ParseNumber(Kind kind, std::string_view text) {
  if (kind == Kind::kInt) {
    int64_t value = 0;
    const NumberError error = ParseInt(text, &value);
    if (error != NumberError::kNone) return NumberStatus(error);
    return Value(value);
  }
  uint64_t value = 0;
  if (kind == Kind::kUint) {
    const NumberError error = ParseUint(text, std::numeric_limits<uint64_t>::max(), &value);
    if (error != NumberError::kNone) return NumberStatus(error);
    return Value(value);
  }
  const NumberError error = ParseUint(text, std::numeric_limits<uint32_t>::max(), &value);
  if (error != NumberError::kNone) {
    return absl::InvalidArgumentError(
        fmt::format("strconv.ParseUint: parsing {}: {}", Quoted(text),
                    error == NumberError::kRange ? "value out of range" : "invalid syntax"));
  }
  return Value(value);
}

std::vector<std::string> SplitList(std::string_view text) {
  std::set<std::string> parts;
  if (text.empty()) return {};
  while (true) {
    const size_t comma = text.find(',');
    parts.emplace(text.substr(0, comma));
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  return {parts.begin(), parts.end()};
}

absl::StatusOr<Value> ParseOrigins(std::string_view text) {
  if (text.empty()) return Value(std::vector<std::string>{});
  if (text == "*") return Value(std::vector<std::string>{"*"});
  KVORUM_ASSIGN_OR_RETURN(const std::vector<Url> urls, ParseUrls(text));
  return Value(Texts(urls));
}

/// The gates that a group switches.
const std::set<std::string_view>& GroupOf(std::string_view group) {
  static const auto* const alpha = new std::set<std::string_view>{
      "CompactHashCheck", "InitialCorruptCheck", "LeaseCheckpoint",         "LeaseCheckpointPersist",
      "PriorityRequest",  "SetMemberLocalAddr",  "StopGRPCServiceOnDefrag",
  };
  static const auto* const beta =
      new std::set<std::string_view>{"FastLeaseKeepAlive", "TxnModeWriteWithSharedBuffer"};
  return group == "AllAlpha" ? *alpha : *beta;
}

absl::StatusOr<Value> ParseGates(std::string_view text) {
  Gates given;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    std::string_view part = text.substr(0, comma);
    text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
    while (part.starts_with(' ')) part.remove_prefix(1);
    if (part.empty()) continue;
    const size_t equals = part.find('=');
    const std::string name(part.substr(0, equals));
    if (equals == std::string_view::npos) {
      return absl::InvalidArgumentError(fmt::format("missing bool value for {}", name));
    }
    const std::string_view word = part.substr(equals + 1);
    const std::optional<bool> value = ParseBool(word);
    if (!value.has_value()) {
      return absl::InvalidArgumentError(
          fmt::format("invalid value of {}={}, err: strconv.ParseBool: parsing {}: invalid syntax", name,
                      word, Quoted(word)));
    }
    if (!DefaultGates().contains(name)) {
      return absl::InvalidArgumentError(fmt::format("unrecognized feature gate: {}", name));
    }
    given[name] = *value;
  }
  Gates gates = DefaultGates();
  for (std::string_view group : {"AllAlpha", "AllBeta"}) {
    const auto all = given.find(std::string(group));
    if (all == given.end()) continue;
    for (std::string_view member : GroupOf(group)) gates[std::string(member)] = all->second;
  }
  for (const auto& [name, value] : given) gates[name] = value;
  return Value(std::move(gates));
}

bool IsChoice(const Flag& flag, std::string_view text) {
  std::string_view rest = flag.choices;
  while (true) {
    const size_t bar = rest.find('|');
    if (rest.substr(0, bar) == text) return true;
    if (bar == std::string_view::npos) return false;
    rest.remove_prefix(bar + 1);
  }
}

}  // namespace

absl::StatusOr<Value> ParseValue(const Flag& flag, std::string_view text) {
  switch (flag.kind) {
    case Kind::kString:
      if (!flag.replaced_by.empty()) return ParseValue(*FindFlag(flag.replaced_by), text);
      if (!flag.choices.empty() && !IsChoice(flag, text)) {
        return absl::InvalidArgumentError(fmt::format("invalid value {}", Quoted(text)));
      }
      return Value(std::string(text));
    case Kind::kBool: {
      const std::optional<bool> value = ParseBool(text);
      if (!value.has_value()) return NumberStatus(NumberError::kSyntax);
      return Value(*value);
    }
    case Kind::kUint:
    case Kind::kUint32:
    case Kind::kInt:
      return ParseNumber(flag.kind, text);
    case Kind::kDuration: {
      const std::optional<Duration> value = ParseDuration(text);
      if (!value.has_value()) return NumberStatus(NumberError::kSyntax);
      return Value(*value);
    }
    case Kind::kOptionalUrls:
      if (text.empty()) return Value(std::vector<Url>{});
      [[fallthrough]];
    case Kind::kUrls: {
      KVORUM_ASSIGN_OR_RETURN(std::vector<Url> urls, ParseUrls(text));
      return Value(std::move(urls));
    }
    case Kind::kOrigins:
      return ParseOrigins(text);
    case Kind::kList:
      return Value(SplitList(text));
    case Kind::kGates:
      return ParseGates(text);
    case Kind::kIgnored:
      return Value(std::string(text));
  }
  KVORUM_CHECK(false, "flag {} has no kind", flag.name);
}

void Assign(const Flag& flag, Value value, Config* config) {
  std::visit(
      [&](auto target) {
        if constexpr (!std::is_same_v<decltype(target), std::monostate>) {
          using Member = std::remove_reference_t<decltype(config->*target)>;
          config->*target = std::get<Member>(std::move(value));
        }
      },
      flag.target);
}

std::string_view GoTypeName(Kind kind) {
  switch (kind) {
    case Kind::kString:
      return "string";
    case Kind::kBool:
      return "bool";
    case Kind::kUint:
      return "uint";
    case Kind::kUint32:
      return "uint32";
    case Kind::kInt:
      return "int64";
    case Kind::kDuration:
      return "time.Duration";
    case Kind::kUrls:
      return "string";
    case Kind::kOptionalUrls:
      return "string";
    case Kind::kOrigins:
      return "string";
    case Kind::kList:
      return "[]string";
    case Kind::kGates:
      return "string";
    case Kind::kIgnored:
      return "string";
  }
  return "string";
}

}  // namespace kvorum::config
