#include "http/tls_context.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <algorithm>

#include "base/check.h"
#include "base/free_with.h"
#include "fmt/format.h"
#include "http/listener.h"
#include "http/text.h"
#include "http/tls_error.h"

namespace kvorum::http {

namespace {

constexpr size_t kMaxFileBytes = 16 << 20;

using BioPtr = std::unique_ptr<BIO, FreeWith<BIO_free_all>>;
using X509Ptr = std::unique_ptr<X509, FreeWith<X509_free>>;
using CrlPtr = std::unique_ptr<X509_CRL, FreeWith<X509_CRL_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>>;

absl::Status Bad(std::string_view what, std::string_view file) {
  return absl::InvalidArgumentError(fmt::format("{} ({})", what, file));
}

absl::StatusOr<std::string> ReadWhole(const std::string& path) {
  const auto failed = [&path](std::string_view call) {
    return absl::InvalidArgumentError(fmt::format("{} {}: {}", call, path, ErrnoText(errno)));
  };
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return failed("open");
  std::string content;
  char piece[16 << 10];
  ssize_t n;
  while ((n = ::read(fd, piece, sizeof piece)) > 0 && content.size() < kMaxFileBytes) {
    content.append(piece, static_cast<size_t>(n));
  }
  absl::Status read = n < 0 ? failed("read") : absl::OkStatus();
  ::close(fd);
  if (!read.ok()) return read;
  if (n > 0) return Bad("a file that is too long", path);
  return content;
}

BioPtr Over(const std::string& content) {
  return BioPtr(BIO_new_mem_buf(content.data(), static_cast<int>(content.size())));
}

/// Nobody is asked for a pass phrase.
int NoPassphrase(char*, int, int, void*) { return -1; }

/// True when the last PEM read found nothing more, and not something that is damaged.
bool AtEnd() {
  const unsigned long error = ERR_peek_last_error();
  return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

absl::StatusOr<std::vector<X509Ptr>> ReadCertificates(const std::string& path) {
  absl::StatusOr<std::string> content = ReadWhole(path);
  if (!content.ok()) return content.status();
  const BioPtr input = Over(*content);
  std::vector<X509Ptr> list;
  ERR_clear_error();
  while (X509* one = PEM_read_bio_X509(input.get(), nullptr, &NoPassphrase, nullptr)) list.emplace_back(one);
  const bool damaged = !AtEnd();
  ERR_clear_error();
  if (damaged) return Bad("x509: malformed certificate", path);
  if (list.empty()) return Bad("tls: failed to find any PEM data in certificate input", path);
  return list;
}

/// The number of a version; 0 for the empty name, -1 for one that is none.
int VersionOf(std::string_view name) {
  if (name.empty()) return 0;
  if (name == "TLS1.2") return TLS1_2_VERSION;
  if (name == "TLS1.3") return TLS1_3_VERSION;
  return -1;
}

absl::StatusOr<std::string> EncodeProtocols(const std::vector<std::string>& protocols) {
  std::string wire;
  for (const std::string& protocol : protocols) {
    if (protocol.empty() || protocol.size() > 255) {
      return absl::InvalidArgumentError("tls: invalid NextProtos value");
    }
    wire += static_cast<char>(protocol.size());
    wire += protocol;
  }
  return wire;
}

/// The bytes of an address, 4 or 16; empty for a name.
std::string AddressBytes(const std::string& host) {
  in6_addr address;
  const auto* bytes = reinterpret_cast<const char*>(&address);
  if (inet_pton(AF_INET, host.c_str(), &address) == 1) return {bytes, sizeof(in_addr)};
  if (inet_pton(AF_INET6, host.c_str(), &address) != 1) return {};
  if (IN6_IS_ADDR_V4MAPPED(&address)) return {bytes + 12, sizeof(in_addr)};
  return {bytes, sizeof address};
}

/// What must be in the server's certificate. No certificate is good for nothing: a check is always set.
void Expect(SSL* ssl, const std::string& name) {
  X509_VERIFY_PARAM* rules = SSL_get0_param(ssl);
  const std::string address = AddressBytes(name);
  bool set;
  if (!address.empty()) {
    set = X509_VERIFY_PARAM_set1_ip(rules, reinterpret_cast<const unsigned char*>(address.data()),
                                    address.size()) == 1;
  } else {
    X509_VERIFY_PARAM_set_hostflags(
        rules, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    set = X509_VERIFY_PARAM_set1_host(rules, name.empty() ? "." : name.c_str(), 0) == 1;
    SSL_set_tlsext_host_name(ssl, name.c_str());
  }
  KVORUM_CHECK(set, "OpenSSL: {}", LibraryErrorText());
}

int VerificationIndex() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

/// Whether a certificate that is vouched for is one of those that may connect.
bool IsAllowed(const TlsOptions& options, X509* certificate) {
  if (options.allowed_common_names.empty() && options.allowed_hostnames.empty()) return true;
  const std::string name = PeerOf(certificate).common_name;
  const auto& names = options.allowed_common_names;
  if (std::find(names.begin(), names.end(), name) != names.end()) return true;
  return std::any_of(
      options.allowed_hostnames.begin(), options.allowed_hostnames.end(), [&](const std::string& host) {
        const bool address = !AddressBytes(host).empty();
        return (address ? X509_check_ip_asc(certificate, host.c_str(), 0)
                        : X509_check_host(
                              certificate, host.data(), host.size(),
                              X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS,
                              nullptr)) == 1;
      });
}

/// Whether an error of the verification is none. What a CRL lacks refuses no certificate, as in etcd: one is
/// revoked where a CRL of its issuer, rightly signed, lists it.
bool IsNoRefusal(int error) {
  switch (error) {
    case X509_V_ERR_UNABLE_TO_GET_CRL:
    case X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER:
    case X509_V_ERR_DIFFERENT_CRL_SCOPE:
    case X509_V_ERR_KEYUSAGE_NO_CRL_SIGN:
    case X509_V_ERR_CRL_NOT_YET_VALID:
    case X509_V_ERR_CRL_HAS_EXPIRED:
      return true;
    default:
      return false;
  }
}

/// Notes why a certificate is refused. Called for each error, and for each certificate of the chain that has
/// none, the other side's own as the last.
int OnVerified(int good, X509_STORE_CTX* store) {
  if (good == 0 && IsNoRefusal(X509_STORE_CTX_get_error(store))) {
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
  }
  const auto* ssl =
      static_cast<const SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* verification = static_cast<Verification*>(SSL_get_ex_data(ssl, VerificationIndex()));
  X509* const own = X509_STORE_CTX_get0_cert(store);
  std::string why;
  if (good == 0) {
    why = RefusalText(store, verification->host);
  } else if (X509_STORE_CTX_get_error_depth(store) > 0 || IsAllowed(*verification->options, own)) {
    return 1;
  } else {
    why = "client certificate authentication failed";
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
  }
  if (verification->refused.empty()) {
    verification->refused = std::move(why);
    verification->peer = PeerOf(own);
  }
  return 0;
}

/// Chooses the first of the server's protocols that the client offers. `argument`: theirs, in the wire
/// format.
int ChooseProtocol(SSL*, const unsigned char** chosen, unsigned char* chosen_size,
                   const unsigned char* offered, unsigned int offered_size, void* argument) {
  const auto* ours = static_cast<const std::string*>(argument);
  unsigned char* found = nullptr;
  const int result =
      SSL_select_next_proto(&found, chosen_size, reinterpret_cast<const unsigned char*>(ours->data()),
                            static_cast<unsigned>(ours->size()), offered, offered_size);
  *chosen = found;
  return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const TlsContext>> TlsContext::ForClient(const TlsOptions& options) {
  return SslContext::Make(options, SslContext::Side::kClient);
}

absl::StatusOr<std::shared_ptr<const TlsContext>> TlsContext::ForServer(const TlsOptions& options) {
  return SslContext::Make(options, SslContext::Side::kServer);
}

std::shared_ptr<const TlsContext> TlsContext::SystemClient() {
  static const std::shared_ptr<const TlsContext> context = [] {
    absl::StatusOr<std::shared_ptr<const TlsContext>> made = ForClient({});
    KVORUM_CHECK(made.ok(), "{}", made.status().ToString());
    return *std::move(made);
  }();
  return context;
}

absl::StatusOr<std::shared_ptr<const TlsContext>> SslContext::Make(const TlsOptions& options, Side side) {
  auto context = std::make_shared<SslContext>(options, side);
  std::vector<std::string> protocols = options.protocols;
  if (side == Side::kServer && protocols.empty()) protocols = {"h2", "http/1.1"};
  absl::StatusOr<std::string> wire = EncodeProtocols(protocols);
  if (!wire.ok()) return wire.status();
  context->protocols_ = *std::move(wire);
  const Stamp before = context->Look();
  absl::StatusOr<Library> loaded = context->Load();
  if (!loaded.ok()) return loaded.status();
  absl::MutexLock lock(&context->mutex_);
  context->current_ = *std::move(loaded);
  context->stamp_ = before;
  return context;
}

bool SslContext::Stamp::operator==(const Stamp& other) const {
  const auto time = [](const timespec& t) { return std::pair(t.tv_sec, t.tv_nsec); };
  return std::equal(files.begin(), files.end(), other.files.begin(), other.files.end(),
                    [&](const struct stat& a, const struct stat& b) {
                      return a.st_dev == b.st_dev && a.st_ino == b.st_ino && a.st_size == b.st_size &&
                             time(a.st_mtim) == time(b.st_mtim) && time(a.st_ctim) == time(b.st_ctim);
                    });
}

SslContext::Stamp SslContext::Look() const {
  Stamp stamp;
  for (const std::string* file :
       {&options_.cert_file, &options_.key_file, &options_.trusted_ca_file, &options_.crl_file}) {
    if (file->empty()) continue;
    struct stat& found = stamp.files.emplace_back();
    if (::stat(file->c_str(), &found) != 0) found = {};
  }
  return stamp;
}

SslContext::Library SslContext::Current() const {
  absl::MutexLock lock(&mutex_);
  Stamp now = Look();
  if (now == stamp_) return current_;
  stamp_ = std::move(now);
  absl::StatusOr<Library> loaded = Load();
  if (loaded.ok()) {
    current_ = *std::move(loaded);
    KVORUM_LOG(*options_.logger, kInfo, "read changed TLS files", {"cert-file", options_.cert_file},
               {"key-file", options_.key_file}, {"trusted-ca-file", options_.trusted_ca_file},
               {"crl-file", options_.crl_file});
  } else {
    KVORUM_LOG(*options_.logger, kWarn,
               "failed to read changed TLS files; those that were read before stay in use",
               {"error", std::string(loaded.status().message())});
  }
  return current_;
}

absl::StatusOr<SslContext::Library> SslContext::Load() const {
  const bool server = side_ == Side::kServer;
  Library library(SSL_CTX_new(server ? TLS_server_method() : TLS_client_method()), &SSL_CTX_free);
  KVORUM_CHECK(library != nullptr, "OpenSSL: {}", LibraryErrorText());
  SSL_CTX* const context = library.get();
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                                   SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  // Every connection shows its certificate: one that was resumed would not be looked at again.
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context, 0);

  const bool verifies =
      server ? options_.client_cert_auth || !options_.trusted_ca_file.empty() : !options_.skip_verify;
  if (absl::Status status = SetVersions(context); !status.ok()) return status;
  if (absl::Status status = SetCiphers(context); !status.ok()) return status;
  if (absl::Status status = LoadCertificate(context); !status.ok()) return status;
  if (absl::Status status = LoadAuthorities(context); !status.ok()) return status;
  if (absl::Status status = LoadRevoked(context); !status.ok()) return status;
  if (verifies) {
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | (server ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                       &OnVerified);
  }
  if (server) {
    SSL_CTX_set_alpn_select_cb(context, &ChooseProtocol, const_cast<std::string*>(&protocols_));
  }
  return library;
}

absl::Status SslContext::SetVersions(SSL_CTX* context) const {
  const int min = VersionOf(options_.min_version);
  const int max = VersionOf(options_.max_version);
  for (const std::string* name : {&options_.min_version, &options_.max_version}) {
    if (VersionOf(*name) >= 0) continue;
    return absl::InvalidArgumentError(
        fmt::format("unexpected TLS version \"{}\" (must be one of: TLS1.2, TLS1.3)", *name));
  }
  if (max != 0 && min > max) {
    return absl::InvalidArgumentError(fmt::format("min version ({}) is greater than max version ({})",
                                                  options_.min_version, options_.max_version));
  }
  SSL_CTX_set_min_proto_version(context, min == 0 ? TLS1_2_VERSION : min);
  SSL_CTX_set_max_proto_version(context, max);
  return absl::OkStatus();
}

absl::Status SslContext::SetCiphers(SSL_CTX* context) const {
  if (options_.cipher_suites.empty()) return absl::OkStatus();
  if (options_.min_version == "TLS1.3") {
    return absl::InvalidArgumentError("cipher suites cannot be configured when only TLS1.3 is enabled");
  }
  std::string list;
  for (const std::string& name : options_.cipher_suites) {
    // Go's old names of two.
    const std::string standard = name.ends_with("_WITH_CHACHA20_POLY1305") ? name + "_SHA256" : name;
    const std::string ours = OPENSSL_cipher_name(standard.c_str());
    const bool newest = ours == standard;  // TLS 1.3 has one name for each
    SSL_CTX* scratch = SSL_CTX_new(TLS_method());
    const bool known = ours != "(NONE)" && (newest || SSL_CTX_set_cipher_list(scratch, ours.c_str()) == 1);
    SSL_CTX_free(scratch);
    ERR_clear_error();
    if (!known) {
      return absl::InvalidArgumentError(fmt::format("unexpected TLS cipher suite \"{}\"", name));
    }
    if (!newest) list += fmt::format("{}{}", list.empty() ? "" : ":", ours);
  }
  if (!list.empty()) {
    KVORUM_CHECK(SSL_CTX_set_cipher_list(context, list.c_str()) == 1, "OpenSSL: {}", LibraryErrorText());
  } else if (options_.max_version == "TLS1.2") {
    return absl::InvalidArgumentError("no cipher suite of TLS1.2 is configured");
  } else {
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  }
  return absl::OkStatus();
}

absl::Status SslContext::LoadCertificate(SSL_CTX* context) const {
  if (options_.cert_file.empty()) {
    if (side_ == Side::kClient && options_.key_file.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        fmt::format("KeyFile and CertFile must both be present[key: {}, cert: {}]", options_.key_file,
                    options_.cert_file));
  }
  absl::StatusOr<std::vector<X509Ptr>> chain = ReadCertificates(options_.cert_file);
  if (!chain.ok()) return chain.status();
  const std::string& key_file = options_.key_file.empty() ? options_.cert_file : options_.key_file;
  absl::StatusOr<std::string> content = ReadWhole(key_file);
  if (!content.ok()) return content.status();
  ERR_clear_error();
  const KeyPtr key(PEM_read_bio_PrivateKey(Over(*content).get(), nullptr, &NoPassphrase, nullptr));
  const bool none = content->find("-----BEGIN ") == std::string::npos;
  ERR_clear_error();
  if (key == nullptr) {
    return Bad(none ? "tls: failed to find any PEM data in key input" : "tls: failed to parse private key",
               key_file);
  }
  if (X509_check_private_key(chain->front().get(), key.get()) != 1) {
    ERR_clear_error();
    return Bad("tls: private key does not match public key",
               fmt::format("{}, {}", options_.cert_file, key_file));
  }
  bool taken = SSL_CTX_use_certificate(context, chain->front().get()) == 1;
  for (size_t i = 1; taken && i < chain->size(); ++i) {
    taken = SSL_CTX_add1_chain_cert(context, (*chain)[i].get()) == 1;
  }
  taken = taken && SSL_CTX_use_PrivateKey(context, key.get()) == 1;
  if (!taken) return Bad(fmt::format("tls: {}", LibraryErrorText()), options_.cert_file);
  return absl::OkStatus();
}

absl::Status SslContext::LoadAuthorities(SSL_CTX* context) const {
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  // As in Go, whatever is trusted is an end of the chain.
  X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
  if (options_.trusted_ca_file.empty()) {
    const bool wanted = side_ == Side::kServer ? options_.client_cert_auth : !options_.skip_verify;
    if (wanted) SSL_CTX_set_default_verify_paths(context);
    ERR_clear_error();
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<X509Ptr>> list = ReadCertificates(options_.trusted_ca_file);
  if (!list.ok()) return list.status();
  for (const X509Ptr& authority : *list) {
    if (X509_STORE_add_cert(store, authority.get()) != 1 ||
        (side_ == Side::kServer && SSL_CTX_add_client_CA(context, authority.get()) != 1)) {
      return Bad(fmt::format("x509: {}", LibraryErrorText()), options_.trusted_ca_file);
    }
  }
  return absl::OkStatus();
}

absl::Status SslContext::LoadRevoked(SSL_CTX* context) const {
  if (options_.crl_file.empty()) return absl::OkStatus();
  absl::StatusOr<std::string> content = ReadWhole(options_.crl_file);
  if (!content.ok()) return content.status();
  std::vector<CrlPtr> list;
  const BioPtr input = Over(*content);
  ERR_clear_error();
  while (X509_CRL* one = PEM_read_bio_X509_CRL(input.get(), nullptr, &NoPassphrase, nullptr)) {
    list.emplace_back(one);
  }
  bool damaged = !AtEnd();
  if (list.empty() && !damaged) {
    list.emplace_back(d2i_X509_CRL_bio(Over(*content).get(), nullptr));
    damaged = list.front() == nullptr;
  }
  ERR_clear_error();
  if (damaged) return Bad("x509: malformed crl", options_.crl_file);
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  for (const CrlPtr& crl : list) {
    if (X509_STORE_add_crl(store, crl.get()) != 1) {
      return Bad(fmt::format("x509: {}", LibraryErrorText()), options_.crl_file);
    }
  }
  X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
  return absl::OkStatus();
}

SSL* SslContext::NewConnection(const std::string& host, const std::vector<std::string>& protocols,
                               Verification* verification) const {
  const Library library = Current();
  SSL* ssl = SSL_new(library.get());
  KVORUM_CHECK(ssl != nullptr, "OpenSSL: {}", LibraryErrorText());
  SSL_set_ex_data(ssl, VerificationIndex(), verification);
  verification->options = &options_;
  if (side_ == Side::kServer) {
    SSL_set_accept_state(ssl);
    return ssl;
  }
  SSL_set_connect_state(ssl);
  // Neither an address's zone nor a name's last dot is in a certificate.
  std::string& name = verification->host;
  name = options_.server_name.empty() ? host : options_.server_name;
  if (const size_t zone = name.find('%'); zone != std::string::npos) name.resize(zone);
  if (name.ends_with('.')) name.pop_back();
  Expect(ssl, name);
  std::string wire = protocols_;
  if (!protocols.empty()) {
    absl::StatusOr<std::string> encoded = EncodeProtocols(protocols);
    KVORUM_CHECK(encoded.ok(), "{}", encoded.status().ToString());
    wire = *std::move(encoded);
  }
  if (!wire.empty()) {
    SSL_set_alpn_protos(ssl, reinterpret_cast<const unsigned char*>(wire.data()),
                        static_cast<unsigned>(wire.size()));
  }
  ERR_clear_error();
  return ssl;
}

}  // namespace kvorum::http
