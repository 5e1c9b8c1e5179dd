#include "base/arguments.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "fmt/format.h"

namespace kvorum {
namespace {

absl::Status Bad(std::string text) { return absl::InvalidArgumentError(std::move(text)); }

bool IsBoolean(std::string_view text) { return text == "true" || text == "false"; }

}  // namespace

absl::StatusOr<Arguments> Arguments::Parse(std::span<const CommandFlag> flags,
                                           std::span<const std::string> words) {
  Arguments arguments;
  for (const CommandFlag& flag : flags) {
    arguments.values_.emplace(flag.name, Value{.text = std::string(flag.default_value)});
  }
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "--") {
      arguments.rest_.insert(arguments.rest_.end(), words.begin() + static_cast<ptrdiff_t>(i) + 1,
                             words.end());
      break;
    }
    if (word == "-h" || word == "--help") {
      arguments.help_ = true;
    } else if (word.size() < 2 || word.front() != '-') {
      arguments.rest_.push_back(word);
    } else {
      KVORUM_RETURN_IF_ERROR(arguments.Take(flags, words, &i));
    }
  }
  return arguments;
}

absl::Status Arguments::Take(std::span<const CommandFlag> flags, std::span<const std::string> words,
                             size_t* at) {
  const std::string_view word = words[*at];
  const bool is_long = word.starts_with("--");
  std::string_view name = is_long ? word.substr(2) : word.substr(1, 1);
  std::string_view value;
  bool has_value = false;
  if (is_long) {
    if (const size_t equals = name.find('='); equals != std::string_view::npos) {
      value = name.substr(equals + 1);
      name = name.substr(0, equals);
      has_value = true;
    }
  } else if (word.size() > 2) {
    value = word.substr(word[2] == '=' ? 3 : 2);
    has_value = true;
  }
  const auto flag = std::find_if(flags.begin(), flags.end(), [&](const CommandFlag& f) {
    return is_long ? f.name == name : f.shorthand != 0 && f.shorthand == name.front();
  });
  if (flag == flags.end()) {
    return Bad(is_long ? fmt::format("unknown flag: --{}", name)
                       : fmt::format("unknown shorthand flag: '{}' in {}", name, word));
  }
  if (has_value) return Set(*flag, value);
  if (flag->is_switch) return Set(*flag, "true");
  if (*at + 1 == words.size()) {
    return Bad(is_long ? fmt::format("flag needs an argument: --{}", name)
                       : fmt::format("flag needs an argument: '{}' in {}", name, word));
  }
  return Set(*flag, words[++*at]);
}

absl::Status Arguments::Set(const CommandFlag& flag, std::string_view text) {
  if (flag.is_switch && !IsBoolean(text)) {
    return Bad(
        fmt::format("invalid argument \"{}\" for \"--{}\" flag: strconv.ParseBool: parsing \"{}\": "
                    "invalid syntax",
                    text, flag.name, text));
  }
  Value& value = values_.find(flag.name)->second;
  const bool adds = flag.is_list && value.given && !value.text.empty();
  value.text = adds ? fmt::format("{},{}", value.text, text) : std::string(text);
  value.given = true;
  return absl::OkStatus();
}

const std::string& Arguments::Text(std::string_view name) const {
  const auto it = values_.find(name);
  KVORUM_CHECK(it != values_.end(), "no flag {}", name);
  return it->second.text;
}

bool Arguments::IsGiven(std::string_view name) const {
  const auto it = values_.find(name);
  KVORUM_CHECK(it != values_.end(), "no flag {}", name);
  return it->second.given;
}

absl::StatusOr<uint64_t> Arguments::Number(std::string_view name) const {
  const std::string& text = Text(name);
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size()) return number;
  return Bad(fmt::format("invalid argument \"{}\" for \"--{}\" flag: strconv.ParseUint: parsing \"{}\": {}",
                         text, name, text,
                         error == std::errc::result_out_of_range ? "value out of range" : "invalid syntax"));
}

std::vector<std::string> SplitList(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    parts.emplace_back(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return parts;
}

}  // namespace kvorum
