#pragma once

#include <memory>

#include "base/log.h"
#include "http/client.h"
#include "member/member.h"
#include "member/ports.h"

namespace kvorum::peer {

/// member::PeerCalls over HTTP. `client` is borrowed.
std::unique_ptr<member::PeerCalls> NewCalls(http::Client* client, Logger* logger);

/// Answers what PeerCalls asks: /members, /members/promote/<id>, /members/hashkv, /leases, /leases/internal,
/// /downgrade/enabled (reference: peer-protocol.md §6). Other paths are 404. Everything is borrowed.
std::unique_ptr<http::Handler> NewCallsHandler(member::Member* member, Logger* logger);

}  // namespace kvorum::peer
