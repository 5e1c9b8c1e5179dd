#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace kvorum::cmd {

/// The certificate that a proxy shows to servers must not name a user: it would speak for every client.
/// Errors: InvalidArgument, "cert has non empty Common Name (root): cert.pem".
absl::Status CheckEmptyCommonName(const std::string& cert_file);

struct CertificateFiles {
  std::string cert_file;
  std::string key_file;
};
/// --auto-tls: a certificate for `host`, signed by itself, with its key, in `folder`; those that are there
/// are taken as they are.
absl::StatusOr<CertificateFiles> SelfSignedCertificate(const std::string& folder, const std::string& host,
                                                       uint64_t years);

}  // namespace kvorum::cmd
