#include "peer/msgapp_codec.h"

#include "base/check.h"
#include "base/status.h"
#include "base/wire.h"
#include "fmt/format.h"
#include "raft/codec.h"

namespace kvorum::peer {

namespace {

constexpr char kHeartbeat = 0;
constexpr char kEntries = 1;
constexpr char kWhole = 2;

/// The field `data` of raftpb.Entry, its last.
constexpr uint32_t kEntryDataField = 4;

/// As raft::AppendEncoded, with the data referred to where that pays.
void EncodeEntry(const raft::Entry& entry, FrameOutput& out) {
  out.AppendUint64(raft::EncodedSize(entry));
  raft::AppendEncoded(out.text(), raft::Entry{.type = entry.type, .term = entry.term, .index = entry.index});
  if (entry.data.is_null()) return;
  wire::AppendVarint(out.text(), wire::Tag(kEntryDataField, wire::Type::kLength));
  wire::AppendVarint(out.text(), entry.data.size());
  out.Append(entry.data);
}

}  // namespace

void MsgAppEncoder::EncodeHeartbeat(FrameOutput& out) { out.text().push_back(kHeartbeat); }

void MsgAppEncoder::Encode(const raft::Message& message, FrameOutput& out) {
  KVORUM_CHECK(message.type == raft::MessageType::kApp, "a {} in a msgapp stream",
               raft::MessageTypeName(message.type));
  // What the short form cannot say is not lost: a message that says more goes as a whole.
  const bool follows =
      message.index == index_ && message.log_term == term_ && message.log_term == message.term;
  if (follows && !message.reject && message.context.is_null() && !message.snapshot) {
    return EncodeEntries(message, out);
  }
  out.text().push_back(kWhole);
  std::string encoded;
  raft::AppendEncoded(encoded, message, raft::WireVersion::kV3_6);
  out.AppendUint64(encoded.size());
  out.text() += encoded;
  term_ = message.term;
  index_ = message.entries.empty() ? message.index : message.entries.back().index;
}

void MsgAppEncoder::EncodeEntries(const raft::Message& message, FrameOutput& out) {
  out.text().push_back(kEntries);
  out.AppendUint64(message.entries.size());
  for (const raft::Entry& entry : message.entries) EncodeEntry(entry, out);
  out.AppendUint64(message.commit.value());
  index_ = index_ + message.entries.size();
}

absl::Status MsgAppDecoder::Feed(std::string_view data, OnMessage on_message) {
  for (;;) {
    KVORUM_ASSIGN_OR_RETURN(const bool more, Step(&data, on_message));
    if (!more) return absl::OkStatus();
  }
}

absl::StatusOr<bool> MsgAppDecoder::Step(std::string_view* data, OnMessage on_message) {
  switch (next_) {
    case Next::kType:
      return TakeType(data);
    case Next::kCount: {
      const std::optional<uint64_t> count = bytes_.TakeUint64(data);
      if (!count) return false;
      entries_left_ = *count;
      next_ = entries_left_ > 0 ? Next::kEntryLength : Next::kCommit;
      return true;
    }
    case Next::kEntryLength: {
      const std::optional<uint64_t> length = bytes_.TakeUint64(data);
      if (!length) return false;
      KVORUM_RETURN_IF_ERROR(StartEntry(*length));
      return true;
    }
    case Next::kEntry:
      return TakeEntry(data);
    case Next::kCommit: {
      const std::optional<uint64_t> commit = bytes_.TakeUint64(data);
      if (!commit) return false;
      Emit(*commit, on_message);
      return true;
    }
    case Next::kMessage: {
      KVORUM_ASSIGN_OR_RETURN(const std::optional<std::string_view> bytes, frames_.Take(data));
      if (!bytes) return false;
      KVORUM_RETURN_IF_ERROR(EmitWhole(*bytes, on_message));
      return true;
    }
  }
  return false;
}

absl::StatusOr<bool> MsgAppDecoder::TakeType(std::string_view* data) {
  if (data->empty()) return false;
  const char type = data->front();
  data->remove_prefix(1);
  switch (type) {
    case kHeartbeat:
      return true;
    case kEntries:
      next_ = Next::kCount;
      return true;
    case kWhole:
      next_ = Next::kMessage;
      return true;
    default:
      return absl::InvalidArgumentError(
          fmt::format("failed to parse type {} in msgappv2 stream", static_cast<uint8_t>(type)));
  }
}

absl::Status MsgAppDecoder::StartEntry(uint64_t length) {
  // An entry costs memory though it be empty.
  constexpr uint64_t kEntryBytes = sizeof(raft::Entry);
  if (length > kMaxStreamMessageBytes || message_bytes_ + length + kEntryBytes > kMaxStreamMessageBytes) {
    return absl::InvalidArgumentError("rafthttp: error limit exceeded");
  }
  message_bytes_ += length + kEntryBytes;
  entry_length_ = length;
  next_ = Next::kEntry;
  return absl::OkStatus();
}

absl::StatusOr<bool> MsgAppDecoder::TakeEntry(std::string_view* data) {
  const std::optional<std::string_view> bytes = bytes_.Take(data, entry_length_);
  if (!bytes) return false;
  KVORUM_ASSIGN_OR_RETURN(raft::Entry entry, raft::DecodeEntry(*bytes));
  entries_.push_back(std::move(entry));
  next_ = --entries_left_ > 0 ? Next::kEntryLength : Next::kCommit;
  return true;
}

void MsgAppDecoder::Emit(uint64_t commit, OnMessage on_message) {
  raft::Message message{.type = raft::MessageType::kApp,
                        .to = local_,
                        .from = remote_,
                        .term = term_,
                        .log_term = term_,
                        .index = index_,
                        .entries = std::exchange(entries_, {}),
                        .commit = raft::Index(commit)};
  index_ = index_ + message.entries.size();
  message_bytes_ = 0;
  next_ = Next::kType;
  on_message(std::move(message));
}

absl::Status MsgAppDecoder::EmitWhole(std::string_view bytes, OnMessage on_message) {
  KVORUM_ASSIGN_OR_RETURN(raft::Message message, raft::DecodeMessage(bytes));
  term_ = message.term;
  index_ = message.entries.empty() ? message.index : message.entries.back().index;
  next_ = Next::kType;
  on_message(std::move(message));
  return absl::OkStatus();
}

}  // namespace kvorum::peer
