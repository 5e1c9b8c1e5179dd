#include "options.h"

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string_view>

namespace kvorum::bench {
namespace {

[[noreturn]] void Usage(std::string_view problem) {
  std::fprintf(
      stderr,
      "kvorum-bench: %.*s\n"
      "usage: kvorum-bench "
      "fill|run|watch-fanout|watch-keys|hold-watchers|hold-leases|v2-wake|v2-hold|nothing "
      "[--name=value …]\n"
      "  --target=HOST:PORT[,HOST:PORT…] --workload --connections --streams --seconds --keys --key-bytes "
      "--value-bytes\n"
      "  --watchers --watch-streams --events --leases --rate --log\n",
      static_cast<int>(problem.size()), problem.data());
  std::exit(1);
}

/// False where `text` is not wholly a number.
template <typename Number>
bool Parse(std::string_view text, Number* number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
  return error == std::errc() && end == text.data() + text.size();
}

std::vector<std::string> Split(std::string_view list) {
  std::vector<std::string> parts;
  while (true) {
    const size_t comma = list.find(',');
    parts.emplace_back(list.substr(0, comma));
    if (comma == std::string_view::npos) return parts;
    list.remove_prefix(comma + 1);
  }
}

}  // namespace

Options ParseOptions(int argc, char** argv) {
  Options options;
  if (argc < 2) Usage("no mode");
  options.mode = argv[1];
  const std::map<std::string_view, uint64_t*> numbers = {{"connections", &options.connections},
                                                         {"streams", &options.streams},
                                                         {"keys", &options.keys},
                                                         {"key-bytes", &options.key_bytes},
                                                         {"value-bytes", &options.value_bytes},
                                                         {"watchers", &options.watchers},
                                                         {"watch-streams", &options.watch_streams},
                                                         {"events", &options.events},
                                                         {"leases", &options.leases},
                                                         {"rate", &options.rate}};
  for (int i = 2; i < argc; ++i) {
    std::string_view argument = argv[i];
    const size_t equals = argument.find('=');
    if (argument.substr(0, 2) != "--" || equals == std::string_view::npos) Usage(argument);
    const std::string_view name = argument.substr(2, equals - 2);
    const std::string_view value = argument.substr(equals + 1);
    if (name == "target") {
      options.targets = Split(value);
    } else if (name == "workload") {
      options.workload = value;
    } else if (name == "log") {
      options.log = value;
    } else if (name == "seconds") {
      if (!Parse(value, &options.seconds)) Usage(argument);
    } else if (const auto number = numbers.find(name); number != numbers.end()) {
      if (!Parse(value, number->second)) Usage(argument);
    } else {
      Usage(argument);
    }
  }
  return options;
}

}  // namespace kvorum::bench
