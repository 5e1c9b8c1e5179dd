#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "backend/backend_format.h"
#include "backend/lmdb_backend.h"
#include "base/check.h"

namespace kvorum::backend {

// What backend_crash_child applies and backend_crash_test expects: entries whose content follows from their
// index.

inline constexpr int kReportFd = 3;    ///< the child writes durable indexes here, 8 bytes each
inline constexpr uint64_t kKept = 40;  ///< revisions; older ones are deleted

inline std::string CrashRevision(uint64_t main, uint64_t sub) {
  std::string key(17, '_');
  EncodeBigEndian64(main, key.data());
  EncodeBigEndian64(sub, key.data() + 9);
  return key;
}
inline std::string CrashValue(uint64_t main, uint64_t sub) {
  return std::string(main * 37 % 700, 'v') + std::to_string(main) + "/" + std::to_string(sub);
}
inline uint64_t CrashSubs(uint64_t main) { return main % 4; }

/// Commits often.
inline std::unique_ptr<Backend> OpenForCrash(const std::string& directory) {
  LmdbOptions options;
  options.directory = directory;
  options.map_size_bytes = 256 << 20;
  options.batch_interval = std::chrono::milliseconds(1);
  options.batch_limit_writes = 23;
  auto backend = OpenLmdbBackend(std::move(options));
  KVORUM_CHECK(backend.ok(), "{}", backend.status().ToString());
  return *std::move(backend);
}

inline void ApplyCrashEntry(Backend& backend, uint64_t i) {
  backend.BeginEntry();
  for (uint64_t sub = 0; sub < CrashSubs(i); ++sub) {
    backend.Put(Bucket::kKey, CrashRevision(i, sub), Bytes::Copy(CrashValue(i, sub)));
  }
  for (uint64_t sub = 0; i > kKept && sub < CrashSubs(i - kKept); ++sub) {
    backend.Delete(Bucket::kKey, CrashRevision(i - kKept, sub));
  }
  backend.Put(Bucket::kLease, CrashRevision(i % 5, 0), Bytes::Copy(std::to_string(i)));
  if (i % 3 == 0) backend.Delete(Bucket::kLease, CrashRevision((i + 1) % 5, 0));
  backend.EndEntry({.index = i, .term = 1 + i / 100});
}

}  // namespace kvorum::backend
