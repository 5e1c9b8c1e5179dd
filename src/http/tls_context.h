#pragma once

#include <openssl/ssl.h>
#include <sys/stat.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "http/tls.h"

namespace kvorum::http {

/// What is known of the other side's certificate.
struct Verification {
  std::string host;                     ///< must be in it; servers: empty
  const TlsOptions* options = nullptr;  ///< what else it must be
  std::string refused;                  ///< why it was, in Go's words; empty: it was not
  TlsPeer peer;                         ///< of one that was refused
};

/// The context as the streams see it.
class SslContext final : public TlsContext {
 public:
  enum class Side { kClient, kServer };

  static absl::StatusOr<std::shared_ptr<const TlsContext>> Make(const TlsOptions& options, Side side);
  SslContext(TlsOptions options, Side side) : options_(std::move(options)), side_(side) {}

  /// A new connection. `host` and `protocols` as of NewTlsClientStream; servers leave them empty.
  /// `verification` is filled in, and outlives it.
  SSL* NewConnection(const std::string& host, const std::vector<std::string>& protocols,
                     Verification* verification) const;
  Side side() const { return side_; }

 private:
  using Library = std::shared_ptr<SSL_CTX>;

  /// What tells one state of the files from another.
  struct Stamp {
    std::vector<struct stat> files;
    bool operator==(const Stamp& other) const;
  };
  Stamp Look() const;
  /// The files as they are now, or as they were when they could last be read.
  Library Current() const;

  absl::StatusOr<Library> Load() const;
  absl::Status LoadCertificate(SSL_CTX* context) const;
  absl::Status LoadAuthorities(SSL_CTX* context) const;
  absl::Status LoadRevoked(SSL_CTX* context) const;
  absl::Status SetVersions(SSL_CTX* context) const;
  absl::Status SetCiphers(SSL_CTX* context) const;

  const TlsOptions options_;
  const Side side_;
  std::string protocols_;  // ALPN, in its wire format; constant once made

  mutable absl::Mutex mutex_;
  mutable Library current_ ABSL_GUARDED_BY(mutex_);
  mutable Stamp stamp_ ABSL_GUARDED_BY(mutex_);  // of the files that were read last, in vain or not
};

}  // namespace kvorum::http
