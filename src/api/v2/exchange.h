#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "api/v2/access.h"
#include "api/v2/endpoint.h"
#include "base/ids.h"

namespace kvorum::api_v2 {

/// The way back to a request for whoever answers it later. On the request's loop but for `loop`; shared
/// between the request's sink and what is under way for it, which the client's leaving does not stop.
class Exchange final {
 public:
  explicit Exchange(http::ResponseWriter& writer) : loop_(writer.loop()), writer_(&writer) {}

  http::Loop& loop() const { return loop_; }
  /// Nothing is sent any more.
  void Gone() { writer_ = nullptr; }

  /// Headers that the reply gets, whatever it is.
  void AddHeader(std::string name, std::string value) {
    headers_.emplace_back(std::move(name), std::move(value));
  }
  // One of these, once.
  void ReplyJson(int status, std::string_view body);
  void ReplyMessage(int status, std::string_view message);
  void ReplyNoContent();
  /// The text as it is.
  void ReplyText(int status, std::string_view text);
  /// Go's plain error.
  void ReplyPlain(int status, std::string_view text);

 private:
  http::Loop& loop_;
  http::ResponseWriter* writer_;  // null once gone
  http::Headers headers_;
};
using ExchangePtr = std::shared_ptr<Exchange>;

/// Adds the cluster's id, as replies that passed the checks have it.
void AddClusterId(Exchange& exchange, ClusterId id);

/// What a request has to pass before it is served.
struct Gate {
  /// Whom the caller's root role is asked of; null: of nobody.
  AccessControl* access = nullptr;
  /// What the body may be long; 0: nobody reads it.
  size_t body_limit = 0;
};
using Serve = absl::AnyInvocable<void(ExchangePtr exchange, std::string body)>;

/// Runs `serve` on the request's loop when the gate is passed and the body is there; else answers why not.
std::unique_ptr<http::RequestSink> StartGated(const Call& call, const Gate& gate, Serve serve);

}  // namespace kvorum::api_v2
