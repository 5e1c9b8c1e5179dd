#include <unistd.h>

#include <iostream>

#include "base/env.h"
#include "base/json_logger.h"
#include "base/status.h"
#include "cmd/kvorum/gateway_command.h"
#include "cmd/kvorum/grpc_proxy_command.h"
#include "cmd/kvorum/initial_cluster.h"
#include "cmd/kvorum/name_service.h"
#include "cmd/kvorum/process.h"
#include "cmd/kvorum/proxy_mode.h"
#include "cmd/kvorum/server.h"
#include "cmd/kvorum/startup_log.h"
#include "config/config.h"
#include "member/errors.h"

namespace kvorum::cmd {
namespace {

constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;

absl::StatusOr<std::unique_ptr<JsonLogger>> OpenLogger(const config::Config& config) {
  std::optional<LogRotation> rotation;
  if (config.enable_log_rotation) {
    KVORUM_ASSIGN_OR_RETURN(rotation, config::ParseLogRotation(config.log_rotation_config_json));
  }
  std::vector<std::unique_ptr<LogSink>> sinks;
  for (const std::string& output : config.log_outputs) {
    KVORUM_ASSIGN_OR_RETURN(auto sink, OpenLogOutput(output, rotation));
    sinks.push_back(std::move(sink));
  }
  return std::make_unique<JsonLogger>(
      JsonLoggerOptions{.level = config::LogLevelOf(config), .format = config::LogFormatOf(config)},
      std::move(sinks));
}

absl::StatusOr<std::string> ReadConfigFile(const std::string& path) {
  absl::StatusOr<std::string> content = PosixEnv().ReadFile(path);
  if (absl::IsNotFound(content.status())) {
    return absl::NotFoundError(fmt::format("open {}: no such file or directory", path));
  }
  return content;
}

/// Runs a member until a signal, which ends the process, or a failed start.
int RunMember(const config::Config& config, JsonLogger& logger, std::vector<std::string> arguments) {
  RaiseFileLimit();
  if (config.memory_mlock) {
    if (const absl::Status locked = LockMemory(); !locked.ok()) {
      KVORUM_LOG(logger, kFatal, "failed to lock memory", {"error", std::string(locked.message())});
      return kExitFailure;
    }
  }
  absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(config, &logger, std::move(arguments));
  if (!server.ok() && server.status() == member::RemovedError()) {
    KVORUM_LOG(logger, kWarn, "server error", {"error", std::string(server.status().message())});
    KVORUM_LOG(logger, kWarn, "data-dir used by this member must be removed");
    return 0;
  }
  if (!server.ok() && FallsBackToProxy(config, server.status())) {
    KVORUM_LOG(logger, kInfo, "discovery cluster is full, falling back to proxy",
               {"fallback-proxy", config.discovery_fallback});
    return RunProxy(config, logger);
  }
  if (!server.ok() && ExplainDiscoveryFailure(config, server.status(), logger)) return kExitFailure;
  if (!server.ok()) {
    KVORUM_LOG(logger, kFatal, "failed to start etcd", {"error", std::string(server.status().message())});
    return kExitFailure;
  }
  const int signal = WaitForStopSignal();
  const bool removed = (*server)->removed();
  if (!removed) {
    KVORUM_LOG(logger, kInfo, "received signal; shutting down", {"signal", SignalName(signal)});
  }
  (*server)->Stop();
  server->reset();
  logger.Flush();
  if (removed) return 0;
  DieBySignal(signal);
}

int RunMemberOrProxy(const config::Config& config, JsonLogger& logger, std::vector<std::string> arguments) {
  if (const absl::Status names = UseNameServer(config.dns_server).status(); !names.ok()) {
    KVORUM_LOG(logger, kFatal, "failed to verify flags",
               {"error", fmt::format("--dns-server: {}", std::string(names.message()))});
    return kExitFailure;
  }
  const absl::StatusOr<bool> is_proxy = IsProxyMode(config, PosixEnv(), logger);
  if (!is_proxy.ok()) {
    KVORUM_LOG(logger, kFatal, "failed to start etcd", {"error", std::string(is_proxy.status().message())});
    return kExitFailure;
  }
  return *is_proxy ? RunProxy(config, logger) : RunMember(config, logger, std::move(arguments));
}

int Run(const std::vector<std::string>& arguments) {
  if (arguments.size() > 1 && arguments[1] == "gateway") return RunGatewayCommand(arguments);
  if (arguments.size() > 1 && arguments[1] == "grpc-proxy") return RunGrpcProxyCommand(arguments);
  const std::span<const std::string> flags = std::span(arguments).subspan(arguments.empty() ? 0 : 1);
  const absl::StatusOr<config::CommandLine> command_line = config::ParseCommandLine(flags);
  if (!command_line.ok()) {
    std::cerr << command_line.status().message() << '\n' << config::UsageText();
    return kExitUsage;
  }
  if (command_line->help) {
    std::cerr << config::UsageText();
    std::cout << config::HelpText();
    return 0;
  }
  if (command_line->version && command_line->rest.empty()) {
    std::cout << VersionText();
    return 0;
  }

  const config::Loaded loaded =
      config::Load(*command_line,
                   {.environment = Environment(), .read_file = ReadConfigFile, .default_host = DefaultHost});
  absl::StatusOr<std::unique_ptr<JsonLogger>> logger =
      OpenLogger(loaded.status.ok() ? loaded.config : config::Defaults());
  if (!logger.ok()) {
    std::cerr << "failed to open the log: " << logger.status().message() << '\n';
    return kExitFailure;
  }
  const std::vector<std::string> shown = config::ShownArguments(arguments);
  KVORUM_LOG(**logger, kInfo, "Running: ", {"args", shown});
  for (const config::Note& note : loaded.notes) WriteNote(note, **logger);
  if (loaded.status.ok()) return RunMemberOrProxy(loaded.config, **logger, shown);
  const std::string error(loaded.status.message());
  const bool said = !loaded.notes.empty() && loaded.notes.back().level == LogLevel::kFatal;
  if (error.starts_with("unexpected error setting up")) {
    (*logger)->Flush();
    std::cerr << error + '\n';  // as etcd says it of a config file's URL: no log line
  } else if (!said) {
    KVORUM_LOG(**logger, kWarn, "failed to verify flags", {"error", error});
  }
  return kExitFailure;
}

}  // namespace
}  // namespace kvorum::cmd

int main(int argc, char** argv) {
  kvorum::cmd::BlockSignals();
  return kvorum::cmd::Run({argv, argv + argc});
}
