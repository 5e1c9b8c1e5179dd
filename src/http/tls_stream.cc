#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>
#include <deque>

#include "base/check.h"
#include "http/tls.h"
#include "http/tls_context.h"
#include "http/tls_error.h"

namespace kvorum::http {

namespace {

constexpr size_t kSmallInput = 4 << 10;
constexpr size_t kLargeInput = 64 << 10;
constexpr int kSmallReadsBeforeShrink = 64;
/// The most plain bytes of one record (RFC 8446 §5.1).
constexpr size_t kRecordBytes = 16 << 10;
/// Encrypted bytes that are sent at a time, and that may wait for the system.
constexpr size_t kOutputBytes = 64 << 10;
/// With what the protocol itself says: answers to what the other side asks for, which wait where it reads
/// none.
constexpr size_t kOutputLimit = 2 * kOutputBytes;
/// What is left is sent this long after Close.
constexpr auto kLastOutputWait = std::chrono::seconds(5);
/// After an alert the input is read and dropped this long, lest a reset overtake it.
constexpr auto kLinger = std::chrono::seconds(1);

/// The stream proper. On its loop only; shared between the user's handle and the operations under way, so
/// that it outlives the handle until the last bytes are out.
class TlsCore final : public ByteStream::User, public std::enable_shared_from_this<TlsCore> {
 public:
  using User = ByteStream::User;

  TlsCore(Loop& loop, std::unique_ptr<ByteStream> stream, std::shared_ptr<const SslContext> context,
          const std::string& host, const std::vector<std::string>& protocols)
      : loop_(loop), stream_(std::move(stream)), context_(std::move(context)) {
    ssl_ = context_->NewConnection(host, protocols, &verification_);
    BIO* bio = BIO_new(Method());
    KVORUM_CHECK(bio != nullptr, "OpenSSL: {}", LibraryErrorText());
    BIO_set_data(bio, this);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl_, bio, bio);
  }
  ~TlsCore() override { SSL_free(ssl_); }

  // What the user's handle does.

  void Read(char* buffer, size_t size, std::shared_ptr<User> user) {
    KVORUM_CHECK(read_user_ == nullptr && readable_user_ == nullptr, "a read beside another");
    read_user_ = std::move(user);
    read_buffer_ = buffer;
    read_size_ = size;
    Begin(InputLeft());
  }

  void WaitReadable(std::shared_ptr<User> user) {
    KVORUM_CHECK(read_user_ == nullptr && readable_user_ == nullptr, "a read beside another");
    readable_user_ = std::move(user);
    Begin(InputLeft());
  }

  void WaitWritable(std::shared_ptr<User> user) {
    KVORUM_CHECK(writable_user_ == nullptr, "a wait beside another");
    writable_user_ = std::move(user);
    Begin(established_ && output_.empty());
  }

  ssize_t Write(const iovec* pieces, int count);
  void Close();
  void CloseWrite();

  std::string_view alpn() const {
    const unsigned char* name = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(ssl_, &name, &size);
    return {reinterpret_cast<const char*>(name), size};
  }
  TlsPeer peer() const {
    TlsPeer peer =
        verification_.peer.has_certificate ? verification_.peer : PeerOf(SSL_get0_peer_certificate(ssl_));
    const char* name = SSL_get_servername(ssl_, TLSEXT_NAMETYPE_host_name);
    if (name != nullptr) peer.server_name = name;
    return peer;
  }
  const std::string& error() const { return error_; }
  const std::string& remote() const { return stream_->remote(); }

  /// A step of the handshake, in its turn.
  void TakeTurn() {
    has_turn_ = true;
    Advance();
    has_turn_ = false;
  }

  // What the stream below tells.

  void OnRead(size_t size, bool broken) override;
  void OnReadable() override;
  void OnWritable() override;

 private:
  enum class Step { kDone, kBlocked };

  static const BIO_METHOD* Method();
  static int BioRead(BIO* bio, char* buffer, int size);
  static int BioWrite(BIO* bio, const char* data, int size);
  static long BioControl(BIO* bio, int command, long number, void* pointer);

  /// Something was received that is not read yet.
  bool InputLeft() const { return input_begin_ < input_end_ || SSL_has_pending(ssl_) == 1; }
  /// An operation has begun. `ready`: it may have nothing to wait for.
  void Begin(bool ready);
  /// Does what can be done for the operations under way, and tells their users.
  void Advance();
  Step Handshake();
  void AdvanceRead();
  void AdvanceReadable();
  /// What an operation of OpenSSL's says that did not succeed. True: it waits for input or room.
  bool Explain(int result);
  void Break(std::string why);

