#pragma once

#include <string>

#include "absl/status/status.h"

namespace kvorum::cmd {

/// The certificate that a proxy shows to servers must not name a user: it would speak for every client.
/// Errors: InvalidArgument, "cert has non empty Common Name (root): cert.pem".
absl::Status CheckEmptyCommonName(const std::string& cert_file);

}  // namespace kvorum::cmd
