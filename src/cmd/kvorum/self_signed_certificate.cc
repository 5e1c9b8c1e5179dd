#include "cmd/kvorum/self_signed_certificate.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "absl/strings/str_join.h"
#include "base/env.h"
#include "base/free_with.h"
#include "base/status.h"
#include "fmt/format.h"

namespace kvorum::cmd {

namespace {

using Certificate = std::unique_ptr<X509, FreeWith<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>>;
using Buffer = std::unique_ptr<BIO, FreeWith<BIO_free>>;
using Extension = std::unique_ptr<X509_EXTENSION, FreeWith<X509_EXTENSION_free>>;

constexpr uint64_t kMaxYears = 1000;

bool AddExtension(X509* certificate, int id, const std::string& value) {
  const Extension extension(X509V3_EXT_conf_nid(nullptr, nullptr, id, value.c_str()));
  return extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1;
}

/// "IP:127.0.0.1,DNS:localhost".
std::string AlternativeNames(const std::vector<std::string>& hosts) {
  std::vector<std::string> names;
  for (const std::string& host : hosts) {
    in6_addr ignored;
    const bool is_address =
        inet_pton(AF_INET, host.c_str(), &ignored) == 1 || inet_pton(AF_INET6, host.c_str(), &ignored) == 1;
    std::string name = fmt::format("{}:{}", is_address ? "IP" : "DNS", host);
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(std::move(name));
  }
  return absl::StrJoin(names, ",");
}

/// Null where the library fails. As etcd's: an authority of its own, so that it can be named as a trusted
/// one.
Certificate Sign(EVP_PKEY* key, const std::vector<std::string>& hosts, uint64_t years) {
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
  bool extended = AddExtension(c, NID_basic_constraints, "critical,CA:TRUE") &&
                  AddExtension(c, NID_key_usage, "critical,digitalSignature,keyEncipherment,keyCertSign") &&
                  AddExtension(c, NID_ext_key_usage, "serverAuth,clientAuth");
  if (const std::string names = AlternativeNames(hosts); extended && !names.empty()) {
    extended = AddExtension(c, NID_subject_alt_name, names);
  }
  if (!extended || X509_sign(c, key, EVP_sha256()) == 0) return nullptr;
  return certificate;
}

absl::Status Failed(std::string_view what) {
  return absl::InternalError(fmt::format("failed to make a certificate: {}", what));
}

/// Both files are there, and the certificate is not over.
bool AreGood(const CertificateFiles& files) {
  if (!PosixEnv().Exists(files.key_file)) return false;
  const absl::StatusOr<std::string> content = PosixEnv().ReadFile(files.cert_file);
  if (!content.ok()) return false;
  const Buffer buffer(BIO_new_mem_buf(content->data(), static_cast<int>(content->size())));
  const Certificate certificate(PEM_read_bio_X509(buffer.get(), nullptr, nullptr, nullptr));
  // One that cannot be read is not ours to replace: what uses it says why.
  return certificate == nullptr || X509_cmp_current_time(X509_get0_notAfter(certificate.get())) > 0;
}

/// Writes a file of that mode, in place of one that is there.
template <typename Write>
absl::Status WritePem(const std::string& path, mode_t mode, Write write) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  if (fd < 0) return Failed(fmt::format("open {}", path));
  FILE* const file = ::fdopen(fd, "w");
  const bool written = write(file) == 1 && std::fflush(file) == 0;
  const bool closed = std::fclose(file) == 0;
  return written && closed ? absl::OkStatus() : Failed(fmt::format("write {}", path));
}

}  // namespace

absl::StatusOr<CertificateFiles> SelfSignedCertificate(const std::string& folder,
                                                       const std::vector<std::string>& hosts, uint64_t years,
                                                       Logger& logger) {
  if (years == 0) {
    const std::string error = "selfSignedCertValidity is invalid,it should be greater than 0";
    KVORUM_LOG(logger, kWarn, "cannot generate cert", {"error", error});
    return absl::InvalidArgumentError(error);
  }
  KVORUM_RETURN_IF_ERROR(PosixEnv().CreateDirectories(folder, 0700));
  std::error_code error;
  const std::string place = std::filesystem::absolute(folder, error).string();
  const CertificateFiles files{.cert_file = place + "/cert.pem", .key_file = place + "/key.pem"};
  if (AreGood(files)) return files;

  const Key key(EVP_EC_gen("P-256"));
  if (key == nullptr) return Failed("no key");
  const Certificate certificate = Sign(key.get(), hosts, std::min(years, kMaxYears));
  if (certificate == nullptr) return Failed("it cannot be signed");
  KVORUM_LOG(logger, kWarn, "automatically generate certificates", {"years", years}, {"hosts", hosts});
  KVORUM_RETURN_IF_ERROR(
      WritePem(files.cert_file, 0644, [&](FILE* file) { return PEM_write_X509(file, certificate.get()); }));
  KVORUM_LOG(logger, kInfo, "created cert file", {"path", files.cert_file});
  KVORUM_RETURN_IF_ERROR(WritePem(files.key_file, 0600, [&](FILE* file) {
    return PEM_write_PrivateKey(file, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  }));
  KVORUM_LOG(logger, kInfo, "created key file", {"path", files.key_file});
  return files;
}

}  // namespace kvorum::cmd
