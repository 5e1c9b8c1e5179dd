#include "backend/lmdb_env.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "backend/backend_format.h"
#include "base/env.h"
#include "base/status.h"
#include "fmt/format.h"

namespace kvorum::backend {
namespace {

/// Views that may be open at a time; LMDB maps 64 bytes for each, and looks only at those ever used.
constexpr unsigned kMaxReaders = 65'536;
constexpr mode_t kFileMode = 0600;
/// LMDB's two tables without a name: of free pages, and of tables.
constexpr MDB_dbi kFreePagesTable = 0;
constexpr MDB_dbi kMainTable = 1;
/// Where only few pages are read or written; address space.
constexpr uint64_t kSmallMapBytes = 1 << 20;

MDB_val ValueOf(std::string_view v) { return {.mv_size = v.size(), .mv_data = const_cast<char*>(v.data())}; }

std::string DataPath(const std::string& directory) { return fmt::format("{}/{}", directory, kDataFile); }

absl::StatusOr<MDB_env*> OpenEnv(const std::string& directory, uint64_t map_size_bytes, unsigned flags) {
  MDB_env* env = nullptr;
  int rc = mdb_env_create(&env);
  if (rc != 0) return LmdbError(rc, "open", directory);
  if ((rc = mdb_env_set_maxdbs(env, kBucketCount)) != 0 ||
      (rc = mdb_env_set_maxreaders(env, kMaxReaders)) != 0 ||
      (rc = mdb_env_set_mapsize(env, map_size_bytes)) != 0 ||
      (rc = mdb_env_open(env, directory.c_str(), flags | MDB_NOTLS, kFileMode)) != 0) {
    mdb_env_close(env);
    return LmdbError(rc, "open", DataPath(directory));
  }
  return env;
}

/// The pages that the newest meta page speaks of, in bytes.
uint64_t UsedFileBytes(MDB_env* env) {
  MDB_envinfo info;
  MDB_stat stat;
  mdb_env_info(env, &info);
  mdb_env_stat(env, &stat);
  return (info.me_last_pgno + 1) * stat.ms_psize;
}

/// Whether every page from `first` on is free, up to the last that the newest meta page speaks of. LMDB does
/// not write pages that a transaction took and gave back, so that the file may end before them.
absl::StatusOr<bool> AreFree(MDB_env* env, uint64_t first, const std::string& path) {
  MDB_envinfo info;
  mdb_env_info(env, &info);
  MDB_txn* txn = nullptr;
  int rc = mdb_txn_begin(env, nullptr, MDB_RDONLY, &txn);
  if (rc != 0) return LmdbError(rc, "read", path);
  const absl::Cleanup abort = [txn] { mdb_txn_abort(txn); };
  MDB_cursor* cursor = nullptr;
  if ((rc = mdb_cursor_open(txn, kFreePagesTable, &cursor)) != 0) return LmdbError(rc, "read", path);
  const absl::Cleanup close = [cursor] { mdb_cursor_close(cursor); };
  // Of each transaction: how many pages it freed, and their numbers.
  std::set<uint64_t> free;
  MDB_val key;
  MDB_val value;
  while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
    for (size_t at = sizeof(uint64_t); at + sizeof(uint64_t) <= value.mv_size; at += sizeof(uint64_t)) {
      uint64_t page;
      std::memcpy(&page, static_cast<const char*>(value.mv_data) + at, sizeof(page));
      if (page >= first && page <= info.me_last_pgno) free.insert(page);
    }
  }
  if (rc != MDB_NOTFOUND) return LmdbError(rc, "read", path);
  return free.size() == info.me_last_pgno + 1 - first;
}

/// Makes the file as long as its pages are, `used` bytes, where what is missing are free pages alone.
absl::Status AddFreePages(MDB_env* env, const std::string& path, uint64_t file_size, uint64_t used) {
  KVORUM_ASSIGN_OR_RETURN(const auto file, PosixEnv().OpenForWriting(path, Env::Create::kNever, kFileMode));
  // First, so that a table that is cut off is read as zeros, which LMDB refuses: beyond the end is a bus
  // error.
  KVORUM_RETURN_IF_ERROR(file->Truncate(used));
  MDB_stat stat;
  mdb_env_stat(env, &stat);
  const absl::StatusOr<bool> free = AreFree(env, file_size / stat.ms_psize, path);
  if (free.ok() && *free) return absl::OkStatus();
  KVORUM_RETURN_IF_ERROR(file->Truncate(file_size));
  return absl::DataLossError(fmt::format("{}: cut off at {} bytes of {}", path, file_size, used));
}

absl::Status CheckMarker(MDB_env* env, const std::string& path) {
  MDB_txn* txn = nullptr;
  int rc = mdb_txn_begin(env, nullptr, MDB_RDONLY, &txn);
  if (rc != 0) return LmdbError(rc, "read", path);
  const absl::Cleanup abort = [txn] { mdb_txn_abort(txn); };
  MDB_dbi main = 0;
  rc = mdb_dbi_open(txn, nullptr, 0, &main);
  if (rc != 0) return LmdbError(rc, "read", path);
  MDB_val key = ValueOf(kFormatKey);
  MDB_val value;
  rc = mdb_get(txn, main, &key, &value);
  if (rc == MDB_NOTFOUND || rc == MDB_INCOMPATIBLE) {
    return absl::FailedPreconditionError(fmt::format("{}: an LMDB file of another program", path));
  }
  if (rc != 0) return LmdbError(rc, "read", path);
  const std::string_view found(static_cast<const char*>(value.mv_data), value.mv_size);
  if (found != kFormatValue) {
    return absl::FailedPreconditionError(
        fmt::format("{}: database format \"{}\", expected \"{}\"", path, found, kFormatValue));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status LmdbEnv::Create(const std::string& directory) {
  KVORUM_ASSIGN_OR_RETURN(MDB_env * handle, OpenEnv(directory, kSmallMapBytes, 0));
  LmdbEnv env;
  env.env_ = handle;
  env.data_path_ = DataPath(directory);
  return env.OpenTables(MDB_CREATE);
}

absl::Status LmdbEnv::Validate(const std::string& directory) {
  const std::string path = DataPath(directory);
  KVORUM_ASSIGN_OR_RETURN(const uint64_t file_size, PosixEnv().FileSize(path));
  if (file_size == 0) return absl::DataLossError(fmt::format("{}: empty file", path));
  // Without LMDB's lock file, which it would make: the caller holds a lock of its own.
  absl::StatusOr<MDB_env*> env = OpenEnv(directory, kSmallMapBytes, MDB_RDONLY | MDB_NOLOCK);
  if (!env.ok()) return env.status();
  const absl::Cleanup close = [&] { mdb_env_close(*env); };
  if (const uint64_t used = UsedFileBytes(*env); used > file_size) {
    KVORUM_RETURN_IF_ERROR(AddFreePages(*env, path, file_size, used));
  }
  return CheckMarker(*env, path);
}

absl::StatusOr<std::shared_ptr<LmdbEnv>> LmdbEnv::Open(const std::string& directory, uint64_t map_size_bytes,
                                                       Durability durability) {
  std::shared_ptr<LmdbEnv> env(new LmdbEnv);
  env->data_path_ = DataPath(directory);
  const unsigned flags = durability == Durability::kOnSync ? MDB_NOSYNC : 0;
  KVORUM_ASSIGN_OR_RETURN(env->env_, OpenEnv(directory, map_size_bytes, flags));
  KVORUM_RETURN_IF_ERROR(env->OpenTables(0));
  return env;
}

LmdbEnv::~LmdbEnv() {
  absl::MutexLock lock(&mutex_);
  for (MDB_txn* txn : idle_reads_) mdb_txn_abort(txn);
  if (env_ != nullptr) mdb_env_close(env_);
}

absl::Status LmdbEnv::OpenTables(unsigned flags) {
  MDB_txn* txn = nullptr;
  int rc = mdb_txn_begin(env_, nullptr, flags == MDB_CREATE ? 0 : MDB_RDONLY, &txn);
  if (rc != 0) return LmdbError(rc, "open", data_path_);
  if (flags == MDB_CREATE) {
    MDB_val key = ValueOf(kFormatKey);
    MDB_val value = ValueOf(kFormatValue);
    rc = mdb_put(txn, kMainTable, &key, &value, 0);
  }
  for (size_t i = 0; i < kBucketCount && rc == 0; ++i) {
    rc = mdb_dbi_open(txn, std::string(BucketName(static_cast<Bucket>(i))).c_str(), flags, &tables_[i]);
  }
  if (rc == 0) {
    rc = mdb_txn_commit(txn);  // keeps the handles, also of a read transaction
  } else {
    mdb_txn_abort(txn);
  }
  if (rc == MDB_NOTFOUND) return absl::DataLossError(fmt::format("{}: a table is missing", data_path_));
  return rc == 0 ? absl::OkStatus() : LmdbError(rc, "open", data_path_);
}

absl::StatusOr<MDB_txn*> LmdbEnv::BeginRead() {
  MDB_txn* txn = nullptr;
  {
    absl::MutexLock lock(&mutex_);
    if (!idle_reads_.empty()) {
      txn = idle_reads_.back();
      idle_reads_.pop_back();
    }
  }
  const int rc = txn == nullptr ? mdb_txn_begin(env_, nullptr, MDB_RDONLY, &txn) : mdb_txn_renew(txn);
  if (rc == 0) return txn;
  if (txn != nullptr) mdb_txn_abort(txn);
  return LmdbError(rc, "read", data_path_);
}

void LmdbEnv::EndRead(MDB_txn* txn) {
  mdb_txn_reset(txn);
  absl::MutexLock lock(&mutex_);
  idle_reads_.push_back(txn);
}

absl::StatusOr<MDB_txn*> LmdbEnv::BeginWrite() {
  MDB_txn* txn = nullptr;
  const int rc = mdb_txn_begin(env_, nullptr, 0, &txn);
  if (rc != 0) return LmdbError(rc, "write to", data_path_);
  return txn;
}

absl::Status LmdbEnv::CommitWrite(MDB_txn* txn) {
  const int rc = mdb_txn_commit(txn);
  return rc == 0 ? absl::OkStatus() : LmdbError(rc, "commit to", data_path_);
}

absl::Status LmdbEnv::Sync() {
  const int rc = mdb_env_sync(env_, 1);
  return rc == 0 ? absl::OkStatus() : LmdbError(rc, "sync", data_path_);
}

absl::Status LmdbEnv::WriteOut(WaitFor wait_for) {
  int fd = -1;
  int rc = mdb_env_get_fd(env_, &fd);
  unsigned flags = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE;
  if (wait_for == WaitFor::kAll) flags |= SYNC_FILE_RANGE_WAIT_AFTER;
  if (rc == 0 && ::sync_file_range(fd, 0, 0, flags) != 0) rc = errno;
  return rc == 0 ? absl::OkStatus() : LmdbError(rc, "write to", data_path_);
}

absl::Status LmdbEnv::BecomeDurable() {
  KVORUM_RETURN_IF_ERROR(Sync());
  const int rc = mdb_env_set_flags(env_, MDB_NOSYNC, 0);
  return rc == 0 ? absl::OkStatus() : LmdbError(rc, "open", data_path_);
}

absl::StatusOr<AppliedPosition> LmdbEnv::ReadPosition() {
  KVORUM_ASSIGN_OR_RETURN(MDB_txn * txn, BeginRead());
  const absl::Cleanup end = [&] { EndRead(txn); };
  AppliedPosition position;
  for (const auto& [key, number] :
       {std::pair(kConsistentIndexKey, &position.index), std::pair(kTermKey, &position.term)}) {
    KVORUM_ASSIGN_OR_RETURN(const auto value, GetRecord(TableOf(txn, Bucket::kMeta), key));
    if (!value) continue;
    if (value->size() != 8) return absl::DataLossError(fmt::format("{}: malformed {}", data_path_, key));
    *number = DecodeBigEndian64(*value);
  }
  return position;
}

absl::StatusOr<std::string> LmdbEnv::LastKey() {
  KVORUM_ASSIGN_OR_RETURN(MDB_txn * txn, BeginRead());
  const absl::Cleanup end = [&] { EndRead(txn); };
  MDB_cursor* cursor = nullptr;
  int rc = mdb_cursor_open(txn, TableOf(txn, Bucket::kKey).dbi, &cursor);
  if (rc != 0) return LmdbError(rc, "read", data_path_);
  const absl::Cleanup close = [&] { mdb_cursor_close(cursor); };
  MDB_val key;
  MDB_val value;
  rc = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
  if (rc == MDB_NOTFOUND) return std::string();
  if (rc != 0) return LmdbError(rc, "read", data_path_);
  std::string last(static_cast<const char*>(key.mv_data), key.mv_size);
  if (last.size() <= kMaxPlainKeyBytes) return last;
  // The last record is in the bag.
  RecordCursor records(TableOf(txn, Bucket::kKey));
  KVORUM_RETURN_IF_ERROR(records.Seek(last));
  while (records.valid()) {
    last = records.key();
    KVORUM_RETURN_IF_ERROR(records.Next());
  }
  return last;
}

absl::StatusOr<Sizes> LmdbEnv::ReadSizes() {
  KVORUM_ASSIGN_OR_RETURN(MDB_txn * txn, BeginRead());
  const absl::Cleanup end = [&] { EndRead(txn); };
  uint64_t pages = 2;  // the meta pages
  uint64_t page_size = 0;
  const auto count = [&](MDB_dbi dbi) {
    MDB_stat stat;
    const int rc = mdb_stat(txn, dbi, &stat);
    if (rc != 0) return LmdbError(rc, "read", data_path_);
    pages += stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
    page_size = stat.ms_psize;
    return absl::OkStatus();
  };
  KVORUM_RETURN_IF_ERROR(count(kFreePagesTable));
  KVORUM_RETURN_IF_ERROR(count(kMainTable));
  for (const MDB_dbi dbi : tables_) KVORUM_RETURN_IF_ERROR(count(dbi));
  return Sizes{.total_bytes = static_cast<int64_t>(UsedFileBytes(env_)),
               .in_use_bytes = static_cast<int64_t>(pages * page_size)};
}

void LmdbEnv::Moved(const std::string& directory) { data_path_ = DataPath(directory); }

}  // namespace kvorum::backend
