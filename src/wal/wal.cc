#include "wal/wal.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <utility>

#include "absl/time/civil_time.h"
#include "absl/time/time.h"
#include "base/check.h"
#include "base/planted_bug.h"
#include "base/status.h"
#include "fmt/format.h"
#include "wal/frame_encoder.h"
#include "wal/log_reader.h"
#include "wal/segment_maker.h"
#include "wal/segments.h"

namespace kvorum::wal {
namespace {

constexpr std::chrono::seconds kSlowSync(1);

struct Metrics {
  explicit Metrics(metrics::Registry& registry)
      : sync_seconds(registry.NewHistogram("etcd_disk_wal_fsync_duration_seconds",
                                           "The latency distributions of fsync called by WAL.", 0.001, 2,
                                           14)),
        write_seconds(registry.NewHistogram("etcd_disk_wal_write_duration_seconds",
                                            "The latency distributions of write called by WAL.", 0.001, 2,
                                            14)),
        write_bytes(registry.NewCounter("etcd_disk_wal_write_bytes_total",
                                        "Total number of bytes written in WAL.", metrics::Declared::kGauge)) {
  }

  metrics::Histogram& sync_seconds;
  metrics::Histogram& write_seconds;
  metrics::Counter& write_bytes;
};

std::string WithoutTrailingSlashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

/// The state of a log that is being written.
struct Tail {
  std::unique_ptr<WritableFile> file;
  std::string encoded_metadata;
  raft::HardState hard_state;
  raft::Index last_index;
  uint32_t crc = 0;
  uint64_t sequence = 0;
};

struct LockedSegment {
  raft::Index index;
  std::unique_ptr<FileLock> lock;
};

class WalImpl final : public Wal {
 public:
  WalImpl(const std::string& directory, const Options& options, Tail tail, std::deque<LockedSegment> locks)
      : directory_(directory),
        options_(options),
        encoded_metadata_(std::move(tail.encoded_metadata)),
        maker_(directory, options),
        file_(std::move(tail.file)),
        encoder_(tail.crc),
        hard_state_(tail.hard_state),
        last_index_(tail.last_index),
        sequence_(tail.sequence),
        locks_(std::move(locks)) {
    if (options_.metrics != nullptr) metrics_.emplace(*options_.metrics);
  }

  ~WalImpl() override {
    if (const absl::Status status = Sync(); !status.ok()) {
      KVORUM_LOG(*options_.logger, kWarn, "failed to sync WAL on closing",
                 {"error", std::string(status.message())});
    }
  }

  absl::Status Save(std::span<const Batch> batches) override {
    KVORUM_RETURN_IF_ERROR(failed_);
    return failed_ = DoSave(batches);
  }
  absl::Status SaveSnapshot(const SnapshotRecord& record) override {
    KVORUM_RETURN_IF_ERROR(failed_);
    AddSnapshot(record);
    return failed_ = FlushAndSync();
  }
  absl::Status Sync() override {
    KVORUM_RETURN_IF_ERROR(failed_);
    return failed_ = FlushAndSync();
  }

  bool WantsNextSegment() const override {
    return file_->position() >= options_.segment_size_bytes / 2 && maker_.IsIdle();
  }
  void PrepareNextSegment(const std::atomic<bool>& stop) override { maker_.Prepare(stop); }

  absl::Status ReleaseTo(raft::Index index) override {
    // The newest segment that begins before `index` may hold it, or what follows it.
    size_t first_after = 0;
    while (first_after < locks_.size() && locks_[first_after].index < index) ++first_after;
    while (first_after-- > 1) locks_.pop_front();
    return absl::OkStatus();
  }

  /// The records that begin every segment but the first.
  void AddSegmentHead() {
    encoder_.AddCrc();
    encoder_.AddMetadata(encoded_metadata_);
    if (!hard_state_.empty()) encoder_.AddState(hard_state_);
  }