  void WantInput();
  void AdaptInput(size_t size);
  /// Sends what waits, as far as the system takes it.
  void Flush();
  size_t EncryptFrom(const iovec* pieces, int count, int* piece, size_t* offset);
  void SayNoMore();
  void FinishClose();

  Loop& loop_;
  const std::unique_ptr<ByteStream> stream_;
  const std::shared_ptr<const SslContext> context_;
  Verification verification_;
  SSL* ssl_;
  std::string error_;  // empty while it is whole

  // Operations under way.
  std::shared_ptr<User> read_user_;
  char* read_buffer_ = nullptr;
  size_t read_size_ = 0;
  std::shared_ptr<User> readable_user_;
  std::shared_ptr<User> writable_user_;

  std::unique_ptr<char[]> input_;  // null while nothing is read
  size_t input_size_ = 0;
  size_t wanted_size_ = kSmallInput;  // of it, for the next read
  size_t input_begin_ = 0;
  size_t input_end_ = 0;
  int small_reads_ = 0;  // in a row
  std::string output_;
  size_t output_begin_ = 0;  // of what was not sent yet

  bool has_turn_ = false;
  bool turn_asked_ = false;
  bool something_came_ = false;
  bool answered_plainly_ = false;  // by a server that knows no TLS
  bool established_ = false;
  bool end_received_ = false;  // close_notify
  bool stream_ended_ = false;
  bool stream_broken_ = false;
  bool reading_ = false;  // or waiting for something to read
  bool write_waiting_ = false;
  bool write_broken_ = false;  // something may be read all the same
  bool no_more_said_ = false;
  bool close_write_ = false;
  bool advance_posted_ = false;
  bool closed_ = false;
  bool stream_closed_ = false;
};

const BIO_METHOD* TlsCore::Method() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
    KVORUM_CHECK(m != nullptr, "OpenSSL: {}", LibraryErrorText());
    BIO_meth_set_read(m, &BioRead);
    BIO_meth_set_write(m, &BioWrite);
    BIO_meth_set_ctrl(m, &BioControl);
    return m;
  }();
  return method;
}

int TlsCore::BioRead(BIO* bio, char* buffer, int size) {
  auto* self = static_cast<TlsCore*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  const size_t n = std::min(self->input_end_ - self->input_begin_, static_cast<size_t>(std::max(size, 0)));
  if (n == 0) {
    if (self->stream_ended_) return 0;
    BIO_set_retry_read(bio);
    return -1;
  }
  std::memcpy(buffer, self->input_.get() + self->input_begin_, n);
  self->input_begin_ += n;
  return static_cast<int>(n);
}

int TlsCore::BioWrite(BIO* bio, const char* data, int size) {
  auto* self = static_cast<TlsCore*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  if (self->write_broken_) return size;  // nobody gets it; what was received may be of use all the same
  if (self->output_.size() >= kOutputLimit) {
    BIO_set_retry_write(bio);
    return -1;
  }
  self->output_.append(data, static_cast<size_t>(size));
  return size;
}

long TlsCore::BioControl(BIO* bio, int command, long, void*) {
  if (command == BIO_CTRL_FLUSH) return 1;
  if (command == BIO_CTRL_EOF) return static_cast<TlsCore*>(BIO_get_data(bio))->stream_ended_ ? 1 : 0;
  return 0;
}

void TlsCore::Begin(bool ready) {
  const bool nothing_to_wait_for =
      ready || !error_.empty() || end_received_ || stream_ended_ || closed_ || (!established_ && !reading_);
  if (!nothing_to_wait_for) {
    // A wait for room is over when the output has left.
    if (!established_ || read_user_ != nullptr || readable_user_ != nullptr) WantInput();
    return;
  }
  if (std::exchange(advance_posted_, true)) return;
  loop_.PutOff([self = shared_from_this()] {
    self->advance_posted_ = false;
    self->Advance();
  });
}

/// The handshakes of one loop take turns: one step, which may take a millisecond, then whatever else the
/// loop has to do.
class HandshakeTurns {
 public:
  static void Ask(Loop& loop, const std::shared_ptr<TlsCore>& core) {
    thread_local HandshakeTurns turns;
    turns.waiting_.push_back(core);
    if (turns.waiting_.size() == 1) turns.GoOn(loop);
  }

