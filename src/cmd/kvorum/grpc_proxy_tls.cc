#include "cmd/kvorum/grpc_proxy_tls.h"

#include <openssl/pem.h>
#include <openssl/x509.h>

#include <memory>

#include "base/env.h"
#include "base/status.h"
#include "fmt/format.h"

namespace kvorum::cmd {

absl::Status CheckEmptyCommonName(const std::string& cert_file) {
  KVORUM_ASSIGN_OR_RETURN(const std::string content, PosixEnv().ReadFile(cert_file));
  const std::unique_ptr<BIO, int (*)(BIO*)> buffer(
      BIO_new_mem_buf(content.data(), static_cast<int>(content.size())), &BIO_free);
  const std::unique_ptr<X509, void (*)(X509*)> certificate(
      PEM_read_bio_X509(buffer.get(), nullptr, nullptr, nullptr), &X509_free);
  if (certificate == nullptr) {
    return absl::InvalidArgumentError(fmt::format("tls: failed to find any PEM data in {}", cert_file));
  }
  X509_NAME* const subject = X509_get_subject_name(certificate.get());
  char name[256];
  const int size = X509_NAME_get_text_by_NID(subject, NID_commonName, name, sizeof name);
  if (size <= 0) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("cert has non empty Common Name ({}): {}", name, cert_file));
}

}  // namespace kvorum::cmd
