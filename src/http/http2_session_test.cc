#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nghttp2/nghttp2.h>

#include <map>

#include "http/session_driver.h"

namespace kvorum::http {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;

/// The client's side: nghttp2 for what is well formed, and a way to slip in any frame.
class Peer {
 public:
  struct Exchange {
    Headers head;
    Headers trailers;
    std::string body;
    bool closed = false;
    uint32_t error = 0;
    std::string Find(std::string_view name) const {
      for (const Headers* list : {&head, &trailers}) {
        for (const auto& [key, value] : *list) {
          if (key == name) return value;
        }
      }
      return "";
    }
  };

  explicit Peer(uint32_t window = 65535) {
    nghttp2_session_callbacks* c;
    nghttp2_session_callbacks_new(&c);
    nghttp2_session_callbacks_set_on_header_callback(
        c, [](nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t n,
              const uint8_t* value, size_t v, uint8_t, void* self) {
          Exchange& exchange = static_cast<Peer*>(self)->exchanges[frame->hd.stream_id];
          (frame->headers.cat == NGHTTP2_HCAT_RESPONSE ? exchange.head : exchange.trailers)
              .emplace_back(std::string(name, name + n), std::string(value, value + v));
          return 0;
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        c, [](nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t size, void* self) {
          auto* peer = static_cast<Peer*>(self);
          peer->exchanges[id].body.append(data, data + size);
          peer->data_order.push_back(id);
          return 0;
        });
    nghttp2_session_callbacks_set_on_stream_close_callback(
        c, [](nghttp2_session*, int32_t id, uint32_t error, void* self) {
          Exchange& exchange = static_cast<Peer*>(self)->exchanges[id];
          exchange.closed = true;
          exchange.error = error;
          return 0;
        });
    nghttp2_session_callbacks_set_on_frame_recv_callback(
        c, [](nghttp2_session*, const nghttp2_frame* frame, void* self) {
          auto* peer = static_cast<Peer*>(self);
          if (frame->hd.type == NGHTTP2_PING) ++peer->pings;
          if (frame->hd.type != NGHTTP2_GOAWAY) return 0;
          peer->goaways.push_back(frame->goaway.error_code);
          peer->goaway_reason.assign(frame->goaway.opaque_data,
                                     frame->goaway.opaque_data + frame->goaway.opaque_data_len);
          return 0;
        });
    nghttp2_option* option;
    nghttp2_option_new(&option);
    nghttp2_option_set_no_http_messaging(option, 1);
    nghttp2_option_set_peer_max_concurrent_streams(option, 1'000'000);
    nghttp2_session_client_new2(&session_, c, this, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(c);
    const nghttp2_settings_entry settings{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window};
    nghttp2_submit_settings(session_, 0, &settings, 1);
  }
  ~Peer() { nghttp2_session_del(session_); }

  int32_t Request(const Headers& headers, std::string_view body = {}, bool end = true) {
    std::vector<nghttp2_nv> list;
    for (const auto& [name, value] : headers) {
      list.push_back({(uint8_t*)name.data(), (uint8_t*)value.data(), name.size(), value.size(), 0});
    }
    bodies_.push_back(std::make_unique<Body>(Body{std::string(body), end}));
    nghttp2_data_provider provider{.source = {.ptr = bodies_.back().get()}, .read_callback = &ReadBody};
    const bool has_body = !body.empty() || !end;
    const int32_t id = nghttp2_submit_request(session_, nullptr, list.data(), list.size(),
                                              has_body ? &provider : nullptr, nullptr);
    exchanges[id];
    return id;
  }
  int32_t Get(std::string path) {
    return Request({{":method", "GET"}, {":scheme", "http"}, {":path", path}, {":authority", "a"}});
  }
  int32_t Post(std::string path, std::string_view body, bool end = true) {
    return Request({{":method", "POST"}, {":scheme", "http"}, {":path", path}, {":authority", "a"}}, body,
                   end);
  }

  nghttp2_session* session() { return session_; }

  std::string Output() {
    std::string out;
    const uint8_t* data;
    while (const ssize_t n = nghttp2_session_mem_send(session_, &data)) out.append(data, data + n);
    return out;
  }
  void Input(const std::string& data) {
    nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(data.data()), data.size());
  }

  std::map<int32_t, Exchange> exchanges;
  std::vector<int32_t> data_order;
  std::vector<uint32_t> goaways;
  std::string goaway_reason;
  int pings = 0;

 private:
  struct Body {
    std::string left;
    bool end;
  };
  static ssize_t ReadBody(nghttp2_session*, int32_t, uint8_t* out, size_t size, uint32_t* flags,
                          nghttp2_data_source* source, void*) {
    auto* body = static_cast<Body*>(source->ptr);
    const size_t n = std::min(size, body->left.size());
    if (n == 0 && !body->end) return NGHTTP2_ERR_DEFERRED;
    std::memcpy(out, body->left.data(), n);
    body->left.erase(0, n);
    if (body->left.empty() && body->end) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(n);
  }
  nghttp2_session* session_;
  std::vector<std::unique_ptr<Body>> bodies_;
};

std::string Frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload) {
  std::string frame;
  for (int shift : {16, 8, 0}) frame.push_back(static_cast<char>(payload.size() >> shift));
  frame.push_back(static_cast<char>(type));
  frame.push_back(static_cast<char>(flags));
  for (int shift : {24, 16, 8, 0}) frame.push_back(static_cast<char>(stream >> shift));
  return frame.append(payload);
}

class Http2SessionTest : public ::testing::Test {
 protected:
  Http2SessionTest() { options_.handler = &handler_; }

