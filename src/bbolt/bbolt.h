#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "backend/backend.h"
#include "base/log.h"

namespace kvorum::bbolt {

// etcd's database file (reference: bbolt-format.md, backend-schema.md), read and written. The tables in it
// have the names and records of backend::Bucket.

/// A file as a view, mapped into memory: for reading a database of etcd's and for taking over one that came
/// with a snapshot. Every page is checked before it is believed. A sha256 behind the database is left alone.
/// Buckets that we do not know are named in the log and left out. Errors: NotFound, DataLoss.
absl::StatusOr<std::unique_ptr<backend::ReadView>> OpenFile(const std::string& path, Logger* logger);

/// The applied position that the file's meta bucket says; zeros where it says none.
absl::StatusOr<backend::AppliedPosition> PositionOf(backend::ReadView& file);

/// Streams a view as a database file that etcd opens: the layout is computed in a first walk over the view,
/// so that the size is known and nothing is written to disk. Memory: what a walk and one chunk need, and a
/// few bytes for each page.
class FileStream {
 public:
  /// `position`: what the file's meta bucket is to say. Errors: DataLoss where a record is damaged.
  static absl::StatusOr<std::unique_ptr<FileStream>> Create(std::unique_ptr<backend::ReadView> view,
                                                            backend::AppliedPosition position);
  virtual ~FileStream() = default;
  virtual uint64_t size_bytes() const = 0;
  virtual uint64_t left_bytes() const = 0;
  /// The next bytes, at most `max_bytes`; empty at the end.
  virtual absl::StatusOr<Bytes> Next(size_t max_bytes) = 0;
};

}  // namespace kvorum::bbolt
