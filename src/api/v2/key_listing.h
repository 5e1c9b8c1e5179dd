#pragma once

#include "http/handler.h"
#include "v2store/listing.h"

namespace kvorum::api_v2 {

/// A listing on its way that is too long to be sent at once: it goes on as fast as its client takes it. Lives
/// on its connection's loop.
///
/// The nodes of the moment when it was asked for live as long as this does, so a client that takes nothing
/// for a minute is left.
class KeyListing final : public http::RequestSink {
 public:
  /// The head was sent.
  KeyListing(v2store::Listing listing, http::ResponseWriter* writer);
  ~KeyListing() override { StopTimer(); }

  void OnData(std::string_view) override {}
  void OnEnd() override {}
  void OnAbort() override { StopTimer(); }
  void OnWritable() override { SendMore(); }

 private:
  void SendMore();
  void WatchForProgress();
  void StopTimer();

  v2store::Listing listing_;
  http::ResponseWriter& writer_;
  size_t sent_ = 0;
  size_t left_then_ = 0;  // bytes that the system had not taken when the timer was set
  size_t sent_then_ = 0;
  Executor::TimerId timer_ = 0;
};

}  // namespace kvorum::api_v2
