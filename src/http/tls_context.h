#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <vector>

#include "http/tls.h"

namespace kvorum::http {

/// What is known of the other side's certificate.
struct Verification {
  std::string host;     ///< must be in it; servers: empty
  std::string refused;  ///< why it was, in Go's words; empty: it was not
};

/// The context as the streams see it.
class SslContext final : public TlsContext {
 public:
  enum class Side { kClient, kServer };

  static absl::StatusOr<std::shared_ptr<const TlsContext>> Make(const TlsOptions& options, Side side);
  SslContext(TlsOptions options, Side side);
  ~SslContext() override;

  /// A new connection. `host` and `protocols` as of NewTlsClientStream; servers leave them empty.
  /// `verification` is filled in, and outlives it.
  SSL* NewConnection(const std::string& host, const std::vector<std::string>& protocols,
                     Verification* verification) const;
  Side side() const { return side_; }

 private:
  absl::Status Load();
  absl::Status LoadCertificate();
  absl::Status LoadAuthorities();
  absl::Status LoadRevoked();
  absl::Status SetVersions();
  absl::Status SetCiphers();

  const TlsOptions options_;
  const Side side_;
  std::string protocols_;  // ALPN, in its wire format
  SSL_CTX* const context_;
};

}  // namespace kvorum::http
