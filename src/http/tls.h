#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "http/byte_stream.h"

namespace kvorum::http {

/// What one side of TLS connections is made from (reference: flags.md §1, security). Files are PEM.
struct TlsOptions {
  std::string cert_file;        ///< shown to the other side; with its chain. Empty: none (clients alone)
  std::string key_file;         ///< of cert_file; empty: in cert_file
  std::string trusted_ca_file;  ///< who vouches for the other side; empty: the system's authorities (clients)
  std::string crl_file;         ///< certificates that are taken back
  bool client_cert_auth = false;  ///< servers: a client must show a certificate of trusted_ca_file's
  bool skip_verify = false;       ///< clients: take any certificate
  std::string server_name;        ///< clients: the name that must be in it; empty: the host that is dialled
  std::vector<std::string> cipher_suites;  ///< Go's names, of TLS 1.2; empty: the library's
  std::string min_version = "TLS1.2";
  std::string max_version;             ///< empty: the newest
  std::vector<std::string> protocols;  ///< ALPN, by preference: "h2", "http/1.1"
};

/// Certificates, keys and rules, read once. Immutable, thread-safe, shared by its connections.
class TlsContext {
 public:
  /// Errors: InvalidArgument, with the file's name, for what cannot be read or does not fit together.
  static absl::StatusOr<std::shared_ptr<const TlsContext>> ForClient(const TlsOptions& options);
  static absl::StatusOr<std::shared_ptr<const TlsContext>> ForServer(const TlsOptions& options);
  virtual ~TlsContext() = default;
};

/// Encrypts `stream`; the handshake happens inside the first Read, and a failed one breaks the stream.
/// `host`: the name or address that was dialled.
std::unique_ptr<ByteStream> NewTlsClientStream(Loop& loop, std::unique_ptr<ByteStream> stream,
                                               std::shared_ptr<const TlsContext> context,
                                               const std::string& host);
std::unique_ptr<ByteStream> NewTlsServerStream(Loop& loop, std::unique_ptr<ByteStream> stream,
                                               std::shared_ptr<const TlsContext> context);

}  // namespace kvorum::http
