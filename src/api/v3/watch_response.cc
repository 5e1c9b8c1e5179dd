#include "api/v3/watch_response.h"

#include "base/wire.h"

namespace kvorum::api_v3 {
namespace {

// Field numbers (reference: v3-api.md §5).
constexpr uint32_t kWatchId = 2;
constexpr uint32_t kCreated = 3;
constexpr uint32_t kCanceled = 4;
constexpr uint32_t kCompactRevision = 5;
constexpr uint32_t kCancelReason = 6;
constexpr uint32_t kFragment = 7;
constexpr size_t kFragmentFieldBytes = 2;

std::string EncodeHead(const ResponseHeader& header, uint64_t term, int64_t revision, int64_t watch_id) {
  std::string head;
  head.reserve(ResponseHeader::kMaxSize + 16);
  header.Append(head, revision, term);
  if (watch_id != 0) wire::AppendUint(head, kWatchId, static_cast<uint64_t>(watch_id));
  return head;
}

/// Collects events into pieces under a size.
class Fragmenter {
 public:
  Fragmenter(std::string head, size_t limit) : head_(std::move(head)), limit_(limit) {}

  void Add(Bytes event) {
    if (!shared_.empty() && head_.size() + kFragmentFieldBytes + bytes_ + event.size() >= limit_) Close();
    bytes_ += event.size();
    shared_.push_back(std::move(event));
  }

  std::vector<grpc::Payload> Finish() {
    Close();
    for (size_t i = 0; i + 1 < pieces_.size(); ++i) wire::AppendUint(pieces_[i].head, kFragment, 1);
    return std::move(pieces_);
  }

 private:
  void Close() {
    pieces_.push_back({.head = head_, .shared = std::move(shared_)});
    shared_.clear();
    bytes_ = 0;
  }

  const std::string head_;
  const size_t limit_;
  size_t bytes_ = 0;  // of the events of the piece that is being made
  std::vector<Bytes> shared_;
  std::vector<grpc::Payload> pieces_;
};

}  // namespace

std::string EncodeWatchNotice(const ResponseHeader& header, uint64_t term, const WatchNotice& notice) {
  std::string out = EncodeHead(header, term, notice.revision, notice.watch_id);
  if (notice.created) wire::AppendUint(out, kCreated, 1);
  if (notice.canceled) wire::AppendUint(out, kCanceled, 1);
  if (notice.compact_revision != 0) {
    wire::AppendUint(out, kCompactRevision, static_cast<uint64_t>(notice.compact_revision));
  }
  if (!notice.cancel_reason.empty()) wire::AppendBytes(out, kCancelReason, notice.cancel_reason);
  return out;
}

grpc::Payload EncodeWatchBatch(const ResponseHeader& header, uint64_t term, mvcc::WatchBatch batch) {
  return {.head = EncodeHead(header, term, batch.revision, batch.watch_id),
          .shared = std::move(batch.events)};
}

std::vector<grpc::Payload> EncodeWatchFragments(const ResponseHeader& header, uint64_t term,
                                                mvcc::WatchBatch batch, size_t limit) {
  std::string head = EncodeHead(header, term, batch.revision, batch.watch_id);
  if (batch.event_count < 2 || head.size() + batch.bytes < limit) {
    std::vector<grpc::Payload> whole(1);
    whole[0] = {.head = std::move(head), .shared = std::move(batch.events)};
    return whole;
  }
  Fragmenter fragmenter(std::move(head), limit);
  for (Bytes& event : batch.events) fragmenter.Add(std::move(event));
  return fragmenter.Finish();
}

}  // namespace kvorum::api_v3
