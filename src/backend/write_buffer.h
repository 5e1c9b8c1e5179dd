#pragma once

#include <array>
#include <atomic>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "backend/backend.h"
#include "base/bytes.h"
#include "base/check.h"

namespace kvorum::backend {

/// A short key in place: revisions have 17 or 18 bytes.
class InlineKey {
 public:
  static constexpr size_t kMaxSize = 23;

  /// REQUIRES: key.size() <= kMaxSize
  explicit InlineKey(std::string_view key) : size_(static_cast<uint8_t>(key.size())) {
    KVORUM_CHECK(key.size() <= kMaxSize, "a key of {} bytes", key.size());
    std::memcpy(data_, key.data(), key.size());
  }
  std::string_view view() const { return {data_, size_}; }

 private:
  char data_[kMaxSize];
  uint8_t size_;
};

/// Records that one thread appends in the order of their keys while others read what is there already,
/// without a lock: records never move, and `size()` is raised after a record is complete.
class AppendLog {
 public:
  struct Record {
    InlineKey key;
    Bytes value;
  };

  AppendLog() = default;
  ~AppendLog();
  AppendLog(const AppendLog&) = delete;
  AppendLog& operator=(const AppendLog&) = delete;

  /// REQUIRES: `key` is above all keys before it and no longer than InlineKey::kMaxSize
  void Append(std::string_view key, Bytes value);

  size_t size() const { return size_.load(std::memory_order_acquire); }
  /// REQUIRES: i < size()
  const Record& at(size_t i) const;
  /// The first of the first `count` records whose key is not below `key`; `count` where there is none.
  size_t LowerBound(std::string_view key, size_t count) const;

 private:
  /// Chunk c holds kFirstChunk << c records, so that few chunks reach far and none ever moves.
  static constexpr size_t kFirstChunk = 256;
  static constexpr size_t kMaxChunks = 24;

  std::array<std::atomic<Record*>, kMaxChunks> chunks_{};
  std::atomic<size_t> size_{0};  // written by the one writer
};

/// What a buffer knows of a key.
struct Finding {
  enum class Kind : uint8_t { kUnknown, kDeleted, kPresent };
  Kind kind = Kind::kUnknown;
  std::string_view value;  ///< of kPresent; lives as long as the buffer
};

/// Changes of one bucket, each with its place in the sequence of all changes, so that a reader sees those up
/// to its own. Thread-safe. Nothing is forgotten: views of keys and values live as long as the log does.
class OrderedLog {
 public:
  /// A null value deletes.
  void Change(std::string_view key, Bytes value, uint64_t sequence);
  Finding Find(std::string_view key, uint64_t sequence) const;
  /// Lays the changes in [from, to) up to `sequence` over `onto`; deletions as kDeleted.
  void Overlay(std::string_view from, std::string_view to, uint64_t sequence,
               std::map<std::string_view, Finding>& onto) const;
  bool empty() const { return empty_.load(std::memory_order_acquire); }

 private:
  struct Version {
    uint64_t sequence;
    Bytes value;
  };
  static Finding At(const absl::InlinedVector<Version, 1>& versions, uint64_t sequence);

  std::atomic<bool> empty_{true};  // spares readers the lock
  mutable absl::Mutex mutex_;
  std::map<std::string, absl::InlinedVector<Version, 1>, std::less<>> changes_ ABSL_GUARDED_BY(mutex_);
};

/// One change, as it is to be applied to the database.
struct BufferedChange {
  Bucket bucket;
  std::string_view key;
  std::optional<std::string_view> value;  ///< none deletes
  bool appended = false;                  ///< above every key that the bucket ever had
};

/// The changes between two commits. Written by one thread until it is sealed; read by any. What is put into
/// Bucket::kKey above all earlier keys goes into an AppendLog, deletions there into a list that no reader
/// looks at, everything else into OrderedLogs.
class WriteBuffer {
 public:
  /// `last_key` is the highest key that Bucket::kKey ever had.
  explicit WriteBuffer(std::string last_key) : last_key_(std::move(last_key)) {}

  // The writer's side.

  /// `sequence` numbers the changes of the whole backend.
  void Put(Bucket bucket, std::string_view key, Bytes value, uint64_t sequence);
  void Delete(Bucket bucket, std::string_view key, uint64_t sequence);
  void SetPosition(AppliedPosition position) { position_ = position; }
  uint64_t writes() const { return writes_; }
  /// About what it holds in memory.
  uint64_t bytes() const { return bytes_; }
  bool unchanged() const { return writes_ == 0 && !position_; }
  const std::string& last_key() const { return last_key_; }

  // Any thread's.

  /// How many records of Bucket::kKey were appended until now.
  size_t appended() const { return appended_.size(); }
  const AppendLog& append_log() const { return appended_; }
  const OrderedLog& ordered(Bucket bucket) const { return ordered_[static_cast<size_t>(bucket)]; }
  /// As of `sequence`, where `appended` records were appended.
  Finding Find(Bucket bucket, std::string_view key, uint64_t sequence, size_t appended) const;

  // After it was sealed.

  /// Every change, in an order in which they may be applied one after another, and at last the records of the
  /// applied position; until `apply` fails.
  absl::Status ForEachChange(absl::FunctionRef<absl::Status(const BufferedChange&)> apply) const;

  /// Called when this buffer is durable. Guarded by the backend's mutex.
  std::vector<absl::AnyInvocable<void(absl::Status)>> waiters;

 private:
  void Count(std::string_view key, size_t value_size);

  AppendLog appended_;
  std::array<OrderedLog, kBucketCount> ordered_;

  // The writer's, until sealed; then constant.
  std::string last_key_;
  std::vector<InlineKey> deleted_;  ///< in Bucket::kKey
  std::string highest_deleted_;
  std::optional<AppliedPosition> position_;
  uint64_t writes_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace kvorum::backend
