#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "base/env.h"
#include "base/json_logger.h"
#include "cmd/kvorumutl/commands.h"

int main(int argc, char** argv) {
  std::vector<std::unique_ptr<kvorum::LogSink>> sinks;
  sinks.push_back(kvorum::NewDescriptorSink(2));
  kvorum::JsonLogger logger({}, std::move(sinks));
  const std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  const int status = kvorum::utl::RunCommand(
      words, {.out = std::cout, .error = std::cerr, .env = kvorum::PosixEnv(), .logger = logger});
  logger.Flush();
  std::cout.flush();
  return std::cout.good() ? status : kvorum::utl::kExitError;
}
