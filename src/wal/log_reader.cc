#include "wal/log_reader.h"

#include <algorithm>

#include "base/planted_bug.h"
#include "base/status.h"
#include "base/wire.h"
#include "fmt/format.h"
#include "raft/codec.h"
#include "wal/record_reader.h"

namespace kvorum::wal {
namespace {

absl::StatusOr<SnapshotRecord> DecodeSnapshotRecord(std::string_view data) {
  SnapshotRecord record;
  wire::Reader reader(data);
  for (wire::Field field; reader.Next(&field);) {
    const wire::Type expected = field.number == 3 ? wire::Type::kLength : wire::Type::kVarint;
    if (field.number <= 3 && field.type != expected) return absl::DataLossError("malformed walpb.Snapshot");
    if (field.number == 3) {
      KVORUM_ASSIGN_OR_RETURN(record.conf_state, raft::DecodeConfState(field.bytes));
    } else if (field.number == 1) {
      record.index = raft::Index(field.varint);
    } else if (field.number == 2) {
      record.term = raft::Term(field.varint);
    }
  }
  if (!reader.ok()) return absl::DataLossError("malformed walpb.Snapshot");
  return record;
}

/// True where the message has a field that raftpb.HardState has not.
bool HasMoreThanAState(std::string_view data) {
  wire::Reader reader(data);
  for (wire::Field field; reader.Next(&field);) {
    if (field.number > 3) return true;
  }
  return false;
}

/// Takes the records in order. The checksum covers what a record holds but not its type, so what cannot be
/// of the type that it claims is damage.
class Collector {
 public:
  Collector(const SnapshotRecord& start, Collect collect, LogContents* contents)
      : start_(start), collect_(collect), contents_(contents) {}

  /// The error says what is wrong, not where.
  absl::Status Take(const Record& record) {
    switch (static_cast<RecordType>(record.type)) {
      case RecordType::kMetadata:
        return TakeMetadata(record.data);
      case RecordType::kEntry:
        return TakeEntry(record.data);
      case RecordType::kState:
        return TakeState(record.data);
      case RecordType::kCrc:
        return absl::OkStatus();
      case RecordType::kSnapshot:
        return TakeSnapshot(record.data);
    }
    return absl::DataLossError(fmt::format("unexpected block type {}", record.type));
  }

 private:
  absl::Status TakeMetadata(std::string_view data) {
    if (contents_->metadata && *contents_->metadata != data) {
      return absl::DataLossError("wal: conflicting metadata found");
    }
    contents_->metadata = std::string(data);
    return absl::OkStatus();
  }

  absl::Status TakeEntry(std::string_view data) {
    if (collect_ == Collect::kNoEntries) return absl::OkStatus();
    KVORUM_ASSIGN_OR_RETURN(raft::Entry entry, raft::DecodeEntry(data));
    if (entry.term == raft::Term(0) || (entry.type == raft::EntryType::kConfChange && entry.data.is_null())) {
      return absl::DataLossError("wal: no entry in an entry record");
    }
    contents_->last_index = entry.index;
    highest_entry_term_ = std::max(highest_entry_term_, entry.term);
    // An entry replaces what was written at its index before and everything after it.
    if (entry.index <= start_.index) {
      contents_->entries.clear();
      term_at_start_ = entry.index == start_.index ? entry.term : raft::Term(0);
      return absl::OkStatus();
    }
    const uint64_t slot = entry.index - start_.index - 1;
    if (slot > contents_->entries.size()) {
      return absl::DataLossError(fmt::format(
          "wal: slice bounds out of range, snapshot[Index: {}, Term: {}], current entry[Index: {}, "
          "Term: {}], len(ents): {}",
          start_.index, start_.term, entry.index, entry.term, contents_->entries.size()));
    }
    if (IsPlanted(PlantedBug::kConflictKept) && slot < contents_->entries.size()) {
      contents_->entries[slot] = std::move(entry);
      return absl::OkStatus();
    }
    contents_->entries.resize(slot);
    contents_->entries.push_back(std::move(entry));
    return absl::OkStatus();
  }

  absl::Status TakeState(std::string_view data) {
    KVORUM_ASSIGN_OR_RETURN(const raft::HardState state, raft::DecodeHardState(data));
    if (state.term == raft::Term(0) || state.term < highest_entry_term_ || HasMoreThanAState(data)) {
      return absl::DataLossError("wal: no hard state in a state record");
    }
    contents_->hard_state = state;
    return absl::OkStatus();
  }

  absl::Status TakeSnapshot(std::string_view data) {
    KVORUM_ASSIGN_OR_RETURN(SnapshotRecord record, DecodeSnapshotRecord(data));
    if (collect_ == Collect::kEverything && record.index == start_.index && record.term != start_.term) {
      return absl::DataLossError(fmt::format("wal: snapshot mismatch: term {} at index {}, expected {}",
                                             record.term, record.index, start_.term));
    }
    // A snapshot that came from a leader replaces a log that differs at its index, with all that follows.
    const bool differs = term_at_start_ != raft::Term(0) && term_at_start_ != record.term;
    if (record.index == start_.index && differs) contents_->entries.clear();
    contents_->last_index = std::max(contents_->last_index, record.index);
    contents_->snapshots.push_back(std::move(record));
    return absl::OkStatus();
  }

