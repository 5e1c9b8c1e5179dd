#pragma once

#include <iosfwd>
#include <span>
#include <string>

#include "base/env.h"
#include "base/log.h"

namespace kvorum::utl {

/// Exit statuses (reference: ctl.md §1.1).
inline constexpr int kExitError = 1;
inline constexpr int kExitBadFeature = 4;   ///< an output format that the command does not have
inline constexpr int kExitInterrupted = 5;  ///< a snapshot could not be saved
inline constexpr int kExitBadArguments = 128;

/// What the commands use; borrowed.
struct Surroundings {
  std::ostream& out;
  std::ostream& error;
  Env& env;
  Logger& logger;
};

/// Runs one command line, without the program's name; the exit status.
int RunCommand(std::span<const std::string> words, const Surroundings& surroundings);

}  // namespace kvorum::utl
