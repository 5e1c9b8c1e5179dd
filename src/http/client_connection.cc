#include "http/client_connection.h"

#include "base/check.h"
#include "boost/asio/buffer.hpp"
#include "boost/beast/http/basic_parser.hpp"
#include "fmt/format.h"
#include "http/text.h"

namespace kvorum::http {

namespace beast = boost::beast;

namespace {

constexpr size_t kSmallBuffer = 8 << 10;
constexpr size_t kLargeBuffer = 64 << 10;
constexpr uint32_t kHeaderLimit = 64 << 10;
/// Input that the parser may leave lying: a head, a chunk's head or trailers.
constexpr size_t kPendingLimit = kHeaderLimit + kLargeBuffer;
constexpr size_t kUsualHeaders = 12;
constexpr int kMaxInterimResponses = 16;
/// The next piece of a body is asked for when less than this waits for the system.
constexpr size_t kPullBelow = 512 << 10;
constexpr int kMaxVectors = 64;
/// Pipelined requests on one connection: so many are sent again at the most where one of them takes long.
constexpr size_t kMaxPipelined = 64;
/// An answer that is longer has the connection to itself.
constexpr size_t kLongAnswer = 64 << 10;
/// The shortest end of a chunked body. Beast 1.81's parser, once it asked for more, asserts that it gets at
/// least that much.
constexpr size_t kLastChunkBytes = std::string_view("0\r\n\r\n").size();

std::string_view Text(beast::string_view text) { return {text.data(), text.size()}; }

}  // namespace

/// Beast's parser, handing what it finds to the exchange.
class ClientConnection::Parser final : public beast::http::basic_parser<false> {
 public:
  Parser(ClientConnection* connection, int interim) : interim_responses(interim), connection_(connection) {
    header_limit(kHeaderLimit);
    body_limit(boost::none);
  }

  const int interim_responses;  // that came before
  ClientResponse head;
  bool head_told = false;
  bool wants_more = false;  // it could do nothing with the last input
  bool touched = false;     // something of a response has come
  size_t body_bytes = 0;    // that came

 private:
  using Error = beast::error_code;

  void on_request_impl(beast::http::verb, beast::string_view, beast::string_view, int, Error&) override {}
  void on_response_impl(int code, beast::string_view, int, Error& error) override {
    head.status = code;
    head.headers.reserve(kUsualHeaders);
    if (code < 100) error = beast::http::error::bad_status;
  }
  void on_field_impl(beast::http::field, beast::string_view name, beast::string_view value, Error&) override {
    if (!is_header_done()) head.headers.emplace_back(LowerCase(Text(name)), Text(value));
  }
  void on_header_impl(Error&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, Error&) override {}
  std::size_t on_body_impl(beast::string_view body, Error&) override { return Deliver(body); }
  void on_chunk_header_impl(std::uint64_t, beast::string_view, Error&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, beast::string_view body, Error&) override {
    return Deliver(body);
  }
  void on_finish_impl(Error&) override {}

  size_t Deliver(beast::string_view body) {
    // The sink may break the exchange off from within.
    const std::shared_ptr<ClientExchange> exchange = connection_->exchange_;
    body_bytes += body.size();
    if (exchange != nullptr && !exchange->ended()) exchange->OnData(Text(body));
    return body.size();
  }

