#include <filesystem>
#include <future>
#include <map>
#include <set>

#include "backend/backend_format.h"
#include "backend/lmdb_backend.h"
#include "backend/memory_backend.h"
#include "base/testing/temp_directory.h"
#include "gtest/gtest.h"
#include "rapidcheck.h"
#include "rapidcheck/gtest.h"

namespace kvorum::backend {
namespace {

using kvorum::testing::TempDirectory;

using ModelTable = std::map<std::string, std::string>;
using ModelTables = std::map<Bucket, ModelTable>;

/// The database as it should be.
struct Model {
  ModelTables tables;
  /// Records of Bucket::kKey that were deleted: a view may still have them.
  ModelTable deleted_keys;
  AppliedPosition position;

  void Put(Bucket bucket, const std::string& key, const std::string& value) { tables[bucket][key] = value; }
  void Delete(Bucket bucket, const std::string& key) {
    ModelTable& table = tables[bucket];
    const auto it = table.find(key);
    if (it == table.end()) return;
    if (bucket == Bucket::kKey) deleted_keys.insert(*it);
    table.erase(it);
  }
};

ModelTable Scan(ReadView& view, Bucket bucket, const std::string& from, const std::string& to) {
  ModelTable found;
  std::string last;
  const absl::Status status = view.Scan(bucket, from, to, [&](std::string_view key, std::string_view value) {
    RC_ASSERT(found.empty() || key > last);
    last = key;
    if (bucket == Bucket::kMeta) return true;  // the backend's own
    found.emplace(key, value);
    return true;
  });
  RC_ASSERT(status.ok());
  return found;
}

ModelTable Slice(const ModelTable& table, const std::string& from, const std::string& to) {
  return ModelTable(table.lower_bound(from),
                    to.empty() ? table.end() : table.lower_bound(std::max(from, to)));
}

/// `view` was made when the database was as `model`.
void CheckView(ReadView& view, const Model& model, Bucket bucket, const std::string& from,
               const std::string& to) {
  static const ModelTable kNothing;
  const auto it = model.tables.find(bucket);
  const ModelTable& table = it == model.tables.end() ? kNothing : it->second;
  const ModelTable expected = Slice(table, from, to);
  ModelTable found = Scan(view, bucket, from, to);
  if (bucket == Bucket::kKey) {
    for (const auto& [key, value] : Slice(model.deleted_keys, from, to)) {
      if (!expected.contains(key)) found.erase(key);
    }
  }
  RC_ASSERT(found == expected);
  for (const auto& [key, value] : expected) {
    const auto got = view.Get(bucket, key);
    RC_ASSERT(got.ok() && *got == value);
  }
  if (!table.contains(from) && !from.empty() && !model.deleted_keys.contains(from)) {
    RC_ASSERT(!view.Get(bucket, from)->has_value());
  }
}

std::string Revision(uint64_t main) {
  std::string key(17, '_');
  EncodeBigEndian64(main, key.data());
  EncodeBigEndian64(0, key.data() + 9);
  return key;
}

absl::Status Wait(absl::FunctionRef<void(absl::AnyInvocable<void(absl::Status)>)> start) {
  std::promise<absl::Status> done;
  start([&](absl::Status status) { done.set_value(std::move(status)); });
  return done.get_future().get();
}

/// Drives a backend and the model side by side.
class Driver {
 public:
  explicit Driver(std::unique_ptr<Backend> backend) : backend_(std::move(backend)) {}
  virtual ~Driver() = default;

  void Run() {
    const int steps = *rc::gen::inRange(1, 60);
    for (int i = 0; i < steps; ++i) Step();
    for (auto& [view, model] : views_) CheckAll(*view, model);
    views_.clear();
  }

 protected:
  /// A backend as after a crash; none where there is no such thing now.
  virtual std::unique_ptr<Backend> AfterCrash() = 0;
  virtual void Reopen() = 0;

  std::unique_ptr<Backend> backend_;

 private:
  void Change() {
    const Bucket bucket = *rc::gen::element(Bucket::kKey, Bucket::kKey, Bucket::kLease, Bucket::kAuthUsers);
    if (bucket == Bucket::kKey && *rc::gen::inRange(0, 3) > 0) {
      const std::string value(*rc::gen::inRange(0, 3000), static_cast<char>('a' + revision_ % 26));
      Put(bucket, Revision(++revision_), value);
    } else if (bucket == Bucket::kKey) {
      Delete(bucket, Revision(*rc::gen::inRange<uint64_t>(1, revision_ + 2)));
    } else {
      std::string key(1, static_cast<char>('a' + *rc::gen::inRange(0, 6)));
      if (*rc::gen::inRange(0, 4) == 0) key = std::string(509, 'c') + key;
      if (*rc::gen::inRange(0, 4) == 0) key += std::string(*rc::gen::inRange(500, 600), 'd');
      if (*rc::gen::inRange(0, 3) == 0) {
        Delete(bucket, key);
      } else {
        Put(bucket, key, std::to_string(++counter_));
      }
    }
  }
  void Put(Bucket bucket, const std::string& key, const std::string& value) {
    backend_->Put(bucket, key, Bytes::Copy(value));
    model_.Put(bucket, key, value);
  }
  void Delete(Bucket bucket, const std::string& key) {
    // A key is gone for good only where nobody looks any more: never one that is put later.
    backend_->Delete(bucket, key);
    model_.Delete(bucket, key);
  }

