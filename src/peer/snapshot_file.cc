#include "peer/snapshot_file.h"

#include "base/status.h"
#include "fmt/format.h"

namespace kvorum::peer {

namespace {
/// The disk gets the file piece by piece: one long sync at the end would hold up the log's.
constexpr uint64_t kSyncBytes = 16 << 20;
}  // namespace

SnapshotFile::SnapshotFile(Env* env, std::string directory, raft::Index index, uint64_t serial)
    : env_(env),
      directory_(std::move(directory)),
      temporary_path_(fmt::format("{}/db.tmp{:016x}-{}", directory_, index.value(), serial)),
      path_(fmt::format("{}/{:016x}.snap.db", directory_, index.value())) {}

SnapshotFile::~SnapshotFile() {
  file_.reset();
  if (exists_) env_->RemoveFile(temporary_path_).IgnoreError();  // the next start does it
}

absl::Status SnapshotFile::Append(std::string_view data) {
  if (file_ == nullptr) {
    KVORUM_ASSIGN_OR_RETURN(file_, env_->OpenForWriting(temporary_path_, Env::Create::kTruncate));
    exists_ = true;
  }
  KVORUM_RETURN_IF_ERROR(file_->Append(data));
  size_ += data.size();
  if (size_ - synced_ < kSyncBytes) return absl::OkStatus();
  synced_ = size_;
  return file_->Sync();
}

absl::Status SnapshotFile::Finish() {
  if (file_ == nullptr) return absl::InvalidArgumentError("a snapshot without a database");
  KVORUM_RETURN_IF_ERROR(file_->Sync());
  KVORUM_RETURN_IF_ERROR(file_->Close());
  file_.reset();
  KVORUM_RETURN_IF_ERROR(env_->Rename(temporary_path_, path_));
  exists_ = false;
  return env_->SyncDirectory(directory_);
}

}  // namespace kvorum::peer
