#include "snap/snapshotter.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <optional>
#include <utility>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/planted_bug.h"
#include "base/status.h"
#include "base/wire.h"
#include "fmt/format.h"
#include "raft/codec.h"

namespace kvorum::snap {
namespace {

constexpr std::string_view kSuffix = ".snap";
constexpr std::string_view kDatabaseSuffix = ".snap.db";
constexpr std::string_view kBrokenSuffix = ".broken";
constexpr size_t kNumberDigits = 16;
// As etcd's, which leaves the rest to the umask.
constexpr mode_t kFileMode = 0666;

constexpr uint32_t kCrcField = 1;
constexpr uint32_t kDataField = 2;

std::optional<uint64_t> ParseHex(std::string_view digits) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (error != std::errc() || end != digits.data() + digits.size() || digits.size() != kNumberDigits) {
    return std::nullopt;
  }
  return value;
}

std::optional<Snapshotter::Position> ParseFileName(std::string_view name) {
  if (name.size() != 2 * kNumberDigits + 1 + kSuffix.size() || !name.ends_with(kSuffix) ||
      name[kNumberDigits] != '-') {
    return std::nullopt;
  }
  const auto term = ParseHex(name.substr(0, kNumberDigits));
  const auto index = ParseHex(name.substr(kNumberDigits + 1, kNumberDigits));
  if (!term || !index) return std::nullopt;
  return Snapshotter::Position{raft::Term(*term), raft::Index(*index)};
}

}  // namespace

struct Snapshotter::Metrics {
  explicit Metrics(metrics::Registry& registry)
      : marshalling_seconds(registry.NewHistogram(
            "etcd_debugging_snap_save_marshalling_duration_seconds",
            "The marshalling cost distributions of save called by snapshot.", 0.001, 2, 14)),
        save_seconds(registry.NewHistogram("etcd_debugging_snap_save_total_duration_seconds",
                                           "The total latency distributions of save called by snapshot.",
                                           0.001, 2, 14)),
        sync_seconds(registry.NewHistogram("etcd_snap_fsync_duration_seconds",
                                           "The latency distributions of fsync called by snap.", 0.001, 2,
                                           14)) {}

  metrics::Histogram& marshalling_seconds;
  metrics::Histogram& save_seconds;
  metrics::Histogram& sync_seconds;
};

std::string FileName(raft::Term term, raft::Index index) {
  return fmt::format("{:016x}-{:016x}{}", term.value(), index.value(), kSuffix);
}

std::string DatabaseName(raft::Index index) {
  return fmt::format("{:016x}{}", index.value(), kDatabaseSuffix);
}

std::string EncodeFile(const raft::Snapshot& snapshot) {
  const std::string data = raft::Encode(snapshot);
  std::string out;
  out.reserve(data.size() + 2 * (1 + wire::kMaxVarintBytes));
  wire::AppendUint(out, kCrcField, Crc32c(0, data));
  wire::AppendBytes(out, kDataField, data);
  return out;
}

absl::StatusOr<raft::Snapshot> DecodeFile(std::string_view content) {
  uint64_t crc = 0;
  std::string_view data;
  wire::Reader reader(content);
  for (wire::Field field; reader.Next(&field);) {
    if (field.number == kCrcField && field.type == wire::Type::kVarint) {
      crc = field.varint;
    } else if (field.number == kDataField && field.type == wire::Type::kLength) {
      data = field.bytes;
    } else if (field.number <= kDataField) {
      return absl::DataLossError("snap: malformed snapshot file");
    }
  }
  if (!reader.ok()) return absl::DataLossError("snap: malformed snapshot file");
  if (data.empty() || crc == 0) return absl::DataLossError("snap: empty snapshot");
  if (crc != Crc32c(0, data)) return absl::DataLossError("snap: crc mismatch");
  absl::StatusOr<raft::Snapshot> snapshot = raft::DecodeSnapshot(data);
  if (!snapshot.ok()) {
    return absl::DataLossError(fmt::format("snap: {}", std::string(snapshot.status().message())));
  }
  return snapshot;
}

Snapshotter::Snapshotter(Env* env, std::string directory, Logger* logger, metrics::Registry* metrics)
    : env_(env), directory_(std::move(directory)), logger_(logger) {
  if (metrics != nullptr) metrics_ = std::make_shared<Metrics>(*metrics);
}

