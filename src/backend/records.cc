#include "backend/records.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

#include "absl/strings/escaping.h"
#include "backend/backend_format.h"
#include "base/crc32c.h"
#include "base/status.h"
#include "fmt/format.h"

namespace kvorum::backend {
namespace {

std::string_view ViewOf(const MDB_val& v) { return {static_cast<const char*>(v.mv_data), v.mv_size}; }
/// LMDB takes pointers to non-const but does not write through them.
MDB_val ValueOf(std::string_view v) { return {.mv_size = v.size(), .mv_data = const_cast<char*>(v.data())}; }

uint32_t LoadLittleEndian32(const char* in) {
  return static_cast<uint32_t>(static_cast<uint8_t>(in[0])) |
         static_cast<uint32_t>(static_cast<uint8_t>(in[1])) << 8 |
         static_cast<uint32_t>(static_cast<uint8_t>(in[2])) << 16 |
         static_cast<uint32_t>(static_cast<uint8_t>(in[3])) << 24;
}
void StoreLittleEndian32(uint32_t v, char* out) {
  for (int i = 0; i < 4; ++i, v >>= 8) out[i] = static_cast<char>(v);
}

uint32_t Checksum(std::string_view key, std::string_view value) { return Crc32c(Crc32c(0, key), value); }

absl::Status Damaged(const Table& table, std::string_view key, std::string_view what) {
  return absl::DataLossError(fmt::format("{}: {} in bucket {}, key \"{}\"", table.path, what,
                                         BucketName(table.bucket),
                                         absl::CHexEscape({key.data(), key.size()})));
}

absl::StatusOr<std::string_view> Unchecked(const Table& table, std::string_view key,
                                           std::string_view stored) {
  if (stored.size() < kChecksumBytes) return Damaged(table, key, "record too short");
  return stored.substr(0, stored.size() - kChecksumBytes);
}

absl::StatusOr<std::string_view> WithoutChecksum(const Table& table, std::string_view key,
                                                 std::string_view stored) {
  KVORUM_ASSIGN_OR_RETURN(const std::string_view value, Unchecked(table, key, stored));
  KVORUM_RETURN_IF_ERROR(CheckRecord(table, key, value));
  return value;
}

absl::Status PutStored(const Table& table, std::string_view key, std::string_view value, unsigned flags) {
  MDB_val k = ValueOf(key);
  MDB_val v = {.mv_size = value.size() + kChecksumBytes, .mv_data = nullptr};
  const int rc = mdb_put(table.txn, table.dbi, &k, &v, flags | MDB_RESERVE);
  if (rc != 0) return LmdbError(rc, "write to", table.path);
  char* out = static_cast<char*>(v.mv_data);
  if (!value.empty()) std::memcpy(out, value.data(), value.size());
  StoreLittleEndian32(Checksum(key, value), out + value.size());
  return absl::OkStatus();
}

absl::Status DeleteStored(const Table& table, std::string_view key) {
  MDB_val k = ValueOf(key);
  const int rc = mdb_del(table.txn, table.dbi, &k, nullptr);
  if (rc != 0 && rc != MDB_NOTFOUND) return LmdbError(rc, "delete from", table.path);
  return absl::OkStatus();
}

absl::StatusOr<std::optional<std::string_view>> GetStored(const Table& table, std::string_view key) {
  MDB_val k = ValueOf(key);
  MDB_val v;
  const int rc = mdb_get(table.txn, table.dbi, &k, &v);
  if (rc == MDB_NOTFOUND) return std::nullopt;
  if (rc != 0) return LmdbError(rc, "read", table.path);
  KVORUM_ASSIGN_OR_RETURN(const std::string_view value, WithoutChecksum(table, key, ViewOf(v)));
  return value;
}

std::string BagKey(std::string_view key) {
  std::string bag_key(key.substr(0, kMaxPlainKeyBytes));
  bag_key += '\0';
  return bag_key;
}

constexpr unsigned kTryAfterMisses = 4;

/// Takes one piece, its size in four bytes before it, from the front of `*bag`.
bool TakePiece(std::string_view* bag, std::string_view* piece) {
  if (bag->size() < 4) return false;
  const uint32_t size = LoadLittleEndian32(bag->data());
  if (size > bag->size() - 4) return false;
  *piece = bag->substr(4, size);
  bag->remove_prefix(4 + size);
  return true;
}

void AppendPiece(std::string& bag, std::string_view piece) {
  char size[4];
  StoreLittleEndian32(static_cast<uint32_t>(piece.size()), size);
  bag.append(size, 4);
  bag += piece;
}

/// Puts, or with no value deletes, one record of the bag that `key` belongs to.
absl::Status ChangeBag(const Table& table, std::string_view key, std::optional<std::string_view> value) {
  const std::string bag_key = BagKey(key);
  KVORUM_ASSIGN_OR_RETURN(const std::optional<std::string_view> old, GetStored(table, bag_key));
  std::string_view rest = old.value_or("");
  std::map<std::string_view, std::string_view> records;
  while (!rest.empty()) {
    std::string_view k;
    std::string_view v;
    if (!TakePiece(&rest, &k) || !TakePiece(&rest, &v)) return Damaged(table, bag_key, "malformed bag");
    records.emplace(k, v);
  }
  if (value) {
    records.insert_or_assign(key, *value);
  } else {
    records.erase(key);
  }
  if (records.empty()) return DeleteStored(table, bag_key);
  std::string bag;
  for (const auto& [k, v] : records) {
    AppendPiece(bag, k);
    AppendPiece(bag, v);
  }
  return PutStored(table, bag_key, bag, 0);
}

}  // namespace

absl::Status LmdbError(int code, std::string_view action, std::string_view path) {
  const std::string text = fmt::format("{} {}: {}", action, path, mdb_strerror(code));
  switch (code) {
    case MDB_MAP_FULL:
      return absl::ResourceExhaustedError(fmt::format("{} (the database may not grow any further)", text));
    case ENOSPC:
    case EDQUOT:
      return absl::ResourceExhaustedError(text);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(text);
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_CURSOR_FULL:
      return absl::DataLossError(text);
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_INCOMPATIBLE:
      return absl::FailedPreconditionError(text);
    default:
      return absl::InternalError(text);
  }
}

absl::Status PutRecord(const Table& table, std::string_view key, std::string_view value, Place place) {
  if (key.size() > kMaxPlainKeyBytes) return ChangeBag(table, key, value);
  return PutStored(table, key, value, place == Place::kBehindAll ? MDB_APPEND : 0);
}

absl::Status DeleteRecord(const Table& table, std::string_view key) {
  if (key.size() > kMaxPlainKeyBytes) return ChangeBag(table, key, std::nullopt);
  return DeleteStored(table, key);
}

absl::StatusOr<std::optional<std::string_view>> GetRecord(const Table& table, std::string_view key) {
  if (key.size() <= kMaxPlainKeyBytes) return GetStored(table, key);
  const std::string bag_key = BagKey(key);
  KVORUM_ASSIGN_OR_RETURN(const std::optional<std::string_view> bag, GetStored(table, bag_key));
  std::string_view rest = bag.value_or("");
  while (!rest.empty()) {
    std::string_view k;
    std::string_view v;
    if (!TakePiece(&rest, &k) || !TakePiece(&rest, &v)) return Damaged(table, bag_key, "malformed bag");
    if (k == key) return v;
  }
  return std::nullopt;
}

absl::Status CheckRecord(const Table& table, std::string_view key, std::string_view value) {
  if (LoadLittleEndian32(value.data() + value.size()) == Checksum(key, value)) return absl::OkStatus();
  return Damaged(table, key, "checksum mismatch");
}

RecordCursor::~RecordCursor() {
  if (cursor_ != nullptr) mdb_cursor_close(cursor_);
}

absl::Status RecordCursor::Open() {
  if (cursor_ != nullptr) return absl::OkStatus();
  const int rc = mdb_cursor_open(table_.txn, table_.dbi, &cursor_);
  return rc == 0 ? absl::OkStatus() : LmdbError(rc, "read", table_.path);
}

absl::StatusOr<std::optional<std::string_view>> RecordCursor::Find(std::string_view key) {
  KVORUM_ASSIGN_OR_RETURN(const std::optional<Located> located, Locate(key));
  if (!located) return std::nullopt;
  if (!located->checked) KVORUM_RETURN_IF_ERROR(CheckRecord(table_, key, located->value));
  return located->value;
}

absl::StatusOr<std::optional<Located>> RecordCursor::Locate(std::string_view key) {
  if (key.size() > kMaxPlainKeyBytes) {
    KVORUM_ASSIGN_OR_RETURN(const std::optional<std::string_view> value, GetRecord(table_, key));
    if (!value) return std::nullopt;
    return Located{.value = *value};
  }
  KVORUM_RETURN_IF_ERROR(Open());
  MDB_val k;
  MDB_val v;
  if (try_next_ && mdb_cursor_get(cursor_, &k, &v, MDB_NEXT) == 0 && ViewOf(k) == key) {
    KVORUM_ASSIGN_OR_RETURN(const std::string_view value, Unchecked(table_, key, ViewOf(v)));
    return Located{.value = value, .checked = false};
  }
  // What is asked for in order is often the next record, but where it was not, the try only costs time; now
  // and then another one shows whether that has changed.
  try_next_ = ++misses_ % kTryAfterMisses == 0;
  k = ValueOf(key);
  // Looks at the page it stands on before it walks down from the root.
  const int rc = mdb_cursor_get(cursor_, &k, &v, MDB_SET);
  if (rc == MDB_NOTFOUND) return std::nullopt;
  if (rc != 0) return LmdbError(rc, "read", table_.path);
  KVORUM_ASSIGN_OR_RETURN(const std::string_view value, Unchecked(table_, key, ViewOf(v)));
  return Located{.value = value, .checked = false};
}

absl::Status RecordCursor::Seek(std::string_view from) {
  KVORUM_RETURN_IF_ERROR(Open());
  if (from.empty()) return Step(MDB_FIRST, "");
  if (from.size() <= kMaxPlainKeyBytes) return Step(MDB_SET_RANGE, from);
  KVORUM_RETURN_IF_ERROR(Step(MDB_SET_RANGE, BagKey(from)));
  while (valid_ && key_ < from) KVORUM_RETURN_IF_ERROR(Next());
  return absl::OkStatus();
}

absl::Status RecordCursor::Next() {
  if (!bag_.empty()) return TakeFromBag();
  return Step(MDB_NEXT, "");
}

absl::Status RecordCursor::Step(MDB_cursor_op operation, std::string_view from) {
  valid_ = false;
  bag_ = {};
  MDB_val k = ValueOf(from);
  MDB_val v;
  const int rc = mdb_cursor_get(cursor_, &k, &v, operation);
  if (rc == MDB_NOTFOUND) return absl::OkStatus();
  if (rc != 0) return LmdbError(rc, "read", table_.path);
  key_ = ViewOf(k);
  KVORUM_ASSIGN_OR_RETURN(value_, WithoutChecksum(table_, key_, ViewOf(v)));
  if (key_.size() > kMaxPlainKeyBytes) {
    bag_ = value_;
    return TakeFromBag();
  }
  valid_ = true;
  return absl::OkStatus();
}

absl::Status RecordCursor::TakeFromBag() {
  valid_ = TakePiece(&bag_, &key_) && TakePiece(&bag_, &value_);
  return valid_ ? absl::OkStatus() : Damaged(table_, key_, "malformed bag");
}

}  // namespace kvorum::backend
