#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "http/handler.h"
#include "http/output_queue.h"
#include "http/server.h"

namespace kvorum::http {

/// What a session needs of its connection.
class SessionHost {
 public:
  virtual ~SessionHost() = default;
  virtual Loop& loop() = 0;
  virtual const std::string& remote() const = 0;
  /// The connection is encrypted.
  virtual bool secure() const { return false; }
  /// There may be output, or the session finished: `Produce` is due at the end of this turn.
  virtual void WantFlush() = 0;
};

/// One side of an HTTP connection as a machine from bytes to bytes: no socket and no clock of its own, so
/// that a test or a fuzzer can feed it. Owned by its connection; on the connection's loop only.
class Session {
 public:
  virtual ~Session() = default;

  /// Takes input. After Finished() it takes none.
  virtual void Receive(std::string_view data, MonotonicTime now) = 0;
  /// The other side sends no more.
  virtual void ReceiveEnd() = 0;
  /// Fills `output()` up to about `limit` bytes. True: there is more at once.
  virtual bool Produce(size_t limit) = 0;
  /// Told after bytes left `output()`.
  virtual void Written() = 0;
  OutputQueue& output() { return output_; }

  /// False while the session wants no input before output has left.
  virtual bool WantsInput() const = 0;
  /// No input is expected for long: a response is under way that may take as long as it likes.
  virtual bool Resting() const { return false; }
  /// What is in `output()` is not worth waiting for.
  virtual bool Broken() const { return false; }
  /// The connection should be closed when `output()` is empty.
  virtual bool Finished() const = 0;

  /// Shutdown: no new exchanges; finishes when the running ones are over.
  virtual void Drain() = 0;
  /// Does what is due by time; returns when to be called next, if at all.
  virtual std::optional<MonotonicTime> Tick(MonotonicTime now) = 0;
  /// The connection is gone: every exchange that has not ended is aborted. Last call.
  virtual void Abort() = 0;

 protected:
  OutputQueue output_;
};

/// The handler for a request: gRPC's, the other, or nullptr.
Handler* SelectHandler(const ServerOptions& options, const Request& request);

/// The answer where there is no handler: 404.
Handler& NotFoundHandler();

std::unique_ptr<Session> NewHttp1Session(SessionHost* host, const ServerOptions& options, MonotonicTime now);
std::unique_ptr<Session> NewHttp2Session(SessionHost* host, const ServerOptions& options, MonotonicTime now);

/// Lets `burst` events through at once and `per_second` in the long run.
class RateLimit {
 public:
  RateLimit(double burst, double per_second) : burst_(burst), per_second_(per_second), tokens_(burst) {}
  /// False when there were too many.
  bool Take(MonotonicTime now) {
    const std::chrono::duration<double> elapsed = now - last_;
    last_ = now;
    tokens_ = std::min(burst_, tokens_ + std::max(0.0, elapsed.count()) * per_second_) - 1;
    return tokens_ >= 0;
  }

 private:
  const double burst_;
  const double per_second_;
  double tokens_;
  MonotonicTime last_{};
};

}  // namespace kvorum::http
