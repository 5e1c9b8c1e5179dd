#include "http/connection.h"

#include <algorithm>

namespace kvorum::http {

namespace {

constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

constexpr size_t kSmallBuffer = 8 << 10;
constexpr size_t kLargeBuffer = 64 << 10;
constexpr int kSmallReadsBeforeShrink = 64;

/// What is taken from a session at a time, and what a connection may write before others have their turn.
constexpr size_t kProduceBytes = 128 << 10;
constexpr size_t kTurnBytes = 512 << 10;
constexpr int kMaxVectors = 64;

/// Input is fed in slices, and after this long the rest waits until others had their turn.
constexpr size_t kSliceBytes = 4 << 10;
constexpr auto kTurnTime = std::chrono::milliseconds(2);

/// After a closing answer the input is read and dropped this long, lest a reset overtake the answer.
constexpr auto kLinger = std::chrono::seconds(1);
/// The last output of a session that is over may take as long as it needs, but not stand still this long.
constexpr auto kLastOutputWait = std::chrono::minutes(1);

}  // namespace

Connection::Connection(Loop& loop, std::unique_ptr<ByteStream> stream, const ServerOptions& options,
                       std::shared_ptr<ConnectionOwner> owner)
    : loop_(loop),
      stream_(std::move(stream)),
      options_(options),
      owner_(std::move(owner)),
      accepted_(loop.clock().Now()),
      buffer_(new char[kSmallBuffer]),
      buffer_size_(kSmallBuffer) {}

Connection::~Connection() {
  closed_ = true;
  if (session_ != nullptr) session_->Abort();
}

void Connection::Start() {
  Arm(accepted_ + options_.header_timeout);
  Read();
}

void Connection::Read() {
  reading_ = true;
  if (session_ != nullptr && session_->Resting()) {
    buffer_.reset();
    return stream_->WaitReadable(shared_from_this());
  }
  ReadIntoBuffer();
}

void Connection::ReadIntoBuffer() {
  if (buffer_ == nullptr) {
    buffer_size_ = kSmallBuffer;
    buffer_.reset(new char[buffer_size_]);
  }
  stream_->Read(buffer_.get(), buffer_size_, shared_from_this());
}

void Connection::OnReadable() {
  if (!closed_) ReadIntoBuffer();
}

void Connection::OnRead(size_t size, bool broken) {
  if (closed_) return;
  Loop::Turn turn(loop_);
  if (broken || (size == 0 && (session_ == nullptr || write_closed_))) return Close();
  if (size == 0) {
    reading_ = false;
    end_received_ = true;
    session_->ReceiveEnd();
    Arm(session_->Tick(loop_.clock().Now()));
    return WantFlush();
  }
  begin_ = 0;
  end_ = size;
  ReceiveBuffered();
}

void Connection::ReceiveBuffered() {
  const MonotonicTime begun = loop_.clock().Now();
  MonotonicTime now = begun;
  while (begin_ < end_ && !write_closed_) {
    const size_t n = std::min(end_ - begin_, kSliceBytes);
    begin_ += n;
    Receive({buffer_.get() + begin_ - n, n}, now);
    if (begin_ == end_) break;
    now = loop_.clock().Now();
    if (now - begun < kTurnTime) continue;
    loop_.PutOff([self = shared_from_this()] {
      if (!self->closed_) self->ReceiveBuffered();
    });
    return;
  }
  if (session_ != nullptr && !write_closed_) Arm(session_->Tick(now));
  reading_ = false;
  AdaptBuffer(end_);
  if (write_closed_ || session_ == nullptr || session_->WantsInput()) Read();
}

void Connection::AdaptBuffer(size_t size) {
  size_t wanted = buffer_size_;
  if (size == buffer_size_) {
    wanted = kLargeBuffer;
    small_reads_ = 0;
  } else if (size <= kSmallBuffer / 2 && buffer_size_ > kSmallBuffer) {
    if (++small_reads_ >= kSmallReadsBeforeShrink) wanted = kSmallBuffer;
  } else {
    small_reads_ = 0;
  }
  if (wanted == buffer_size_) return;
  buffer_.reset(new char[wanted]);
  buffer_size_ = wanted;
  small_reads_ = 0;
}

void Connection::Receive(std::string_view data, MonotonicTime now) {
  if (session_ != nullptr) return session_->Receive(data, now);
  if (!Detect(&data, now)) return;
  session_->Receive(data, now);
  first_bytes_ = std::string();
  if (draining_) session_->Drain();
}

bool Connection::Detect(std::string_view* data, MonotonicTime now) {
  if (!first_bytes_.empty()) {
    first_bytes_.append(*data);
    *data = first_bytes_;
  }
  const size_t n = std::min(data->size(), kHttp2Preface.size());
  if (data->substr(0, n) != kHttp2Preface.substr(0, n)) {
    session_ = NewHttp1Session(this, options_, now);
  } else if (n == kHttp2Preface.size()) {
    session_ = NewHttp2Session(this, options_, now);
  } else {
    if (first_bytes_.empty()) first_bytes_ = *data;
    return false;
  }
  return true;
}

void Connection::WantFlush() {
  if (flush_wanted_ || closed_) return;
  flush_wanted_ = true;
  if (!flushing_) loop_.AtTurnEnd(shared_from_this());
}

void Connection::OnTurnEnd() {
  if (!closed_) Flush();
}

void Connection::OnWritable() {
  write_blocked_ = false;
  if (closed_) return;
  Loop::Turn turn(loop_);
  Flush();
}

void Connection::Flush() {
  if (session_ == nullptr || write_blocked_ || write_closed_) {
    flush_wanted_ = false;
    if (write_blocked_ && session_->Broken()) Close();
    return;
  }
  flushing_ = true;
  size_t written = 0;
  bool more = true;
  while (more && written < kTurnBytes) {
    flush_wanted_ = false;
    more = session_->Produce(kProduceBytes);
    written += session_->output().size();
    if (!session_->output().empty()) {
      if (!WriteOutput()) break;
      session_->Written();
    }
    more = more || flush_wanted_;
  }
  flushing_ = false;
  if (closed_) return;
  if (write_blocked_) {
    flush_wanted_ = false;
    return FinishFlush();
  }
  if (more) {
    // Others first: behind the input that waits.
    flush_wanted_ = true;
    loop_.PutOff([self = shared_from_this()] { self->OnTurnEnd(); });
    return;
  }
  FinishFlush();
}

void Connection::FinishFlush() {
  if (session_->Finished() && session_->output().empty()) {
    if (end_received_ || draining_) return Close();
    // The other side closes when it has read the end; until then its input is dropped.
    write_closed_ = true;
    session_->Abort();
    stream_->CloseWrite();
    linger_until_ = loop_.clock().Now() + kLinger;
    Arm(linger_until_);
    if (!reading_) Read();
    return;
  }
  if (session_->Finished() && !linger_until_) {
    linger_until_ = loop_.clock().Now() + kLastOutputWait;
    Arm(linger_until_);
  }
  if (!reading_ && !end_received_ && session_->WantsInput()) Read();
}

bool Connection::WriteOutput() {
  OutputQueue& output = session_->output();
  iovec vectors[kMaxVectors];
  while (!output.empty()) {
    const ssize_t n = stream_->Write(vectors, output.Gather(vectors, kMaxVectors));
    if (n < 0) {
      Close();
      return false;
    }
    if (n == 0) {
      write_blocked_ = true;
      stream_->WaitWritable(shared_from_this());
      return false;
    }
    output.Consume(static_cast<size_t>(n));
    if (linger_until_) linger_until_ = loop_.clock().Now() + kLastOutputWait;
  }
  return true;
}

void Connection::Drain() {
  if (closed_ || draining_) return;
  draining_ = true;
  Loop::Turn turn(loop_);
  if (session_ == nullptr) return Close();
  session_->Drain();
  Arm(session_->Tick(loop_.clock().Now()));
  WantFlush();
}

void Connection::Close() {
  if (closed_) return;
  closed_ = true;
  if (timer_ != 0) loop_.CancelTimer(std::exchange(timer_, 0));
  const std::shared_ptr<Connection> self = shared_from_this();
  stream_->Close();
  if (session_ != nullptr) session_->Abort();
  owner_->OnClosed(this);
}

void Connection::Arm(std::optional<MonotonicTime> when) {
  if (!when || closed_ || (timer_at_ && *timer_at_ <= *when)) return;
  if (timer_ != 0) loop_.CancelTimer(timer_);
  timer_at_ = when;
  timer_ = loop_.PostAt(*when, [weak = weak_from_this()] {
    if (const std::shared_ptr<Connection> self = weak.lock()) self->OnTimer();
  });
}

void Connection::OnTimer() {
  timer_ = 0;
  timer_at_.reset();
  if (closed_) return;
  const MonotonicTime now = loop_.clock().Now();
  if (linger_until_) {
    if (now >= *linger_until_) return Close();
    return Arm(linger_until_);
  }
  if (session_ == nullptr) {
    if (now >= accepted_ + options_.header_timeout) return Close();
    return Arm(accepted_ + options_.header_timeout);
  }
  Arm(session_->Tick(now));
}

}  // namespace kvorum::http
