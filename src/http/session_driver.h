#pragma once

#include <memory>
#include <string>

#include "absl/synchronization/notification.h"
#include "http/session.h"

// For tests and fuzzers: a session without a connection, and a handler to answer it.

namespace kvorum::http {

/// Runs `action` on the loop and waits for it.
template <typename Action>
void RunOn(Loop& loop, Action action) {
  absl::Notification done;
  loop.Post([&] {
    action();
    done.Notify();
  });
  done.WaitForNotification();
}

/// Feeds a session from memory and collects what it sends. The session lives on `loop`; the calls here run
/// there and wait.
class SessionDriver final : private SessionHost {
 public:
  using Make = std::unique_ptr<Session> (*)(SessionHost*, const ServerOptions&, MonotonicTime);

  SessionDriver(Loop& loop, const ServerOptions& options, Make make) : loop_(loop), now_(loop.clock().Now()) {
    RunOn(loop_, [&] {
      session_ = make(this, options, now_);
      Flush();
    });
  }
  ~SessionDriver() override {
    RunOn(loop_, [&] {
      session_->Abort();
      session_.reset();
    });
  }

  void Feed(std::string_view data) {
    RunOn(loop_, [&] {
      if (!session_->Finished()) session_->Receive(data, now_);
      Flush();
    });
  }
  void FeedEnd() {
    RunOn(loop_, [&] {
      session_->ReceiveEnd();
      Flush();
    });
  }
  void Drain() {
    RunOn(loop_, [&] {
      session_->Drain();
      Flush();
    });
  }
  /// Lets time pass.
  void Advance(std::chrono::nanoseconds by) {
    now_ += by;
    RunOn(loop_, [&] {
      session_->Tick(now_);
      Flush();
    });
  }
  /// What handlers did since the last step is sent.
  void Pump() {
    RunOn(loop_, [&] { Flush(); });
  }
  /// Keeps output in the session from now on, as a socket does that takes nothing.
  void Block() { blocked_ = true; }
  void Unblock() {
    blocked_ = false;
    Pump();
  }

  /// Moves output into the session's queue, and leaves it there.
  void ProduceOnce() {
    RunOn(loop_, [&] { session_->Produce(128 << 10); });
  }

  /// What was sent since the last call.
  std::string Take() { return std::exchange(sent_, std::string()); }
  bool finished() {
    bool finished = false;
    RunOn(loop_, [&] { finished = session_->Finished(); });
    return finished;
  }
  bool wants_input() {
    bool wants = false;
    RunOn(loop_, [&] { wants = session_->WantsInput(); });
    return wants;
  }

 private:
  Loop& loop() override { return loop_; }
  const std::string& remote() const override { return remote_; }
  void WantFlush() override { flush_wanted_ = true; }

  void Flush() {
    bool more = true;
    while (more && !blocked_) {
      flush_wanted_ = false;
      more = session_->Produce(128 << 10);
      OutputQueue& output = session_->output();
      output.CheckInvariants();
      iovec piece;
      while (output.Gather(&piece, 1) == 1) {
        sent_.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
        output.Consume(piece.iov_len);
      }
      session_->Written();
      more = more || flush_wanted_;
    }
  }

  Loop& loop_;
  const std::string remote_ = "127.0.0.1:41234";
  MonotonicTime now_;
  std::unique_ptr<Session> session_;
  bool flush_wanted_ = false;
  bool blocked_ = false;
  std::string sent_;
};

/// Answers by path:
///   /hello     200, "hello"
///   /added     200, "added", headers x-first: 1 and x-added: 2
///   /echo      200, the request's body (at most 1 MiB)
///   /chunks    200, "one", "two", trailers x-end: 1
///   /early     200, "early", before the body
///   /hold      keeps the exchange open; `held` is its writer
///   /slow      the same, and holds the body back after each piece
///   /abort     breaks off
///   /head      204, no body
///   else       404
class TestHandler final : public Handler {
 public:
  std::unique_ptr<RequestSink> Start(const Request& request, ResponseWriter& writer) override {
    ++started;
    last_remote = request.remote;
    last_query = request.query;
    last_authority = request.authority;
    last_headers = request.headers.size();
    if (request.path == "/echo") {
      return CollectBody(writer, 1 << 20, [&writer](std::string body) { writer.Reply(200, {}, body); });
    }
    if (request.path == "/added") writer.AddHeader("x-added", "2");
    if (request.path == "/early") {
      writer.Reply(200, {}, "early");
      return std::make_unique<Sink>(this);
    }
    if (request.path == "/hold" || request.path == "/slow") {
      held = &writer;
      return std::make_unique<Sink>(this, request.path == "/slow" ? &writer : nullptr);
    }
    return CollectBody(writer, 1 << 20, [&writer, path = std::string(request.path)](std::string) {
      if (path == "/hello") {
        writer.Reply(200, {{"content-type", "text/plain"}}, "hello");
      } else if (path == "/added") {
        const HeaderView first[] = {{"x-first", "1"}};
        writer.ReplyWith(200, first, "added");
      } else if (path == "/chunks") {
        writer.SendHead(200, {});
        writer.Send("one");
        writer.Send("two");
        writer.End({{"x-end", "1"}});
      } else if (path == "/head") {
        writer.SendOnlyHead(204, {});
      } else if (path == "/abort") {
        writer.Abort(/*http2_error_code=*/8);
      } else {
        writer.ReplyError(404, "404 page not found");
      }
    });
  }

  // Of the loop that serves.
  int started = 0;
  int aborted = 0;
  int writable = 0;
  int drained = 0;
  size_t body_bytes = 0;
  int body_ends = 0;
  ResponseWriter* held = nullptr;
  std::string last_remote;
  std::string last_query;
  std::string last_authority;
  size_t last_headers = 0;

 private:
  class Sink final : public RequestSink {
   public:
    explicit Sink(TestHandler* handler, ResponseWriter* to_pause = nullptr)
        : handler_(handler), to_pause_(to_pause) {}
    void OnData(std::string_view data) override {
      handler_->body_bytes += data.size();
      if (to_pause_ != nullptr) to_pause_->PauseInput();
    }
    void OnEnd() override { ++handler_->body_ends; }
    void OnAbort() override {
      ++handler_->aborted;
      handler_->held = nullptr;
    }
    void OnWritable() override { ++handler_->writable; }
    void OnDrain() override { ++handler_->drained; }

   private:
    TestHandler* const handler_;
    ResponseWriter* const to_pause_;  // after each piece; null: never
  };
};

}  // namespace kvorum::http
