#include "api/v3/record_source.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "api/v3/errors.h"
#include "base/check.h"
#include "base/status.h"
#include "base/wire.h"

namespace kvorum::api_v3 {
namespace {

constexpr uint32_t kKvs = 2;

/// How many records ahead memory is asked for, and how much of each: behind that the processor has seen that
/// it is read in order.
constexpr size_t kAhead = 2;
constexpr size_t kAheadBytes = 2048;
constexpr size_t kCacheLine = 64;

/// Always inline: gcc 12 drops calls of a function that does nothing else.
[[gnu::always_inline]] inline void Prefetch(std::string_view record) {
  const size_t size = std::min(record.size(), kAheadBytes);
  for (size_t at = 0; at < size; at += kCacheLine) __builtin_prefetch(record.data() + at);
}

}  // namespace

size_t RecordPiece::EncodedSize() const {
  size_t size = 0;
  for (size_t i = 0; i < count; ++i) {
    const size_t record = found.records[i].size();
    size += wire::VarintSize(wire::Tag(kKvs, wire::Type::kLength)) + wire::VarintSize(record) + record;
  }
  return size;
}

RecordSource::RecordSource(std::string head, std::vector<RecordPiece> pieces, std::string tail)
    : head_(std::move(head)),
      tail_(std::move(tail)),
      pieces_(std::move(pieces)),
      size_(head_.size() + tail_.size()),
      pending_(head_) {
  for (const RecordPiece& piece : pieces_) size_ += piece.EncodedSize();
}

absl::Status RecordSource::Fill(char* out, size_t room) {
  while (room > 0) {
    if (pending_.empty()) {
      if (absl::Status status = Advance(); !status.ok()) return ToClientError(status);
    }
    const size_t n = std::min(room, pending_.size());
    std::memcpy(out, pending_.data(), n);
    pending_.remove_prefix(n);
    out += n;
    room -= n;
  }
  return absl::OkStatus();
}

absl::Status RecordSource::Advance() {
  if (!content_.empty()) {
    pending_ = std::exchange(content_, {});
    return absl::OkStatus();
  }
  for (; piece_ < pieces_.size(); ++piece_, record_ = 0) {
    RecordPiece& piece = pieces_[piece_];
    if (record_ == piece.count) {
      piece = {};
      continue;
    }
    if (record_ + kAhead < piece.count) Prefetch(piece.found.records[record_ + kAhead]);
    KVORUM_RETURN_IF_ERROR(piece.found.Check(record_));
    content_ = piece.found.records[record_++];
    frame_[0] = static_cast<char>(wire::Tag(kKvs, wire::Type::kLength));
    pending_ = {frame_, static_cast<size_t>(wire::PutVarint(frame_ + 1, content_.size()) - frame_)};
    return absl::OkStatus();
  }
  KVORUM_CHECK(!tail_.empty(), "a response is longer than its records");
  pending_ = tail_;
  return absl::OkStatus();
}

}  // namespace kvorum::api_v3