  SessionDriver& driver() {
    if (driver_ == nullptr) driver_ = std::make_unique<SessionDriver>(loop_, options_, &NewHttp2Session);
    return *driver_;
  }
  Peer& peer() { return *peer_; }
  /// Lets both sides talk until they have nothing to say.
  void Talk() {
    for (int round = 0; round < 10000; ++round) {
      const std::string out = peer_->Output();
      if (!out.empty()) driver().Feed(out);
      driver().Pump();
      const std::string in = driver().Take();
      if (in.empty() && out.empty()) return;
      peer_->Input(in);
    }
    FAIL() << "they never stop";
  }
  /// A fresh connection, then `frames` as they are.
  void Slip(const std::string& frames) {
    Talk();
    driver().Feed(frames);
    Talk();
  }
  void ExpectCalm(std::string_view reason) {
    ASSERT_FALSE(peer_->goaways.empty());
    EXPECT_EQ(peer_->goaways.back(), uint32_t{NGHTTP2_ENHANCE_YOUR_CALM});
    EXPECT_EQ(peer_->goaway_reason, reason);
    EXPECT_TRUE(driver().finished());
  }
  template <typename Action>
  void OnHeld(Action action) {
    RunOn(loop_, [&] { action(*handler_.held); });
  }

  Loop loop_{"test"};
  TestHandler handler_;
  ServerOptions options_;
  std::unique_ptr<SessionDriver> driver_;
  std::unique_ptr<Peer> peer_ = std::make_unique<Peer>();
};

TEST_F(Http2SessionTest, AnswersARequest) {
  const int32_t id = peer().Get("/hello?q");
  Talk();
  EXPECT_EQ(peer().exchanges[id].Find(":status"), "200");
  EXPECT_EQ(peer().exchanges[id].body, "hello");
  EXPECT_TRUE(peer().exchanges[id].closed);
  EXPECT_EQ(handler_.last_query, "q");
  EXPECT_EQ(handler_.last_remote, "127.0.0.1:41234");
}

TEST_F(Http2SessionTest, AddedHeadersComeBehindTheOthers) {
  const int32_t id = peer().Get("/added");
  Talk();
  EXPECT_EQ(peer().exchanges[id].head,
            (Headers{{":status", "200"}, {"x-first", "1"}, {"x-added", "2"}, {"content-length", "5"}}));
}

TEST_F(Http2SessionTest, SendsTrailers) {
  const int32_t id = peer().Get("/chunks");
  Talk();
  EXPECT_EQ(peer().exchanges[id].body, "onetwo");
  EXPECT_EQ(peer().exchanges[id].trailers, (Headers{{"x-end", "1"}}));
}

TEST_F(Http2SessionTest, HoldsABodyBackAtTheStreamsWindow) {
  peer().Post("/slow", std::string(3 << 20, 'x'));
  Talk();
  EXPECT_EQ(handler_.body_bytes, size_t{1} << 20);
  const int32_t other = peer().Post("/echo", std::string(1000000, 'y'));
  Talk();
  EXPECT_EQ(peer().exchanges[other].body.size(), 1000000u);  // the connection's window is not held back
  for (int i = 0; i < 10 && handler_.body_ends == 0; ++i) {
    RunOn(loop_, [&] { handler_.held->ResumeInput(); });
    driver().Pump();
    Talk();
  }
  EXPECT_EQ(handler_.body_bytes, size_t{3} << 20);
}

TEST_F(Http2SessionTest, EchoesABodyLargerThanAnyWindow) {
  const std::string body(1'000'000, 'x');
  const int32_t id = peer().Post("/echo", body);
  Talk();
  EXPECT_EQ(peer().exchanges[id].body, body);
}

TEST_F(Http2SessionTest, AHeadWithoutBodyEndsTheStream) {
  const int32_t id = peer().Get("/head");
  driver().Feed(peer().Output());
  const std::string sent = driver().Take();
  peer().Input(sent);
  EXPECT_TRUE(peer().exchanges[id].closed);
  EXPECT_TRUE(peer().data_order.empty());
}

TEST_F(Http2SessionTest, AnEarlyAnswerResetsTheRestOfTheRequestWithoutError) {
  const int32_t id = peer().Post("/early", "begin", /*end=*/false);
  Talk();
  EXPECT_EQ(peer().exchanges[id].body, "early");
  EXPECT_TRUE(peer().exchanges[id].closed);
  EXPECT_EQ(peer().exchanges[id].error, uint32_t{NGHTTP2_NO_ERROR});
}

TEST_F(Http2SessionTest, AbortResetsTheStream) {
  const int32_t id = peer().Get("/abort");
  Talk();
  EXPECT_EQ(peer().exchanges[id].error, uint32_t{NGHTTP2_CANCEL});
}

TEST_F(Http2SessionTest, ACancelledRequestAbortsItsSink) {
  const int32_t id = peer().Get("/hold");
  Talk();
  nghttp2_submit_rst_stream(peer().session(), 0, id, NGHTTP2_CANCEL);
  Talk();
  EXPECT_EQ(handler_.aborted, 1);
}

TEST_F(Http2SessionTest, ABrokenConnectionAbortsItsSinks) {
  peer().Get("/hold");
  Talk();
  driver_.reset();
  EXPECT_EQ(handler_.aborted, 1);
}

TEST_F(Http2SessionTest, StreamsShareTheConnectionFairly) {
  peer_ = std::make_unique<Peer>(16 << 20);
  nghttp2_session_set_local_window_size(peer().session(), 0, 0, 64 << 20);
  const int32_t bulk = peer().Get("/hold");
  Talk();
  const std::string piece(4 << 20, 'x');
  OnHeld([&](ResponseWriter& writer) {
    writer.SendHead(200, {});
    writer.Send(piece);
  });
  const int32_t small = peer().Get("/hello");
  driver().Feed(peer().Output());
  peer().Input(driver().Take());
  // The small answer stood behind a few frames of the bulk, not behind all of it.
  const auto& order = peer().data_order;
  const auto position = std::find(order.begin(), order.end(), small) - order.begin();
  EXPECT_LT(position, 12);
  EXPECT_EQ(peer().exchanges[small].body, "hello");
  Talk();
  EXPECT_EQ(peer().exchanges[bulk].body.size(), piece.size());
}

TEST_F(Http2SessionTest, TellsASlowWriterWhenItMayGoOn) {
  peer().Get("/hold");
  Talk();
  const std::string piece(2 * ResponseWriter::kHighWater, 'x');
  driver().Block();
  OnHeld([&](ResponseWriter& writer) {
    writer.SendHead(200, {});
    writer.Send(piece);
    EXPECT_EQ(writer.buffered(), piece.size());
  });
  EXPECT_EQ(handler_.writable, 0);
  driver().Unblock();
  Talk();
  EXPECT_EQ(handler_.writable, 1);
}

TEST_F(Http2SessionTest, RequestsWaitWhileTooMuchIsQueued) {
  peer().Get("/hold");
  Talk();
  const std::string piece(20 << 20, 'x');
  OnHeld([&](ResponseWriter& writer) {
    writer.SendHead(200, {});
    writer.Send(piece);
    writer.End();
  });
  const int32_t parked = peer().Post("/echo", "waits");
  driver().Feed(peer().Output());  // the peer's window is full
  EXPECT_EQ(handler_.started, 1);
  Talk();
  EXPECT_EQ(handler_.started, 2);
  EXPECT_EQ(peer().exchanges[parked].body, "waits");
}

TEST_F(Http2SessionTest, RefusesWhatIsBeyondTheWaitingRoom) {
  peer().Get("/hold");
  Talk();
  const std::string piece(20 << 20, 'x');
  OnHeld([&](ResponseWriter& writer) {
    writer.SendHead(200, {});
    writer.Send(piece);
  });
  int32_t last = 0;
  for (int i = 0; i < 1100; ++i) last = peer().Get("/hello");
  driver().Feed(peer().Output());
  peer().Input(driver().Take());
  EXPECT_EQ(peer().exchanges[last].error, uint32_t{NGHTTP2_REFUSED_STREAM});
  EXPECT_EQ(handler_.started, 1);
}

TEST_F(Http2SessionTest, AClientThatReadsNothingIsNotReadFrom) {
  peer_ = std::make_unique<Peer>(INT32_MAX);
  nghttp2_session_set_local_window_size(peer().session(), 0, 0, INT32_MAX);
  peer().Get("/hold");
  Talk();
  EXPECT_TRUE(driver().wants_input());
  const std::string piece(40 << 20, 'x');
  OnHeld([&](ResponseWriter& writer) {
    writer.SendHead(200, {});
    writer.Send(piece);
  });
  driver().ProduceOnce();
  EXPECT_FALSE(driver().wants_input());
  Talk();
  EXPECT_TRUE(driver().wants_input());
}

TEST_F(Http2SessionTest, DrainingServesRunningStreamsAndThenEnds) {
  const int32_t running = peer().Get("/hold");
  Talk();
  driver().Drain();
  // Under way when the client hears of it: still served.
  const int32_t late = peer().Get("/hello");
  driver().Feed(peer().Output());
  Talk();
  EXPECT_EQ(peer().exchanges[late].body, "hello");
  EXPECT_EQ(peer().goaways, (std::vector<uint32_t>{NGHTTP2_NO_ERROR, NGHTTP2_NO_ERROR}));
  EXPECT_FALSE(driver().finished());
  EXPECT_EQ(handler_.drained, 1);
  OnHeld([](ResponseWriter& writer) { writer.Reply(200, {}, "held"); });
  Talk();
  EXPECT_EQ(peer().exchanges[running].body, "held");
  EXPECT_TRUE(driver().finished());
}

TEST_F(Http2SessionTest, DrainingDoesNotWaitForASilentClient) {
  Talk();
  driver().Drain();
  EXPECT_FALSE(driver().finished());
  driver().Advance(seconds(1));
  EXPECT_TRUE(driver().finished());
}

TEST_F(Http2SessionTest, PingsAQuietClientAndClosesIfItStaysQuiet) {
  options_.keepalive_interval = seconds(60);
  options_.keepalive_timeout = seconds(10);
  Talk();
  driver().Advance(seconds(59));
  Talk();
  EXPECT_EQ(peer().pings, 0);
  driver().Advance(seconds(2));
  peer().Input(driver().Take());
  EXPECT_EQ(peer().pings, 1);
  driver().Advance(seconds(11));
  EXPECT_TRUE(driver().finished());
}

TEST_F(Http2SessionTest, AnAnsweredPingKeepsTheConnection) {
  options_.keepalive_interval = seconds(60);
  options_.keepalive_timeout = seconds(10);
  Talk();
  driver().Advance(seconds(61));
  Talk();
  driver().Advance(seconds(11));
  EXPECT_FALSE(driver().finished());
}

TEST_F(Http2SessionTest, TooManyPingsAreAnsweredWithGoAway) {
  peer().Get("/hold");
  Talk();
  std::string pings;
  for (int i = 0; i < 5; ++i) pings += Frame(NGHTTP2_PING, 0, 0, "12345678");
  Slip(pings);
  ExpectCalm("too_many_pings");
}

TEST_F(Http2SessionTest, PingsAtTheAllowedPaceAreFine) {
  peer().Get("/hold");
  Talk();
  for (int i = 0; i < 20; ++i) {
    driver().Advance(options_.keepalive_min_time);
    Slip(Frame(NGHTTP2_PING, 0, 0, "12345678"));
  }
  EXPECT_TRUE(peer().goaways.empty());
}

TEST_F(Http2SessionTest, PingsWithoutAStreamAreNotExpected) {
  Talk();
  for (int i = 0; i < 4; ++i) {
    driver().Advance(std::chrono::minutes(1));
    Slip(Frame(NGHTTP2_PING, 0, 0, "12345678"));
  }
  ExpectCalm("too_many_pings");
}

TEST_F(Http2SessionTest, APingAfterAnAnswerIsForgiven) {
  for (int i = 0; i < 10; ++i) {
    peer().Get("/hello");
    Slip(Frame(NGHTTP2_PING, 0, 0, "12345678"));
  }
  EXPECT_TRUE(peer().goaways.empty());
}

TEST_F(Http2SessionTest, ARapidResetFloodEndsTheConnection) {
  Talk();
  for (int i = 0; i < 3000 && peer().goaways.empty(); ++i) {
    const int32_t id = peer().Get("/hold");
    driver().Feed(peer().Output());
    nghttp2_submit_rst_stream(peer().session(), 0, id, NGHTTP2_CANCEL);
    Talk();
  }
  ExpectCalm("too_many_resets");
}

TEST_F(Http2SessionTest, ASettingsFloodEndsTheConnection) {
  Talk();
  for (int i = 0; i < 1100; ++i) driver().Feed(Frame(NGHTTP2_SETTINGS, 0, 0, ""));
  EXPECT_THAT(driver().Take(), HasSubstr("too_many_control_frames"));
  EXPECT_TRUE(driver().finished());
}

TEST_F(Http2SessionTest, UpperCaseNamesAreAStreamError) {
  const std::string head(
      "\x83\x86\x84\x00\x03"
      "Bad\x01x",
      10);
  Talk();
  driver().Feed(Frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 1, head));
  EXPECT_EQ(driver().Take(), Frame(NGHTTP2_RST_STREAM, 0, 1, std::string("\0\0\0\1", 4)));
  EXPECT_EQ(handler_.started, 0);
}

