#include "raft/codec.h"

#include <optional>

#include "base/status.h"
#include "base/wire.h"

namespace kvorum::raft {
namespace {

using wire::AppendBytes;
using wire::AppendUint;
using wire::AppendVarint;
using wire::Field;
using wire::Tag;
using wire::Type;
using wire::VarintSize;

// Deeper nesting of Message.responses than any member ever writes.
constexpr int kMaxMessageDepth = 4;

uint64_t Raw(uint64_t v) { return v; }
template <typename TagType>
uint64_t Raw(StrongInt<TagType, uint64_t> v) {
  return v.value();
}
template <typename Enum>
requires std::is_enum_v<Enum> uint64_t Raw(Enum v) { return static_cast<uint64_t>(v); }

// Every field number here is below 16, so a tag is one byte.
template <typename T>
size_t UintSize(T v) {
  return 1 + VarintSize(Raw(v));
}
template <typename T>
void Put(std::string& out, uint32_t field, T v) {
  AppendUint(out, field, Raw(v));
}
void Put(std::string& out, uint32_t field, const Bytes& data) {
  if (!data.is_null()) AppendBytes(out, field, data.view());
}
size_t BytesSize(const Bytes& data) { return data.is_null() ? 0 : 1 + VarintSize(data.size()) + data.size(); }
size_t NestedSize(size_t size) { return 1 + VarintSize(size) + size; }

void PutIds(std::string& out, uint32_t field, const std::vector<NodeId>& ids) {
  for (const NodeId id : ids) Put(out, field, id);
}
size_t IdsSize(const std::vector<NodeId>& ids) {
  size_t size = 0;
  for (const NodeId id : ids) size += UintSize(id);
  return size;
}

size_t SizeOf(const ConfState& state) {
  return IdsSize(state.voters) + IdsSize(state.learners) + IdsSize(state.voters_outgoing) +
         IdsSize(state.learners_next) + 2;
}
size_t SizeOf(const SnapshotMetadata& metadata) {
  return NestedSize(SizeOf(metadata.conf_state)) + UintSize(metadata.index) + UintSize(metadata.term);
}
size_t SizeOf(const Snapshot& snapshot) {
  return BytesSize(snapshot.data) + NestedSize(SizeOf(snapshot.metadata));
}

void PutNestedHeader(std::string& out, uint32_t field, size_t size) {
  AppendVarint(out, Tag(field, Type::kLength));
  AppendVarint(out, size);
}

void PutSnapshot(std::string& out, uint32_t field, const Snapshot& snapshot) {
  PutNestedHeader(out, field, SizeOf(snapshot));
  AppendEncoded(out, snapshot);
}

// ---- decoding ----

absl::Status Malformed(std::string_view what) {
  return absl::InvalidArgumentError(fmt::format("malformed raftpb.{}", what));
}

/// Calls `on_field(field) -> bool` for each field; false from it, or a malformed field, is an error.
template <typename OnField>
absl::Status ForEachField(std::string_view data, std::string_view what, OnField on_field) {
  wire::Reader reader(data);
  for (Field field; reader.Next(&field);) {
    if (!on_field(field)) return Malformed(what);
  }
  return reader.ok() ? absl::OkStatus() : Malformed(what);
}

bool Take(const Field& field, uint64_t* out) {
  if (field.type != Type::kVarint) return false;
  *out = field.varint;
  return true;
}
template <typename TagType>
bool Take(const Field& field, StrongInt<TagType, uint64_t>* out) {
  if (field.type != Type::kVarint) return false;
  *out = StrongInt<TagType, uint64_t>(field.varint);
  return true;
}
bool Take(const Field& field, bool* out) {
  if (field.type != Type::kVarint) return false;
  *out = field.varint != 0;
  return true;
}
bool Take(const Field& field, Bytes* out) {
  if (field.type != Type::kLength || field.bytes.size() > UINT32_MAX) return false;
  *out = Bytes::Copy(field.bytes);
  return true;
}
template <typename Enum>
bool TakeEnum(const Field& field, Enum last, Enum* out) {
  if (field.type != Type::kVarint || field.varint > Raw(last)) return false;
  *out = static_cast<Enum>(field.varint);
  return true;
}
bool TakeIds(const Field& field, std::vector<NodeId>* out) {
  if (field.type == Type::kVarint) {
    out->push_back(NodeId(field.varint));
    return true;
  }
  if (field.type != Type::kLength) return false;
  std::string_view packed = field.bytes;
  while (!packed.empty()) {
    uint64_t id = 0;
    if (!wire::TakeVarint(&packed, &id)) return false;
    out->push_back(NodeId(id));
  }
  return true;
}

absl::Status Parse(std::string_view data, Entry* out) {
  return ForEachField(data, "Entry", [out](const Field& field) {
    switch (field.number) {
      case 1:
        return TakeEnum(field, EntryType::kConfChangeV2, &out->type);
      case 2:
        return Take(field, &out->term);
      case 3:
        return Take(field, &out->index);
      case 4:
        return Take(field, &out->data);
      default:
        return true;
    }
  });
}

absl::Status Parse(std::string_view data, HardState* out) {
  return ForEachField(data, "HardState", [out](const Field& field) {
    switch (field.number) {
      case 1:
        return Take(field, &out->term);
      case 2:
        return Take(field, &out->vote);
      case 3:
        return Take(field, &out->commit);
      default:
        return true;
    }
  });
}

absl::Status Parse(std::string_view data, ConfState* out) {
  return ForEachField(data, "ConfState", [out](const Field& field) {
    switch (field.number) {
      case 1:
        return TakeIds(field, &out->voters);
      case 2:
        return TakeIds(field, &out->learners);
      case 3:
        return TakeIds(field, &out->voters_outgoing);
      case 4:
        return TakeIds(field, &out->learners_next);
      case 5:
        return Take(field, &out->auto_leave);
      default:
        return true;
    }
  });
}

absl::Status Parse(std::string_view data, SnapshotMetadata* out);
absl::Status Parse(std::string_view data, Snapshot* out);
absl::Status Parse(std::string_view data, ConfChangeSingle* out);

/// A sub-message that comes twice is merged, as the wire format asks.
template <typename T>
bool TakeNested(const Field& field, T* out) {
  return field.type == Type::kLength && Parse(field.bytes, out).ok();
}

absl::Status Parse(std::string_view data, SnapshotMetadata* out) {
  return ForEachField(data, "SnapshotMetadata", [out](const Field& field) {
    switch (field.number) {
      case 1:
        return TakeNested(field, &out->conf_state);
      case 2:
        return Take(field, &out->index);
      case 3:
        return Take(field, &out->term);
      default:
        return true;
    }
  });
}

absl::Status Parse(std::string_view data, Snapshot* out) {
  return ForEachField(data, "Snapshot", [out](const Field& field) {
    switch (field.number) {
      case 1:
        return Take(field, &out->data);
      case 2:
        return TakeNested(field, &out->metadata);
      default:
        return true;
    }
  });
}

absl::Status Parse(std::string_view data, ConfChange* out) {
  return ForEachField(data, "ConfChange", [out](const Field& field) {
    switch (field.number) {
      case 1:
        return Take(field, &out->id);
      case 2:
        return TakeEnum(field, ConfChangeType::kAddLearnerNode, &out->type);
      case 3:
        return Take(field, &out->node_id);
      case 4:
        return Take(field, &out->context);
      default:
        return true;
    }
  });
}

absl::Status Parse(std::string_view data, ConfChangeSingle* out) {
  return ForEachField(data, "ConfChangeSingle", [out](const Field& field) {
    switch (field.number) {
      case 1:
        return TakeEnum(field, ConfChangeType::kAddLearnerNode, &out->type);
      case 2:
        return Take(field, &out->node_id);
      default:
        return true;
    }
  });
}

absl::Status Parse(std::string_view data, ConfChangeV2* out) {
  return ForEachField(data, "ConfChangeV2", [out](const Field& field) {
    switch (field.number) {
      case 1:
        return TakeEnum(field, ConfChangeTransition::kJointExplicit, &out->transition);
      case 2:
        return TakeNested(field, &out->changes.emplace_back());
      case 3:
        return Take(field, &out->context);
      default:
        return true;
    }
  });
}

bool TakeMessageField(const Field& field, int depth, Message* out);

absl::Status ParseMessage(std::string_view data, int depth, Message* out) {
  return ForEachField(data, "Message",
                      [&](const Field& field) { return TakeMessageField(field, depth, out); });
}

bool TakeMessageField(const Field& field, int depth, Message* out) {
  switch (field.number) {
    case 1:
      return TakeEnum(field, MessageType::kForgetLeader, &out->type);
    case 2:
      return Take(field, &out->to);
    case 3:
      return Take(field, &out->from);
    case 4:
      return Take(field, &out->term);
    case 5:
      return Take(field, &out->log_term);
    case 6:
      return Take(field, &out->index);
    case 7:
      return TakeNested(field, &out->entries.emplace_back());
    case 8:
      return Take(field, &out->commit);
    case 9:
      if (!out->snapshot) out->snapshot.emplace();
      return TakeNested(field, &*out->snapshot);
    case 10:
      return Take(field, &out->reject);
    case 11:
      return Take(field, &out->reject_hint);
    case 12:
      return Take(field, &out->context);
    case 13:
      return Take(field, &out->vote);
    case 14:
      return field.type == Type::kLength && depth < kMaxMessageDepth &&
             ParseMessage(field.bytes, depth + 1, &out->responses.emplace_back()).ok();
    default:
      return true;
  }
}

template <typename T>
absl::StatusOr<T> Decode(std::string_view data) {
  T value;
  KVORUM_RETURN_IF_ERROR(Parse(data, &value));
  return value;
}

}  // namespace

void AppendEncoded(std::string& out, const Entry& entry) {
  Put(out, 1, entry.type);
  Put(out, 2, entry.term);
  Put(out, 3, entry.index);
  Put(out, 4, entry.data);
}

void AppendEncoded(std::string& out, const HardState& state) {
  Put(out, 1, state.term);
  Put(out, 2, state.vote);
  Put(out, 3, state.commit);
}

void AppendEncoded(std::string& out, const ConfState& state) {
  PutIds(out, 1, state.voters);
  PutIds(out, 2, state.learners);
  PutIds(out, 3, state.voters_outgoing);
  PutIds(out, 4, state.learners_next);
  Put(out, 5, uint64_t{state.auto_leave});
}

void AppendEncoded(std::string& out, const Snapshot& snapshot) {
  Put(out, 1, snapshot.data);
  PutNestedHeader(out, 2, SizeOf(snapshot.metadata));
  PutNestedHeader(out, 1, SizeOf(snapshot.metadata.conf_state));
  AppendEncoded(out, snapshot.metadata.conf_state);
  Put(out, 2, snapshot.metadata.index);
  Put(out, 3, snapshot.metadata.term);
}

void AppendEncoded(std::string& out, const ConfChange& change) {
  Put(out, 1, change.id);
  Put(out, 2, change.type);
  Put(out, 3, change.node_id);
  Put(out, 4, change.context);
}

void AppendEncoded(std::string& out, const ConfChangeV2& change) {
  Put(out, 1, change.transition);
  for (const ConfChangeSingle& single : change.changes) {
    PutNestedHeader(out, 2, UintSize(single.type) + UintSize(single.node_id));
    Put(out, 1, single.type);
    Put(out, 2, single.node_id);
  }
  Put(out, 3, change.context);
}

void AppendEncoded(std::string& out, const Message& message, WireVersion version) {
  Put(out, 1, message.type);
  Put(out, 2, message.to);
  Put(out, 3, message.from);
  Put(out, 4, message.term);
  Put(out, 5, message.log_term);
  Put(out, 6, message.index);
  for (const Entry& entry : message.entries) {
    PutNestedHeader(out, 7, EncodedSize(entry));
    AppendEncoded(out, entry);
  }
  Put(out, 8, message.commit);
  if (message.snapshot) {
    PutSnapshot(out, 9, *message.snapshot);
  } else if (version == WireVersion::kV3_5) {
    PutSnapshot(out, 9, Snapshot{});
  }
  Put(out, 10, uint64_t{message.reject});
  Put(out, 11, message.reject_hint);
  Put(out, 12, message.context);
  if (version == WireVersion::kV3_5) return;
  Put(out, 13, message.vote);
  for (const Message& response : message.responses) {
    std::string nested;
    AppendEncoded(nested, response, version);
    AppendBytes(out, 14, nested);
  }
}

absl::StatusOr<Entry> DecodeEntry(std::string_view data) { return Decode<Entry>(data); }
absl::StatusOr<HardState> DecodeHardState(std::string_view data) { return Decode<HardState>(data); }
absl::StatusOr<ConfState> DecodeConfState(std::string_view data) { return Decode<ConfState>(data); }
absl::StatusOr<Snapshot> DecodeSnapshot(std::string_view data) { return Decode<Snapshot>(data); }
absl::StatusOr<ConfChange> DecodeConfChange(std::string_view data) { return Decode<ConfChange>(data); }
absl::StatusOr<ConfChangeV2> DecodeConfChangeV2(std::string_view data) { return Decode<ConfChangeV2>(data); }

absl::StatusOr<Message> DecodeMessage(std::string_view data) {
  Message message;
  KVORUM_RETURN_IF_ERROR(ParseMessage(data, 0, &message));
  return message;
}

}  // namespace kvorum::raft
