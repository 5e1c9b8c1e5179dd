#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "grpc/server.h"
#include "mvcc/store.h"

namespace kvorum::api_v3 {

/// Some of a RangeResponse's records, as they were found in the store.
struct RecordPiece {
  mvcc::RangeResult found;  ///< read with check_later
  size_t count = 0;         ///< how many of its records are part of the response

  /// The encoded size of the records as elements of RangeResponse.kvs.
  size_t EncodedSize() const;
};

/// A RangeResponse of whole records, copied out of the database while it is sent: each record is checked and
/// copied in one go, just before the system takes it. A damaged record breaks the response off with DataLoss.
class RecordSource final : public grpc::MessageSource {
 public:
  /// `head` and `tail` are the encoded fields before and after the records.
  RecordSource(std::string head, std::vector<RecordPiece> pieces, std::string tail);

  size_t size() const override { return size_; }
  absl::Status Fill(char* out, size_t room) override;

 private:
  /// Points `pending_` to what comes next.
  absl::Status Advance();

  const std::string head_;
  const std::string tail_;
  std::vector<RecordPiece> pieces_;  // each is let go of when it was copied
  size_t size_;
  size_t piece_ = 0;
  size_t record_ = 0;         // of the piece
  char frame_[16];            // tag and length of the record before which they stand
  std::string_view content_;  // of that record, while pending_ is frame_
  std::string_view pending_;
};

}  // namespace kvorum::api_v3
