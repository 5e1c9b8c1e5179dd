#include "http/http1_session.h"

#include <time.h>

#include <cctype>

#include "base/check.h"
#include "base/recycled.h"
#include "boost/asio/buffer.hpp"
#include "boost/beast/http/basic_parser.hpp"
#include "boost/beast/http/status.hpp"
#include "fmt/format.h"
#include "http/text.h"

namespace kvorum::http {

namespace beast = boost::beast;

namespace {

/// Input of later requests that may wait while one is being answered.
constexpr size_t kPendingLimit = 64 << 10;
/// Rest of a body that is read and dropped after an early answer, to keep the connection.
constexpr size_t kDiscardLimit = 256 << 10;
/// The shortest end of a chunked body. Beast 1.81's parser, once it asked for more, asserts that it gets at
/// least that much.
constexpr size_t kLastChunkBytes = std::string_view("0\r\n\r\n").size();
/// After the client closed its side, a running exchange has this long: it may have closed both.
constexpr auto kHalfClosedWait = std::chrono::seconds(5);

/// "Mon, 02 Jan 2006 15:04:05 GMT", made once a second.
std::string_view DateNow(WallTime now) {
  thread_local time_t made_at = -1;
  thread_local char text[40];
  const time_t seconds = std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count();
  if (seconds != made_at) {
    tm parts;
    gmtime_r(&seconds, &parts);
    strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
    made_at = seconds;
  }
  return text;
}

/// The head of a response in the making, or its trailers.
class HeadText {
 public:
  void Add(std::string_view text) { text_.append(text.data(), text.data() + text.size()); }
  void Add(uint64_t number) {
    const fmt::format_int digits(number);
    Add({digits.data(), digits.size()});
  }
  void Add(int number) { Add(static_cast<uint64_t>(number)); }
  /// With the name as people and their scripts know it, "Content-Type", and without what would end the line.
  void AddHeader(std::string_view name, std::string_view value) {
    const size_t begin = text_.size();
    text_.resize(begin + name.size() + value.size() + 4);
    char* to = text_.data() + begin;
    char before = '-';
    for (const char c : name) {
      *to++ = before == '-' && c >= 'a' && c <= 'z' ? static_cast<char>(c - ('a' - 'A')) : c;
      before = c;
    }
    *to++ = ':';
    *to++ = ' ';
    for (const char c : value) *to++ = c == '\r' || c == '\n' || c == '\0' ? ' ' : c;
    *to++ = '\r';
    *to++ = '\n';
  }
  std::string_view view() const { return {text_.data(), text_.size()}; }

 private:
  fmt::basic_memory_buffer<char, 1024> text_;
};

/// Whether two hexadecimal digits follow each '%'.
bool EscapesAreWhole(std::string_view path) {
  const auto is_digit = [path](size_t i) {
    return i < path.size() && std::isxdigit(static_cast<unsigned char>(path[i])) != 0;
  };
  for (size_t i = path.find('%'); i != std::string_view::npos; i = path.find('%', i + 1)) {
    if (!is_digit(i + 1) || !is_digit(i + 2)) return false;
  }
  return true;
}

std::string_view Text(beast::string_view text) { return {text.data(), text.size()}; }

}  // namespace

/// Beast's parser, filling a request and feeding a sink.
class Http1Session::Parser final : public beast::http::basic_parser<true> {
 public:
  explicit Parser(std::shared_ptr<StoredRequest> empty) : request(std::move(empty)) {}

  std::shared_ptr<StoredRequest> request;
  RequestSink* sink = nullptr;  // null: the body is dropped
  int minor_version = 1;
  bool expects_continue = false;
  bool unknown_expectation = false;
  bool wants_trailers = false;
  bool wants_more = false;  // it could do nothing with the last input
  size_t host_headers = 0;
  size_t discarded = 0;

 private:
  using Error = beast::error_code;

