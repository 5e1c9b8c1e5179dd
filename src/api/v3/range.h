#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "api/v3/call.h"
#include "api/v3/record_source.h"
#include "member/range_view.h"
#include "mvcc/store.h"

namespace kvorum::api_v3 {

/// KV.Range: answered on the call's loop. What is longer than kInlineRecords goes on on another thread, in
/// pieces, and comes back as finished bytes, so that neither the loop nor the writer waits for it.
void Range(Call call);

/// KV.RangeStream (reference: v3-api.md §6.7).
void RegisterRangeStream(Core* core, grpc::Server* server);

inline constexpr int64_t kInlineRecords = 1000;
/// Records that one walk over the index takes at most, of a long read.
inline constexpr int64_t kPieceRecords = 10'000;

/// A range that is read in pieces, all at one revision; each piece takes the place of the one before. The
/// request points into bytes that outlive this. Not thread-safe; may move between threads.
class PiecewiseRange {
 public:
  /// When the checksums of records are checked.
  enum class Checks : uint8_t {
    kAtOnce,
    kLater,  ///< in a range of whole records as they come, by RangeResult::Check; else at once
  };

  PiecewiseRange(mvcc::Store* store, const member::RangeRequestView& request, Checks checks);

  /// Reads up to `records` more. Errors: as Store::Range. REQUIRES: !complete()
  absl::Status Next(int64_t records);
  /// Everything that the request needs was read.
  bool complete() const { return complete_; }

  /// The last piece, in key order, as it may be given to SelectRecords where it is the only one. Lives until
  /// the next.
  std::vector<std::string_view>& piece() { return result_.records; }
  /// The same without the one record that only shows that there are more than the request's limit.
  std::span<const std::string_view> LimitedPiece() const;
  /// The same, taken out, of a range that checks later.
  RecordPiece TakePiece();

  /// The reply is the records as they come: no filter, no other order. Only then `more` is of use.
  bool plain() const { return plain_; }
  bool checks_later() const { return checks_later_; }
  bool more() const { return request_.limit > 0 && taken_ > request_.limit; }

  int64_t revision() const { return revision_; }  ///< the store's at the first piece
  int64_t count() const { return count_; }        ///< of keys in the range
  const member::RangeRequestView& request() const { return request_; }

 private:
  mvcc::Store* store_;
  member::RangeRequestView request_;
  int64_t fetch_;  // records that the request needs; 0: all
  bool plain_;
  bool checks_later_;
  bool complete_ = false;
  int64_t revision_ = 0;
  int64_t count_ = 0;
  int64_t taken_ = 0;
  std::string next_key_;  // where the next piece begins; empty before the second
  mvcc::RangeResult result_;
};

}  // namespace kvorum::api_v3
