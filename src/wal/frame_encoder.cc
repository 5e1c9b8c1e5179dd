#include "wal/frame_encoder.h"

#include <bit>
#include <cstring>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/wire.h"
#include "raft/codec.h"

namespace kvorum::wal {
namespace {

using wire::PutVarint;
using wire::Tag;
using wire::Type;
using wire::VarintSize;

static_assert(std::endian::native == std::endian::little, "lengths are stored little-endian");

// A buffer that one burst made larger than this is given back.
constexpr size_t kKeptBufferBytes = size_t{1} << 20;

// length, then tag and value of type, crc and the size of data
constexpr size_t kMaxFrameHeadBytes = kLengthBytes + 1 + 1 + 1 + 5 + 1 + wire::kMaxVarintBytes;
// tags and values of type, term and index, then the tag and the size of data
constexpr size_t kMaxEntryHeadBytes = 1 + 1 + 2 * (1 + wire::kMaxVarintBytes) + 1 + 5;

char* PutUint(char* out, uint32_t field, uint64_t value) {
  *out++ = static_cast<char>(Tag(field, Type::kVarint));
  return PutVarint(out, value);
}

}  // namespace

std::string EncodeMetadata(const Metadata& metadata) {
  std::string out;
  wire::AppendUint(out, 1, metadata.node_id);
  wire::AppendUint(out, 2, metadata.cluster_id);
  return out;
}

std::string EncodeSnapshotRecord(const SnapshotRecord& record) {
  std::string out;
  wire::AppendUint(out, 1, record.index.value());
  wire::AppendUint(out, 2, record.term.value());
  if (record.conf_state) wire::AppendBytes(out, 3, raft::Encode(*record.conf_state));
  return out;
}

void FrameEncoder::AddRecord(RecordType type, std::string_view head, std::string_view tail) {
  crc_ = Crc32c(Crc32c(crc_, head), tail);
  const size_t data_size = head.size() + tail.size();
  const bool has_data = type != RecordType::kCrc;
  size_t record_size = 1 + 1 + 1 + VarintSize(crc_);
  if (has_data) record_size += 1 + VarintSize(data_size) + data_size;

  char frame_head[kMaxFrameHeadBytes];
  const uint64_t length = LengthField(record_size);
  std::memcpy(frame_head, &length, kLengthBytes);
  char* end = PutUint(frame_head + kLengthBytes, kTypeField, static_cast<uint64_t>(type));
  end = PutUint(end, kCrcField, crc_);
  if (has_data) {
    *end++ = static_cast<char>(Tag(kDataField, Type::kLength));
    end = PutVarint(end, data_size);
  }

  buffer_.append(frame_head, end - frame_head);
  buffer_.append(head);
  if (tail.size() >= kBorrowBytes) {
    borrowed_.push_back({buffer_.size(), tail});
  } else {
    buffer_.append(tail);
  }
  const size_t padding = PaddingBytes(record_size);
  buffer_.append(padding, '\0');
  size_ += kLengthBytes + record_size + padding;
}

void FrameEncoder::AddCrc() { AddRecord(RecordType::kCrc, {}, {}); }

void FrameEncoder::AddMetadata(std::string_view encoded) { AddRecord(RecordType::kMetadata, encoded, {}); }

void FrameEncoder::AddSnapshot(const SnapshotRecord& record) {
  AddRecord(RecordType::kSnapshot, EncodeSnapshotRecord(record), {});
}

void FrameEncoder::AddEntry(const raft::Entry& entry) {
  // raftpb.Entry, but for the bytes of data themselves.
  char head[kMaxEntryHeadBytes];
  char* end = PutUint(head, 1, static_cast<uint64_t>(entry.type));
  end = PutUint(end, 2, entry.term.value());
  end = PutUint(end, 3, entry.index.value());
  if (!entry.data.is_null()) {
    *end++ = static_cast<char>(Tag(4, Type::kLength));
    end = PutVarint(end, entry.data.size());
  }
  AddRecord(RecordType::kEntry, {head, static_cast<size_t>(end - head)}, entry.data.view());
}

void FrameEncoder::AddState(const raft::HardState& state) {
  char data[3 * (1 + wire::kMaxVarintBytes)];
  char* end = PutUint(data, 1, state.term.value());
  end = PutUint(end, 2, state.vote.value());
  end = PutUint(end, 3, state.commit.value());
  AddRecord(RecordType::kState, {data, static_cast<size_t>(end - data)}, {});
}

const std::vector<std::string_view>& FrameEncoder::Pieces() {
  pieces_.clear();
  size_t done = 0;
  for (const Borrowed& borrowed : borrowed_) {
    pieces_.push_back(std::string_view(buffer_).substr(done, borrowed.offset - done));
    pieces_.push_back(borrowed.bytes);
    done = borrowed.offset;
  }
  pieces_.push_back(std::string_view(buffer_).substr(done));
  return pieces_;
}

void FrameEncoder::Clear() {
  if (buffer_.capacity() > kKeptBufferBytes) {
    buffer_ = std::string();
  } else {
    buffer_.clear();
  }
  borrowed_.clear();
  pieces_.clear();
  size_ = 0;
}

}  // namespace kvorum::wal
