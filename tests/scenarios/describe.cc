#include "describe.h"

#include <charconv>

#include "fmt/format.h"
#include "fmt/ranges.h"
#include "raft/codec.h"
#include "raft/membership.h"

namespace kvorum::scenarios {

using raft::ConfChangeSingle;
using raft::ConfChangeType;
using raft::Entry;
using raft::EntryType;
using raft::Index;
using raft::Message;
using raft::NodeId;

namespace {

std::string Ids(const std::vector<NodeId>& ids) { return fmt::format("[{}]", fmt::join(ids, " ")); }

std::string Target(NodeId id) {
  if (id == raft::kNoNode) return "None";
  if (id == raft::kAppendThread) return "AppendThread";
  if (id == raft::kApplyThread) return "ApplyThread";
  return fmt::format("{:x}", id);
}

std::string_view TypeName(EntryType type) {
  switch (type) {
    case EntryType::kNormal:
      return "EntryNormal";
    case EntryType::kConfChange:
      return "EntryConfChange";
    case EntryType::kConfChangeV2:
      return "EntryConfChangeV2";
  }
  return "EntryUnknown";
}

std::string EntryText(const Entry& entry) {
  switch (entry.type) {
    case EntryType::kNormal:
      return GoQuoted(entry.data.view());
    case EntryType::kConfChange: {
      const auto change = raft::DecodeConfChange(entry.data.view());
      if (!change.ok()) return std::string(change.status().message());
      return DescribeChanges(raft::ToV2(*change).changes);
    }
    case EntryType::kConfChangeV2: {
      const auto change = raft::DecodeConfChangeV2(entry.data.view());
      return change.ok() ? DescribeChanges(change->changes) : std::string(change.status().message());
    }
  }
  return "";
}

/// Length of the UTF-8 character at the front of `text`, 0 where there is none; its code point in `*rune`.
size_t TakeRune(std::string_view text, uint32_t* rune) {
  const auto lead = static_cast<unsigned char>(text[0]);
  size_t size = 0;
  uint32_t least = 0;
  if (lead < 0x80) {
    *rune = lead;
    return 1;
  }
  if (lead >= 0xc2 && lead < 0xe0) {
    size = 2;
    least = 0x80;
    *rune = lead & 0x1f;
  } else if (lead >= 0xe0 && lead < 0xf0) {
    size = 3;
    least = 0x800;
    *rune = lead & 0x0f;
  } else if (lead >= 0xf0 && lead < 0xf5) {
    size = 4;
    least = 0x10000;
    *rune = lead & 0x07;
  } else {
    return 0;
  }
  if (text.size() < size) return 0;
  for (size_t i = 1; i < size; ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if ((byte & 0xc0) != 0x80) return 0;
    *rune = *rune << 6 | (byte & 0x3f);
  }
  const bool surrogate = *rune >= 0xd800 && *rune < 0xe000;
  return *rune < least || *rune > 0x10ffff || surrogate ? 0 : size;
}

std::string Escaped(unsigned char c) {
  switch (c) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\a':
      return "\\a";
    case '\b':
      return "\\b";
    case '\f':
      return "\\f";
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    case '\v':
      return "\\v";
    default:
      return c < 0x20 || c == 0x7f ? fmt::format("\\x{:02x}", c) : std::string(1, static_cast<char>(c));
  }
}

/// A Ready's own entries; with asynchronous writes they are in the message to `storage` alone.
const std::vector<Entry>& EntriesFor(NodeId storage, const std::vector<Entry>& own,
                                     const std::vector<Message>& messages) {
  for (const Message& message : messages) {
    if (message.to == storage) return message.entries;
  }
  return own;
}

}  // namespace

std::string GoQuoted(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    uint32_t rune = 0;
    const size_t size = TakeRune(text, &rune);
    if (size <= 1) {
      const auto byte = static_cast<unsigned char>(text[0]);
      out += size == 1 ? Escaped(byte) : fmt::format("\\x{:02x}", byte);
      text.remove_prefix(1);
      continue;
    }
    const bool control = rune < 0xa0 || rune == 0xad;
    if (control || rune == 0xfeff || (rune >= 0x2000 && rune <= 0x200f) ||
        (rune >= 0x2028 && rune <= 0x202f)) {
      out += fmt::format("\\u{:04x}", rune);
    } else {
      out += text.substr(0, size);
    }
    text.remove_prefix(size);
  }
  return out + "\"";
}

std::string DescribeSoftState(const raft::SoftState& state) {
  return fmt::format("Lead:{} State:{}", state.lead, raft::RoleName(state.role));
}

std::string DescribeHardState(const raft::HardState& state) {
  std::string out = fmt::format("Term:{}", state.term);
  if (state.vote != raft::kNoNode) out += fmt::format(" Vote:{}", state.vote);
  return out + fmt::format(" Commit:{}", state.commit);
}

std::string DescribeConfState(const raft::ConfState& state) {
  return fmt::format("Voters:{} VotersOutgoing:{} Learners:{} LearnersNext:{} AutoLeave:{}",
                     Ids(state.voters), Ids(state.voters_outgoing), Ids(state.learners),
                     Ids(state.learners_next), state.auto_leave);
}

std::string DescribeSnapshot(const raft::Snapshot& snapshot) {
  const raft::SnapshotMetadata& metadata = snapshot.metadata;
  return fmt::format("Index:{} Term:{} ConfState:{}", metadata.index, metadata.term,
                     DescribeConfState(metadata.conf_state));
}

std::string DescribeEntry(const Entry& entry) {
  std::string out = fmt::format("{}/{} {}", entry.term, entry.index, TypeName(entry.type));
  const std::string text = EntryText(entry);
  return text.empty() ? out : out + " " + text;
}

