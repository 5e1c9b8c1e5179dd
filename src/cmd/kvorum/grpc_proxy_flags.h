#pragma once

#include <string_view>

#include "base/arguments.h"

namespace kvorum::cmd {

/// The flags of `kvorum grpc-proxy start` (reference: flags.md §6).
inline constexpr CommandFlag kGrpcProxyFlags[] = {
    {.name = "listen-addr", .default_value = "127.0.0.1:23790"},
    {.name = "discovery-srv", .default_value = ""},
    {.name = "discovery-srv-name", .default_value = ""},
    {.name = "dns-server", .default_value = ""},
    {.name = "metrics-addr", .default_value = ""},
    {.name = "insecure-discovery", .default_value = "false", .is_switch = true},
    {.name = "endpoints", .default_value = "127.0.0.1:2379", .is_list = true},
    {.name = "endpoints-auto-sync-interval", .default_value = "0s"},
    {.name = "advertise-client-url", .default_value = "127.0.0.1:23790"},
    {.name = "resolver-prefix", .default_value = ""},
    {.name = "resolver-ttl", .default_value = "0"},
    {.name = "namespace", .default_value = ""},
    {.name = "enable-pprof", .default_value = "false", .is_switch = true},
    {.name = "data-dir", .default_value = "default.proxy"},
    {.name = "max-send-bytes", .default_value = "1572864"},
    {.name = "max-recv-bytes", .default_value = "2147483647"},
    {.name = "dial-keepalive-time", .default_value = "0s"},
    {.name = "dial-keepalive-timeout", .default_value = "20s"},
    {.name = "permit-without-stream", .default_value = "false", .is_switch = true},
    {.name = "cert", .default_value = ""},
    {.name = "key", .default_value = ""},
    {.name = "cacert", .default_value = ""},
    {.name = "insecure-skip-tls-verify", .default_value = "false", .is_switch = true},
    {.name = "cert-file", .default_value = ""},
    {.name = "key-file", .default_value = ""},
    {.name = "trusted-ca-file", .default_value = ""},
    {.name = "client-crl-file", .default_value = ""},
    {.name = "auto-tls", .default_value = "false", .is_switch = true},
    {.name = "self-signed-cert-validity", .default_value = "1"},
    {.name = "listen-cipher-suites", .default_value = "", .is_list = true},
    {.name = "tls-min-version", .default_value = "TLS1.2"},
    {.name = "tls-max-version", .default_value = ""},
    {.name = "experimental-serializable-ordering", .default_value = "false", .is_switch = true},
    {.name = "experimental-leasing-prefix", .default_value = ""},
    {.name = "experimental-enable-grpc-logging", .default_value = "false", .is_switch = true},
    {.name = "debug", .default_value = "false", .is_switch = true},
    {.name = "max-concurrent-streams", .default_value = "4294967295"},
    {.name = "grpc-keepalive-min-time", .default_value = "5s"},
    {.name = "grpc-keepalive-interval", .default_value = "2h0m0s"},
    {.name = "grpc-keepalive-timeout", .default_value = "20s"},
};

inline constexpr std::string_view kGrpcProxyUsage = R"(Usage:
  kvorum grpc-proxy start [flags]

Flags:
      --advertise-client-url string             advertise address to register (must be reachable by client) (default "127.0.0.1:23790")
      --auto-tls                                proxy TLS using generated certificates
      --cacert string                           verify certificates of TLS-enabled secure etcd servers using this CA bundle
      --cert string                             identify secure connections with etcd servers using this TLS certificate file
      --cert-file string                        identify secure connections to the proxy using this TLS certificate file
      --client-crl-file string                  proxy client certificate revocation list file.
      --data-dir string                         Data directory for persistent data (default "default.proxy")
      --debug                                   Enable debug-level logging for grpc-proxy.
      --dial-keepalive-time duration            keepalive time for client(grpc-proxy) connections (default 0, disable).
      --dial-keepalive-timeout duration         keepalive timeout for client(grpc-proxy) connections (default 20s). (default 20s)
      --discovery-srv string                    domain name to query for SRV records describing cluster endpoints
      --discovery-srv-name string               service name to query when using DNS discovery
      --dns-server string                       address of the DNS server to ask, as in 127.0.0.1:53 (default: the system's)
      --enable-pprof                            Enable runtime profiling data via HTTP server. Address is at client URL + "/debug/pprof/"
      --endpoints strings                       comma separated etcd cluster endpoints (default [127.0.0.1:2379])
      --endpoints-auto-sync-interval duration   etcd endpoints auto sync interval (disabled by default)
      --experimental-enable-grpc-logging        logging all grpc requests and responses
      --experimental-leasing-prefix string      leasing metadata prefix for disconnected linearized reads.
      --experimental-serializable-ordering      Ensure serializable reads have monotonically increasing store revisions across endpoints.
      --grpc-keepalive-interval duration        Frequency duration of server-to-client ping to check if a connection is alive (0 to disable). (default 2h0m0s)
      --grpc-keepalive-min-time duration        Minimum interval duration that a client should wait before pinging proxy. (default 5s)
      --grpc-keepalive-timeout duration         Additional duration of wait before closing a non-responsive connection (0 to disable). (default 20s)
  -h, --help                                    help for start
      --insecure-discovery                      accept insecure SRV records
      --insecure-skip-tls-verify                skip authentication of etcd server TLS certificates (CAUTION: this option should be enabled only for testing purposes)
      --key string                              identify secure connections with etcd servers using this TLS key file
      --key-file string                         identify secure connections to the proxy using this TLS key file
      --listen-addr string                      listen address (default "127.0.0.1:23790")
      --listen-cipher-suites strings            Comma-separated list of supported TLS cipher suites between client/proxy (empty will be auto-populated by Go).
      --max-concurrent-streams uint32           Maximum concurrent streams that each client can open at a time. (default 4294967295)
      --max-recv-bytes int                      message receive limits in bytes (default value is math.MaxInt32) (default 2147483647)
      --max-send-bytes int                      message send limits in bytes (default value is 1.5 MiB) (default 1572864)
      --metrics-addr string                     listen for endpoint /metrics requests on an additional interface
      --namespace string                        string to prefix to all keys for namespacing requests
      --permit-without-stream                   Enable client(grpc-proxy) to send keepalive pings even with no active RPCs.
      --resolver-prefix string                  prefix to use for registering proxy (must be shared with other grpc-proxy members)
      --resolver-ttl int                        specify TTL, in seconds, when registering proxy endpoints
      --self-signed-cert-validity uint          The validity period of the proxy certificates, unit is year (default 1)
      --tls-max-version string                  Maximum TLS version supported by grpc proxy. Possible values: TLS1.2, TLS1.3 (empty defers to Go).
      --tls-min-version string                  Minimum TLS version supported by grpc proxy. Possible values: TLS1.2, TLS1.3. (default "TLS1.2")
      --trusted-ca-file string                  verify certificates of TLS-enabled secure proxy using this CA bundle
)";

}  // namespace kvorum::cmd