 private:
  void GoOn(Loop& loop) {
    loop.PutOff([this, &loop] {
      if (const std::shared_ptr<TlsCore> core = waiting_.front().lock()) core->TakeTurn();
      waiting_.pop_front();
      if (!waiting_.empty()) GoOn(loop);
    });
  }

  std::deque<std::weak_ptr<TlsCore>> waiting_;
};

void TlsCore::Advance() {
  const std::shared_ptr<TlsCore> self = shared_from_this();
  if (!closed_ && error_.empty() && !established_ && !has_turn_) {
    if (!std::exchange(turn_asked_, true)) HandshakeTurns::Ask(loop_, self);
    return;
  }
  turn_asked_ = false;
  if (!closed_ && error_.empty() && !established_ && Handshake() == Step::kBlocked) {
    Flush();
    if (error_.empty()) return WantInput();
  }
  if (read_user_ != nullptr) AdvanceRead();
  if (readable_user_ != nullptr) AdvanceReadable();
  Flush();
  const bool writable = closed_ || !error_.empty() || write_broken_ || (established_ && output_.empty());
  if (writable_user_ != nullptr && writable) std::exchange(writable_user_, nullptr)->OnWritable();
}

TlsCore::Step TlsCore::Handshake() {
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_);
  if (result != 1) {
    Explain(result);
    return Step::kBlocked;
  }
  established_ = true;
  return Step::kDone;
}

bool TlsCore::Explain(int result) {
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return true;
    case SSL_ERROR_ZERO_RETURN:
      end_received_ = true;
      if (!established_) Break("EOF");
      return false;
    default:
      break;
  }
  const unsigned long error = ERR_peek_error();
  if (stream_ended_ && (error == 0 || ERR_GET_REASON(error) == SSL_R_UNEXPECTED_EOF_WHILE_READING)) {
    Break(stream_broken_ ? "read: connection reset by peer" : (established_ ? "unexpected EOF" : "EOF"));
  } else if (answered_plainly_ && context_->side() == SslContext::Side::kClient) {
    Break("http: server gave HTTP response to HTTPS client");
  } else {
    Break(TlsErrorText(ssl_, verification_.refused));
  }
  return false;
}

void TlsCore::Break(std::string why) {
  ERR_clear_error();
  if (error_.empty()) error_ = std::move(why);
}

void TlsCore::AdvanceRead() {
  size_t got = 0;
  while (!closed_ && error_.empty() && !end_received_ && got < read_size_) {
    size_t n = 0;
    ERR_clear_error();
    const int result = SSL_read_ex(ssl_, read_buffer_ + got, read_size_ - got, &n);
    got += n;
    if (result != 1) {
      Explain(0);
      break;
    }
  }
  const bool broken = closed_ || !error_.empty();
  if (got == 0 && !broken && !end_received_) return WantInput();
  std::exchange(read_user_, nullptr)->OnRead(got, got == 0 && broken);
}

void TlsCore::AdvanceReadable() {
  if (!closed_ && error_.empty() && !end_received_) {
    char byte;
    size_t n = 0;
    ERR_clear_error();
    if (SSL_peek_ex(ssl_, &byte, 1, &n) != 1 && Explain(0)) return WantInput();
  }
  std::exchange(readable_user_, nullptr)->OnReadable();
}

void TlsCore::WantInput() {
  if (reading_ || stream_ended_ || stream_closed_) return;
  // Where nothing is to be decrypted that waits for room, the input is used up.
  if (input_begin_ < input_end_) return;
  reading_ = true;
  if (established_ && read_user_ == nullptr && !closed_) {
    input_.reset();
    return stream_->WaitReadable(shared_from_this());
  }
  OnReadable();
}

void TlsCore::OnReadable() {
  if (stream_closed_) return;
  if (input_ == nullptr || input_size_ != wanted_size_) {
    input_.reset(new char[wanted_size_]);
    input_size_ = wanted_size_;
  }
  stream_->Read(input_.get(), input_size_, shared_from_this());
}

void TlsCore::OnRead(size_t size, bool broken) {
  Loop::Turn turn(loop_);
  reading_ = false;
  if (size == 0) {
    stream_ended_ = true;
    stream_broken_ = broken;
  }
  if (closed_) {
    input_begin_ = input_end_ = 0;
    if (size > 0) return WantInput();
    if (broken || output_.empty()) FinishClose();
    return;
  }
  input_begin_ = 0;
  input_end_ = size;
  if (!std::exchange(something_came_, true)) {
    answered_plainly_ = std::string_view(input_.get(), size).starts_with("HTTP/");
  }
  AdaptInput(size);
  Advance();
}

