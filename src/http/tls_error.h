#pragma once

#include <openssl/ssl.h>

#include <string>

#include "http/byte_stream.h"

namespace kvorum::http {

// What went wrong with TLS, in the words of Go's crypto/tls and crypto/x509.

/// Why the last operation on `connection` failed: takes the thread's queue of OpenSSL errors. `refused`: what
/// the verification said, or empty.
std::string TlsErrorText(const SSL* connection, const std::string& refused);

/// The first error of the thread's queue, for what has nothing to do with a connection; empties it.
std::string LibraryErrorText();

/// Whom a certificate names. Null: nobody.
TlsPeer PeerOf(const X509* certificate);

/// Why `store` refuses the certificate it looks at. `host`: the name that was wanted, or empty.
std::string RefusalText(X509_STORE_CTX* store, const std::string& host);

}  // namespace kvorum::http