  const SnapshotRecord& start_;
  const Collect collect_;
  LogContents* const contents_;
  raft::Term highest_entry_term_;
  raft::Term term_at_start_;  // of the entry at the start's index; 0: none was seen
};

constexpr size_t kFirstReadBytes = size_t{1} << 20;

/// The segment up to where its length fields lead, and somewhat more: what is behind that has no say, unless
/// something is wrong. Most of a segment is usually reserved space.
absl::StatusOr<std::string> ReadUsedPart(Env& env, const std::string& path) {
  std::string content;
  uint64_t frame = 0;
  for (size_t want = kFirstReadBytes;; want *= 2) {
    const size_t before = content.size();
    KVORUM_RETURN_IF_ERROR(env.ReadRange(path, before, want, &content));
    if (content.size() < before + want) return content;  // the end of the file
    while (frame + kLengthBytes <= content.size()) {
      const uint64_t bytes = FrameBytes(std::string_view(content).substr(frame));
      if (bytes == 0) return content;
      frame += bytes;
    }
  }
}

/// Gives the records of one segment, from `*crc` and `*offset` on, to the collector, and moves these.
absl::StatusOr<RecordReader::Outcome> CollectRecords(std::string_view content, const std::string& path,
                                                     RecordReader::Place place, Collector* collector,
                                                     uint32_t* crc, uint64_t* offset) {
  RecordReader reader(content, path, place, *crc, *offset);
  for (Record record;;) {
    const auto outcome = reader.Next(&record);
    if (!outcome.ok() || *outcome != RecordReader::Outcome::kRecord) return outcome;
    if (const absl::Status status = collector->Take(record); !status.ok()) {
      return absl::DataLossError(
          fmt::format("{}: in file '{}' at position: {}", std::string(status.message()), path, *offset));
    }
    *crc = reader.crc();
    *offset = reader.offset();
  }
}

bool IsZeroFrom(std::string_view content, uint64_t offset) {
  return content.find_first_not_of('\0', offset) == std::string_view::npos;
}

}  // namespace

absl::StatusOr<LogContents> ReadSegments(Env& env, const std::string& directory,
                                         std::span<const Segment> segments, const SnapshotRecord& start,
                                         Collect collect) {
  using Outcome = RecordReader::Outcome;
  LogContents contents;
  Collector collector(start, collect, &contents);
  for (size_t i = 0; i < segments.size(); ++i) {
    const bool is_last = i + 1 == segments.size();
    const auto place = is_last ? RecordReader::Place::kLast : RecordReader::Place::kEarlier;
    const std::string path = PathOf(directory, segments[i].name);
    KVORUM_ASSIGN_OR_RETURN(contents.size, env.FileSize(path));
    KVORUM_ASSIGN_OR_RETURN(std::string content, is_last ? ReadUsedPart(env, path) : env.ReadFile(path));
    contents.end = 0;
    auto outcome = CollectRecords(content, path, place, &collector, &contents.crc, &contents.end);
    const bool ends_well = outcome.ok() && *outcome == Outcome::kEnd;
    if (!ends_well && content.size() < contents.size) {
      // What is wrong is judged by the whole file.
      KVORUM_ASSIGN_OR_RETURN(content, env.ReadFile(path));
      outcome = CollectRecords(content, path, place, &collector, &contents.crc, &contents.end);
    }
    KVORUM_RETURN_IF_ERROR(outcome.status());
    contents.torn = *outcome == Outcome::kTorn;
    contents.clean_after_end = content.size() == contents.size && IsZeroFrom(content, contents.end);
  }
  contents.last_index = std::max(contents.last_index, start.index);
  return contents;
}

absl::StatusOr<Metadata> DecodeMetadata(std::string_view encoded) {
  Metadata metadata;
  wire::Reader reader(encoded);
  for (wire::Field field; reader.Next(&field);) {
    if (field.number > 2) continue;
    if (field.type != wire::Type::kVarint) return absl::DataLossError("wal: malformed metadata");
    (field.number == 1 ? metadata.node_id : metadata.cluster_id) = field.varint;
  }
  if (!reader.ok()) return absl::DataLossError("wal: malformed metadata");
  return metadata;
}

absl::Status CheckHasSnapshot(const LogContents& contents, const SnapshotRecord& start) {
  const bool found = std::any_of(contents.snapshots.begin(), contents.snapshots.end(),
                                 [&](const SnapshotRecord& record) { return record.index == start.index; });
  if (found) return absl::OkStatus();
  return absl::NotFoundError(
      fmt::format("wal: snapshot not found: index {}, term {}", start.index, start.term));
}

}  // namespace kvorum::wal
