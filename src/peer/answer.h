#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "http/handler.h"
#include "http/loop.h"

namespace kvorum::peer {

/// The way back to a request, from any thread. Shared between the request's sink and whoever answers.
class Answer final : public std::enable_shared_from_this<Answer> {
 public:
  explicit Answer(http::ResponseWriter& writer) : loop_(writer.loop()), writer_(&writer) {}

  /// Runs `action` on the connection's loop, unless the request is gone by then. Thread-safe.
  void Run(absl::AnyInvocable<void(http::ResponseWriter&)> action) {
    loop_.Post([self = shared_from_this(), action = std::move(action)]() mutable {
      if (self->writer_ != nullptr) action(*self->writer_);
    });
  }

  /// A whole response, once. Thread-safe.
  void Reply(int status, http::Headers headers, std::string body) {
    Run([this, status, headers = std::move(headers), body = std::move(body)](http::ResponseWriter& writer) {
      if (!std::exchange(answered_, true)) writer.Reply(status, headers, body);
    });
  }

  /// The request is gone. On the connection's loop.
  void Gone() { writer_ = nullptr; }
  /// Null once gone. On the connection's loop.
  http::ResponseWriter* writer() const { return writer_; }

 private:
  http::Loop& loop_;
  // Owned by the connection's loop.
  http::ResponseWriter* writer_;  // null once gone
  bool answered_ = false;
};

/// Go's plain error, with the headers that every answer of /raft carries besides.
inline void ReplyPlain(Answer& answer, int status, http::Headers headers, std::string_view text) {
  headers.emplace_back("content-type", "text/plain; charset=utf-8");
  headers.emplace_back("x-content-type-options", "nosniff");
  answer.Reply(status, std::move(headers), std::string(text) + "\n");
}

}  // namespace kvorum::peer
