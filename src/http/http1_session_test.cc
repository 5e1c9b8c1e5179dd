#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "http/session_driver.h"

namespace kvorum::http {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class Http1SessionTest : public ::testing::Test {
 protected:
  Http1SessionTest() { options_.handler = &handler_; }

  SessionDriver& driver() {
    if (driver_ == nullptr) driver_ = std::make_unique<SessionDriver>(loop_, options_, &NewHttp1Session);
    return *driver_;
  }
  std::string Exchange(std::string_view input) {
    driver().Feed(input);
    return driver().Take();
  }
  /// Calls the writer of /hold.
  template <typename Action>
  std::string OnHeld(Action action) {
    RunOn(loop_, [&] { action(*handler_.held); });
    driver().Pump();
    return driver().Take();
  }
  static std::string Get(std::string_view path, std::string_view headers = "") {
    return fmt::format("GET {} HTTP/1.1\r\nHost: a\r\n{}\r\n", path, headers);
  }

  Loop loop_{"test"};
  TestHandler handler_;
  ServerOptions options_;
  std::unique_ptr<SessionDriver> driver_;
};

TEST_F(Http1SessionTest, AnswersWithLengthAndDate) {
  const std::string answer = Exchange(Get("/hello?a=b"));
  EXPECT_THAT(answer,
              StartsWith("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nDate: "));
  EXPECT_THAT(answer, EndsWith(" GMT\r\n\r\nhello"));
  EXPECT_EQ(handler_.last_query, "a=b");
  EXPECT_EQ(handler_.last_authority, "a");
  EXPECT_EQ(handler_.last_remote, "127.0.0.1:41234");
  EXPECT_FALSE(driver().finished());
}

TEST_F(Http1SessionTest, AddedHeadersComeBehindTheOthers) {
  EXPECT_THAT(Exchange(Get("/added")),
              StartsWith("HTTP/1.1 200 OK\r\nX-First: 1\r\nX-Added: 2\r\nContent-Length: 5\r\nDate: "));
  EXPECT_THAT(Exchange(Get("/hello")), Not(HasSubstr("X-Added")));
}

TEST_F(Http1SessionTest, HeaderNamesGetCapitalsAtTheFrontAndBehindDashes) {
  const std::pair<std::string, std::string> names[] = {
      {"a", "A"},
      {"te", "Te"},
      {"x-raft", "X-Raft"},
      {"x-8ths-z", "X-8ths-Z"},
      {"x-etcd-index", "X-Etcd-Index"},
      {"longest-", "Longest-"},
      {"exactly-z", "Exactly-Z"},
      {"abcdefg-hijklmno-pqrstuv-w", "Abcdefg-Hijklmno-Pqrstuv-W"},
      {"a--b-{c}-`d-\xe4z-~e", "A--B-{c}-`d-\xe4z-~e"},
      {"access-control-allow-methods", "Access-Control-Allow-Methods"},
  };
  Headers headers;
  std::string expected;
  for (const auto& [name, sent] : names) {
    headers.emplace_back(name, "v");
    expected += sent + ": v\r\n";
  }
  Exchange(Get("/hold"));
  EXPECT_THAT(OnHeld([&](ResponseWriter& writer) { writer.SendOnlyHead(200, headers); }),
              HasSubstr(expected));
}

TEST_F(Http1SessionTest, AHeadersValueCannotEndItsLine) {
  Headers headers;
  std::string expected;
  for (size_t at = 0; at < 20; ++at) {
    for (const char end : {'\r', '\n', '\0'}) {
      std::string value = "0123\t5678\xc3\xa4-9abcdef\x1fg";
      value[at] = end;
      headers.emplace_back("x", value);
      value[at] = ' ';
      expected += "X: " + value + "\r\n";
    }
  }
  Exchange(Get("/hold"));
  EXPECT_THAT(OnHeld([&](ResponseWriter& writer) { writer.SendOnlyHead(200, headers); }),
              HasSubstr(expected));
}

TEST_F(Http1SessionTest, ARequestHasNothingOfTheOneBefore) {
  std::string many;
  for (int i = 0; i < 50; ++i) many += fmt::format("X-{}: {}\r\n", i, std::string(100, 'x'));
  Exchange(Get("http://other/hello?a=b", many));
  EXPECT_EQ(handler_.last_query, "a=b");
  EXPECT_EQ(handler_.last_authority, "other");
  EXPECT_EQ(handler_.last_headers, 51u);
  Exchange(Get("/hello"));
  EXPECT_EQ(handler_.last_query, "");
  EXPECT_EQ(handler_.last_authority, "a");
  EXPECT_EQ(handler_.last_headers, 1u);
}

TEST_F(Http1SessionTest, TakesARequestByteByByte) {
  std::string answer;
  for (const char c : std::string("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody")) {
    answer += Exchange({&c, 1});
  }
  EXPECT_THAT(answer, EndsWith("\r\n\r\nbody"));
}

TEST_F(Http1SessionTest, AnswersPipelinedRequestsInOrder) {
  const std::string answer = Exchange(Get("/hello") + Get("/head") + Get("/none"));
  const size_t hello = answer.find("hello");
  const size_t no_content = answer.find("HTTP/1.1 204 No Content");
  const size_t not_found = answer.find("HTTP/1.1 404 Not Found");
  EXPECT_LT(hello, no_content);
  EXPECT_LT(no_content, not_found);
  EXPECT_NE(not_found, std::string::npos);
}

TEST_F(Http1SessionTest, APipelinedRequestWaitsForTheAnswerBeforeIt) {
  EXPECT_EQ(Exchange(Get("/hold") + Get("/hello")), "");
  EXPECT_EQ(handler_.started, 1);
  const std::string answer = OnHeld([](ResponseWriter& writer) { writer.Reply(200, {}, "held"); });
  EXPECT_LT(answer.find("held"), answer.find("hello"));
  EXPECT_NE(answer.find("hello"), std::string::npos);
}

TEST_F(Http1SessionTest, HoldsABodyBack) {
  Exchange("POST /slow HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n");
  EXPECT_EQ(handler_.body_bytes, 3u);
  EXPECT_FALSE(driver().wants_input());
  Exchange("3\r\ntwo\r\n0\r\n\r\n");
  EXPECT_EQ(handler_.body_bytes, 3u);
  OnHeld([](ResponseWriter& writer) { writer.ResumeInput(); });
  EXPECT_EQ(handler_.body_bytes, 6u);
  EXPECT_EQ(handler_.body_ends, 0);
  OnHeld([](ResponseWriter& writer) { writer.ResumeInput(); });
  EXPECT_EQ(handler_.body_ends, 1);
  EXPECT_TRUE(driver().wants_input());
}

TEST_F(Http1SessionTest, AnAnswerEndsTheHoldingBack) {
  Exchange("POST /slow HTTP/1.1\r\nHost: a\r\ncontent-length: 6\r\n\r\none");
  Exchange("two");
  const std::string answer = OnHeld([](ResponseWriter& writer) { writer.Reply(200, {}, "enough"); });
  EXPECT_THAT(answer, EndsWith("enough"));
  EXPECT_THAT(Exchange(Get("/hello")), EndsWith("hello"));
}

TEST_F(Http1SessionTest, WantsNoInputWhileMuchIsPipelined) {
  Exchange(Get("/hold"));
  EXPECT_TRUE(driver().wants_input());
  for (int i = 0; i < 3000; ++i) Exchange(Get("/hello"));
  EXPECT_FALSE(driver().wants_input());
  OnHeld([](ResponseWriter& writer) { writer.Reply(200, {}, "held"); });
  EXPECT_TRUE(driver().wants_input());
  EXPECT_EQ(handler_.started, 3001);
}

TEST_F(Http1SessionTest, BeginsNoRequestWhileMuchWaitsToBeRead) {
  constexpr int kRequests = 25'000;
  driver().Block();
  std::string pipelined;
  for (int i = 0; i < kRequests; ++i) pipelined += Get("/hello");
  EXPECT_EQ(Exchange(pipelined), "");
  EXPECT_LT(handler_.started, static_cast<int>(ResponseWriter::kHighWater / 80)) << "answers are longer";
  EXPECT_FALSE(driver().wants_input());
  driver().Unblock();
  EXPECT_EQ(handler_.started, kRequests);
  EXPECT_TRUE(driver().wants_input());
}

TEST_F(Http1SessionTest, ReadsAChunkedBody) {
  EXPECT_THAT(Exchange("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-T: 1\r\n\r\n"),
              EndsWith("\r\n\r\nabcde"));
}

TEST_F(Http1SessionTest, ReadsAChunkedBodyByteByByte) {
  std::string answer;
  for (const std::string_view body : {"0\r\n\r\n", "1\r\nx\r\n0\r\nX-T: 1\r\n\r\n"}) {
    Exchange("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (const char c : body) answer += Exchange({&c, 1});
  }
  EXPECT_THAT(answer, HasSubstr("Content-Length: 0\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\nx"));
}

TEST_F(Http1SessionTest, AStreamedChunkIsDeliveredAtOnce) {
  Exchange("POST /hold HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n");
  for (size_t i = 1; i <= 5; ++i) {
    Exchange("x");
    EXPECT_EQ(handler_.body_bytes, i);
  }
}

TEST_F(Http1SessionTest, SendsChunksWithTrailersForWhoWantsThem) {
  EXPECT_THAT(Exchange(Get("/chunks")), EndsWith("\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"));
  EXPECT_THAT(Exchange(Get("/chunks", "TE: trailers\r\n")),
              EndsWith("\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\nX-End: 1\r\n\r\n"));
}

TEST_F(Http1SessionTest, EndsTheBodyWithTheConnectionForHttp10) {
  const std::string answer = Exchange("GET /chunks HTTP/1.0\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.0 200 OK\r\n"));
  EXPECT_THAT(answer, EndsWith("Connection: close\r\n\r\nonetwo"));
  EXPECT_TRUE(driver().finished());
}

TEST_F(Http1SessionTest, KeepsAnHttp10ConnectionOnlyWhenAsked) {
  EXPECT_THAT(Exchange("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
              HasSubstr("Connection: keep-alive\r\n"));
  EXPECT_FALSE(driver().finished());
  EXPECT_THAT(Exchange("GET /hello HTTP/1.0\r\n\r\n"), HasSubstr("Connection: close\r\n"));
  EXPECT_TRUE(driver().finished());
}

TEST_F(Http1SessionTest, ClosesWhenTheClientSaysSo) {
  EXPECT_THAT(Exchange(Get("/hello", "Connection: close\r\n")), HasSubstr("Connection: close\r\n"));
  EXPECT_TRUE(driver().finished());
}

TEST_F(Http1SessionTest, HeadHasTheLengthButNoBody) {
  const std::string answer = Exchange("HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_THAT(answer, HasSubstr("Content-Length: 5\r\n"));
  EXPECT_THAT(answer, EndsWith("GMT\r\n\r\n"));
}

TEST_F(Http1SessionTest, NoContentHasNoLength) {
  EXPECT_THAT(Exchange(Get("/head")), Not(HasSubstr("content-length")));
}

TEST_F(Http1SessionTest, ContinuesWhenTheClientWaitsForIt) {
  EXPECT_EQ(Exchange("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"),
            "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_THAT(Exchange("ok"), EndsWith("\r\n\r\nok"));
  EXPECT_FALSE(driver().finished());
}

TEST_F(Http1SessionTest, AnEarlyAnswerReplacesContinueAndCloses) {
  const std::string answer =
      Exchange("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK"));
  EXPECT_THAT(answer, HasSubstr("Connection: close"));
  EXPECT_TRUE(driver().finished());
}

TEST_F(Http1SessionTest, AnEarlyAnswerKeepsTheConnectionWhenTheBodyIsShort) {
  EXPECT_THAT(Exchange("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"), EndsWith("early"));
  EXPECT_THAT(Exchange("abc" + Get("/hello")), EndsWith("hello"));
}

TEST_F(Http1SessionTest, AnEarlyAnswerClosesWhenTheBodyIsLong) {
  EXPECT_THAT(Exchange("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"),
              HasSubstr("Connection: close\r\n"));
  Exchange(std::string(300'000, 'x'));
  EXPECT_TRUE(driver().finished());
}

TEST_F(Http1SessionTest, RefusesABodyOverTheLimit) {
  Exchange("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n");
  EXPECT_THAT(Exchange(std::string((1 << 20) + 1, 'x')), HasSubstr("413 Payload Too Large"));
}

struct BadRequest {
  const char* name;
  std::string input;
  const char* answer;
};

class Http1BadRequest : public Http1SessionTest, public ::testing::WithParamInterface<BadRequest> {};

TEST_P(Http1BadRequest, IsRefusedAndTheConnectionCloses) {
  options_.max_header_bytes = 8 << 10;
  EXPECT_THAT(Exchange(GetParam().input), StartsWith(GetParam().answer));
  EXPECT_TRUE(driver().finished());
  EXPECT_EQ(handler_.started, 0);
}

INSTANTIATE_TEST_SUITE_P(
    , Http1BadRequest,
    ::testing::Values(
        BadRequest{"garbage", "\x16\x03\x01\x02 what is this\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
        BadRequest{"no_host", "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request"},
        BadRequest{"two_hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "HTTP/1.1 400 Bad Request"},
        BadRequest{"bad_escape", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 400 Bad Request"},
        BadRequest{"cut_escape", "GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 400 Bad Request"},
        BadRequest{"bad_target", "GET hello HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 400 Bad Request"},
        BadRequest{"bad_length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", "HTTP/1.1 400"},
        BadRequest{"two_lengths",
                   "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                   "HTTP/1.1 400"},
        BadRequest{"length_and_chunks",
                   "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                   "HTTP/1.1 400"},
        BadRequest{"expectation", "GET / HTTP/1.1\r\nHost: a\r\nExpect: wonders\r\n\r\n", "HTTP/1.1 417"},
        BadRequest{"huge_header", "GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(10'000, 'x'),
                   "HTTP/1.1 431 Request Header Fields Too Large"},
        BadRequest{"many_headers",
                   [] {
                     std::string many = "GET / HTTP/1.1\r\nHost: a\r\n";
                     for (int i = 0; i < 3000; ++i) many += "a: b\r\n";
                     return many;
                   }(),
                   "HTTP/1.1 431"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_F(Http1SessionTest, AMalformedBodyAbortsTheExchange) {
  Exchange("POST /hold HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
  EXPECT_THAT(Exchange("zz\r\n"), StartsWith("HTTP/1.1 400 Bad Request\r\n"));
  EXPECT_EQ(handler_.aborted, 1);
  EXPECT_TRUE(driver().finished());
}

TEST_F(Http1SessionTest, ClosesAConnectionWhoseHeadersAreSlow) {
  options_.header_timeout = std::chrono::seconds(10);
  Exchange("GET / HT");
  driver().Advance(std::chrono::seconds(9));
  EXPECT_FALSE(driver().finished());
  driver().Advance(std::chrono::seconds(2));
  EXPECT_TRUE(driver().finished());
}

TEST_F(Http1SessionTest, ClosesAnIdleConnectionOnlyWhenTold) {
  options_.header_timeout = std::chrono::seconds(1);
  options_.idle_timeout = std::chrono::seconds(60);
  Exchange(Get("/hello"));
  driver().Advance(std::chrono::seconds(50));
  EXPECT_FALSE(driver().finished());
  driver().Advance(std::chrono::seconds(11));
  EXPECT_TRUE(driver().finished());
}

TEST_F(Http1SessionTest, ARunningExchangeIsNotTimedOut) {
  options_.header_timeout = options_.idle_timeout = std::chrono::seconds(1);
  Exchange(Get("/hold"));
  driver().Advance(std::chrono::hours(1));
  EXPECT_FALSE(driver().finished());
}

TEST_F(Http1SessionTest, DrainingFinishesTheRunningExchange) {
  Exchange(Get("/hold"));
  driver().Drain();
  EXPECT_FALSE(driver().finished());
  EXPECT_THAT(OnHeld([](ResponseWriter& writer) { writer.Reply(200, {}, "held"); }),
              HasSubstr("Connection: close"));
  EXPECT_TRUE(driver().finished());
}

TEST_F(Http1SessionTest, DrainingEndsAnIdleConnection) {
  Exchange(Get("/hello"));
  driver().Drain();
  EXPECT_TRUE(driver().finished());
}

TEST_F(Http1SessionTest, AHalfClosedClientStillGetsItsAnswer) {
  Exchange(Get("/hold"));
  driver().FeedEnd();
  EXPECT_THAT(OnHeld([](ResponseWriter& writer) { writer.Reply(200, {}, "held"); }), EndsWith("held"));
  EXPECT_TRUE(driver().finished());
}

TEST_F(Http1SessionTest, AHalfClosedClientThatOnlyWaitsIsGone) {
  Exchange(Get("/hold"));
  OnHeld([](ResponseWriter& writer) { writer.SendHead(200, {}); });
  driver().FeedEnd();
  EXPECT_EQ(handler_.aborted, 1);
  EXPECT_TRUE(driver().finished());
}

TEST_F(Http1SessionTest, WhatWaitsIsToldOfTheEnd) {
  Exchange(Get("/hold"));
  driver().Drain();
  EXPECT_EQ(handler_.drained, 1);
  EXPECT_FALSE(driver().finished());
  OnHeld([](ResponseWriter& writer) { writer.Reply(200, {}, "held"); });
  EXPECT_TRUE(driver().finished());
}

TEST_F(Http1SessionTest, AHalfClosedClientIsNotWaitedForLong) {
  Exchange(Get("/hold"));
  driver().FeedEnd();
  driver().Advance(std::chrono::seconds(6));
  EXPECT_EQ(handler_.aborted, 1);
  EXPECT_TRUE(driver().finished());
}

TEST_F(Http1SessionTest, AHalfClosedClientGetsALongAnswerAsSlowlyAsItTakesIt) {
  Exchange(Get("/hold"));
  driver().Block();
  OnHeld([](ResponseWriter& writer) {
    writer.SendHead(200, {{"content-length", "8"}});
    writer.Send("half");
  });
  driver().ProduceOnce();
  driver().FeedEnd();
  driver().Advance(std::chrono::minutes(1));
  EXPECT_EQ(handler_.aborted, 0);
  driver().Unblock();
  EXPECT_THAT(OnHeld([](ResponseWriter& writer) {
                writer.Send("half");
                writer.End();
              }),
              EndsWith("halfhalf"));
  EXPECT_TRUE(driver().finished());
}

TEST_F(Http1SessionTest, TellsASlowWriterWhenItMayGoOn) {
  Exchange(Get("/hold"));
  driver().Block();
  const std::string piece(ResponseWriter::kHighWater + 1, 'x');
  OnHeld([&](ResponseWriter& writer) {
    writer.SendHead(200, {});
    writer.Send(piece);
    EXPECT_GT(writer.buffered(), ResponseWriter::kHighWater);
  });
  EXPECT_EQ(handler_.writable, 0);
  driver().Unblock();
  EXPECT_EQ(handler_.writable, 1);
}

TEST_F(Http1SessionTest, AbortClosesTheConnection) {
  Exchange(Get("/abort"));
  EXPECT_TRUE(driver().finished());
}

TEST_F(Http1SessionTest, TakesAnAbsoluteTarget) {
  Exchange("GET http://other:1/hello?x HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(handler_.last_authority, "other:1");
  EXPECT_EQ(handler_.last_query, "x");
}

}  // namespace
}  // namespace kvorum::http
