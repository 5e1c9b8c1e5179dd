#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/byte_stream.h"

namespace kvorum::http {

/// What one side of TLS connections is made from (reference: flags.md §1, security). Files are PEM; a CRL may
/// also be DER.
struct TlsOptions {
  std::string cert_file;        ///< shown to the other side; with its chain. Empty: none (clients alone)
  std::string key_file;         ///< of cert_file; empty: in cert_file
  std::string trusted_ca_file;  ///< who vouches for the other side; empty: the system's authorities
  std::string crl_file;         ///< certificates that are taken back, of any authority in the chain
  /// Servers: a client must show a certificate that is vouched for. As in etcd a trusted_ca_file alone asks
  /// for it too.
  bool client_cert_auth = false;
  bool skip_verify = false;  ///< clients: take any certificate
  std::string server_name;   ///< clients: the name that must be in it; empty: the host that is dialled
  /// The other side's certificate must have one of these common names, or be for one of these hosts. Either
  /// may be given, for connections whose certificates are verified; empty: any.
  std::vector<std::string> allowed_common_names;
  std::vector<std::string> allowed_hostnames;
  /// Go's names. Those of TLS 1.2 are the ones that may be used; those of TLS 1.3 may stand there, and all of
  /// them stay allowed, as in Go. Empty: the library's.
  std::vector<std::string> cipher_suites;
  std::string min_version = "TLS1.2";
  std::string max_version;             ///< empty: the newest
  std::vector<std::string> protocols;  ///< ALPN, by preference; empty: servers "h2", "http/1.1", clients none
  Logger* logger = &NullLogger();      ///< told of files that are read again; outlives the context
};

/// Certificates, keys and rules, shared by their connections. Thread-safe.
///
/// Files that change are read again before the next connection, so that certificates, authorities and lists
/// of revoked ones can be exchanged under way. What cannot be read, or does not fit together yet, leaves that
/// which was read before in use, and is logged.
class TlsContext {
 public:
  /// Errors: InvalidArgument, with the file's name, for what cannot be read or does not fit together.
  static absl::StatusOr<std::shared_ptr<const TlsContext>> ForClient(const TlsOptions& options);
  static absl::StatusOr<std::shared_ptr<const TlsContext>> ForServer(const TlsOptions& options);
  /// Clients that trust the system's authorities. Made when first asked for, which reads files.
  static std::shared_ptr<const TlsContext> SystemClient();
  virtual ~TlsContext() = default;
};

/// Encrypts `stream`; the handshake happens inside the first Read or WaitWritable, whichever is first, until
/// then Write takes nothing. A failed one breaks the stream, and `error` says why. An end of `stream` that
/// the other side did not announce (close_notify) breaks it too. What was written and the reason of a failure
/// are still sent after Close, for a few seconds. `host`: the name or address that was dialled. `protocols`:
/// ALPN, in place of the context's where not empty. REQUIRES: on the loop's thread; `context` is of
/// ForClient, or SystemClient.
std::unique_ptr<ByteStream> NewTlsClientStream(Loop& loop, std::unique_ptr<ByteStream> stream,
                                               std::shared_ptr<const TlsContext> context,
                                               const std::string& host,
                                               const std::vector<std::string>& protocols = {});
/// REQUIRES: on the loop's thread; `context` is of ForServer.
std::unique_ptr<ByteStream> NewTlsServerStream(Loop& loop, std::unique_ptr<ByteStream> stream,
                                               std::shared_ptr<const TlsContext> context);

/// A handshake that is done at once, and not inside the first Read. On the loop only; shared between its user
/// and the operations under way.
class TlsHandshake final : public ByteStream::User, public std::enable_shared_from_this<TlsHandshake> {
 public:
  /// The stream, ready to be used. Errors: Unavailable with the stream's error; DeadlineExceeded.
  using Done = absl::AnyInvocable<void(absl::StatusOr<std::unique_ptr<ByteStream>>)>;

  /// `done` is called once, not inside this call, unless `Cancel` comes first.
  /// REQUIRES: `stream` is a TLS stream that was not used yet.
  static std::shared_ptr<TlsHandshake> Start(Loop& loop, std::unique_ptr<ByteStream> stream,
                                             MonotonicTime deadline, Done done);
  TlsHandshake(Loop& loop, std::unique_ptr<ByteStream> stream, Done done);

  void Cancel();
  /// The other side's address.
  const std::string& remote() const { return remote_; }
  /// The other side; once `done` was called with an error.
  const TlsPeer& peer() const { return peer_; }

  void OnRead(size_t, bool) override {}
  void OnWritable() override;

 private:
  void Finish(absl::StatusOr<std::unique_ptr<ByteStream>> result);

  Loop& loop_;
  const std::string remote_;
  TlsPeer peer_;
  std::unique_ptr<ByteStream> stream_;  // null once finished or cancelled
  Done done_;                           // empty then, too
  Executor::TimerId timer_ = 0;
};

}  // namespace kvorum::http
