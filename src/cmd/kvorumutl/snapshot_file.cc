#include "cmd/kvorumutl/snapshot_file.h"

#include <openssl/evp.h>

#include <algorithm>
#include <memory>
#include <span>
#include <string_view>

#include "absl/container/flat_hash_set.h"
#include "base/crc32c.h"
#include "base/status.h"
#include "bbolt/bbolt_format.h"
#include "bbolt/database.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "mvcc/record_format.h"

namespace kvorum::utl {
namespace {

constexpr size_t kSumBytes = 32;
/// A database is a multiple of this long.
constexpr uint64_t kDatabaseUnit = 512;

/// "[1 2 255]", as Go prints bytes.
std::string GoBytes(std::string_view bytes) {
  return fmt::format("[{}]",
                     fmt::join(std::span(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()), " "));
}

/// Reads along the records which keys there are.
class KeyCounter {
 public:
  absl::Status Add(std::string_view revision_key, std::string_view value) {
    const std::optional<mvcc::ParsedRevision> at = mvcc::ParseRevisionKey(revision_key);
    if (!at) return absl::DataLossError("invalid revision key in bucket key");
    const std::optional<mvcc::Record> record = mvcc::ParseRecord(value);
    if (!record) return absl::DataLossError("invalid record in bucket key");
    revision_ = at->revision.main;
    if (at->tombstone) {
      keys_.erase(record->key);
    } else {
      keys_.insert(record->key);
    }
    return absl::OkStatus();
  }
  int64_t revision() const { return revision_; }
  size_t count() const { return keys_.size(); }

 private:
  int64_t revision_ = 0;
  absl::flat_hash_set<std::string_view> keys_;  // into the file
};

}  // namespace

absl::StatusOr<SnapshotStatus> ReadSnapshotStatus(const std::string& path) {
  KVORUM_ASSIGN_OR_RETURN(const auto database, bbolt::Database::Open(path));
  SnapshotStatus status;
  KeyCounter keys;
  absl::Status damaged;
  for (const bbolt::Database::Bucket& bucket : database->buckets()) {
    status.hash = Crc32c(status.hash, bucket.name);
    database->Scan(bucket, {}, {}, [&](std::string_view key, std::string_view value) {
      status.hash = Crc32c(Crc32c(status.hash, key), value);
      if (bucket.name == "key") damaged = keys.Add(key, value);
      return damaged.ok();
    });
    KVORUM_RETURN_IF_ERROR(damaged);
  }
  if (const bbolt::Database::Bucket* meta = database->FindBucket("meta"); meta != nullptr) {
    status.version = database->Get(*meta, "storageVersion").value_or(std::string_view());
  }
  status.revision = keys.revision();
  status.total_keys = keys.count();
  status.total_bytes = database->used_bytes();
  return status;
}

absl::Status CheckSum(Env& env, const std::string& path, SumCheck check) {
  if (check == SumCheck::kSkip) return absl::OkStatus();
  KVORUM_ASSIGN_OR_RETURN(const uint64_t size, env.FileSize(path));
  if (size % kDatabaseUnit != kSumBytes) {
    return absl::FailedPreconditionError("snapshot missing hash but --skip-hash-check=false");
  }
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> digest(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  EVP_DigestInit_ex(digest.get(), EVP_sha256(), nullptr);
  const uint64_t end = size - kSumBytes;
  constexpr uint64_t kPieceBytes = 1 << 20;
  for (uint64_t at = 0; at < end; at += kPieceBytes) {
    std::string piece;
    KVORUM_RETURN_IF_ERROR(env.ReadRange(path, at, std::min(kPieceBytes, end - at), &piece));
    EVP_DigestUpdate(digest.get(), piece.data(), piece.size());
  }
  std::string computed(kSumBytes, '\0');
  EVP_DigestFinal_ex(digest.get(), reinterpret_cast<unsigned char*>(computed.data()), nullptr);
  std::string expected;
  KVORUM_RETURN_IF_ERROR(env.ReadRange(path, end, kSumBytes, &expected));
  if (computed == expected) return absl::OkStatus();
  return absl::DataLossError(fmt::format("expected sha256 {}, got {}", GoBytes(expected), GoBytes(computed)));
}

}  // namespace kvorum::utl
