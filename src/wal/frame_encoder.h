#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "raft/types.h"
#include "wal/wal.h"
#include "wal/wal_format.h"

namespace kvorum::wal {

/// Metadata's wire form (etcdserverpb.Metadata).
std::string EncodeMetadata(const Metadata& metadata);
/// A snapshot record's wire form (walpb.Snapshot).
std::string EncodeSnapshotRecord(const SnapshotRecord& record);

/// Collects frames for one vectored write. Large entry payloads are not copied: the entries added must live
/// until Clear(). Not thread-safe.
class FrameEncoder {
 public:
  /// Payloads from this size on are written from where they are; smaller ones are cheaper to copy than to
  /// name.
  static constexpr size_t kBorrowBytes = 2048;

  /// `crc` is that of everything before.
  explicit FrameEncoder(uint32_t crc) : crc_(crc) {}

  /// The record that begins a segment and carries the checksum over.
  void AddCrc();
  /// A metadata record with this content.
  void AddMetadata(std::string_view encoded);
  void AddSnapshot(const SnapshotRecord& record);
  void AddEntry(const raft::Entry& entry);
  void AddState(const raft::HardState& state);

  bool empty() const { return size_ == 0; }
  /// Bytes of all frames since Clear().
  size_t size_bytes() const { return size_; }
  /// The frames. Valid until the next call of anything else.
  const std::vector<std::string_view>& Pieces();
  void Clear();

  /// Of everything up to the last record added.
  uint32_t crc() const { return crc_; }

 private:
  struct Borrowed {
    size_t offset;  ///< stands in the stream before this byte of buffer_
    std::string_view bytes;
  };

  void AddRecord(RecordType type, std::string_view head, std::string_view tail);

  uint32_t crc_;
  size_t size_ = 0;
  std::string buffer_;
  std::vector<Borrowed> borrowed_;
  std::vector<std::string_view> pieces_;
};

}  // namespace kvorum::wal
