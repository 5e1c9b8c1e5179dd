#include "cmd/kvorum/grpc_proxy_tls.h"

#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string_view>

#include "base/env.h"
#include "base/status.h"
#include "fmt/format.h"

namespace kvorum::cmd {

namespace {

template <auto Free>
struct Freer {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Certificate = std::unique_ptr<X509, Freer<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using Buffer = std::unique_ptr<BIO, Freer<BIO_free>>;
using Extension = std::unique_ptr<X509_EXTENSION, Freer<X509_EXTENSION_free>>;
using File = std::unique_ptr<FILE, Freer<std::fclose>>;

bool AddExtension(X509* certificate, int id, const std::string& value) {
  const Extension extension(X509V3_EXT_conf_nid(nullptr, nullptr, id, value.c_str()));
  return extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1;
}

/// Null where the library fails.
Certificate Sign(EVP_PKEY* key, const std::string& host, uint64_t years) {
  Certificate certificate(X509_new());
  if (certificate == nullptr) return nullptr;
  X509* const c = certificate.get();
  uint64_t serial = 0;
  if (RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial) != 1) return nullptr;
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(c), serial >> 1);
  X509_set_version(c, X509_VERSION_3);
  X509_gmtime_adj(X509_getm_notBefore(c), 0);
  X509_time_adj_ex(X509_getm_notAfter(c), static_cast<int>(365 * years), 0, nullptr);
  X509_set_pubkey(c, key);
  X509_NAME* const name = X509_get_subject_name(c);
  X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("etcd"), -1, -1,
                             0);
  X509_set_issuer_name(c, name);
  const bool is_address =
      host.find_first_not_of("0123456789.") == std::string::npos || host.find(':') != std::string::npos;
  const bool extended =
      AddExtension(c, NID_basic_constraints, "critical,CA:FALSE") &&
      AddExtension(c, NID_key_usage, "critical,digitalSignature,keyEncipherment") &&
      AddExtension(c, NID_ext_key_usage, "serverAuth,clientAuth") &&
      AddExtension(c, NID_subject_alt_name, fmt::format("{}:{}", is_address ? "IP" : "DNS", host));
  if (!extended || X509_sign(c, key, EVP_sha256()) == 0) return nullptr;
  return certificate;
}

absl::Status Failed(std::string_view what) {
  return absl::InternalError(fmt::format("failed to make a certificate: {}", what));
}

}  // namespace

absl::Status CheckEmptyCommonName(const std::string& cert_file) {
  KVORUM_ASSIGN_OR_RETURN(const std::string content, PosixEnv().ReadFile(cert_file));
  const Buffer buffer(BIO_new_mem_buf(content.data(), static_cast<int>(content.size())));
  const Certificate certificate(PEM_read_bio_X509(buffer.get(), nullptr, nullptr, nullptr));
  if (certificate == nullptr) {
    return absl::InvalidArgumentError(fmt::format("tls: failed to find any PEM data in {}", cert_file));
  }
  X509_NAME* const subject = X509_get_subject_name(certificate.get());
  char name[256];
  const int size = X509_NAME_get_text_by_NID(subject, NID_commonName, name, sizeof name);
  if (size <= 0) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("cert has non empty Common Name ({}): {}", name, cert_file));
}

absl::StatusOr<CertificateFiles> SelfSignedCertificate(const std::string& folder, const std::string& host,
                                                       uint64_t years) {
  const CertificateFiles files{.cert_file = folder + "/cert.pem", .key_file = folder + "/key.pem"};
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return Failed(fmt::format("mkdir {}: {}", folder, error.message()));
  if (std::filesystem::exists(files.cert_file) && std::filesystem::exists(files.key_file)) return files;
  const Key key(EVP_EC_gen("P-256"));
  if (key == nullptr) return Failed("no key");
  const Certificate certificate = Sign(key.get(), host, years);
  if (certificate == nullptr) return Failed("it cannot be signed");
  const int fd = ::open(files.key_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return Failed(fmt::format("open {}", files.key_file));
  const File key_file(::fdopen(fd, "w"));
  const File cert_file(std::fopen(files.cert_file.c_str(), "we"));
  if (cert_file == nullptr) return Failed(fmt::format("open {}", files.cert_file));
  const bool written =
      PEM_write_PrivateKey(key_file.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1 &&
      PEM_write_X509(cert_file.get(), certificate.get()) == 1 && std::fflush(key_file.get()) == 0 &&
      std::fflush(cert_file.get()) == 0;
  if (!written) return Failed(fmt::format("write {}", folder));
  return files;
}

}  // namespace kvorum::cmd
