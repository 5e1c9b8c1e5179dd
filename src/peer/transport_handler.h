#pragma once

#include <memory>

#include "http/handler.h"
#include "peer/transport_core.h"

namespace kvorum::peer {

/// Answers /raft, /raft/stream/…, /raft/snapshot and /raft/probing (reference: peer-protocol.md §1 to §3).
class TransportHandler final : public http::Handler {
 public:
  explicit TransportHandler(std::shared_ptr<TransportCore> core) : core_(std::move(core)) {}

  std::unique_ptr<http::RequestSink> Start(const http::Request& request,
                                           http::ResponseWriter& writer) override;

 private:
  std::unique_ptr<http::RequestSink> StartMessage(const http::Request& request, http::ResponseWriter& writer);
  std::unique_ptr<http::RequestSink> StartSnapshot(const http::Request& request,
                                                   http::ResponseWriter& writer);
  std::unique_ptr<http::RequestSink> StartStream(const http::Request& request, http::ResponseWriter& writer);
  /// True: the request was refused, for its method or for who sends it.
  bool Refuse(const http::Request& request, http::ResponseWriter& writer, std::string_view method);

  const std::shared_ptr<TransportCore> core_;
};

}  // namespace kvorum::peer