  void Step() {
    switch (*rc::gen::inRange(0, 12)) {
      case 0:
      case 1:
      case 2: {
        backend_->BeginEntry();
        const int changes = *rc::gen::inRange(0, 6);
        for (int i = 0; i < changes; ++i) Change();
        model_.position = {.index = model_.position.index + 1, .term = 1 + model_.position.index / 10};
        backend_->EndEntry(model_.position);
        break;
      }
      case 3:
      case 4:
        Change();
        break;
      case 5:
        RC_ASSERT(Wait([&](auto done) { backend_->Commit(std::move(done)); }).ok());
        committed_ = model_;
        break;
      case 6:
      case 7:
        views_.emplace_back(backend_->NewReadView(), model_);
        break;
      case 8:
        if (!views_.empty()) {
          const size_t i = *rc::gen::inRange<size_t>(0, views_.size());
          CheckSome(*views_[i].first, views_[i].second);
          views_.erase(views_.begin() + i);
        }
        break;
      case 9:
        RC_ASSERT(Wait([&](auto done) { backend_->Defragment(std::move(done)); }).ok());
        break;
      case 10: {
        const auto crashed = AfterCrash();
        RC_ASSERT(crashed->applied().index == committed_.position.index);
        RC_ASSERT(crashed->applied().term == committed_.position.term);
        // What is deleted is gone after a crash.
        Model exact = committed_;
        exact.deleted_keys.clear();
        CheckAll(*crashed->NewReadView(), exact);
        break;
      }
      case 11:
        views_.clear();
        Reopen();
        model_.deleted_keys.clear();
        committed_ = model_;
        break;
    }
    RC_ASSERT(backend_->applied().index == model_.position.index);
  }

  void CheckAll(ReadView& view, const Model& model) {
    for (const Bucket bucket : {Bucket::kKey, Bucket::kLease, Bucket::kAuthUsers}) {
      CheckView(view, model, bucket, "", "");
    }
  }
  void CheckSome(ReadView& view, const Model& model) {
    CheckView(view, model, Bucket::kKey, Revision(*rc::gen::inRange<uint64_t>(0, revision_ + 3)),
              Revision(*rc::gen::inRange<uint64_t>(0, revision_ + 3)));
    CheckView(view, model, Bucket::kLease, "b", "d");
    CheckView(view, model, Bucket::kAuthUsers, std::string(509, 'c') + "a" + std::string(550, 'd'), "");
    CheckAll(view, model);
  }

  Model model_;
  Model committed_;
  std::vector<std::pair<std::unique_ptr<ReadView>, Model>> views_;
  uint64_t revision_ = 0;
  int counter_ = 0;
};

class MemoryDriver final : public Driver {
 public:
  MemoryDriver() : Driver(MemoryBackend::Create()) {}

 private:
  std::unique_ptr<Backend> AfterCrash() override { return memory().Crash(); }
  void Reopen() override {
    memory().CommitNow();
    backend_ = memory().Crash();
  }
  MemoryBackend& memory() { return static_cast<MemoryBackend&>(*backend_); }
};

class LmdbDriver final : public Driver {
 public:
  LmdbDriver() : Driver(nullptr) { backend_ = Open(directory_.path()); }
  ~LmdbDriver() override { backend_->Close().IgnoreError(); }

 private:
  std::unique_ptr<Backend> Open(const std::string& directory) {
    LmdbOptions options;
    options.directory = directory;
    options.map_size_bytes = 256 << 20;
    options.batch_interval = std::chrono::hours(1);  // commits come when asked for
    auto backend = OpenLmdbBackend(std::move(options));
    RC_ASSERT(backend.ok());
    return *std::move(backend);
  }
  std::unique_ptr<Backend> AfterCrash() override {
    // The committer is idle between two steps, so a copy is what a process finds that comes after this one.
    crashed_.emplace();
    std::filesystem::copy(directory_.path(), crashed_->path(), std::filesystem::copy_options::recursive);
    return Open(crashed_->path());
  }
  void Reopen() override {
    RC_ASSERT(backend_->Close().ok());
    backend_ = Open(directory_.path());
  }

  TempDirectory directory_;
  std::optional<TempDirectory> crashed_;
};

RC_GTEST_PROP(BackendProperty, MemoryIsAsTheModel, ()) { MemoryDriver().Run(); }
RC_GTEST_PROP(BackendProperty, LmdbIsAsTheModel, ()) { LmdbDriver().Run(); }

}  // namespace
}  // namespace kvorum::backend
