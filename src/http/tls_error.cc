#include "http/tls_error.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>
#include <vector>

#include "fmt/format.h"
#include "http/text.h"

namespace kvorum::http {

namespace {

constexpr size_t kMaxNames = 100;

/// Of Go's crypto/tls: what an alert (RFC 8446 §6, RFC 5246 §7.2) is called.
std::string_view AlertText(int alert) {
  switch (alert) {
    case SSL3_AD_CLOSE_NOTIFY:
      return "close notify";
    case SSL3_AD_UNEXPECTED_MESSAGE:
      return "unexpected message";
    case SSL3_AD_BAD_RECORD_MAC:
      return "bad record MAC";
    case TLS1_AD_DECRYPTION_FAILED:
      return "decryption failed";
    case TLS1_AD_RECORD_OVERFLOW:
      return "record overflow";
    case SSL3_AD_DECOMPRESSION_FAILURE:
      return "decompression failure";
    case SSL3_AD_HANDSHAKE_FAILURE:
      return "handshake failure";
    case SSL3_AD_BAD_CERTIFICATE:
      return "bad certificate";
    case SSL3_AD_UNSUPPORTED_CERTIFICATE:
      return "unsupported certificate";
    case SSL3_AD_CERTIFICATE_REVOKED:
      return "revoked certificate";
    case SSL3_AD_CERTIFICATE_EXPIRED:
      return "expired certificate";
    case SSL3_AD_CERTIFICATE_UNKNOWN:
      return "unknown certificate";
    case SSL3_AD_ILLEGAL_PARAMETER:
      return "illegal parameter";
    case TLS1_AD_UNKNOWN_CA:
      return "unknown certificate authority";
    case TLS1_AD_ACCESS_DENIED:
      return "access denied";
    case TLS1_AD_DECODE_ERROR:
      return "error decoding message";
    case TLS1_AD_DECRYPT_ERROR:
      return "error decrypting message";
    case TLS1_AD_EXPORT_RESTRICTION:
      return "export restriction";
    case TLS1_AD_PROTOCOL_VERSION:
      return "protocol version not supported";
    case TLS1_AD_INSUFFICIENT_SECURITY:
      return "insufficient security level";
    case TLS1_AD_INTERNAL_ERROR:
      return "internal error";
    case TLS1_AD_INAPPROPRIATE_FALLBACK:
      return "inappropriate fallback";
    case TLS1_AD_USER_CANCELLED:
      return "user canceled";
    case TLS1_AD_NO_RENEGOTIATION:
      return "no renegotiation";
    case TLS13_AD_MISSING_EXTENSION:
      return "missing extension";
    case TLS1_AD_UNSUPPORTED_EXTENSION:
      return "unsupported extension";
    case TLS1_AD_CERTIFICATE_UNOBTAINABLE:
      return "certificate unobtainable";
    case TLS1_AD_UNRECOGNIZED_NAME:
      return "unrecognized name";
    case TLS1_AD_BAD_CERTIFICATE_STATUS_RESPONSE:
      return "bad certificate status response";
    case TLS1_AD_BAD_CERTIFICATE_HASH_VALUE:
      return "bad certificate hash value";
    case TLS1_AD_UNKNOWN_PSK_IDENTITY:
      return "unknown PSK identity";
    case TLS13_AD_CERTIFICATE_REQUIRED:
      return "certificate required";
    case TLS1_AD_NO_APPLICATION_PROTOCOL:
      return "no application protocol";
    default:
      return {};
  }
}

/// "[302 301]": the versions that a client of no newer one than `newest` speaks.
std::string OfferedVersions(int newest) {
  std::string list;
  for (int version = std::min(newest, TLS1_3_VERSION); version >= TLS1_VERSION; --version) {
    list += fmt::format("{}{:x}", list.empty() ? "" : " ", version);
  }
  return fmt::format("[{}]", list);
}

std::string ReasonText(unsigned long error) {
  const char* reason = ERR_reason_error_string(error);
  return reason == nullptr ? fmt::format("error {:x}", error) : std::string(reason);
}

std::string TimeText(const ASN1_TIME* time) {
  std::tm fields{};
  if (ASN1_TIME_to_tm(time, &fields) != 1) return "?";
  char text[32];
  return {text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &fields)};
}

std::string ExpiryText(const X509* certificate, int error) {
  ASN1_TIME* now = ASN1_TIME_set(nullptr, std::time(nullptr));
  const bool early = error == X509_V_ERR_CERT_NOT_YET_VALID;
  std::string text =
      fmt::format("x509: certificate has expired or is not yet valid: current time {} is {} {}",
                  TimeText(now), early ? "before" : "after",
                  TimeText(early ? X509_get0_notBefore(certificate) : X509_get0_notAfter(certificate)));
  ASN1_TIME_free(now);
  return text;
}

/// The names of a certificate. `any`: it has the extension for them.
void ReadNames(const X509* certificate, TlsPeer* names, bool* any) {
  auto* all =
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  *any = all != nullptr;
  if (all == nullptr) return;
  for (int i = 0; i < sk_GENERAL_NAME_num(all); ++i) {
    int type = 0;
    const auto* value =
        static_cast<const ASN1_STRING*>(GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(all, i), &type));
    if (type == GEN_DNS && names->dns_names.size() < kMaxNames) {
      names->dns_names.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                                    static_cast<size_t>(ASN1_STRING_length(value)));
    } else if (type == GEN_IPADD && names->addresses.size() < kMaxNames) {
      char text[INET6_ADDRSTRLEN] = "?";
      const int size = ASN1_STRING_length(value);
      if (size == 4 || size == 16) {
        inet_ntop(size == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(value), text, sizeof text);
      }
      names->addresses.emplace_back(text);
    }
  }
  GENERAL_NAMES_free(all);
}