// The file is written under another name, so that a name ending in .snap never stands for half a snapshot.
absl::Status Snapshotter::Save(const raft::Snapshot& snapshot) {
  if (snapshot.empty()) return absl::OkStatus();
  const Clock& clock = SystemClock();
  const MonotonicTime begin = clock.Now();
  const std::string name = FileName(snapshot.metadata.term, snapshot.metadata.index);
  const std::string content = EncodeFile(snapshot);
  const MonotonicTime encoded = clock.Now();

  const std::string unfinished = PathOf("tmp" + name);
  KVORUM_ASSIGN_OR_RETURN(const auto file,
                          env_->OpenForWriting(unfinished, Env::Create::kTruncate, kFileMode));
  absl::Status status = file->Append(content);
  const MonotonicTime written = clock.Now();
  if (status.ok() && !IsPlanted(PlantedBug::kSnapshotNotSynced)) status = file->Sync();
  const MonotonicTime synced = clock.Now();
  if (status.ok()) status = file->Close();
  if (status.ok()) status = env_->Rename(unfinished, PathOf(name));
  if (status.ok()) status = env_->SyncDirectory(directory_);
  if (!status.ok()) {
    KVORUM_LOG(*logger_, kWarn, "failed to write a snap file", {"path", PathOf(name)},
               {"error", std::string(status.message())});
    env_->RemoveFile(unfinished).IgnoreError();
    return status;
  }
  if (metrics_ != nullptr) {
    metrics_->marshalling_seconds.Observe(encoded - begin);
    metrics_->sync_seconds.Observe(synced - written);
    metrics_->save_seconds.Observe(clock.Now() - begin);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> Snapshotter::List() {
  KVORUM_ASSIGN_OR_RETURN(const std::vector<std::string> names, env_->ListDirectory(directory_));
  std::vector<std::string> snapshots;
  for (const std::string& name : names) {
    if (ParseFileName(name)) {
      snapshots.push_back(name);
    } else if (name != kEtcdDatabaseName && name != kImportedDatabaseName &&
               !name.ends_with(kDatabaseSuffix) && !name.ends_with(kBrokenSuffix)) {
      KVORUM_LOG(*logger_, kWarn, "found unexpected non-snap file; skipping", {"path", name});
    }
  }
  return snapshots;
}

absl::Status Snapshotter::RemoveLeftovers() {
  KVORUM_ASSIGN_OR_RETURN(const std::vector<std::string> names, env_->ListDirectory(directory_));
  for (const std::string& name : names) {
    if (!name.starts_with("tmp") && !name.starts_with("db.tmp")) continue;
    KVORUM_LOG(*logger_, kInfo, "found orphaned defragmentation file; deleting", {"path", PathOf(name)});
    KVORUM_RETURN_IF_ERROR(env_->RemoveTree(PathOf(name)));
  }
  return absl::OkStatus();
}

absl::StatusOr<raft::Snapshot> Snapshotter::Load(const std::string& name) {
  KVORUM_ASSIGN_OR_RETURN(const std::string content, env_->ReadFile(PathOf(name)));
  return DecodeFile(content);
}

absl::StatusOr<raft::Snapshot> Snapshotter::LoadNewest() { return LoadNewestMatching(nullptr); }

absl::StatusOr<raft::Snapshot> Snapshotter::LoadNewest(std::span<const Position> vouched) {
  return LoadNewestMatching(&vouched);
}

absl::StatusOr<raft::Snapshot> Snapshotter::LoadNewestMatching(const std::span<const Position>* vouched) {
  KVORUM_RETURN_IF_ERROR(RemoveLeftovers());
  KVORUM_ASSIGN_OR_RETURN(std::vector<std::string> names, List());
  // By name, which is by term and then by index.
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    absl::StatusOr<raft::Snapshot> snapshot = Load(*name);
    if (!snapshot.ok()) {
      KVORUM_LOG(*logger_, kWarn, "failed to read a snap file", {"path", PathOf(*name)},
                 {"error", std::string(snapshot.status().message())});
      KVORUM_RETURN_IF_ERROR(env_->Rename(PathOf(*name), PathOf(*name) + std::string(kBrokenSuffix)));
      KVORUM_LOG(*logger_, kInfo, "renamed to a broken snap file", {"path", PathOf(*name)});
      continue;
    }
    const raft::SnapshotMetadata& metadata = snapshot->metadata;
    if (vouched == nullptr || std::any_of(vouched->begin(), vouched->end(), [&](const Position& position) {
          return position.term == metadata.term && position.index == metadata.index;
        })) {
      return snapshot;
    }
  }
  return absl::NotFoundError("snap: no available snapshot");
}

absl::Status Snapshotter::PurgeSuffix(std::string_view suffix, size_t keep) {
  KVORUM_ASSIGN_OR_RETURN(std::vector<std::string> names, env_->ListDirectory(directory_));
  std::erase_if(names, [&](const std::string& name) { return !name.ends_with(suffix); });
  for (size_t i = 0; i + keep < names.size(); ++i) {
    KVORUM_RETURN_IF_ERROR(env_->RemoveFile(PathOf(names[i])));
    KVORUM_LOG(*logger_, kInfo, "purged", {"path", PathOf(names[i])});
  }
  return absl::OkStatus();
}

absl::Status Snapshotter::Purge(size_t keep) {
  if (keep == 0) return absl::OkStatus();
  KVORUM_RETURN_IF_ERROR(PurgeSuffix(kSuffix, keep));
  return PurgeSuffix(kDatabaseSuffix, keep);
}

absl::Status Snapshotter::ReleaseDatabases(raft::Index index) {
  KVORUM_ASSIGN_OR_RETURN(const std::vector<std::string> names, env_->ListDirectory(directory_));
  for (std::string_view name : names) {
    if (!name.ends_with(kDatabaseSuffix)) continue;
    const auto of = ParseHex(name.substr(0, name.size() - kDatabaseSuffix.size()));
    if (!of) {
      KVORUM_LOG(*logger_, kError, "failed to parse index from filename", {"path", name});
      continue;
    }
    if (*of >= index.value()) continue;
    KVORUM_LOG(*logger_, kInfo, "found orphaned .snap.db file; deleting", {"path", name});
    KVORUM_RETURN_IF_ERROR(env_->RemoveFile(PathOf(std::string(name))));
  }
  return absl::OkStatus();
}

}  // namespace kvorum::snap