void TlsCore::AdaptInput(size_t size) {
  if (size == input_size_) {
    wanted_size_ = kLargeInput;
    small_reads_ = 0;
  } else if (size > kSmallInput / 2) {
    small_reads_ = 0;
  } else if (++small_reads_ >= kSmallReadsBeforeShrink) {
    wanted_size_ = kSmallInput;
  }
}

size_t TlsCore::EncryptFrom(const iovec* pieces, int count, int* piece, size_t* offset) {
  const char* data = static_cast<const char*>(pieces[*piece].iov_base) + *offset;
  size_t size = std::min(pieces[*piece].iov_len - *offset, kRecordBytes);
  // Small pieces share a record.
  char joined[kRecordBytes];
  if (size < kRecordBytes && *piece + 1 < count) {
    std::memcpy(joined, data, size);
    data = joined;
    for (int i = *piece + 1; i < count && size < kRecordBytes; ++i) {
      const size_t n = std::min(pieces[i].iov_len, kRecordBytes - size);
      std::memcpy(joined + size, pieces[i].iov_base, n);
      size += n;
    }
  }
  if (size == 0) {
    *piece = count;
    return 0;
  }
  size_t written = 0;
  ERR_clear_error();
  if (SSL_write_ex(ssl_, data, size, &written) != 1) {
    Explain(0);
    return 0;
  }
  for (size_t left = written; left > 0;) {
    const size_t n = std::min(pieces[*piece].iov_len - *offset, left);
    left -= n;
    *offset += n;
    if (*offset == pieces[*piece].iov_len) {
      ++*piece;
      *offset = 0;
    }
  }
  return written;
}

ssize_t TlsCore::Write(const iovec* pieces, int count) {
  if (closed_ || !error_.empty() || write_broken_ || no_more_said_) return -1;
  if (!established_) return 0;
  if (!output_.empty()) Flush();
  size_t taken = 0;
  int piece = 0;
  size_t offset = 0;
  while (piece < count && output_.empty() && error_.empty() && !write_broken_) {
    bool blocked = false;
    while (piece < count && output_.size() < kOutputBytes && !blocked) {
      const size_t n = EncryptFrom(pieces, count, &piece, &offset);
      taken += n;
      blocked = n == 0;
    }
    Flush();
    if (blocked) break;
  }
  if (taken > 0) return static_cast<ssize_t>(taken);
  return write_broken_ || !error_.empty() ? -1 : 0;
}

void TlsCore::Flush() {
  if (write_waiting_ || stream_closed_) return;
  while (output_begin_ < output_.size() && !write_broken_) {
    const iovec rest{.iov_base = output_.data() + output_begin_, .iov_len = output_.size() - output_begin_};
    const ssize_t n = stream_->Write(&rest, 1);
    if (n < 0) {
      write_broken_ = true;
    } else if (n == 0) {
      write_waiting_ = true;
      return stream_->WaitWritable(shared_from_this());
    } else {
      output_begin_ += static_cast<size_t>(n);
    }
  }
  output_ = std::string();
  output_begin_ = 0;
  if (std::exchange(close_write_, false)) stream_->CloseWrite();
}

void TlsCore::OnWritable() {
  Loop::Turn turn(loop_);
  write_waiting_ = false;
  Flush();
  if (closed_) {
    if (output_.empty()) FinishClose();
    return;
  }
  Advance();
}

void TlsCore::SayNoMore() {
  if (std::exchange(no_more_said_, true) || !established_ || !error_.empty()) return;
  ERR_clear_error();
  SSL_shutdown(ssl_);
  ERR_clear_error();
}

void TlsCore::CloseWrite() {
  if (closed_ || no_more_said_) return;
  SayNoMore();
  close_write_ = true;
  Flush();
}

void TlsCore::Close() {
  if (closed_) return;
  SayNoMore();
  closed_ = true;
  Flush();
  Begin(/*ready=*/true);  // tells the users of what was under way
  // An alert of ours that nobody could read would be a reason that nobody learns.
  const bool linger = !error_.empty() && !stream_ended_ && !write_broken_;
  if (output_.empty() && !linger) return FinishClose();
  loop_.PostAfter(linger ? kLinger : kLastOutputWait, [weak = weak_from_this()] {
    if (const std::shared_ptr<TlsCore> self = weak.lock()) {
      self->stream_ended_ = true;
      self->write_broken_ = true;
      self->FinishClose();
    }
  });
  if (!linger) return;
  close_write_ = true;
  Flush();
  input_begin_ = input_end_ = 0;
  WantInput();
}