std::string WrongNameText(X509* certificate, const std::string& host, bool address) {
  TlsPeer names;
  bool any = false;
  ReadNames(certificate, &names, &any);
  if (!any && X509_check_host(certificate, host.data(), host.size(), 0, nullptr) == 1) {
    return "x509: certificate relies on legacy Common Name field, use SANs instead";
  }
  if (address && names.addresses.empty()) {
    return fmt::format("x509: cannot validate certificate for {} because it doesn't contain any IP SANs",
                       host);
  }
  const std::vector<std::string>& valid = address ? names.addresses : names.dns_names;
  if (valid.empty()) {
    return fmt::format("x509: certificate is not valid for any names, but wanted to match {}", host);
  }
  return fmt::format("x509: certificate is valid for {}, not {}", fmt::join(valid, ", "), host);
}

std::string RevokedText(const X509* certificate) {
  BIGNUM* serial = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr);
  char* hex = serial == nullptr ? nullptr : BN_bn2hex(serial);
  std::string text =
      fmt::format("transport: certificate serial {} revoked", LowerCase(hex == nullptr ? "?" : hex));
  OPENSSL_free(hex);
  BN_free(serial);
  return text;
}

}  // namespace

std::string TlsErrorText(const SSL* connection, const std::string& refused) {
  const unsigned long error = ERR_peek_error();
  ERR_clear_error();
  const int reason = ERR_GET_REASON(error);
  if (ERR_GET_LIB(error) != ERR_LIB_SSL) {
    return error == 0 ? "tls: the connection failed" : fmt::format("tls: {}", ReasonText(error));
  }
  if (reason >= SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256) {
    const int alert = reason - SSL_AD_REASON_OFFSET;
    const std::string_view text = AlertText(alert);
    return text.empty() ? fmt::format("remote error: tls: alert({})", alert)
                        : fmt::format("remote error: tls: {}", text);
  }
  switch (reason) {
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
      return refused;
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
      return "tls: first record does not look like a TLS handshake";
    case SSL_R_UNSUPPORTED_PROTOCOL:
      return SSL_is_server(connection) == 1 ? fmt::format("tls: client offered only unsupported versions: {}",
                                                          OfferedVersions(SSL_client_version(connection)))
                                            : "tls: server selected unsupported protocol version";
    case SSL_R_NO_SHARED_CIPHER:
      return "tls: no cipher suite supported by both client and server";
    case SSL_R_NO_APPLICATION_PROTOCOL:
      return "tls: client requested unsupported application protocols";
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
      return "tls: client didn't provide a certificate";
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
      return "tls: peer doesn't support any of the certificate's signature algorithms";
    case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC:
    case SSL_R_BAD_RECORD_TYPE:
      return "local error: tls: bad record MAC";
    case SSL_R_UNEXPECTED_MESSAGE:
      return "local error: tls: unexpected message";
    default:
      return fmt::format("tls: {}", ReasonText(error));
  }
}

std::string LibraryErrorText() {
  const unsigned long error = ERR_peek_error();
  ERR_clear_error();
  return ReasonText(error);
}

TlsPeer PeerOf(const X509* certificate) {
  TlsPeer peer;
  if (certificate == nullptr) return peer;
  peer.has_certificate = true;
  bool any = false;
  ReadNames(certificate, &peer, &any);
  const X509_NAME* const subject = X509_get_subject_name(certificate);
  const int position = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (position < 0) return peer;
  unsigned char* text = nullptr;
  const int size =
      ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, position)));
  if (size > 0) peer.common_name.assign(reinterpret_cast<const char*>(text), static_cast<size_t>(size));
  OPENSSL_free(text);
  return peer;
}

std::string RefusalText(X509_STORE_CTX* store, const std::string& host) {
  X509* certificate = X509_STORE_CTX_get_current_cert(store);
  const int error = X509_STORE_CTX_get_error(store);
  std::string why;
  switch (error) {
    case X509_V_ERR_CERT_REVOKED:
      if (certificate != nullptr) return RevokedText(certificate);
      break;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_UNTRUSTED:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      why = "x509: certificate signed by unknown authority";
      break;
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
      if (certificate != nullptr) why = ExpiryText(certificate, error);
      break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      certificate = X509_STORE_CTX_get0_cert(store);
      why = WrongNameText(certificate, host, error == X509_V_ERR_IP_ADDRESS_MISMATCH);
      break;
    case X509_V_ERR_INVALID_PURPOSE:
      why = "x509: certificate specifies an incompatible key usage";
      break;
    case X509_V_ERR_INVALID_CA:
    case X509_V_ERR_KEYUSAGE_NO_CERTSIGN:
      why = "x509: certificate is not authorized to sign other certificates";
      break;
    case X509_V_ERR_PATH_LENGTH_EXCEEDED:
    case X509_V_ERR_CERT_CHAIN_TOO_LONG:
      why = "x509: too many intermediates for path length constraint";
      break;
    default:
      break;
  }
  if (why.empty()) why = fmt::format("x509: {}", X509_verify_cert_error_string(error));
  return fmt::format("tls: failed to verify certificate: {}", why);
}

}  // namespace kvorum::http
