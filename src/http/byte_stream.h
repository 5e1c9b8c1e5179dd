#pragma once

#include <sys/uio.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "http/loop.h"

namespace kvorum::http {

/// Whom the other side of a TLS connection says to be.
struct TlsPeer {
  std::string server_name;  ///< whom a client asks for (SNI)
  bool has_certificate = false;
  // Of its certificate.
  std::string common_name;
  std::vector<std::string> dns_names;
  std::vector<std::string> addresses;
};

/// A connected stream of bytes on a loop: a TCP or Unix socket, or an encrypted stream on top of one, which
/// does its handshake inside the first Read. On the loop only.
class ByteStream {
 public:
  /// Who is told; held while an operation is under way.
  class User {
   public:
    virtual ~User() = default;
    /// `size` bytes are in the buffer; 0: the other side sends no more, or the stream broke (`broken`).
    virtual void OnRead(size_t size, bool broken) = 0;
    /// Something can be read, or the stream ended. Only for users that call WaitReadable.
    virtual void OnReadable() {}
    /// Write may take more now, or says that the stream broke.
    virtual void OnWritable() = 0;
  };

  virtual ~ByteStream() = default;

  /// Reads some bytes into `buffer`, which stays valid until OnRead. One at a time.
  virtual void Read(char* buffer, size_t size, std::shared_ptr<User> user) = 0;
  /// Calls OnReadable once, and needs no buffer until then. Instead of a Read, not beside one.
  virtual void WaitReadable(std::shared_ptr<User> user) = 0;
  /// Takes what it can at once: the number of bytes, 0 when it would have to wait, -1 when the stream broke.
  virtual ssize_t Write(const iovec* pieces, int count) = 0;
  /// Calls OnWritable once. One at a time.
  virtual void WaitWritable(std::shared_ptr<User> user) = 0;
  /// Operations under way end as broken. What was written is still delivered, but see CloseWrite.
  virtual void Close() = 0;
  /// Sends the end of the stream after what was written; reading goes on.
  virtual void CloseWrite() = 0;

  /// The socket itself, which the caller closes from now on; -1 where the stream is more than a socket. The
  /// stream is closed without it. No operation may be under way.
  virtual int Release() { return -1; }

  /// The application protocol that was negotiated; empty without TLS.
  virtual std::string_view alpn() const { return {}; }
  /// It is encrypted.
  virtual bool secure() const { return false; }
  /// The other side; also of a handshake that failed, as far as that came.
  virtual TlsPeer tls_peer() const { return {}; }
  /// Why it broke, in Go's words ("remote error: tls: bad certificate"); empty where nobody knows more than
  /// that it did.
  virtual std::string_view error() const { return {}; }
  /// "127.0.0.1:41234"; "@" for a Unix socket.
  virtual const std::string& remote() const = 0;
};

/// Takes over a connected socket. REQUIRES: on the loop's thread.
std::unique_ptr<ByteStream> NewSocketStream(Loop& loop, int fd);

}  // namespace kvorum::http