void TlsCore::FinishClose() {
  if (!error_.empty() && !stream_ended_ && !write_broken_) return;  // lingers
  if (std::exchange(stream_closed_, true)) return;
  stream_->Close();
}

/// What the user has.
class TlsStream final : public ByteStream {
 public:
  explicit TlsStream(std::shared_ptr<TlsCore> core) : core_(std::move(core)), remote_(core_->remote()) {}
  ~TlsStream() override { core_->Close(); }

  void Read(char* buffer, size_t size, std::shared_ptr<User> user) override {
    core_->Read(buffer, size, std::move(user));
  }
  void WaitReadable(std::shared_ptr<User> user) override { core_->WaitReadable(std::move(user)); }
  ssize_t Write(const iovec* pieces, int count) override { return core_->Write(pieces, count); }
  void WaitWritable(std::shared_ptr<User> user) override { core_->WaitWritable(std::move(user)); }
  void Close() override { core_->Close(); }
  void CloseWrite() override { core_->CloseWrite(); }
  std::string_view alpn() const override { return core_->alpn(); }
  bool secure() const override { return true; }
  TlsPeer tls_peer() const override { return core_->peer(); }
  std::string_view error() const override { return core_->error(); }
  const std::string& remote() const override { return remote_; }

 private:
  const std::shared_ptr<TlsCore> core_;
  const std::string remote_;
};

}  // namespace

std::unique_ptr<ByteStream> NewTlsClientStream(Loop& loop, std::unique_ptr<ByteStream> stream,
                                               std::shared_ptr<const TlsContext> context,
                                               const std::string& host,
                                               const std::vector<std::string>& protocols) {
  auto ssl = std::static_pointer_cast<const SslContext>(std::move(context));
  KVORUM_CHECK(ssl->side() == SslContext::Side::kClient, "a context of the other side");
  return std::make_unique<TlsStream>(
      std::make_shared<TlsCore>(loop, std::move(stream), std::move(ssl), host, protocols));
}

std::unique_ptr<ByteStream> NewTlsServerStream(Loop& loop, std::unique_ptr<ByteStream> stream,
                                               std::shared_ptr<const TlsContext> context) {
  auto ssl = std::static_pointer_cast<const SslContext>(std::move(context));
  KVORUM_CHECK(ssl->side() == SslContext::Side::kServer, "a context of the other side");
  return std::make_unique<TlsStream>(std::make_shared<TlsCore>(loop, std::move(stream), std::move(ssl),
                                                               std::string(), std::vector<std::string>()));
}

// ---- a handshake by itself ----

std::shared_ptr<TlsHandshake> TlsHandshake::Start(Loop& loop, std::unique_ptr<ByteStream> stream,
                                                  MonotonicTime deadline, Done done) {
  auto handshake = std::make_shared<TlsHandshake>(loop, std::move(stream), std::move(done));
  handshake->stream_->WaitWritable(handshake);
  if (deadline != MonotonicTime::max()) {
    handshake->timer_ = loop.PostAt(deadline, [weak = handshake->weak_from_this()] {
      const std::shared_ptr<TlsHandshake> self = weak.lock();
      if (self == nullptr || self->stream_ == nullptr) return;
      self->timer_ = 0;
      self->Finish(absl::DeadlineExceededError("TLS handshake timeout"));
    });
  }
  return handshake;
}

TlsHandshake::TlsHandshake(Loop& loop, std::unique_ptr<ByteStream> stream, Done done)
    : loop_(loop), remote_(stream->remote()), stream_(std::move(stream)), done_(std::move(done)) {}

void TlsHandshake::Cancel() {
  const std::shared_ptr<TlsHandshake> self = shared_from_this();
  done_ = nullptr;
  stream_.reset();
  if (timer_ != 0) loop_.CancelTimer(std::exchange(timer_, 0));
}

void TlsHandshake::OnWritable() {
  if (stream_ == nullptr) return;
  if (!stream_->error().empty()) return Finish(absl::UnavailableError(std::string(stream_->error())));
  Finish(std::move(stream_));
}

void TlsHandshake::Finish(absl::StatusOr<std::unique_ptr<ByteStream>> result) {
  const std::shared_ptr<TlsHandshake> self = shared_from_this();
  if (timer_ != 0) loop_.CancelTimer(std::exchange(timer_, 0));
  const std::unique_ptr<ByteStream> failed = std::move(stream_);
  if (failed != nullptr) peer_ = failed->tls_peer();
  std::exchange(done_, nullptr)(std::move(result));
}

}  // namespace kvorum::http
