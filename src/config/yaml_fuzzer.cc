#include "config/config_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string content(reinterpret_cast<const char*>(data), size);
  const auto values = kvorum::config::ParseConfigFile(content);
  return values.ok() || !values.status().message().empty() ? 0 : -1;
}