TEST_F(Http2SessionTest, AFloodOfEmptyDataEndsTheConnection) {
  const int32_t id = peer().Post("/hold", "x", /*end=*/false);
  Talk();
  std::string frames;
  for (int i = 0; i < 1100; ++i) frames += Frame(NGHTTP2_DATA, 0, static_cast<uint32_t>(id), "");
  Slip(frames);
  ExpectCalm("empty_data_flood");
}

TEST_F(Http2SessionTest, ATooLargeHeadIs431) {
  options_.max_header_bytes = 8 << 10;
  const int32_t id = peer().Request({{":method", "GET"},
                                     {":scheme", "http"},
                                     {":path", "/hello"},
                                     {":authority", "a"},
                                     {"x", std::string(10'000, 'x')}});
  Talk();
  EXPECT_EQ(peer().exchanges[id].Find(":status"), "431");
  EXPECT_EQ(handler_.started, 0);
  EXPECT_TRUE(peer().goaways.empty());
}

TEST_F(Http2SessionTest, AHugeHeadEndsTheConnection) {
  options_.max_header_bytes = 1 << 10;
  Headers headers{{":method", "GET"}, {":scheme", "http"}, {":path", "/hello"}, {":authority", "a"}};
  for (int i = 0; i < 10; ++i) headers.emplace_back("x", std::string(1000, 'x'));
  peer().Request(headers);
  Talk();
  ExpectCalm("header_flood");
}

TEST_F(Http2SessionTest, AContinuationFloodEndsTheConnection) {
  Talk();
  // A literal header field without indexing, again and again, never ending the block.
  const std::string field = std::string("\x00\x01x\x7f\x81\x07", 6) + std::string(262, 'x');
  driver().Feed(Frame(NGHTTP2_HEADERS, 0, 1, std::string("\x83\x86\x84", 3)));
  for (int i = 0; i < 2000 && !driver().finished(); ++i)
    driver().Feed(Frame(NGHTTP2_CONTINUATION, 0, 1, field));
  EXPECT_TRUE(driver().finished());
  EXPECT_EQ(handler_.started, 0);
}

TEST_F(Http2SessionTest, SlowHeadersEndTheConnection) {
  options_.header_timeout = seconds(10);
  Talk();
  driver().Feed(Frame(NGHTTP2_HEADERS, 0, 1, std::string("\x83\x86\x84", 3)));
  driver().Advance(seconds(11));
  peer().Input(driver().Take());
  ExpectCalm("slow_headers");
}

TEST_F(Http2SessionTest, GarbageEndsTheConnection) {
  driver().Feed("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + std::string(1000, '\xff'));
  EXPECT_TRUE(driver().finished());
}

TEST_F(Http2SessionTest, TheLimitOfConcurrentStreamsIsAnnouncedAndKept) {
  options_.max_concurrent_streams = 2;
  Talk();
  EXPECT_EQ(nghttp2_session_get_remote_settings(peer().session(), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS),
            2u);
  for (int i = 0; i < 3; ++i) peer().Get("/hold");
  Talk();
  EXPECT_EQ(handler_.started, 2);
}

struct Malformed {
  const char* name;
  Headers headers;
  std::string body;
};

class Http2Malformed : public Http2SessionTest, public ::testing::WithParamInterface<Malformed> {};

TEST_P(Http2Malformed, IsAStreamErrorAndHarmsNoOther) {
  const int32_t bad = peer().Request(GetParam().headers, GetParam().body);
  const int32_t good = peer().Get("/hello");
  Talk();
  EXPECT_EQ(peer().exchanges[bad].error, uint32_t{NGHTTP2_PROTOCOL_ERROR});
  EXPECT_EQ(peer().exchanges[good].body, "hello");
}

Headers With(Headers more, std::string path = "/echo") {
  Headers headers{{":method", "POST"}, {":scheme", "http"}, {":path", path}};
  headers.insert(headers.end(), more.begin(), more.end());
  return headers;
}

INSTANTIATE_TEST_SUITE_P(
    , Http2Malformed,
    ::testing::Values(Malformed{"no_path", {{":method", "GET"}, {":scheme", "http"}}, ""},
                      Malformed{"two_paths", With({{":path", "/"}}), ""},
                      Malformed{"unknown_pseudo", With({{":status", "200"}}), ""},
                      Malformed{"late_pseudo", With({{"a", "b"}, {":authority", "a"}}), ""},
                      Malformed{"relative_path", With({}, "hello"), ""},
                      Malformed{"line_break", With({{"a", "b\r\nc"}}), ""},
                      Malformed{"connection", With({{"connection", "close"}}), ""},
                      Malformed{"chunked", With({{"transfer-encoding", "chunked"}}), ""},
                      Malformed{"te", With({{"te", "gzip"}}), ""},
                      Malformed{"authority", With({}, "/echo?\x01"), ""},
                      Malformed{"short_body", With({{"content-length", "5"}}), "abc"},
                      Malformed{"long_body", With({{"content-length", "2"}}), "abc"},
                      Malformed{"no_body", With({{"content-length", "2"}}), ""},
                      Malformed{"two_lengths", With({{"content-length", "3"}, {"content-length", "3"}}),
                                "abc"},
                      Malformed{"connect", {{":method", "CONNECT"}, {":authority", "a:1"}}, ""}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_F(Http2SessionTest, AnAuthorityMayBeThePathOfASocket) {
  peer().Request(
      {{":method", "GET"}, {":scheme", "http"}, {":path", "/hello"}, {":authority", "/run/a.sock"}});
  Talk();
  EXPECT_EQ(handler_.last_authority, "/run/a.sock");
}

TEST(HttpRateLimit, LetsTheBurstThroughAndThenTheRate) {
  RateLimit limit(/*burst=*/3, /*per_second=*/1);
  MonotonicTime now{seconds(100)};
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(limit.Take(now));
  EXPECT_FALSE(limit.Take(now));
  now += seconds(3);
  EXPECT_TRUE(limit.Take(now));
}

}  // namespace
}  // namespace kvorum::http
