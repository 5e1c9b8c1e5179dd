#pragma once

#include <memory>

#include "http/handler.h"

namespace kvorum::peer {

/// Who answers what on a peer URL. All borrowed.
struct PeerHandlers {
  http::Handler* transport = nullptr;  ///< /raft and all under it
  http::Handler* calls = nullptr;      ///< /members, /leases, /downgrade and all under them
  http::Handler* pages = nullptr;      ///< the rest
};

/// The handler of a peer listener: hands each request to whom its path belongs.
std::unique_ptr<http::Handler> NewPeerHandler(const PeerHandlers& handlers);

}  // namespace kvorum::peer
