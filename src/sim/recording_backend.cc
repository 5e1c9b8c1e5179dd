#include "sim/recording_backend.h"

#include <utility>

namespace kvorum::sim {

void RecordingBackend::EndEntry(backend::AppliedPosition position) {
  const uint64_t before = inner_.applied().index;
  inner_.EndEntry(position);
  // What a snapshot brought besides its database is written at the snapshot's own position.
  if (position.index != before) recorder_.Applied(member_, position.index, position.term, hash_);
}

void RecordingBackend::Put(backend::Bucket bucket, std::string_view key, Bytes value) {
  Hash(static_cast<uint64_t>(bucket));
  Hash(key);
  Hash(value.view());
  inner_.Put(bucket, key, std::move(value));
}

void RecordingBackend::Delete(backend::Bucket bucket, std::string_view key) {
  Hash(static_cast<uint64_t>(bucket));
  Hash(key);
  inner_.Delete(bucket, key);
}

void RecordingBackend::Commit(absl::AnyInvocable<void(absl::Status)> done) {
  inner_.Commit([this, done = std::move(done)](absl::Status status) mutable {
    if (status.ok()) durable_ = inner_.applied().index;
    done(std::move(status));
  });
}

void RecordingBackend::Replace(std::unique_ptr<backend::ReadView> content, backend::AppliedPosition position,
                               absl::AnyInvocable<void(absl::Status)> done) {
  inner_.Replace(std::move(content), position,
                 [this, position, done = std::move(done)](absl::Status status) mutable {
                   if (status.ok()) {
                     recorder_.Installed(member_, position.index, position.term);
                     durable_ = position.index;
                   }
                   done(std::move(status));
                 });
}

}  // namespace kvorum::sim
