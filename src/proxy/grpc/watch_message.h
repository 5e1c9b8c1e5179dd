#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "base/bytes.h"

namespace kvorum::proxy_grpc {

// etcdserverpb's watch messages, read and written by hand: what passes through stays in the bytes in which it
// came (reference: v3-api.md §5, §6.8).

/// etcdserverpb.ResponseHeader.
struct ResponseHeader {
  uint64_t cluster_id = 0;
  uint64_t member_id = 0;
  int64_t revision = 0;
  uint64_t raft_term = 0;
};
/// Reads field 1 of any response message. False: malformed.
bool ParseResponseHeader(std::string_view response, ResponseHeader* header);

/// What a watcher wants of each event: a set of bits, so that watchers of the same form share one encoding.
using WatchForm = uint8_t;
inline constexpr WatchForm kNoPut = 1;
inline constexpr WatchForm kNoDelete = 2;
inline constexpr WatchForm kPrevKv = 4;
inline constexpr WatchForm kFragment = 8;

/// A client's WatchRequest.
struct WatchRequest {
  enum class Kind : uint8_t { kNone, kCreate, kCancel, kProgress };
  Kind kind = Kind::kNone;
  std::string key;
  std::string range_end;
  int64_t start_revision = 0;
  bool progress_notify = false;
  WatchForm form = 0;
  int64_t watch_id = 0;
};
/// False: malformed.
bool ParseWatchRequest(std::string_view message, WatchRequest* request);

std::string EncodeWatchCreate(const WatchRequest& create);
std::string EncodeWatchCancel(int64_t watch_id);
std::string EncodeWatchProgress();
/// A RangeRequest that tells no more than the revision and whether the range may be read.
std::string EncodeRangeCheck(std::string_view key, std::string_view range_end);

/// One event of the cluster's response; views into the message.
struct UpstreamEvent {
  std::string_view field;  ///< as it came, tag and length included
  std::string_view event;  ///< its content
  int64_t revision = 0;
  bool is_delete = false;
  bool has_previous = false;
};

/// The cluster's WatchResponse; views into the message.
struct UpstreamResponse {
  ResponseHeader header;
  int64_t watch_id = 0;
  bool created = false;
  bool canceled = false;
  bool fragment = false;
  int64_t compact_revision = 0;
  std::string_view cancel_reason;
  std::vector<UpstreamEvent> events;
};
/// False: malformed; that is also an event whose key is not behind `prefix`, or one older than the event
/// before it, and a revision that has no next one.
bool ParseUpstreamResponse(std::string_view message, std::string_view prefix, UpstreamResponse* response);

/// A response to a client, but for its watch id.
struct WatchNotice {
  ResponseHeader header;
  bool created = false;
  bool canceled = false;
  int64_t compact_revision = 0;
  std::string_view cancel_reason;
};
Bytes EncodeWatchNotice(const WatchNotice& notice);

/// The events of one response of the cluster's, in the forms in which clients want them: each form is made
/// once, when the first watcher asks for it. The events are borrowed.
class EventBatch {
 public:
  /// The first `prefix_bytes` of each key are the namespace's. A watcher that wants fragments gets responses
  /// of `fragment_bytes` or more in pieces.
  /// REQUIRES: !events.empty()
  EventBatch(const ResponseHeader& header, absl::Span<const UpstreamEvent> events, size_t prefix_bytes,
             size_t fragment_bytes);

  /// The responses, but for the watch id, for a watcher of `form` with the events of `start_revision` and
  /// later ones. Empty: nothing for it. Valid until the next call.
  absl::Span<const Bytes> For(WatchForm form, int64_t start_revision);

 private:
  struct Made {
    WatchForm form;
    uint32_t first;
    std::vector<Bytes> bodies;
  };

  std::vector<Bytes> Make(WatchForm form, size_t first) const;

  const ResponseHeader header_;
  const absl::Span<const UpstreamEvent> events_;
  const size_t prefix_bytes_;
  const size_t fragment_bytes_;
  WatchForm matters_ = 0;  // the bits of a form that make a difference here
  std::vector<Made> made_;
};

}  // namespace kvorum::proxy_grpc
