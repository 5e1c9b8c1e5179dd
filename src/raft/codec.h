#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "raft/types.h"

namespace kvorum::raft {

// The wire form of types.h: message raftpb.* of proto/raft.proto, byte for byte as etcd 3.4 to 3.6 write it
// (reference: raft.md §1.3): every scalar is written, zero or not, in ascending field order; byte fields and
// sub-messages only where present. Decoders take both this form and the one that leaves zeros out, packed and
// unpacked lists, and skip unknown fields. A malformed input is InvalidArgument.

/// Which release's form to write where they differ.
enum class WireVersion : uint8_t {
  kV3_5,  ///< Message.snapshot always, no vote, no responses
  kV3_6,  ///< Message.snapshot only when set, vote always
};

void AppendEncoded(std::string& out, const Entry& entry);
void AppendEncoded(std::string& out, const HardState& state);
void AppendEncoded(std::string& out, const ConfState& state);
void AppendEncoded(std::string& out, const Snapshot& snapshot);
void AppendEncoded(std::string& out, const ConfChange& change);
void AppendEncoded(std::string& out, const ConfChangeV2& change);
void AppendEncoded(std::string& out, const Message& message, WireVersion version);

template <typename T>
std::string Encode(const T& value) {
  std::string out;
  AppendEncoded(out, value);
  return out;
}

absl::StatusOr<Entry> DecodeEntry(std::string_view data);
absl::StatusOr<HardState> DecodeHardState(std::string_view data);
absl::StatusOr<ConfState> DecodeConfState(std::string_view data);
absl::StatusOr<Snapshot> DecodeSnapshot(std::string_view data);
absl::StatusOr<ConfChange> DecodeConfChange(std::string_view data);
absl::StatusOr<ConfChangeV2> DecodeConfChangeV2(std::string_view data);
absl::StatusOr<Message> DecodeMessage(std::string_view data);

}  // namespace kvorum::raft
