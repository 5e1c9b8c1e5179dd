#include "api/v2/key_listing.h"

#include <string>
#include <utility>

namespace kvorum::api_v2 {
namespace {

constexpr size_t kPieceBytes = 64 << 10;
constexpr auto kPatience = std::chrono::minutes(1);
constexpr uint32_t kHttp2Cancel = 8;

}  // namespace

KeyListing::KeyListing(v2store::Listing listing, http::ResponseWriter* writer)
    : listing_(std::move(listing)), writer_(*writer) {
  SendMore();
  if (!listing_.done()) WatchForProgress();
}

void KeyListing::SendMore() {
  std::string piece;
  while (!listing_.done() && writer_.buffered() < http::ResponseWriter::kHighWater) {
    piece.clear();
    listing_.Append(&piece, kPieceBytes);
    sent_ += piece.size();
    writer_.Send(std::string_view(piece));
    if (!listing_.done()) continue;
    StopTimer();
    writer_.End();
  }
}

void KeyListing::WatchForProgress() {
  sent_then_ = sent_;
  left_then_ = writer_.buffered();
  http::Loop& loop = writer_.loop();
  timer_ = loop.PostAt(loop.clock().Now() + kPatience, [this] {
    timer_ = 0;
    if (sent_ != sent_then_ || writer_.buffered() != left_then_) return WatchForProgress();
    writer_.Abort(kHttp2Cancel);
  });
}

void KeyListing::StopTimer() {
  if (timer_ != 0) writer_.loop().CancelTimer(std::exchange(timer_, 0));
}

}  // namespace kvorum::api_v2
