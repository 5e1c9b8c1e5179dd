#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "api/v3/response_header.h"
#include "grpc/server.h"
#include "mvcc/watch.h"

namespace kvorum::api_v3 {

// etcdserverpb.WatchResponse, written by hand: the fields in front of the events are a few bytes of a
// response's own, the events are the buffers that the hub shares between all watchers.

/// A response without events.
struct WatchNotice {
  int64_t revision = 0;
  int64_t watch_id = 0;
  bool created = false;
  bool canceled = false;
  int64_t compact_revision = 0;
  std::string_view cancel_reason;
};
std::string EncodeWatchNotice(const ResponseHeader& header, uint64_t term, const WatchNotice& notice);

/// The response that carries a batch. REQUIRES: a batch with events.
grpc::Payload EncodeWatchBatch(const ResponseHeader& header, uint64_t term, mvcc::WatchBatch batch);

/// The same for a watcher that wants fragments: a response of `limit` encoded bytes or more, with two events
/// or more, is cut into pieces under it, each of as many events as fit and at least one (reference: v3-api.md
/// §6.8).
std::vector<grpc::Payload> EncodeWatchFragments(const ResponseHeader& header, uint64_t term,
                                                mvcc::WatchBatch batch, size_t limit);

}  // namespace kvorum::api_v3