  void on_request_impl(beast::http::verb, beast::string_view method, beast::string_view target, int version,
                       Error&) override {
    minor_version = version % 10;
    request->method = request->Keep(Text(method));
    std::string_view rest = request->Keep(Text(target));
    if (EqualsIgnoreCase(rest.substr(0, 7), "http://")) {  // absolute form: the host there counts
      rest.remove_prefix(7);
      const size_t slash = std::min(rest.find_first_of("/?"), rest.size());
      request->authority = rest.substr(0, slash);
      rest.remove_prefix(slash);
      if (rest.empty()) rest = "/";
    }
    request->SetTarget(rest);
  }
  void on_response_impl(int, beast::string_view, int, Error&) override {}

  void on_field_impl(beast::http::field, beast::string_view name, beast::string_view value, Error&) override {
    const std::string lower = LowerCase(Text(name));
    const std::string_view kept = request->Keep(lower);
    const std::string_view text = request->Keep(Text(value));
    if (is_header_done()) return;  // trailers tell nothing
    request->headers.emplace_back(kept, text);
    if (kept == "host") {
      ++host_headers;
      if (request->authority.empty()) request->authority = text;
    } else if (kept == "expect") {
      (EqualsIgnoreCase(text, "100-continue") ? expects_continue : unknown_expectation) = true;
    } else if (kept == "te") {
      wants_trailers = LowerCase(text).find("trailers") != std::string::npos;
    }
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
    if (sink != nullptr) {
      sink->OnData(Text(body));
    } else {
      discarded += body.size();
    }
    return body.size();
  }
};

class Http1Session::Exchange final : public ResponseWriter, public Recycled<Http1Session::Exchange> {
 public:
  explicit Exchange(Http1Session* session) : parser(session->TakeRequest()), session_(session) {
    parser.header_limit(static_cast<uint32_t>(session->options_.max_header_bytes));
    parser.body_limit(boost::none);
  }
  ~Exchange() override { sink.reset(); }

  Loop& loop() override { return session_->host_->loop(); }

  void SendHead(int status, const Headers& headers) override {
    if (Over()) return;
    KVORUM_CHECK(!head_sent, "a second head");
    WriteHead(status, headers, /*has_body=*/true);
  }

  void SendOnlyHead(int status, const Headers& headers) override {
    if (Over()) return;
    KVORUM_CHECK(!head_sent, "a second head");
    WriteHead(status, headers, /*has_body=*/false);
    Finish();
  }

  void ReplyWith(int status, std::span<const HeaderView> headers, std::string_view body) override {
    if (Over()) return;
    KVORUM_CHECK(!head_sent, "a second head");
    length_ = body.size();
    WriteHead(status, headers, /*has_body=*/true);
    if (!no_body_) Put(body);
    Finish();
  }

  void Send(Bytes data) override {
    if (Over() || data.empty()) return;
    KVORUM_CHECK(head_sent, "a body before the head");
    if (no_body_) return;
    size_t size = data.size();
    if (chunked_) {
      Put(fmt::format("{:x}\r\n", size));
    } else if (length_) {
      size = std::min<uint64_t>(size, *length_);
      *length_ -= size;
    }
    session_->output_.Append(data, 0, size);
    if (chunked_) Put("\r\n");
    if (buffered() >= kHighWater) over_high_water = true;
    session_->host_->WantFlush();
  }

  void End(const Headers& trailers) override {
    if (Over()) return;
    KVORUM_CHECK(head_sent, "an end before the head");
    if (chunked_ && !no_body_) {
      HeadText end;
      end.Add("0\r\n");
      if (parser.wants_trailers) {
        for (const auto& [name, value] : trailers) end.AddHeader(name, value);
      }
      end.Add("\r\n");
      Put(end.view());
    }
    if (!no_body_ && length_ && *length_ > 0) keep_alive = false;  // shorter than was promised
    Finish();
  }

  void Abort(uint32_t) override {
    if (Over()) return;
    keep_alive = false;
    session_->broken_ = true;
    Finish();
  }

  size_t buffered() const override { return session_->output_.size(); }

  void PauseInput() override { input_paused_ = true; }
  void ResumeInput() override {
    if (Over() || !std::exchange(input_paused_, false)) return;
    resumed = true;
    session_->host_->WantFlush();
  }
  bool input_paused() const { return input_paused_ && !ended; }

