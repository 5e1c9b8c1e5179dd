#include <cstdlib>

#include "config/config.h"
#include "config/flag_table.h"

// Arguments, one a line; those that begin with "ETCD_" are the environment.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvorum::config;
  std::vector<std::string> arguments;
  Sources sources{
      .environment = {},
      .read_file = [](const std::string&) -> absl::StatusOr<std::string> { return std::string(); },
      .default_host = [] { return std::string("10.0.0.1"); }};
  std::string_view text(reinterpret_cast<const char*>(data), size);
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string line(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    (line.starts_with("ETCD_") ? sources.environment : arguments).push_back(std::move(line));
  }
  const auto command_line = ParseCommandLine(arguments);
  if (!command_line.ok()) return 0;
  const Loaded loaded = Load(*command_line, sources);
  if (loaded.status.ok() && !Validate(loaded.config).ok()) abort();  // what was taken is valid
  return 0;
}
