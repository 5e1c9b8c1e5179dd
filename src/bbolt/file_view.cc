#include <array>
#include <utility>

#include "backend/backend_format.h"
#include "base/status.h"
#include "bbolt/bbolt.h"
#include "bbolt/database.h"
#include "fmt/format.h"

namespace kvorum::bbolt {
namespace {

using backend::Bucket;

class FileView final : public backend::ReadView {
 public:
  FileView(std::unique_ptr<Database> database, const std::string& path, Logger* logger)
      : database_(std::move(database)) {
    size_t known = 0;
    for (size_t i = 0; i < backend::kBucketCount; ++i) {
      buckets_[i] = database_->FindBucket(BucketName(static_cast<Bucket>(i)));
      if (buckets_[i] != nullptr) ++known;
    }
    if (known == database_->buckets().size()) return;
    for (const Database::Bucket& bucket : database_->buckets()) {
      if (std::find(buckets_.begin(), buckets_.end(), &bucket) != buckets_.end()) continue;
      KVORUM_LOG(*logger, kWarn, "left out a bucket that is not known", {"path", path},
                 {"bucket", bucket.name});
    }
  }

  absl::StatusOr<std::optional<std::string_view>> Get(Bucket bucket, std::string_view key) override {
    const Database::Bucket* found = buckets_[static_cast<size_t>(bucket)];
    if (found == nullptr) return std::nullopt;
    return database_->Get(*found, key);
  }

  absl::Status Scan(Bucket bucket, std::string_view from, std::string_view to,
                    absl::FunctionRef<bool(std::string_view, std::string_view)> visit) override {
    const Database::Bucket* found = buckets_[static_cast<size_t>(bucket)];
    if (found != nullptr) database_->Scan(*found, from, to, visit);
    return absl::OkStatus();
  }

 private:
  const std::unique_ptr<Database> database_;
  std::array<const Database::Bucket*, backend::kBucketCount> buckets_{};  ///< null where there is none
};

}  // namespace

absl::StatusOr<std::unique_ptr<backend::ReadView>> OpenFile(const std::string& path, Logger* logger) {
  KVORUM_ASSIGN_OR_RETURN(auto database, Database::Open(path));
  return std::make_unique<FileView>(std::move(database), path, logger);
}

absl::StatusOr<backend::AppliedPosition> PositionOf(backend::ReadView& file) {
  backend::AppliedPosition position;
  for (const auto& [key, number] : {std::pair(backend::kConsistentIndexKey, &position.index),
                                    std::pair(backend::kTermKey, &position.term)}) {
    KVORUM_ASSIGN_OR_RETURN(const auto value, file.Get(Bucket::kMeta, key));
    if (!value) continue;
    if (value->size() != 8) {
      return absl::DataLossError(fmt::format("a {} of {} bytes in bucket meta", key, value->size()));
    }
    *number = backend::DecodeBigEndian64(*value);
  }
  return position;
}

}  // namespace kvorum::bbolt