 private:
  absl::Status DoSave(std::span<const Batch> batches);
  bool AddBatch(const Batch& batch);
  void AddSnapshot(const SnapshotRecord& record);
  void AddState(const raft::HardState& state);
  absl::Status Cut();
  absl::Status Flush();
  absl::Status Write();
  absl::Status SyncFile();
  absl::Status FlushAndSync() {
    KVORUM_RETURN_IF_ERROR(Flush());
    return SyncFile();
  }

  // Constant after construction.
  const std::string directory_;
  const Options options_;
  const std::string encoded_metadata_;
  std::optional<Metrics> metrics_;

  SegmentMaker maker_;  // thread-safe

  // Owned by the writer.
  absl::Status failed_;  // the first failure
  std::unique_ptr<WritableFile> file_;
  uint64_t zeros_end_ = 0;  // up to here file_ is known to have blocks that were written, zeros or records
  bool dirty_ = false;      // file_ was written since its last sync
  FrameEncoder encoder_;
  raft::HardState hard_state_;       // the last one encoded
  raft::Index last_index_;           // of the last entry or snapshot encoded
  uint64_t sequence_;                // of file_
  std::deque<LockedSegment> locks_;  // oldest first; the last is file_'s
};

void WalImpl::AddState(const raft::HardState& state) {
  encoder_.AddState(state);
  hard_state_ = state;
}

void WalImpl::AddSnapshot(const SnapshotRecord& record) {
  KVORUM_CHECK(record.index == raft::Index(0) || record.conf_state.has_value(),
               "Saved (not-initial) snapshot is missing ConfState: index {}", record.index);
  encoder_.AddSnapshot(record);
  last_index_ = std::max(last_index_, record.index);
}

/// True where the batch is promised to be on disk when Save returns.
bool WalImpl::AddBatch(const Batch& batch) {
  const raft::HardState& state = batch.hard_state;
  bool must_sync = !batch.entries.empty();
  if (!state.empty() && !IsPlanted(PlantedBug::kVoteNotSynced)) {
    must_sync |= state.term != hard_state_.term || state.vote != hard_state_.vote;
  }
  if (batch.snapshot != nullptr) {
    must_sync = true;
    AddSnapshot(*batch.snapshot);
    // The log vouches only for snapshots up to its commit index.
    raft::HardState committed = state.empty() ? hard_state_ : state;
    committed.commit = std::max(hard_state_.commit, batch.snapshot->index);
    const bool jumps = committed.commit != hard_state_.commit && committed.term > raft::Term(0);
    if (jumps && !batch.entries.empty()) AddState(committed);
  }
  for (const raft::Entry& entry : batch.entries) {
    KVORUM_CHECK(entry.index <= last_index_ + 1, "entry {} after {}", entry.index, last_index_);
    encoder_.AddEntry(entry);
    last_index_ = entry.index;
  }
  if (!state.empty()) AddState(state);
  return must_sync;
}

absl::Status WalImpl::DoSave(std::span<const Batch> batches) {
  if (file_->position() >= options_.segment_size_bytes) KVORUM_RETURN_IF_ERROR(Cut());
  bool must_sync = false;
  for (const Batch& batch : batches) must_sync |= AddBatch(batch);
  return must_sync ? FlushAndSync() : Flush();
}

absl::Status WalImpl::Flush() {
  if (encoder_.empty()) return absl::OkStatus();
  const MonotonicTime begin = options_.clock->Now();
  KVORUM_RETURN_IF_ERROR(Write());
  dirty_ = true;
  if (metrics_) {
    metrics_->write_seconds.Observe(options_.clock->Now() - begin);
    metrics_->write_bytes.Add(encoder_.size_bytes());
  }
  encoder_.Clear();
  return absl::OkStatus();
}

/// The records, and where they go over new blocks zeros behind them; large records gain nothing by that.
absl::Status WalImpl::Write() {
  static constexpr char kZeros[kZerosAheadBytes] = {};
  const std::vector<std::string_view>& records = encoder_.Pieces();
  const uint64_t end = file_->position() + encoder_.size_bytes();
  const bool new_blocks = end > zeros_end_ && end < options_.segment_size_bytes;
  if (!new_blocks || encoder_.size_bytes() > kZerosAheadBytes / 2 || options_.unsafe_no_fsync) {
    return file_->Append(records);
  }
  std::vector<std::string_view> pieces = records;
  pieces.emplace_back(kZeros, std::min(kZerosAheadBytes, options_.segment_size_bytes - end));
  KVORUM_RETURN_IF_ERROR(file_->Append(pieces));
  zeros_end_ = file_->position();
  return file_->Seek(end);
}

absl::Status WalImpl::SyncFile() {
  if (!dirty_ || options_.unsafe_no_fsync) return absl::OkStatus();
  const MonotonicTime begin = options_.clock->Now();
  KVORUM_RETURN_IF_ERROR(file_->Sync());
  dirty_ = false;
  const std::chrono::nanoseconds took = options_.clock->Now() - begin;
  if (metrics_) metrics_->sync_seconds.Observe(took);
  if (took > kSlowSync) {
    KVORUM_LOG(*options_.logger, kWarn, "slow fdatasync", {"took", took},
               {"expected-duration", std::chrono::nanoseconds(kSlowSync)});
  }
  return absl::OkStatus();
}

// Everything in the old segment is on disk before the new one has its name, and the new one's head before
// that too: whatever a crash leaves reads as one log.
absl::Status WalImpl::Cut() {
  KVORUM_RETURN_IF_ERROR(Flush());
  KVORUM_RETURN_IF_ERROR(file_->Truncate(file_->position()));
  dirty_ = true;
  KVORUM_RETURN_IF_ERROR(SyncFile());

  KVORUM_ASSIGN_OR_RETURN(NewSegment next, maker_.Take());
  file_ = std::move(next.file);
  zeros_end_ = next.zeros_end;
  AddSegmentHead();
  KVORUM_RETURN_IF_ERROR(FlushAndSync());
  const raft::Index first_index = last_index_ + 1;
  const std::string path = PathOf(directory_, SegmentName(sequence_ + 1, first_index));
  KVORUM_RETURN_IF_ERROR(options_.env->Rename(next.path, path));
  if (!options_.unsafe_no_fsync && !IsPlanted(PlantedBug::kSegmentNameNotSynced)) {
    KVORUM_RETURN_IF_ERROR(options_.env->SyncDirectory(directory_));
  }
  ++sequence_;
  locks_.push_back({first_index, std::move(next.lock)});
  KVORUM_LOG(*options_.logger, kInfo, "created a new WAL segment", {"path", path});
  return absl::OkStatus();
}

/// `directory`.broken.<time>
std::string BrokenName(const std::string& directory, WallTime now) {
  const int64_t nanoseconds = now.time_since_epoch().count();
  const absl::Time time = absl::FromUnixNanos(nanoseconds);
  return fmt::format("{}.broken.{}.{:06}", directory,
                     absl::FormatTime("%Y%m%d.%H%M%S", time, absl::UTCTimeZone()),
                     nanoseconds % 1'000'000'000 / 1000);
}

/// Takes what an unfinished write left off the last segment; a copy of the file as it was becomes `.broken`.
absl::Status Repair(const std::string& path, const LogContents& contents, const Options& options) {
  KVORUM_LOG(*options.logger, kInfo, "repairing", {"path", path});
  KVORUM_ASSIGN_OR_RETURN(const std::string content, options.env->ReadFile(path));
  KVORUM_ASSIGN_OR_RETURN(auto copy,
                          options.env->OpenForWriting(path + ".broken", Env::Create::kTruncate, 0600));
  KVORUM_RETURN_IF_ERROR(copy->Append(content));
  KVORUM_RETURN_IF_ERROR(copy->Sync());
  KVORUM_ASSIGN_OR_RETURN(auto file, options.env->OpenForWriting(path, Env::Create::kNever, 0600));
  KVORUM_RETURN_IF_ERROR(file->Truncate(contents.end));
  KVORUM_RETURN_IF_ERROR(file->Sync());
  KVORUM_LOG(*options.logger, kInfo, "repaired", {"path", path}, {"error", "unexpected EOF"},
             {"offset", contents.end});
  return absl::OkStatus();
}

/// The last segment, ready for the next record, with zeros behind it.
absl::StatusOr<std::unique_ptr<WritableFile>> OpenTail(const std::string& path, const LogContents& contents,
                                                       const Options& options) {
  KVORUM_ASSIGN_OR_RETURN(auto file, options.env->OpenForWriting(path, Env::Create::kNever, 0600));
  if (!contents.clean_after_end) KVORUM_RETURN_IF_ERROR(file->Truncate(contents.end));
  KVORUM_RETURN_IF_ERROR(file->Allocate(std::max(contents.size, options.segment_size_bytes)));
  KVORUM_RETURN_IF_ERROR(file->Seek(contents.end));
  return file;
}

/// Makes the directory `path` with the first segment in it.
absl::StatusOr<Tail> MakeFirstSegment(const std::string& path, const Metadata& metadata,
                                      const Options& options, std::unique_ptr<FileLock>* lock) {
  Env& env = *options.env;
  const std::string file_path = PathOf(path, SegmentName(0, raft::Index(0)));
  Tail tail;
  KVORUM_RETURN_IF_ERROR(env.RemoveTree(path));
  KVORUM_RETURN_IF_ERROR(env.CreateDirectories(path, 0700));
  KVORUM_ASSIGN_OR_RETURN(tail.file, env.OpenForWriting(file_path, Env::Create::kMustBeNew, 0600));
  KVORUM_ASSIGN_OR_RETURN(*lock, env.LockFile(file_path));
  KVORUM_RETURN_IF_ERROR(tail.file->Allocate(options.segment_size_bytes));

  tail.encoded_metadata = EncodeMetadata(metadata);
  FrameEncoder encoder(0);
  encoder.AddCrc();
  encoder.AddMetadata(tail.encoded_metadata);
  encoder.AddSnapshot(SnapshotRecord());
  KVORUM_RETURN_IF_ERROR(tail.file->Append(encoder.Pieces()));
  KVORUM_RETURN_IF_ERROR(tail.file->Sync());
  KVORUM_RETURN_IF_ERROR(env.SyncDirectory(path));
  tail.crc = encoder.crc();
  return tail;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Wal>> Wal::Create(const std::string& directory_path, const Metadata& metadata,
                                                 const Options& options) {
  Env& env = *options.env;
  const std::string directory = WithoutTrailingSlashes(directory_path);
  if (Exists(env, directory)) {
    return absl::AlreadyExistsError(fmt::format("wal: {}: file already exists", directory));
  }
  // The log gets its name when it is whole.
  const std::string unfinished = directory + ".tmp";
  std::unique_ptr<FileLock> lock;
  absl::StatusOr<Tail> tail = MakeFirstSegment(unfinished, metadata, options, &lock);
  if (!tail.ok()) {
    env.RemoveTree(unfinished).IgnoreError();
    return tail.status();
  }
  KVORUM_RETURN_IF_ERROR(env.RemoveTree(directory));
  KVORUM_RETURN_IF_ERROR(env.Rename(unfinished, directory));
  if (const absl::Status status = env.SyncDirectory(ParentDirectory(directory)); !status.ok()) {
    env.Rename(directory, BrokenName(directory, options.clock->WallNow())).IgnoreError();
    return status;
  }
  std::deque<LockedSegment> locks;
  locks.push_back({raft::Index(0), std::move(lock)});
  return std::make_unique<WalImpl>(directory, options, *std::move(tail), std::move(locks));
}

absl::StatusOr<Wal::Opened> Wal::Open(const std::string& directory_path, const SnapshotRecord& start,
                                      const Options& options) {
  Env& env = *options.env;
  const std::string directory = WithoutTrailingSlashes(directory_path);
  KVORUM_ASSIGN_OR_RETURN(std::vector<Segment> all, ListSegments(env, directory, *options.logger));
  KVORUM_ASSIGN_OR_RETURN(const std::vector<Segment> segments, SelectSegments(std::move(all), start.index));
  std::deque<LockedSegment> locks;
  for (const Segment& segment : segments) {
    KVORUM_ASSIGN_OR_RETURN(auto lock, env.LockFile(PathOf(directory, segment.name)));
    locks.push_back({segment.index, std::move(lock)});
  }
  KVORUM_ASSIGN_OR_RETURN(LogContents contents,
                          ReadSegments(env, directory, segments, start, Collect::kEverything));
  KVORUM_RETURN_IF_ERROR(CheckHasSnapshot(contents, start));
  if (!contents.metadata) return absl::DataLossError(fmt::format("wal: no metadata in {}", directory));

  Opened opened;
  KVORUM_ASSIGN_OR_RETURN(opened.recovered.metadata, DecodeMetadata(*contents.metadata));
  opened.recovered.hard_state = contents.hard_state;
  opened.recovered.entries = std::move(contents.entries);

  const std::string path = PathOf(directory, segments.back().name);
  if (contents.torn) KVORUM_RETURN_IF_ERROR(Repair(path, contents, options));
  Tail tail;
  KVORUM_ASSIGN_OR_RETURN(tail.file, OpenTail(path, contents, options));
  tail.encoded_metadata = *std::move(contents.metadata);
  tail.hard_state = contents.hard_state;
  tail.last_index = contents.last_index;
  tail.crc = contents.crc;
  tail.sequence = segments.back().sequence;
  auto wal = std::make_unique<WalImpl>(directory, options, std::move(tail), std::move(locks));
  if (contents.end == 0) wal->AddSegmentHead();
  opened.wal = std::move(wal);
  return opened;
}

absl::StatusOr<Recovered> ReadOnly(const std::string& directory, const SnapshotRecord& start,
                                   const Options& options) {
  KVORUM_ASSIGN_OR_RETURN(std::vector<Segment> all, ListSegments(*options.env, directory, *options.logger));
  KVORUM_ASSIGN_OR_RETURN(const std::vector<Segment> segments, SelectSegments(std::move(all), start.index));
  KVORUM_ASSIGN_OR_RETURN(LogContents contents,
                          ReadSegments(*options.env, directory, segments, start, Collect::kEverything));
  KVORUM_RETURN_IF_ERROR(CheckHasSnapshot(contents, start));
  if (!contents.metadata) return absl::DataLossError(fmt::format("wal: no metadata in {}", directory));
  Recovered recovered;
  KVORUM_ASSIGN_OR_RETURN(recovered.metadata, DecodeMetadata(*contents.metadata));
  recovered.hard_state = contents.hard_state;
  recovered.entries = std::move(contents.entries);
  return recovered;
}

absl::StatusOr<std::vector<SnapshotRecord>> ValidSnapshots(const std::string& directory,
                                                           const Options& options) {
  KVORUM_ASSIGN_OR_RETURN(const std::vector<Segment> segments,
                          ListSegments(*options.env, directory, *options.logger));
  KVORUM_ASSIGN_OR_RETURN(LogContents contents, ReadSegments(*options.env, directory, segments,
                                                             SnapshotRecord(), Collect::kNoEntries));
  std::erase_if(contents.snapshots,
                [&](const SnapshotRecord& snapshot) { return snapshot.index > contents.hard_state.commit; });
  return std::move(contents.snapshots);
}

}  // namespace kvorum::wal
