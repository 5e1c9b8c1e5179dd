#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/json_logger.h"
#include "config/config.h"

namespace kvorum::cmd {

/// One running member: its ports, its data directory, its threads, and everything between. Used by one
/// thread.
class Server {
 public:
  /// Brings everything up, in an order in which a mistake is found before anything is changed: ports are
  /// bound, the configuration and the directory are checked, and only then is something written. Errors: one
  /// line for the operator.
  ///
  /// `config` and `logger` are borrowed. `arguments`: the command line, for /debug/vars.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const config::Config& config, JsonLogger* logger,
                                                       std::vector<std::string> arguments);
  virtual ~Server() = default;

  /// The member was removed from its cluster, for which the process was asked to stop (AskToStop).
  virtual bool removed() const = 0;

  /// Lets running requests end, closes everything, and leaves the data on disk as it is to be found. Under
  /// two seconds where nothing is going on.
  virtual void Stop() = 0;
};

}  // namespace kvorum::cmd
