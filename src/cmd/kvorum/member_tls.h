#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/log.h"
#include "config/config.h"
#include "http/tls.h"

namespace kvorum::cmd {

/// Certificates and rules of one side of a process.
struct SideTls {
  std::string info;  ///< for the log, as etcd's: "cert = c.pem, key = …"; empty: there is no certificate
  std::shared_ptr<const http::TlsContext> server;  ///< of its listeners; null: none has TLS
  std::shared_ptr<const http::TlsContext> client;  ///< for dialling; null: as the system trusts
};

/// What a process that serves clients and knows members encrypts its connections with (reference: flags.md
/// §1, security).
struct ProcessTls {
  SideTls clients;  ///< `client`: towards members' client URLs, of a proxy
  SideTls peers;
};

/// Reads the files that the flags name, or makes the certificates that --auto-tls and --peer-auto-tls want,
/// in `fixtures` of the data directory. `logger` is borrowed for as long as the contexts live. Errors:
/// InvalidArgument for files that cannot be used, in etcd's words; Internal where none can be made.
absl::StatusOr<ProcessTls> MakeProcessTls(const config::Config& config, bool is_proxy, Logger* logger);

}  // namespace kvorum::cmd