  bool Keep(ptrdiff_t bytes) override {
    constexpr size_t kKeptLimit = 64 << 20;
    if (bytes > 0 && kept_ + static_cast<size_t>(bytes) > kKeptLimit) return false;
    kept_ += static_cast<size_t>(bytes);
    return true;
  }

  Parser parser;
  std::unique_ptr<RequestSink> sink;
  bool started = false;
  bool received_end = false;  // the sink knows that the request is complete
  bool head_sent = false;
  bool ended = false;
  bool keep_alive = true;
  bool over_high_water = false;
  bool resumed = false;  // the input that waited is to be processed

 private:
  bool Over() const { return ended || session_->aborted_; }

  void Put(std::string_view text) { session_->output_.Append(text); }

  void Finish() {
    ended = true;
    parser.sink = nullptr;
    session_->host_->WantFlush();
  }

  template <typename HeaderRange>
  void WriteHead(int status, const HeaderRange& headers, bool has_body) {
    head_sent = true;
    const bool never_body = status / 100 == 1 || status == 204 || status == 304;
    no_body_ = never_body || parser.request->method == "HEAD";
    bool has_date = false;
    HeadText head;
    head.Add(parser.minor_version == 0 ? "HTTP/1.0 " : "HTTP/1.1 ");
    head.Add(status);
    head.Add(" ");
    head.Add(Text(beast::http::obsolete_reason(static_cast<beast::http::status>(status))));
    head.Add("\r\n");
    for (const auto& [name, value] : headers) {
      if (name == "content-length") {
        uint64_t length = 0;
        if (!never_body && ParseDecimal(value, &length)) length_ = length;
        continue;
      }
      if (name == "connection") {
        if (EqualsIgnoreCase(value, "close")) keep_alive = false;
        continue;
      }
      if (name == "date") has_date = true;
      head.AddHeader(name, value);
    }
    for (const auto& [name, value] : added_headers()) head.AddHeader(name, value);
    const bool has_length = length_ && !never_body;
    if (has_length) {
      head.Add("Content-Length: ");
      head.Add(*length_);
      head.Add("\r\n");
    }
    if (!has_date) head.AddHeader("Date", DateNow(loop().clock().WallNow()));
    if (!has_length && !never_body) {
      if (!has_body) {
        if (!no_body_) head.Add("Content-Length: 0\r\n");
      } else if (parser.minor_version >= 1) {
        chunked_ = true;
        head.Add("Transfer-Encoding: chunked\r\n");
      } else {
        keep_alive = false;  // the end of the connection is the end of the body
      }
    }
    // A client that waits for "100 Continue" may never send the body: what follows cannot be told apart.
    if (parser.expects_continue && !continued && !parser.is_done()) keep_alive = false;
    // Nor is much of a body read that nobody wants.
    if (parser.is_header_done() && !parser.is_done() &&
        parser.content_length_remaining().value_or(0) > kDiscardLimit) {
      keep_alive = false;
    }
    if (!parser.keep_alive() || session_->draining_ || session_->end_received_) keep_alive = false;
    if (!keep_alive) {
      head.Add("Connection: close\r\n");
    } else if (parser.minor_version == 0) {
      head.Add("Connection: keep-alive\r\n");
    }
    head.Add("\r\n");
    Put(head.view());
    session_->host_->WantFlush();
  }

  Http1Session* const session_;
  bool no_body_ = false;
  bool chunked_ = false;
  bool input_paused_ = false;
  std::optional<uint64_t> length_;  // still to come, where it was announced
  size_t kept_ = 0;