  ClientConnection* const connection_;
};

ClientConnection::ClientConnection(ClientPool* pool, std::unique_ptr<ByteStream> stream,
                                   std::string authority)
    : pool_(pool), stream_(std::move(stream)), authority_(std::move(authority)), buffer_size_(kSmallBuffer) {}

ClientConnection::~ClientConnection() = default;

bool ClientConnection::HasRoom() const {
  return reused_ && !closed_ && !alone_ && !write_broken_ && exchange_ != nullptr && exchange_->pipelined() &&
         behind_.size() + 1 < kMaxPipelined;
}

void ClientConnection::Begin(std::shared_ptr<ClientExchange> exchange) {
  KVORUM_CHECK(!closed_ && (exchange_ == nullptr || HasRoom()), "a connection in use");
  if (idle_timer_ != 0) pool_->loop().CancelTimer(std::exchange(idle_timer_, 0));
  WriteRequest(*exchange);
  if (exchange_ == nullptr) {
    Expect(std::move(exchange));
  } else {
    behind_.push_back(std::move(exchange));
    ++unsent_;
    WatchPace();
  }
  WantFlush();
  if (!reading_ && !paused_) Read();
}

void ClientConnection::WriteRequest(const ClientExchange& exchange) {
  const ClientRequest& request = exchange.request();
  const std::string_view host = request.host.empty() ? exchange.url().authority : request.host;
  const auto add = [this](const auto&... texts) { (output_.Append(std::string_view(texts)), ...); };
  add(request.method, " ", exchange.Target(), " HTTP/1.1\r\nhost: ", host, "\r\n");
  for (const auto& [name, value] : request.headers) {
    add(name, ": ", value, "\r\n");
  }
  if (exchange.source() != nullptr) {
    add("transfer-encoding: chunked\r\n");
  } else if (!request.body.empty() || (request.method != "GET" && request.method != "HEAD")) {
    add("content-length: ", fmt::format_int(request.body.size()).str(), "\r\n");
  }
  add("\r\n", request.body);
}

void ClientConnection::Expect(std::shared_ptr<ClientExchange> exchange) {
  exchange_ = std::move(exchange);
  source_ended_ = exchange_->source() == nullptr;
  expected_since_ = pool_->loop().clock().Now();
  parser_ = std::make_unique<Parser>(this, /*interim=*/0);
  parser_->skip(exchange_->request().method == "HEAD");
}

void ClientConnection::Close() {
  if (std::exchange(closed_, true)) return;
  for (Executor::TimerId* timer : {&idle_timer_, &pace_timer_}) {
    if (*timer != 0) pool_->loop().CancelTimer(std::exchange(*timer, 0));
  }
  const std::shared_ptr<ClientConnection> self = shared_from_this();
  exchange_.reset();
  stream_->Close();
  pool_->OnClosed(this);
  Displace(/*dial=*/true);
}

void ClientConnection::Leave(const ClientExchange* exchange) {
  if (behind_.empty() && exchange_.get() == exchange) Close();
}

void ClientConnection::TakeAlone() {
  alone_ = true;
  if (behind_.empty()) return;
  if (exchange_->ended()) return Close();  // it was only to be dropped
  unanswered_ = true;
  Displace(/*dial=*/false);
}

void ClientConnection::Displace(bool dial) {
  unsent_ = 0;
  for (const std::shared_ptr<ClientExchange>& exchange : std::exchange(behind_, {})) {
    exchange->OnDisplaced(dial);
  }
}

void ClientConnection::WatchPace() {
  if (pace_timer_ != 0) return;
  const MonotonicTime due = expected_since_ + pool_->options().pipeline_patience;
  pace_timer_ = pool_->loop().PostAt(due, [weak = weak_from_this()] {
    if (const std::shared_ptr<ClientConnection> self = weak.lock()) self->OnPaceTimer();
  });
}

void ClientConnection::OnPaceTimer() {
  pace_timer_ = 0;
  if (closed_ || behind_.empty()) return;
  const std::chrono::nanoseconds waited = pool_->loop().clock().Now() - expected_since_;
  if (waited < pool_->options().pipeline_patience) return WatchPace();
  TakeAlone();
}

void ClientConnection::Read() {
  reading_ = true;
  if (exchange_ == nullptr || !parser_->head_told || buffer_filled_) return ReadIntoBuffer();
  buffer_.reset();
  stream_->WaitReadable(shared_from_this());
}

void ClientConnection::ReadIntoBuffer() {
  if (buffer_ == nullptr) buffer_.reset(new char[buffer_size_]);
  stream_->Read(buffer_.get(), buffer_size_, shared_from_this());
}

void ClientConnection::Pause(const ClientExchange* exchange) {
  if (exchange_.get() != exchange) return;  // not its turn
  TakeAlone();
  paused_ = true;
}

void ClientConnection::Resume(const ClientExchange* exchange) {
  if (exchange_.get() != exchange) return;
  paused_ = false;
  if (!closed_ && !reading_) Read();
}

void ClientConnection::OnReadable() {
  if (closed_) {
    reading_ = false;
    return;
  }
  ReadIntoBuffer();
}

void ClientConnection::OnRead(size_t size, bool broken) {
  reading_ = false;
  if (closed_) return;
  Loop::Turn turn(pool_->loop());
  if (exchange_ == nullptr) return Close();  // the end, or a server that speaks unasked
  if (size == 0) return OnInputEnd(broken);
  parser_->touched = true;
  exchange_->OnRead();
  const std::string_view input(buffer_.get(), size);
  if (pending_.empty()) {
    pending_.append(input.substr(Process(input)));
  } else {
    pending_.append(input);
    pending_.erase(0, Process(pending_));
  }
  if (closed_) return;
  if (pending_.size() > kPendingLimit) return Break(absl::UnavailableError("net/http: header too long"));
  buffer_filled_ = size == buffer_size_;
  if (buffer_filled_ && buffer_size_ < kLargeBuffer) {
    buffer_.reset();
    buffer_size_ = kLargeBuffer;
  }
  if (!paused_) Read();
}

size_t ClientConnection::Process(std::string_view input) {
  std::string_view rest = input;
  while (!closed_ && exchange_ != nullptr && !rest.empty()) {
    if (parser_->wants_more && parser_->chunked() && rest.size() < kLastChunkBytes) break;
    beast::error_code error;
    rest.remove_prefix(parser_->put(boost::asio::const_buffer(rest.data(), rest.size()), error));
    if (closed_ || exchange_ == nullptr) break;
    parser_->wants_more = error == beast::http::error::need_more;
    if (parser_->wants_more) break;
    if (error) {
      Break(absl::UnavailableError(fmt::format("malformed HTTP response: {}", error.message())));
      break;
    }
    if (parser_->is_header_done() && parser_->head.status / 100 == 1) {
      const int interim = parser_->interim_responses + 1;
      if (interim > kMaxInterimResponses || parser_->head.status == 101) {
        Break(absl::UnavailableError("too many 1xx informational responses"));
        break;
      }
      parser_ = std::make_unique<Parser>(this, interim);
      parser_->skip(exchange_->request().method == "HEAD");
      parser_->touched = true;
      continue;
    }
    if (parser_->is_header_done() && !std::exchange(parser_->head_told, true)) {
      exchange_->OnHead(std::move(parser_->head));
      if (closed_ || exchange_ == nullptr) break;
      if (!parser_->is_done() && parser_->content_length_remaining().value_or(0) > kLongAnswer) TakeAlone();
      if (closed_) break;
    }
    if (parser_->is_done()) {
      FinishResponse(!rest.empty());
    } else if (parser_->body_bytes > kLongAnswer && !alone_) {
      TakeAlone();
    }
  }
  return input.size() - rest.size();
}

void ClientConnection::FinishResponse(bool input_left) {
  const std::shared_ptr<ClientConnection> self = shared_from_this();
  const std::shared_ptr<ClientExchange> exchange = std::move(exchange_);
  const bool last = behind_.empty();
  if (unanswered_ || write_broken_ || !parser_->keep_alive() || (last && (input_left || !RequestSent()))) {
    Close();
  } else if (last) {
    BecomeIdle();
  } else {
    Expect(std::move(behind_.front()));
    behind_.pop_front();
    unsent_ = std::min(unsent_, behind_.size());
    parser_->touched = input_left;
    if (exchange_->paused()) Pause(exchange_.get());
  }
  exchange->OnComplete();
}

void ClientConnection::BecomeIdle() {
  reused_ = true;
  paused_ = false;
  alone_ = false;
  idle_timer_ = pool_->loop().PostAfter(pool_->options().idle_timeout, [weak = weak_from_this()] {
    const std::shared_ptr<ClientConnection> idle = weak.lock();
    if (idle == nullptr) return;
    idle->idle_timer_ = 0;
    idle->Close();
  });
  pool_->OnIdle(shared_from_this());
}

void ClientConnection::OnInputEnd(bool broken) {
  if (!broken && parser_->is_header_done()) {
    beast::error_code error;
    parser_->put_eof(error);
    if (closed_) return;
    if (!error && parser_->is_done()) {
      const std::shared_ptr<ClientExchange> exchange = std::move(exchange_);
      Close();
      return exchange->OnComplete();
    }
  }
  std::string why = parser_->touched ? "unexpected EOF" : "EOF";
  if (broken) why = stream_->error().empty() ? "connection reset by peer" : std::string(stream_->error());
  Break(absl::UnavailableError(why));
}

void ClientConnection::Break(const absl::Status& status) {
  const std::shared_ptr<ClientExchange> exchange = std::move(exchange_);
  const bool untouched = !parser_->touched;
  Close();
  exchange->OnBroken(status, reused_, untouched);
}

void ClientConnection::PullMore() {
  if (source_ended_ || pulling_ || write_broken_ || exchange_ == nullptr || output_.size() >= kPullBelow)
    return;
  pulling_ = true;
  exchange_->source()->Pull([weak = weak_from_this(), &loop = pool_->loop(),
                             exchange = exchange_.get()](absl::StatusOr<Bytes> piece) mutable {
    loop.Post([weak, exchange, piece = std::move(piece)]() mutable {
      if (const std::shared_ptr<ClientConnection> self = weak.lock())
        self->OnPiece(exchange, std::move(piece));
    });
  });
}

void ClientConnection::OnPiece(const ClientExchange* exchange, absl::StatusOr<Bytes> piece) {
  // A connection whose exchange ended before its source did is closed, so this is of the present one.
  if (closed_ || exchange_.get() != exchange) return;
  pulling_ = false;
  if (!piece.ok()) {
    const std::shared_ptr<ClientExchange> failed = exchange_;
    return failed->Fail(piece.status());
  }
  if (piece->empty()) {
    source_ended_ = true;
    output_.Append("0\r\n\r\n");
  } else {
    output_.Append(fmt::format("{:x}\r\n", piece->size()));
    output_.Append(*piece, 0, piece->size());
    output_.Append("\r\n");
  }
  WantFlush();
}

void ClientConnection::WantFlush() {
  if (std::exchange(flush_wanted_, true)) return;
  pool_->loop().AtTurnEnd(shared_from_this());
}

void ClientConnection::OnTurnEnd() {
  flush_wanted_ = false;
  if (!closed_) Flush();
}

void ClientConnection::OnWritable() {
  write_blocked_ = false;
  if (closed_) return;
  Loop::Turn turn(pool_->loop());
  Flush();
}

void ClientConnection::Flush() {
  if (write_blocked_ || exchange_ == nullptr) return;
  iovec vectors[kMaxVectors];
  bool progress = false;
  while (!output_.empty()) {
    const ssize_t n = stream_->Write(vectors, output_.Gather(vectors, kMaxVectors));
    if (n < 0) {
      // The server may have answered before it closed: reading tells.
      write_broken_ = true;
      output_.Consume(output_.size());
      source_ended_ = true;
    } else if (n == 0) {
      if (progress) exchange_->OnWritten(/*all=*/false);
      write_blocked_ = true;
      exchange_->OnWriteBlocked();
      stream_->WaitWritable(shared_from_this());
      return PullMore();
    } else {
      output_.Consume(static_cast<size_t>(n));
      progress = true;
    }
  }
  exchange_->OnWritten(RequestSent());
  for (; unsent_ > 0; --unsent_) behind_[behind_.size() - unsent_]->OnWritten(/*all=*/true);
  PullMore();
}

}  // namespace kvorum::http
