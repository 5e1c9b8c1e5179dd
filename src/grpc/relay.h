#pragma once

#include <functional>
#include <memory>
#include <string>

#include "grpc/channel.h"
#include "grpc/server.h"

namespace kvorum::grpc {

struct RelayOptions {
  /// The channel for calls whose client is on that loop: a channel lives on one loop. Called on that loop,
  /// for each call; borrowed until the loop ends.
  std::function<Channel&(http::Loop&)> channel;
  size_t max_message_bytes = 0x7fffffff;  ///< of a response's message
  size_t max_request_bytes = 0x7fffffff;  ///< of a request's message
  /// Called before anything of a call's answer is passed on; may be null. Thread-safe.
  std::function<void(std::string_view method)> before_answer;
};

/// Passes calls of any method through, byte by byte, as they come: metadata, deadline, messages both ways,
/// status and trailers. Bounded: where one side takes nothing the other is held back; a message that is too
/// large ends its call with ResourceExhausted. When the server stops, calls whose client may still send end
/// with Unavailable. As a handler it takes every gRPC request. Thread-safe.
std::unique_ptr<http::Handler> NewRelay(RelayOptions options);

}  // namespace kvorum::grpc
