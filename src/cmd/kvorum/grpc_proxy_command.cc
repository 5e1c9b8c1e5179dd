#include "cmd/kvorum/grpc_proxy_command.h"

#include <unistd.h>

#include <algorithm>
#include <climits>
#include <iostream>
#include <thread>

#include "base/json_logger.h"
#include "base/status.h"
#include "cmd/kvorum/grpc_proxy_flags.h"
#include "cmd/kvorum/grpc_proxy_tls.h"
#include "cmd/kvorum/name_service.h"
#include "cmd/kvorum/process.h"
#include "cmd/kvorum/self_signed_certificate.h"
#include "config/go_text.h"
#include "config/url.h"
#include "fmt/format.h"
#include "proxy/grpc/proxy.h"

namespace kvorum::cmd {
namespace {

constexpr int kExitFailure = 1;

constexpr std::string_view kGroupUsage = R"(Usage:
  kvorum grpc-proxy [command]

Available Commands:
  start       start the grpc proxy

Flags:
  -h, --help   help for grpc-proxy

Use "kvorum grpc-proxy [command] --help" for more information about a command.
)";

int UsageError(std::string_view error, std::string_view usage) {
  std::cerr << "Error: " << error << '\n' << usage << '\n' << error << '\n';
  return kExitFailure;
}

int Refuse(const std::string& reason) {
  std::cerr << reason + '\n';
  return kExitFailure;
}

/// Behind the log's lines, on a line of its own.
int Fail(const absl::Status& status, JsonLogger& logger) {
  logger.Flush();
  return Refuse(std::string(status.message()));
}

std::string HostName() {
  char name[HOST_NAME_MAX + 1] = "";
  return gethostname(name, sizeof name) == 0 ? name : "";
}

/// Reads flags as what they should be, and keeps the first that is not.
class FlagReader {
 public:
  explicit FlagReader(const Arguments& flags) : flags_(flags) {}

  const std::string& Text(std::string_view name) const { return flags_.Text(name); }
  bool IsOn(std::string_view name) const { return flags_.IsOn(name); }
  std::chrono::nanoseconds Duration(std::string_view name) {
    const auto value = config::ParseDuration(Text(name));
    if (!value) Bad(name, fmt::format("time: invalid duration \"{}\"", Text(name)));
    return value.value_or(std::chrono::nanoseconds(0));
  }
  int64_t Int(std::string_view name) {
    int64_t value = 0;
    Check(name, "ParseInt", config::ParseInt(Text(name), &value));
    return value;
  }
  uint64_t Uint(std::string_view name, uint64_t max) {
    uint64_t value = 0;
    Check(name, "ParseUint", config::ParseUint(Text(name), max, &value));
    return value;
  }
  const std::string& error() const { return error_; }

 private:
  void Check(std::string_view name, std::string_view function, config::NumberError error) {
    if (error == config::NumberError::kNone) return;
    Bad(name, fmt::format("strconv.{}: parsing \"{}\": {}", function, Text(name),
                          error == config::NumberError::kRange ? "value out of range" : "invalid syntax"));
  }
  void Bad(std::string_view name, std::string_view why) {
    if (error_.empty())
      error_ = fmt::format("invalid argument \"{}\" for \"--{}\" flag: {}", Text(name), name, why);
  }