 public:
  bool continued = false;  // "100 Continue" was sent
};

Http1Session::Http1Session(SessionHost* host, const ServerOptions& options, MonotonicTime now)
    : host_(host), secure_(host->secure()), options_(options), now_(now), waiting_since_(now) {}

Http1Session::~Http1Session() { Abort(); }

void Http1Session::Receive(std::string_view data, MonotonicTime now) {
  if (closing_ && exchange_ == nullptr) return;
  now_ = now;
  if (pending_.empty()) {
    data.remove_prefix(Process(data));
    pending_.append(data);
  } else {
    pending_.append(data);
    ProcessPending();
  }
}

void Http1Session::ProcessPending() {
  pending_.erase(0, Process(pending_));
  if (pending_.empty()) pending_ = std::string();
}

size_t Http1Session::Process(std::string_view input) {
  std::string_view rest = input;
  while (!aborted_) {
    if (exchange_ != nullptr && exchange_->ended && (exchange_->parser.is_done() || !exchange_->keep_alive)) {
      EndExchange();
    }
    if (exchange_ == nullptr) {
      if (closing_) return input.size();
      // Empty lines before a request are skipped (RFC 9112 §2.2).
      while (rest.starts_with("\r\n")) rest.remove_prefix(2);
      if (rest.empty() || output_.size() > ResponseWriter::kHighWater) break;
      if (answered_) waiting_since_ = now_;
      exchange_ = std::make_unique<Exchange>(this);
    }
    if (exchange_->parser.is_done() || exchange_->input_paused() || !Feed(&rest)) break;
  }
  return input.size() - rest.size();
}

bool Http1Session::Feed(std::string_view* input) {
  Exchange& exchange = *exchange_;
  beast::error_code error;
  if (input->empty()) return false;
  if (exchange.parser.wants_more && exchange.parser.chunked() && input->size() < kLastChunkBytes)
    return false;
  const size_t used = exchange.parser.put(boost::asio::const_buffer(input->data(), input->size()), error);
  input->remove_prefix(used);
  exchange.parser.wants_more = error == beast::http::error::need_more;
  if (exchange.parser.wants_more) return false;
  if (error) {
    if (exchange.started) {
      // The body is malformed: there is no telling where the next request begins.
      closing_ = true;
      if (exchange.sink != nullptr && !exchange.ended) exchange.sink->OnAbort();
      if (!exchange.ended && !exchange.head_sent) {
        Refuse("400 Bad Request");
        return false;
      }
      exchange.ended = true;
      exchange.keep_alive = false;
      return true;
    }
    if (error == beast::http::error::header_limit) {
      Refuse("431 Request Header Fields Too Large");
    } else {
      Refuse("400 Bad Request");
    }
    return false;
  }
  if (!exchange.started && exchange.parser.is_header_done()) {
    StartExchange();
    if (exchange_ == nullptr) return false;
  }
  if (exchange.parser.is_done() && !exchange.received_end) {
    exchange.received_end = true;
    if (!exchange.ended) exchange.sink->OnEnd();
  }
  if (exchange.parser.discarded > kDiscardLimit) exchange.keep_alive = false;
  return true;
}

void Http1Session::StartExchange() {
  Exchange& exchange = *exchange_;
  Parser& parser = exchange.parser;
  StoredRequest& request = *parser.request;
  if (parser.minor_version >= 1 && parser.host_headers == 0) {
    return Refuse("400 Bad Request", "missing required Host header");
  }
  if (parser.host_headers > 1) return Refuse("400 Bad Request", "too many Host headers");
  if (!request.path.starts_with("/") && request.path != "*") return Refuse("400 Bad Request");
  if (!EscapesAreWhole(request.path)) return Refuse("400 Bad Request");
  if (parser.unknown_expectation) return Refuse("417 Expectation Failed");
  request.protocol = Protocol::kHttp1;
  request.remote = request.Keep(host_->remote());
  request.secure = secure_;
  exchange.started = true;
  exchange.sink = SelectHandler(options_, request)->Start(request, exchange);
  KVORUM_CHECK(exchange.sink != nullptr, "a handler returned no sink");
  if (exchange.ended) return;
  parser.sink = exchange.sink.get();
  if (parser.expects_continue && parser.minor_version >= 1 && !parser.is_done() && !exchange.head_sent) {
    exchange.continued = true;
    output_.Append("HTTP/1.1 100 Continue\r\n\r\n");
    host_->WantFlush();
  }
}

std::shared_ptr<StoredRequest> Http1Session::TakeRequest() {
  if (spare_request_ == nullptr) return std::make_shared<StoredRequest>();
  return std::exchange(spare_request_, nullptr);
}

void Http1Session::EndExchange() {
  if (!exchange_->keep_alive || draining_ || end_received_) closing_ = true;
  std::shared_ptr<StoredRequest> request = std::move(exchange_->parser.request);
  exchange_.reset();
  if (request.use_count() == 1) {
    request->Clear();
    spare_request_ = std::move(request);
  }
  answered_ = true;
  waiting_since_ = now_;
  if (closing_) {
    pending_ = std::string();
    host_->WantFlush();
  }
}

void Http1Session::Refuse(std::string_view status, std::string_view detail) {
  output_.Append(
      fmt::format("HTTP/1.1 {}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n{}{}{}",
                  status, status, detail.empty() ? "" : ": ", detail));
  closing_ = true;
  exchange_.reset();
  host_->WantFlush();
}

void Http1Session::ReceiveEnd() {
  end_received_ = now_ = host_->loop().clock().Now();
  // Who waits for what may never happen and sends no more has gone away.
  const bool rests = Resting() && output_.empty();
  if (exchange_ == nullptr || !exchange_->started || !exchange_->parser.is_done() || rests) {
    // No further request can come, and one that is incomplete stays so.
    if (exchange_ != nullptr && exchange_->sink != nullptr && !exchange_->ended) exchange_->sink->OnAbort();
    exchange_.reset();
    closing_ = true;
  }
  host_->WantFlush();
}

bool Http1Session::Produce(size_t) {
  if (aborted_) return false;
  // Here no sink is running, so an exchange that ended meanwhile can go, and the next request come.
  const bool over = exchange_ != nullptr && exchange_->ended;
  const bool resumed = exchange_ != nullptr && std::exchange(exchange_->resumed, false);
  if (over || resumed || (exchange_ == nullptr && !pending_.empty())) ProcessPending();
  return false;
}

void Http1Session::Written() {
  if (exchange_ != nullptr && exchange_->over_high_water && output_.size() < ResponseWriter::kHighWater / 2) {
    exchange_->over_high_water = false;
    if (!exchange_->ended) exchange_->sink->OnWritable();
  }
  if (exchange_ == nullptr && !pending_.empty()) host_->WantFlush();
}

bool Http1Session::Resting() const {
  return exchange_ != nullptr && exchange_->received_end && exchange_->head_sent && !exchange_->ended &&
         pending_.empty();
}

bool Http1Session::WantsInput() const {
  if (closing_ || end_received_) return false;
  if (exchange_ != nullptr && exchange_->input_paused()) return false;
  return pending_.size() < std::max(kPendingLimit, options_.max_header_bytes + 1);
}

void Http1Session::Drain() {
  draining_ = true;
  if (exchange_ == nullptr || !exchange_->started) {
    exchange_.reset();
    closing_ = true;
  } else if (!exchange_->ended) {
    exchange_->sink->OnDrain();
  }
  host_->WantFlush();
}

std::optional<MonotonicTime> Http1Session::Tick(MonotonicTime now) {
  std::optional<MonotonicTime> at;
  if (end_received_) {
    if (exchange_ == nullptr) return std::nullopt;
    // What is on its way has its time; where both sides are closed, the system says so when it is written.
    if (!output_.empty()) return now + kHalfClosedWait;
    at = *end_received_ + kHalfClosedWait;
  } else if (exchange_ != nullptr && exchange_->started) {
    return std::nullopt;
  } else if (exchange_ != nullptr || !answered_) {
    at = waiting_since_ + options_.header_timeout;
  } else if (options_.idle_timeout.count() > 0) {
    at = waiting_since_ + options_.idle_timeout;
  }
  if (!at || *at > now) return at;
  closing_ = true;
  if (exchange_ != nullptr && exchange_->sink != nullptr && !exchange_->ended) exchange_->sink->OnAbort();
  exchange_.reset();
  host_->WantFlush();
  return std::nullopt;
}

void Http1Session::Abort() {
  if (aborted_) return;
  aborted_ = true;
  closing_ = true;
  if (exchange_ != nullptr && exchange_->sink != nullptr && !exchange_->ended) exchange_->sink->OnAbort();
  exchange_.reset();
}

std::unique_ptr<Session> NewHttp1Session(SessionHost* host, const ServerOptions& options, MonotonicTime now) {
  return std::make_unique<Http1Session>(host, options, now);
}

}  // namespace kvorum::http
