#pragma once

#include <memory>

#include "api/v2/access.h"
#include "api/v2/endpoint.h"
#include "api/v2/handler.h"

namespace kvorum::api_v2 {

/// /v2/keys: reads, writes and watches (reference: v2-keys.md §2-§8). `access` is borrowed.
std::unique_ptr<Endpoint> NewKeysEndpoint(const HandlerOptions& options, AccessControl* access);

}  // namespace kvorum::api_v2