  const Arguments& flags_;
  std::string error_;
};

/// Message sizes: what is not positive is no limit that gRPC could keep.
size_t Size(int64_t bytes) { return static_cast<size_t>(std::clamp<int64_t>(bytes, 0, INT32_MAX)); }

proxy_grpc::ProxyOptions ReadFlags(FlagReader& flags) {
  proxy_grpc::ProxyOptions options;
  options.listen_address = flags.Text("listen-addr");
  options.metrics_url = flags.Text("metrics-addr");
  options.advertise_url = flags.Text("advertise-client-url");
  options.resolver_prefix = flags.Text("resolver-prefix");
  options.resolver_ttl = std::chrono::seconds(flags.Int("resolver-ttl"));
  options.key_prefix = flags.Text("namespace");
  options.host_name = HostName();
  options.serializable_ordering = flags.IsOn("experimental-serializable-ordering");
  options.endpoints_sync_interval = flags.Duration("endpoints-auto-sync-interval");
  options.cluster.endpoints = SplitList(flags.Text("endpoints"));
  options.cluster.max_send_bytes = Size(flags.Int("max-send-bytes"));
  options.cluster.max_receive_bytes = Size(flags.Int("max-recv-bytes"));
  options.cluster.keepalive_time = flags.Duration("dial-keepalive-time");
  const auto keepalive_timeout = flags.Duration("dial-keepalive-timeout");
  if (keepalive_timeout.count() > 0) options.cluster.keepalive_timeout = keepalive_timeout;  // else gRPC's
  options.cluster.keepalive_without_calls = flags.IsOn("permit-without-stream");
  options.server.max_concurrent_streams =
      static_cast<uint32_t>(flags.Uint("max-concurrent-streams", UINT32_MAX));
  options.server.keepalive_min_time = flags.Duration("grpc-keepalive-min-time");
  options.server.keepalive_interval = flags.Duration("grpc-keepalive-interval");
  options.server.keepalive_timeout = flags.Duration("grpc-keepalive-timeout");
  options.io_threads = std::max(1U, std::thread::hardware_concurrency());
  return options;
}

/// Why these flags do not go together, or with this build; empty: they do (reference: proxy-discovery.md
/// §11.1).
std::string RefusalOf(const proxy_grpc::ProxyOptions& options, const FlagReader& flags) {
  const int64_t ttl = options.resolver_ttl.count();
  if (!options.resolver_prefix.empty() && ttl < 1) return fmt::format("invalid resolver-ttl {}", ttl);
  if (options.resolver_prefix.empty() && ttl > 0) return "invalid resolver-prefix \"\"";
  if (ttl > 0 && options.advertise_url.empty()) return "invalid advertise-client-url \"\"";
  if (options.endpoints_sync_interval.count() < 0) return "invalid endpoints-auto-sync-interval";
  if (!flags.Text("experimental-leasing-prefix").empty()) {
    return "--experimental-leasing-prefix is not supported: leased keys are read by their owners alone, and "
           "this proxy reads every key from the cluster";
  }
  if (flags.IsOn("enable-pprof")) return "--enable-pprof is not supported: profiles over HTTP";
  if (flags.IsOn("experimental-enable-grpc-logging")) {
    return "--experimental-enable-grpc-logging is not supported: a log of every request and response";
  }
  return {};
}

std::unique_ptr<JsonLogger> StandardErrorLogger(LogLevel level) {
  std::vector<std::unique_ptr<LogSink>> sinks;
  absl::StatusOr<std::unique_ptr<LogSink>> sink = OpenLogOutput("stderr", std::nullopt);
  if (sink.ok()) sinks.push_back(*std::move(sink));
  return std::make_unique<JsonLogger>(JsonLoggerOptions{.level = level}, std::move(sinks));
}

/// The cluster's endpoints by DNS, where a domain is given and has some.
absl::Status FindEndpoints(const FlagReader& flags, Logger& logger, std::vector<std::string>* endpoints) {
  KVORUM_ASSIGN_OR_RETURN(const dns::Resolver resolver, UseNameServer(flags.Text("dns-server")));
  const std::string& domain = flags.Text("discovery-srv");
  if (!domain.empty()) {
    KVORUM_ASSIGN_OR_RETURN(
        const std::vector<discovery::SrvEndpoint> found,
        DiscoverEndpoints(resolver,
                          {.query = {.domain = domain, .service_name = flags.Text("discovery-srv-name")},
                           .insecure = flags.IsOn("insecure-discovery"),
                           .trusted_ca_file = flags.Text("cacert")},
                          logger));
    if (!found.empty()) endpoints->clear();
    for (const discovery::SrvEndpoint& endpoint : found) endpoints->push_back(endpoint.url);
  }
  if (endpoints->empty()) return absl::InvalidArgumentError("etcdclient: no available endpoints");
  return absl::OkStatus();
}

absl::Status CheckTlsVersions(const FlagReader& flags) {
  constexpr std::string_view kVersions[] = {"TLS1.2", "TLS1.3"};
  for (const char* name : {"tls-min-version", "tls-max-version"}) {
    const std::string& version = flags.Text(name);
    if (version.empty() || std::ranges::find(kVersions, version) != std::end(kVersions)) continue;
    return absl::InvalidArgumentError(fmt::format(
        "{} is invalid: unexpected TLS version \"{}\" (must be one of: TLS1.2, TLS1.3)", name, version));
  }
  const std::string& min = flags.Text("tls-min-version");
  const std::string& max = flags.Text("tls-max-version");
  if (max.empty() || min <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("min version ({}) is greater than max version ({})", min, max));
}

/// The host of "host:port", as a certificate names it.
std::string HostOf(const std::string& address) {
  std::string host;
  std::string port;
  if (!config::SplitHostPort(address, &host, &port) || host.empty()) return "localhost";
  return host;
}

/// What clients are served with, and how the proxy calls itself.
absl::Status ReadListenTls(FlagReader& flags, Logger& logger, proxy_grpc::ProxyOptions* options) {
  KVORUM_RETURN_IF_ERROR(CheckTlsVersions(flags));
  CertificateFiles files{.cert_file = flags.Text("cert-file"), .key_file = flags.Text("key-file")};
  const bool given = !files.cert_file.empty() || !files.key_file.empty();
  const uint64_t years = flags.Uint("self-signed-cert-validity", 100);
  if (!flags.error().empty()) return absl::InvalidArgumentError(flags.error());
  if (!given && flags.IsOn("auto-tls")) {
    KVORUM_ASSIGN_OR_RETURN(files, SelfSignedCertificate(flags.Text("data-dir") + "/fixtures/proxy",
                                                         {HostOf(options->listen_address)}, years, logger));
  } else if (files.cert_file.empty() != files.key_file.empty()) {
    return absl::InvalidArgumentError(fmt::format(
        "KeyFile and CertFile must both be present[key: {}, cert: {}]", files.key_file, files.cert_file));
  } else if (!given) {
    for (const char* name : {"trusted-ca-file", "client-crl-file"}) {
      if (flags.Text(name).empty()) continue;
      return absl::InvalidArgumentError(fmt::format("--{} needs --cert-file and --key-file", name));
    }
    return absl::OkStatus();
  }
  http::TlsOptions tls{.cert_file = files.cert_file,
                       .key_file = files.key_file,
                       .trusted_ca_file = flags.Text("trusted-ca-file"),
                       .crl_file = flags.Text("client-crl-file"),
                       .cipher_suites = SplitList(flags.Text("listen-cipher-suites")),
                       .min_version = flags.Text("tls-min-version"),
                       .max_version = flags.Text("tls-max-version"),
                       .logger = &logger};
  KVORUM_ASSIGN_OR_RETURN(options->listen_tls, http::TlsContext::ForServer(tls));
  // Its own certificate need not be one that this machine trusts.
  KVORUM_ASSIGN_OR_RETURN(options->self_tls, http::TlsContext::ForClient({.cert_file = files.cert_file,
                                                                          .key_file = files.key_file,
                                                                          .skip_verify = true,
                                                                          .logger = &logger}));
  return absl::OkStatus();
}

/// What the cluster is called with.
absl::Status ReadClusterTls(const FlagReader& flags, Logger& logger, proxy_grpc::ProxyOptions* options) {
  const http::TlsOptions tls{.cert_file = flags.Text("cert"),
                             .key_file = flags.Text("key"),
                             .trusted_ca_file = flags.Text("cacert"),
                             .skip_verify = flags.IsOn("insecure-skip-tls-verify"),
                             .logger = &logger};
  if (tls.cert_file.empty() && tls.key_file.empty() && tls.trusted_ca_file.empty() && !tls.skip_verify) {
    return absl::OkStatus();
  }
  if (tls.cert_file.empty() != tls.key_file.empty()) {
    return absl::InvalidArgumentError(fmt::format(
        "KeyFile and CertFile must both be present[key: {}, cert: {}]", tls.key_file, tls.cert_file));
  }
  if (!tls.cert_file.empty()) KVORUM_RETURN_IF_ERROR(CheckEmptyCommonName(tls.cert_file));
  KVORUM_ASSIGN_OR_RETURN(options->cluster.tls, http::TlsContext::ForClient(tls));
  return absl::OkStatus();
}

int Serve(proxy_grpc::ProxyOptions options, JsonLogger& logger) {
  RaiseFileLimit();
  metrics::Registry metrics;
  options.metrics = &metrics;
  options.logger = &logger;
  absl::StatusOr<std::unique_ptr<proxy_grpc::Proxy>> proxy = proxy_grpc::Proxy::Start(std::move(options));
  if (!proxy.ok()) return Fail(proxy.status(), logger);
  KVORUM_LOG(logger, kInfo, "started gRPC proxy", {"address", (*proxy)->address()});
  NotifyReady();
  const int signal = WaitForStopSignal();
  KVORUM_LOG(logger, kInfo, "received signal; shutting down", {"signal", SignalName(signal)});
  (*proxy)->Stop();
  proxy->reset();
  logger.Flush();
  DieBySignal(signal);
}

int Start(const Arguments& arguments) {
  FlagReader flags(arguments);
  proxy_grpc::ProxyOptions options = ReadFlags(flags);
  if (!flags.error().empty()) return UsageError(flags.error(), kGrpcProxyUsage);
  if (const std::string refusal = RefusalOf(options, flags); !refusal.empty()) return Refuse(refusal);
  const auto logger = StandardErrorLogger(flags.IsOn("debug") ? LogLevel::kDebug : LogLevel::kInfo);
  const absl::Status listen = ReadListenTls(flags, *logger, &options);
  if (!flags.error().empty()) return UsageError(flags.error(), kGrpcProxyUsage);
  if (!listen.ok()) return Fail(listen, *logger);
  if (const absl::Status cluster = ReadClusterTls(flags, *logger, &options); !cluster.ok()) {
    return Fail(cluster, *logger);
  }
  if (const absl::Status found = FindEndpoints(flags, *logger, &options.cluster.endpoints); !found.ok()) {
    return Fail(found, *logger);
  }
  return Serve(std::move(options), *logger);
}

}  // namespace

int RunGrpcProxyCommand(const std::vector<std::string>& arguments) {
  std::vector<std::string> words(arguments.begin() + 2, arguments.end());
  const auto command =
      std::ranges::find_if(words, [](const std::string& word) { return !word.starts_with('-'); });
  if (command == words.end() || *command != "start") {
    const absl::StatusOr<Arguments> none = Arguments::Parse({}, words);
    if (!none.ok()) return UsageError(std::string(none.status().message()), kGroupUsage);
    std::cout << "grpc-proxy related command\n\n" << kGroupUsage;
    return 0;
  }
  words.erase(command);
  const absl::StatusOr<Arguments> flags = Arguments::Parse(kGrpcProxyFlags, words);
  if (!flags.ok()) return UsageError(std::string(flags.status().message()), kGrpcProxyUsage);
  if (flags->help()) {
    std::cout << "start the grpc proxy\n\n" << kGrpcProxyUsage;
    return 0;
  }
  return Start(*flags);
}

}  // namespace kvorum::cmd
