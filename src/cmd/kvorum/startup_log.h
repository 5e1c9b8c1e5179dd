#pragma once

#include <string>
#include <vector>

#include "base/log.h"
#include "config/config.h"

namespace kvorum::cmd {

/// The version lines of --version: etcd's four, and Kvorum's own.
std::string VersionText();

/// Writes a note of the configuration.
void WriteNote(const config::Note& note, Logger& logger);

/// The line "starting an etcd server": every setting that matters, by etcd's names.
void LogStarting(const config::Config& config, bool initialized, Logger& logger);

}  // namespace kvorum::cmd
