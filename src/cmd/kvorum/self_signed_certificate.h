#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/log.h"

namespace kvorum::cmd {

struct CertificateFiles {
  std::string cert_file;
  std::string key_file;
};

/// --auto-tls: a certificate for `hosts` (names and addresses), signed by itself, with its key, as cert.pem
/// and key.pem in `folder`. Those that are there are taken as they are, while they are good. Errors:
/// InvalidArgument for no years; Internal where nothing can be written.
absl::StatusOr<CertificateFiles> SelfSignedCertificate(const std::string& folder,
                                                       const std::vector<std::string>& hosts, uint64_t years,
                                                       Logger& logger);

}  // namespace kvorum::cmd