std::string DescribeEntries(std::span<const Entry> entries) {
  std::string out;
  for (const Entry& entry : entries) out += DescribeEntry(entry) + "\n";
  return out;
}

std::string DescribeMessage(const Message& message, std::string_view indent) {
  std::string out =
      fmt::format("{}{}->{} {} Term:{} Log:{}/{}", indent, Target(message.from), Target(message.to),
                  raft::MessageTypeName(message.type), message.term, message.log_term, message.index);
  if (message.reject) out += fmt::format(" Rejected (Hint: {})", message.reject_hint);
  if (message.commit != Index(0)) out += fmt::format(" Commit:{}", message.commit);
  if (message.vote != raft::kNoNode) out += fmt::format(" Vote:{}", message.vote);
  if (message.entries.size() == 1) {
    out += fmt::format(" Entries:[{}]", DescribeEntry(message.entries[0]));
  } else if (!message.entries.empty()) {
    out += " Entries:[";
    for (const Entry& entry : message.entries) out += fmt::format("\n{}  {}", indent, DescribeEntry(entry));
    out += fmt::format("\n{}]", indent);
  }
  if (message.snapshot && !message.snapshot->empty()) {
    out += fmt::format("\n{}  Snapshot: {}", indent, DescribeSnapshot(*message.snapshot));
  }
  if (!message.responses.empty()) {
    out += " Responses:[";
    for (const Message& response : message.responses) {
      out += "\n" + DescribeMessage(response, std::string(indent) + "  ");
    }
    out += fmt::format("\n{}]", indent);
  }
  return out;
}

std::string DescribeReady(const raft::Ready& ready) {
  std::string out;
  if (ready.soft_state) out += DescribeSoftState(*ready.soft_state) + "\n";
  if (!ready.hard_state.empty()) out += "HardState " + DescribeHardState(ready.hard_state) + "\n";
  if (!ready.read_states.empty()) {
    std::vector<std::string> states;
    for (const raft::ReadState& state : ready.read_states) {
      const auto* bytes = reinterpret_cast<const uint8_t*>(state.context.data());
      states.push_back(
          fmt::format("{{{} [{}]}}", state.index, fmt::join(std::span(bytes, state.context.size()), " ")));
    }
    out += fmt::format("ReadStates [{}]\n", fmt::join(states, " "));
  }
  const std::vector<Entry>& entries = EntriesFor(raft::kAppendThread, ready.entries, ready.messages);
  if (!entries.empty()) out += "Entries:\n" + DescribeEntries(entries);
  if (!ready.snapshot.empty()) out += "Snapshot " + DescribeSnapshot(ready.snapshot) + "\n";
  const std::vector<Entry>& committed =
      EntriesFor(raft::kApplyThread, ready.committed_entries, ready.messages);
  if (!committed.empty()) out += "CommittedEntries:\n" + DescribeEntries(committed);
  if (!ready.messages.empty() || !ready.messages_after_persist.empty()) {
    out += "Messages:\n";
    for (const Message& message : ready.messages) out += DescribeMessage(message) + "\n";
    for (const Message& message : ready.messages_after_persist) out += DescribeMessage(message) + "\n";
  }
  if (out.empty()) return "<empty Ready>";
  return fmt::format("Ready MustSync={}:\n{}", ready.must_sync, out);
}

std::string DescribeChanges(std::span<const ConfChangeSingle> changes) {
  std::string out;
  for (const ConfChangeSingle& change : changes) {
    if (!out.empty()) out += ' ';
    switch (change.type) {
      case ConfChangeType::kAddNode:
        out += 'v';
        break;
      case ConfChangeType::kAddLearnerNode:
        out += 'l';
        break;
      case ConfChangeType::kRemoveNode:
        out += 'r';
        break;
      case ConfChangeType::kUpdateNode:
        out += 'u';
        break;
    }
    out += fmt::format("{}", change.node_id);
  }
  return out;
}

namespace {

absl::StatusOr<ConfChangeSingle> ParseChange(std::string_view word) {
  if (word.size() < 2) return absl::InvalidArgumentError(fmt::format("unknown token {}", word));
  ConfChangeSingle change;
  switch (word[0]) {
    case 'v':
      change.type = ConfChangeType::kAddNode;
      break;
    case 'l':
      change.type = ConfChangeType::kAddLearnerNode;
      break;
    case 'r':
      change.type = ConfChangeType::kRemoveNode;
      break;
    case 'u':
      change.type = ConfChangeType::kUpdateNode;
      break;
    default:
      return absl::InvalidArgumentError(fmt::format("unknown input: {}", word));
  }
  word.remove_prefix(1);
  uint64_t id = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), id);
  if (error == std::errc::result_out_of_range) {
    return absl::InvalidArgumentError(
        fmt::format("strconv.ParseUint: parsing {}: value out of range", GoQuoted(word)));
  }
  if (error != std::errc() || end != word.data() + word.size()) {
    return absl::InvalidArgumentError(
        fmt::format("strconv.ParseUint: parsing {}: invalid syntax", GoQuoted(word)));
  }
  change.node_id = NodeId(id);
  return change;
}

}  // namespace

absl::StatusOr<std::vector<ConfChangeSingle>> ParseChanges(std::string_view text) {
  std::vector<ConfChangeSingle> changes;
  while (!text.empty()) {
    const size_t end = text.find(' ');
    absl::StatusOr<ConfChangeSingle> change = ParseChange(text.substr(0, end));
    if (!change.ok()) return change.status();
    changes.push_back(*change);
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
    // A space at the end, or two in a row, is a word of no letters.
    if (text.empty()) return absl::InvalidArgumentError("unknown token ");
  }
  return changes;
}

}  // namespace kvorum::scenarios
