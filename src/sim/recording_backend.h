#pragma once

#include <bit>
#include <functional>
#include <memory>
#include <string_view>

#include "backend/backend.h"
#include "sim/recorder.h"

namespace kvorum::sim {

/// A member's database, with a note of every entry that is applied to it.
class RecordingBackend final : public backend::Backend {
 public:
  /// All borrowed. `durable` is kept at the position up to which the database has everything on its disk.
  RecordingBackend(backend::Backend* inner, Recorder* recorder, MemberId member, uint64_t* durable)
      : inner_(*inner), recorder_(*recorder), member_(member), durable_(*durable) {
    durable_ = inner_.applied().index;
  }

  void BeginEntry() override {
    hash_ = kNothing;
    inner_.BeginEntry();
  }
  void EndEntry(backend::AppliedPosition position) override;
  void Put(backend::Bucket bucket, std::string_view key, Bytes value) override;
  void Delete(backend::Bucket bucket, std::string_view key) override;
  void Commit(absl::AnyInvocable<void(absl::Status)> done) override;
  void Replace(std::unique_ptr<backend::ReadView> content, backend::AppliedPosition position,
               absl::AnyInvocable<void(absl::Status)> done) override;

  std::unique_ptr<backend::ReadView> NewReadView() override { return inner_.NewReadView(); }
  backend::AppliedPosition applied() const override { return inner_.applied(); }
  backend::Sizes sizes() const override { return inner_.sizes(); }
  void Defragment(absl::AnyInvocable<void(absl::Status)> done) override {
    inner_.Defragment(std::move(done));
  }
  absl::Status Close() override { return inner_.Close(); }

 private:
  static constexpr uint64_t kNothing = 0xcbf29ce484222325;
  /// What it is compared with was made by the same run.
  void Hash(uint64_t fact) { hash_ = (std::rotl(hash_, 23) ^ fact) * 0xbf58476d1ce4e5b9; }
  void Hash(std::string_view bytes) { Hash(std::hash<std::string_view>()(bytes)); }

  backend::Backend& inner_;
  Recorder& recorder_;
  const MemberId member_;
  uint64_t& durable_;
  uint64_t hash_ = kNothing;  // of what the entry that is being applied wrote
};

}  // namespace kvorum::sim
