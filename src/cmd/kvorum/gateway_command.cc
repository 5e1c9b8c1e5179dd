#include "cmd/kvorum/gateway_command.h"

#include <algorithm>
#include <charconv>
#include <iostream>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "base/arguments.h"
#include "base/json_logger.h"
#include "base/random.h"
#include "base/status.h"
#include "cmd/kvorum/name_service.h"
#include "cmd/kvorum/process.h"
#include "config/go_text.h"
#include "config/url.h"
#include "fmt/format.h"
#include "http/host_lookup.h"
#include "proxy/tcp/gateway.h"

namespace kvorum::cmd {
namespace {

using proxy_tcp::Remote;

constexpr int kExitFailure = 1;

constexpr CommandFlag kFlags[] = {
    {.name = "listen-addr", .default_value = "127.0.0.1:23790", .help = "listen address"},
    {.name = "endpoints",
     .default_value = "127.0.0.1:2379",
     .help = "comma separated etcd cluster endpoints",
     .is_list = true},
    {.name = "discovery-srv", .default_value = "", .help = "DNS domain used to bootstrap initial cluster"},
    {.name = "discovery-srv-name",
     .default_value = "",
     .help = "service name to query when using DNS discovery"},
    {.name = "dns-server",
     .default_value = "",
     .help = "address of the DNS server to ask (empty: the system's)"},
    {.name = "insecure-discovery",
     .default_value = "false",
     .help = "accept insecure SRV records",
     .is_switch = true},
    {.name = "trusted-ca-file",
     .default_value = "",
     .help = "path to the TLS CA file for verifying the discovered endpoints"},
    {.name = "retry-delay",
     .default_value = "1m0s",
     .help = "duration of delay before retrying failed endpoints"},
};

constexpr std::string_view kGroupUsage = R"(Usage:
  kvorum gateway [command]

Available Commands:
  start       start the gateway

Flags:
  -h, --help   help for gateway

Use "kvorum gateway [command] --help" for more information about a command.
)";

constexpr std::string_view kStartUsage = R"(Usage:
  kvorum gateway start [flags]

Flags:
      --discovery-srv string        DNS domain used to bootstrap initial cluster
      --discovery-srv-name string   service name to query when using DNS discovery
      --dns-server string           address of the DNS server to ask, as in 127.0.0.1:53 (default: the system's)
      --endpoints strings           comma separated etcd cluster endpoints (default [127.0.0.1:2379])
  -h, --help                        help for start
      --insecure-discovery          accept insecure SRV records
      --listen-addr string          listen address (default "127.0.0.1:23790")
      --retry-delay duration        duration of delay before retrying failed endpoints (default 1m0s)
      --trusted-ca-file string      path to the client server TLS CA file for verifying the discovered endpoints when discovery-srv is provided.
)";

int UsageError(std::string_view error, std::string_view usage) {
  std::cerr << "Error: " << error << '\n' << usage << '\n' << error << '\n';
  return kExitFailure;
}

/// Behind the log's lines, on a line of its own.
int Fail(const absl::Status& status, JsonLogger& logger) {
  logger.Flush();
  std::cerr << std::string(status.message()) + '\n';
  return kExitFailure;
}

/// As etcd does, on standard output.
int Refuse(std::string_view reason) {
  std::cout << reason << '\n';
  return kExitFailure;
}

/// "127.0.0.1:2379" of "http://user@127.0.0.1:2379/path"; nothing where it has no host with a port.
std::optional<std::string> HostPortOf(std::string_view endpoint) {
  std::string_view rest = endpoint;
  if (const size_t scheme = rest.find("://"); scheme != std::string_view::npos)
    rest.remove_prefix(scheme + 3);
  rest = rest.substr(0, rest.find_first_of("/?#"));
  if (const size_t user = rest.rfind('@'); user != std::string_view::npos) rest.remove_prefix(user + 1);
  std::string host;
  std::string port;
  uint16_t number = 0;
  if (!config::SplitHostPort(rest, &host, &port)) return std::nullopt;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (error != std::errc() || end != port.data() + port.size()) return std::nullopt;
  return std::string(rest);
}

/// What the flags come to.
struct Settings {
  std::string listen_address;
  std::chrono::nanoseconds retry_delay{};
  std::vector<Remote> remotes;
};

/// Why the gateway must not listen there and pass connections on to these; empty: it may.
std::string RefusalOf(const Settings& settings) {
  std::string listen_host;
  std::string listen_port;
  if (!config::SplitHostPort(settings.listen_address, &listen_host, &listen_port)) {
    return "failed to validate listen address: " + settings.listen_address;
  }
  const absl::StatusOr<std::vector<std::string>> own = http::LookupHost(listen_host);
  if (!own.ok()) return "failed to resolve listen host: " + listen_host;
  for (const Remote& remote : settings.remotes) {
    std::string host;
    std::string port;
    config::SplitHostPort(remote.address, &host, &port);
    const absl::StatusOr<std::vector<std::string>> addresses = http::LookupHost(host);
    if (!addresses.ok()) return "failed to resolve endpoint host: " + host;
    for (const std::string& address : *addresses) {
      if (port == listen_port && std::find(own->begin(), own->end(), address) != own->end()) {
        return fmt::format(
            "SRV or endpoint ({}:{}->{}:{}) should not resolve to the gateway listen addr ({})", host, port,
            address, port, settings.listen_address);
      }
    }
  }
  return settings.remotes.empty() ? "no endpoints found" : "";
}

std::unique_ptr<JsonLogger> StandardErrorLogger() {
  std::vector<std::unique_ptr<LogSink>> sinks;
  absl::StatusOr<std::unique_ptr<LogSink>> sink = OpenLogOutput("stderr", std::nullopt);
  if (sink.ok()) sinks.push_back(*std::move(sink));
  return std::make_unique<JsonLogger>(JsonLoggerOptions{}, std::move(sinks));
}

int Serve(const Settings& settings, JsonLogger& logger) {
  RaiseFileLimit();
  http::LoopGroup loops(std::max(1U, std::thread::hardware_concurrency()), "gateway");
  absl::StatusOr<std::unique_ptr<proxy_tcp::Gateway>> gateway =
      proxy_tcp::Gateway::Start(&loops, {.listen_address = settings.listen_address,
                                         .remotes = settings.remotes,
                                         .retry_delay = settings.retry_delay,
                                         .seed = SystemEntropy(),
                                         .logger = &logger});
  if (!gateway.ok()) return Fail(gateway.status(), logger);
  std::vector<std::string> addresses;
  for (const Remote& remote : settings.remotes) addresses.push_back(remote.address);
  KVORUM_LOG(logger, kInfo, "ready to proxy client requests", {"endpoints", addresses});
  NotifyReady();
  const int signal = WaitForStopSignal();
  KVORUM_LOG(logger, kInfo, "received signal; shutting down", {"signal", SignalName(signal)});
  (*gateway)->Stop();
  loops.Stop();
  logger.Flush();
  DieBySignal(signal);
}

int Start(const Arguments& flags, const std::vector<std::string>& arguments) {
  const std::string& delay = flags.Text("retry-delay");
  const std::optional<std::chrono::nanoseconds> retry_delay = config::ParseDuration(delay);
  if (!retry_delay) {
    return UsageError(
        fmt::format("invalid argument \"{0}\" for \"--retry-delay\" flag: time: invalid duration \"{0}\"",
                    delay),
        kStartUsage);
  }
  Settings settings{.listen_address = flags.Text("listen-addr"), .retry_delay = *retry_delay, .remotes = {}};
  const std::unique_ptr<JsonLogger> logger = StandardErrorLogger();
  KVORUM_LOG(*logger, kInfo, "Running: ", {"args", arguments});
  const absl::StatusOr<dns::Resolver> resolver = UseNameServer(flags.Text("dns-server"));
  if (!resolver.ok()) {
    return UsageError(fmt::format("invalid argument for \"--dns-server\" flag: {}",
                                  std::string(resolver.status().message())),
                      kStartUsage);
  }
  if (const std::string& domain = flags.Text("discovery-srv"); !domain.empty()) {
    const absl::StatusOr<std::vector<discovery::SrvEndpoint>> found =
        DiscoverEndpoints(*resolver,
                          {.query = {.domain = domain, .service_name = flags.Text("discovery-srv-name")},
                           .insecure = flags.IsOn("insecure-discovery"),
                           .trusted_ca_file = flags.Text("trusted-ca-file")},
                          *logger);
    if (!found.ok()) return Fail(found.status(), *logger);
    for (const discovery::SrvEndpoint& endpoint : *found) {
      settings.remotes.push_back({.address = endpoint.url.substr(endpoint.url.find("://") + 3),
                                  .priority = endpoint.priority,
                                  .weight = endpoint.weight});
    }
  }
  if (settings.remotes.empty()) {
    for (const std::string& endpoint : SplitList(flags.Text("endpoints"))) {
      std::optional<std::string> address = HostPortOf(endpoint);
      if (!address) return Refuse(fmt::format("error parsing endpoint \"{}\"", endpoint));
      settings.remotes.push_back({.address = *std::move(address)});
    }
  }
  if (const std::string refusal = RefusalOf(settings); !refusal.empty()) return Refuse(refusal);
  return Serve(settings, *logger);
}

}  // namespace

int RunGatewayCommand(const std::vector<std::string>& arguments) {
  std::vector<std::string> words(arguments.begin() + 2, arguments.end());
  const auto command = std::find_if(words.begin(), words.end(),
                                    [](const std::string& word) { return !word.starts_with('-'); });
  if (command == words.end() || *command != "start") {
    const absl::StatusOr<Arguments> none = Arguments::Parse({}, words);
    if (!none.ok()) return UsageError(std::string(none.status().message()), kGroupUsage);
    std::cout << "gateway related command\n\n" << kGroupUsage;
    return 0;
  }
  words.erase(command);
  const absl::StatusOr<Arguments> flags = Arguments::Parse(kFlags, words);
  if (!flags.ok()) return UsageError(std::string(flags.status().message()), kStartUsage);
  if (flags->help()) {
    std::cout << "start the gateway\n\n" << kStartUsage;
    return 0;
  }
  return Start(*flags, arguments);
}

}  // namespace kvorum::cmd
