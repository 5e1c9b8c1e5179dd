#pragma once

#include <memory>
#include <utility>

#include "backend/memory_backend.h"

namespace kvorum::sim {

/// A database that is committed behind one of its writes, as its own thread may do at any time, and keeps how
/// it looked then: what a process that dies there leaves.
class TornBackend final : public backend::Backend {
 public:
  explicit TornBackend(backend::MemoryBackend* database) : database_(database) {}

  /// Behind the write that follows so many others from now on.
  void TearAfter(uint64_t writes) {
    left_ = writes + 1;
    image_.reset();
  }
  /// Null where it did not come to that write.
  std::unique_ptr<backend::MemoryBackend> TakeImage() {
    left_ = 0;
    return std::move(image_);
  }

  void BeginEntry() override {
    database_->BeginEntry();
    Written();
  }
  void EndEntry(backend::AppliedPosition position) override {
    database_->EndEntry(position);
    Written();
  }
  void Put(backend::Bucket bucket, std::string_view key, Bytes value) override {
    database_->Put(bucket, key, std::move(value));
    Written();
  }
  void Delete(backend::Bucket bucket, std::string_view key) override {
    database_->Delete(bucket, key);
    Written();
  }
  std::unique_ptr<backend::ReadView> NewReadView() override { return database_->NewReadView(); }
  backend::AppliedPosition applied() const override { return database_->applied(); }
  void Commit(absl::AnyInvocable<void(absl::Status)> done) override { database_->Commit(std::move(done)); }
  backend::Sizes sizes() const override { return database_->sizes(); }
  void Defragment(absl::AnyInvocable<void(absl::Status)> done) override {
    database_->Defragment(std::move(done));
  }
  void Replace(std::unique_ptr<backend::ReadView> content, backend::AppliedPosition position,
               absl::AnyInvocable<void(absl::Status)> done) override {
    database_->Replace(std::move(content), position, std::move(done));
  }
  absl::Status Close() override { return database_->Close(); }

 private:
  void Written() {
    if (left_ == 0 || --left_ != 0) return;
    database_->CommitNow();
    image_ = database_->Crash();
  }

  backend::MemoryBackend* const database_;
  uint64_t left_ = 0;  // 0: it is not torn
  std::unique_ptr<backend::MemoryBackend> image_;
};

}  // namespace kvorum::sim
