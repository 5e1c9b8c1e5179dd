#pragma once

#include <memory>
#include <string>

#include "http/request_storage.h"
#include "http/session.h"

namespace kvorum::http {

/// The server's side of an HTTP/1 connection: one exchange after another; pipelined requests wait.
class Http1Session final : public Session {
 public:
  Http1Session(SessionHost* host, const ServerOptions& options, MonotonicTime now);
  ~Http1Session() override;

  void Receive(std::string_view data, MonotonicTime now) override;
  void ReceiveEnd() override;
  bool Produce(size_t limit) override;
  void Written() override;
  bool WantsInput() const override;
  bool Resting() const override;
  bool Broken() const override { return broken_; }
  bool Finished() const override { return closing_ && exchange_ == nullptr; }
  void Drain() override;
  std::optional<MonotonicTime> Tick(MonotonicTime now) override;
  void Abort() override;

 private:
  class Parser;
  class Exchange;

  /// Parses from `input` and answers as far as it goes; returns how much was used.
  size_t Process(std::string_view input);
  void ProcessPending();
  /// Feeds the exchange's parser once. False: nothing more can be done with this input now.
  bool Feed(std::string_view* input);
  void StartExchange();
  std::shared_ptr<StoredRequest> TakeRequest();
  void EndExchange();
  /// Go's answer to what is no request; closes.
  void Refuse(std::string_view status, std::string_view detail = {});

  SessionHost* const host_;
  const bool secure_;
  const ServerOptions& options_;
  std::string pending_;  // input that waits
  std::unique_ptr<Exchange> exchange_;
  std::shared_ptr<StoredRequest> spare_request_;  // of the last exchange, cleared; null where that keeps it
  bool closing_ = false;                          // no request will be read any more
  bool broken_ = false;                           // an exchange was broken off
  bool draining_ = false;
  bool aborted_ = false;
  bool answered_ = false;        // a request, once
  MonotonicTime now_;            // of the input being processed
  MonotonicTime waiting_since_;  // for the head of a request
  std::optional<MonotonicTime> end_received_;
};

}  // namespace kvorum::http
