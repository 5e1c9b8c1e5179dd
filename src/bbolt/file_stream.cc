#include <algorithm>
#include <array>
#include <deque>
#include <optional>
#include <utility>

#include "backend/backend_format.h"
#include "base/status.h"
#include "bbolt/bbolt.h"
#include "bbolt/bbolt_format.h"
#include "bbolt/tree_writer.h"
#include "fmt/format.h"

namespace kvorum::bbolt {
namespace {

using backend::AppliedPosition;
using backend::Bucket;
using backend::kBucketCount;

/// Made at a time: finding the place in the view again costs little against it.
constexpr size_t kPieceBytes = 256 << 10;

/// Walks over a view once and turns it into pages, a piece at a time.
class PageMaker {
 public:
  /// `bytes`: where the pages go, null to count them only. The view is borrowed.
  PageMaker(backend::ReadView* view, AppliedPosition position, std::string* bytes) : view_(view) {
    sink_ = {.next_page = kFirstDataPage, .bytes = bytes};
    for (const auto& [key, number] : {std::pair(backend::kConsistentIndexKey, position.index),
                                      std::pair(backend::kTermKey, position.term)}) {
      if (number != 0) position_records_.emplace_back(key, backend::BigEndian64(number));
    }
  }

  /// Goes on until `enough()`, or everything is made.
  template <typename Enough>
  absl::Status Run(Enough enough) {
    while (bucket_ < kBucketCount && !enough()) KVORUM_RETURN_IF_ERROR(Step(enough));
    if (bucket_ == kBucketCount && !root_) {
      TreeWriter root(&sink_, kBucketElement);
      for (size_t i = 0; i < kBucketCount; ++i) root.Add(BucketName(static_cast<Bucket>(i)), headers_[i]);
      root_ = root.Finish();
    }
    return absl::OkStatus();
  }

  /// The page of the tree of buckets, once everything is made.
  std::optional<uint64_t> root() const { return root_; }
  /// The first page that was not made.
  uint64_t end() const { return sink_.next_page; }

 private:
  template <typename Enough>
  absl::Status Step(Enough enough) {
    const auto bucket = static_cast<Bucket>(bucket_);
    if (!tree_) tree_.emplace(&sink_, 0);
    bool complete = true;
    const std::string from = next_key_;
    KVORUM_RETURN_IF_ERROR(view_->Scan(bucket, from, {}, [&](std::string_view key, std::string_view value) {
      if (enough()) {
        next_key_.assign(key);
        return complete = false;
      }
      if (bucket == Bucket::kMeta) {
        AddPositionBefore(key);
        if (key == backend::kConsistentIndexKey || key == backend::kTermKey) return true;
      }
      tree_->Add(key, value);
      return true;
    }));
    if (!complete) return absl::OkStatus();
    if (bucket == Bucket::kMeta) AddPositionBefore({});
    headers_[bucket_] = tree_->FinishBucket();
    tree_.reset();
    next_key_.clear();
    ++bucket_;
    return absl::OkStatus();
  }

  /// The records of the position that stand before `key` (empty: all that are left).
  void AddPositionBefore(std::string_view key) {
    for (; position_added_ < position_records_.size(); ++position_added_) {
      const auto& [name, value] = position_records_[position_added_];
      if (!key.empty() && name > key) return;
      tree_->Add(name, value.view());
    }
  }

  backend::ReadView* const view_;
  std::vector<std::pair<std::string_view, Bytes>> position_records_;  ///< by key
  size_t position_added_ = 0;
  PageSink sink_;
  size_t bucket_ = 0;               ///< the one being made
  std::optional<TreeWriter> tree_;  ///< of it
  std::string next_key_;            ///< the first one of it that was not taken
  std::array<std::string, kBucketCount> headers_;
  std::optional<uint64_t> root_;
};

class FileStreamImpl final : public FileStream {
 public:
  FileStreamImpl(std::unique_ptr<backend::ReadView> view, AppliedPosition position, uint64_t root,
                 uint64_t end)
      : view_(std::move(view)),
        size_(end * kWrittenPageBytes),
        left_(size_),
        root_(root),
        end_(end),
        maker_(view_.get(), position, &buffer_) {
    for (uint64_t id = 0; id < kFirstDataPage; ++id) {
      std::string page(kWrittenPageBytes, '\0');
      StorePageHeader({.id = id, .flags = static_cast<uint16_t>(PageType::kMeta)}, page.data());
      StoreMeta({.root = root, .end = end, .txid = kWrittenTxid - id}, page.data() + kPageHeaderBytes);
      buffer_ += page;
    }
  }

  uint64_t size_bytes() const override { return size_; }
  uint64_t left_bytes() const override { return left_; }

  absl::StatusOr<Bytes> Next(size_t max_bytes) override {
    if (buffer_.size() - given_ < std::min<uint64_t>(max_bytes, left_)) {
      buffer_.erase(0, std::exchange(given_, 0));
      const size_t wanted = std::max(max_bytes, kPieceBytes);
      KVORUM_RETURN_IF_ERROR(maker_.Run([&] { return buffer_.size() >= wanted; }));
      if (maker_.root() && (*maker_.root() != root_ || maker_.end() != end_)) {
        return absl::InternalError(
            fmt::format("a view changed: {} pages, and {} in the first walk", maker_.end(), end_));
      }
    }
    const size_t size = std::min<uint64_t>({max_bytes, left_, buffer_.size() - given_});
    Bytes bytes = Bytes::Copy(std::string_view(buffer_).substr(given_, size));
    given_ += size;
    left_ -= size;
    return bytes;
  }

 private:
  const std::unique_ptr<backend::ReadView> view_;
  const uint64_t size_;
  uint64_t left_;
  const uint64_t root_;
  const uint64_t end_;
  std::string buffer_;  ///< made, and given out up to `given_`
  size_t given_ = 0;
  PageMaker maker_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<FileStream>> FileStream::Create(std::unique_ptr<backend::ReadView> view,
                                                               AppliedPosition position) {
  PageMaker counter(view.get(), position, nullptr);
  KVORUM_RETURN_IF_ERROR(counter.Run([] { return false; }));
  return std::make_unique<FileStreamImpl>(std::move(view), position, *counter.root(), counter.end());
}

}  // namespace kvorum::bbolt
