#include "backend/lmdb_backend.h"

#include <lmdb.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <thread>

#include "absl/strings/str_cat.h"
#include "backend/backend_format.h"
#include "backend/memory_backend.h"
#include "base/testing/temp_directory.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kvorum::backend {
namespace {

using kvorum::testing::TempDirectory;
using ::testing::HasSubstr;
using Records = std::vector<std::pair<std::string, std::string>>;

LmdbOptions Options(const TempDirectory& directory) {
  LmdbOptions options;
  options.directory = directory.path();
  options.map_size_bytes = uint64_t{1} << 30;
  options.batch_interval = std::chrono::hours(1);  // commits come when a test asks for them
  return options;
}

std::unique_ptr<Backend> Open(LmdbOptions options) {
  auto backend = OpenLmdbBackend(std::move(options));
  EXPECT_TRUE(backend.ok()) << backend.status();
  return *std::move(backend);
}

void Put(Backend& backend, Bucket bucket, std::string_view key, std::string_view value) {
  backend.Put(bucket, key, Bytes::Copy(value));
}

std::string Get(ReadView& view, Bucket bucket, std::string_view key) {
  auto value = view.Get(bucket, key);
  if (!value.ok()) return value.status().ToString();
  return value->has_value() ? std::string(**value) : "(none)";
}
std::string Get(Backend& backend, Bucket bucket, std::string_view key) {
  return Get(*backend.NewReadView(), bucket, key);
}

Records Scan(ReadView& view, Bucket bucket, std::string_view from = "", std::string_view to = "") {
  Records records;
  const absl::Status status = view.Scan(bucket, from, to, [&](std::string_view key, std::string_view value) {
    records.emplace_back(key, value);
    return true;
  });
  EXPECT_TRUE(status.ok()) << status;
  return records;
}

absl::Status Commit(Backend& backend) {
  std::promise<absl::Status> done;
  backend.Commit([&](absl::Status status) { done.set_value(std::move(status)); });
  return done.get_future().get();
}

absl::Status Defragment(Backend& backend) {
  std::promise<absl::Status> done;
  backend.Defragment([&](absl::Status status) { done.set_value(std::move(status)); });
  return done.get_future().get();
}

/// Starts to replace everything by `records`.
std::future<absl::Status> StartReplace(Backend& backend, const std::map<Bucket, Records>& records,
                                       AppliedPosition position) {
  const auto content = MemoryBackend::Create();
  for (const auto& [bucket, list] : records) {
    for (const auto& [key, value] : list) Put(*content, bucket, key, value);
  }
  auto done = std::make_shared<std::promise<absl::Status>>();
  backend.Replace(content->NewReadView(), position,
                  [done](absl::Status status) { done->set_value(std::move(status)); });
  return done->get_future();
}

std::string Revision(int64_t main, int64_t sub = 0) {
  std::string key(17, '_');
  EncodeBigEndian64(main, key.data());
  EncodeBigEndian64(sub, key.data() + 9);
  return key;
}

TEST(BackendLmdb, ReadsWhatWasPutBeforeAndAfterTheCommitAndAfterReopening) {
  TempDirectory directory;
  auto backend = Open(Options(directory));
  backend->BeginEntry();
  Put(*backend, Bucket::kKey, Revision(2), "v2");
  Put(*backend, Bucket::kAuthUsers, "root", "r");
  backend->EndEntry({.index = 5, .term = 2});
  EXPECT_EQ(Get(*backend, Bucket::kKey, Revision(2)), "v2");
  ASSERT_TRUE(Commit(*backend).ok());
  EXPECT_EQ(Get(*backend, Bucket::kKey, Revision(2)), "v2");
  Put(*backend, Bucket::kKey, Revision(3), "v3");
  EXPECT_TRUE(backend->Close().ok());
  backend.reset();
  backend = Open(Options(directory));
  EXPECT_EQ(Get(*backend, Bucket::kKey, Revision(2)), "v2");
  EXPECT_EQ(Get(*backend, Bucket::kKey, Revision(3)), "v3");
  EXPECT_EQ(Get(*backend, Bucket::kAuthUsers, "root"), "r");
  EXPECT_EQ(backend->applied().index, 5u);
  EXPECT_EQ(backend->applied().term, 2u);
  EXPECT_EQ(Get(*backend, Bucket::kMeta, kConsistentIndexKey), std::string("\0\0\0\0\0\0\0\5", 8));
}

TEST(BackendLmdb, AViewKeepsItsMomentThroughCommitsAndDeletions) {
  TempDirectory directory;
  auto backend = Open(Options(directory));
  Put(*backend, Bucket::kLease, "a", "1");
  ASSERT_TRUE(Commit(*backend).ok());
  Put(*backend, Bucket::kLease, "b", "2");
  Put(*backend, Bucket::kKey, Revision(1), "x");
  auto view = backend->NewReadView();
  Put(*backend, Bucket::kLease, "a", "3");
  backend->Delete(Bucket::kLease, "b");
  Put(*backend, Bucket::kKey, Revision(2), "y");
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Scan(*view, Bucket::kLease), (Records{{"a", "1"}, {"b", "2"}}));
    EXPECT_EQ(Get(*view, Bucket::kLease, "b"), "2");
    EXPECT_EQ(Scan(*view, Bucket::kKey), (Records{{Revision(1), "x"}}));
    EXPECT_EQ(Get(*view, Bucket::kKey, Revision(2)), "(none)");
    EXPECT_EQ(Scan(*backend->NewReadView(), Bucket::kLease), (Records{{"a", "3"}}));
    ASSERT_TRUE(Commit(*backend).ok());
  }
}

TEST(BackendLmdb, ACommitInsideAnEntryIsDoneAfterItsEnd) {
  TempDirectory directory;
  auto backend = Open(Options(directory));
  std::promise<AppliedPosition> done;
  backend->BeginEntry();
  Put(*backend, Bucket::kKey, Revision(1), "x");
  backend->Commit([&](absl::Status) { done.set_value(backend->applied()); });
  auto future = done.get_future();
  EXPECT_EQ(future.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  backend->EndEntry({.index = 9, .term = 1});
  EXPECT_EQ(future.get().index, 9u);
}

TEST(BackendLmdb, KeepsTheOrderOfLongKeys) {
  TempDirectory directory;
  auto backend = Open(Options(directory));
  const std::string p(510, 'p');
  const Records wanted = {{p, "1"},       {p + std::string(1, '\0'), "2"},
                          {p + "a", "3"}, {p + std::string(900, 'b'), "4"},
                          {p + "c", "5"}, {"q", "6"}};
  for (size_t i : {3u, 0u, 5u, 1u, 4u, 2u})
    Put(*backend, Bucket::kAuthUsers, wanted[i].first, wanted[i].second);
  EXPECT_EQ(Scan(*backend->NewReadView(), Bucket::kAuthUsers), wanted);
  ASSERT_TRUE(Commit(*backend).ok());
  auto view = backend->NewReadView();
  EXPECT_EQ(Scan(*view, Bucket::kAuthUsers), wanted);
  EXPECT_EQ(Get(*view, Bucket::kAuthUsers, p + "c"), "5");
  EXPECT_EQ(Scan(*view, Bucket::kAuthUsers, p + "a", p + "c"), (Records{wanted[2], wanted[3]}));
  backend->Delete(Bucket::kAuthUsers, p + "a");
  ASSERT_TRUE(Commit(*backend).ok());
  EXPECT_EQ(Get(*backend, Bucket::kAuthUsers, p + "a"), "(none)");
  EXPECT_EQ(Scan(*backend->NewReadView(), Bucket::kAuthUsers).size(), 5u);
}

TEST(BackendLmdb, NamesBucketAndKeyOfADamagedRecord) {
  TempDirectory directory;
  auto backend = Open(Options(directory));
  Put(*backend, Bucket::kCluster, "clusterVersion", "find-me-3.6.0");
  ASSERT_TRUE(backend->Close().ok());
  backend.reset();
  const std::string path = directory.path() + "/data.mdb";
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(file)), {});
  size_t found = 0;
  for (size_t at = bytes.find("find-me-"); at != std::string::npos; at = bytes.find("find-me-", at + 1)) {
    file.clear();
    file.seekp(at);
    file.put('F');
    ++found;
  }
  file.close();
  ASSERT_GE(found, 1u);
  backend = Open(Options(directory));
  auto view = backend->NewReadView();
  const absl::Status status = view->Get(Bucket::kCluster, "clusterVersion").status();
  EXPECT_TRUE(absl::IsDataLoss(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("bucket cluster, key \"clusterVersion\""));
  EXPECT_TRUE(absl::IsDataLoss(view->Scan(Bucket::kCluster, "", "", [](auto, auto) { return true; })));
  EXPECT_TRUE(absl::IsDataLoss(Defragment(*backend)));
  EXPECT_TRUE(Commit(*backend).ok());
}

TEST(BackendLmdb, ChecksALocatedRecordWhenItIsAsked) {
  TempDirectory directory;
  auto backend = Open(Options(directory));
  for (const char* key : {"k1", "k2", "k3"}) Put(*backend, Bucket::kKey, key, std::string("value of ") + key);
  {
    auto view = backend->NewReadView();
    const auto located = view->Locate(Bucket::kKey, "k2");
    ASSERT_TRUE(located.ok() && *located) << located.status();
    EXPECT_TRUE((*located)->checked) << "it is in memory only";
  }
  ASSERT_TRUE(backend->Close().ok());
  backend.reset();
  const std::string path = directory.path() + "/data.mdb";
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(file)), {});
  for (size_t at = bytes.find("value of k2"); at != std::string::npos;
       at = bytes.find("value of k2", at + 1)) {
    file.clear();
    file.seekp(at);
    file.put('V');
  }
  file.close();
  backend = Open(Options(directory));
  auto view = backend->NewReadView();
  size_t left_to_check = 0;
  for (int round = 0; round < 2; ++round) {
    for (const std::string key : {"k1", "k2", "k3"}) {
      const auto located = view->Locate(Bucket::kKey, key);
      ASSERT_TRUE(located.ok() && *located) << located.status();
      if ((*located)->checked) continue;
      ++left_to_check;
      const absl::Status status = view->Check(Bucket::kKey, key, (*located)->value);
      EXPECT_EQ(absl::IsDataLoss(status), key == "k2") << status;
    }
    EXPECT_TRUE(absl::IsDataLoss(view->Get(Bucket::kKey, "k2").status()));
  }
  EXPECT_GE(left_to_check, 5u);
  EXPECT_FALSE((*view->Locate(Bucket::kKey, "k4")).has_value());
}

TEST(BackendLmdb, LocatesInWhateverOrder) {
  TempDirectory directory;
  auto backend = Open(Options(directory));
  const auto key = [](int n) { return fmt::format("k{:04}", n); };
  for (int n = 0; n < 1000; n += 2) Put(*backend, Bucket::kKey, key(n), "value of " + key(n));
  ASSERT_TRUE(Commit(*backend).ok());
  auto view = backend->NewReadView();
  std::vector<int> wanted;
  for (int n = 0; n < 1002; n += 2) wanted.push_back(n);  // one after the other, and past the end
  for (int n = 0; n < 20; ++n) wanted.push_back(n);       // half of them are not there
  for (int n = 998; n >= 0; n -= 6) wanted.push_back(n);  // backwards
  for (int n = 0; n < 3000; n += 3) wanted.push_back((n * 7919 % 500) * 2);
  for (const int n : wanted) {
    const auto located = view->Locate(Bucket::kKey, key(n));
    ASSERT_TRUE(located.ok()) << located.status();
    ASSERT_EQ(located->has_value(), n % 2 == 0 && n < 1000) << n;
    if (*located) {
      ASSERT_EQ((*located)->value, "value of " + key(n));
    }
  }
}

TEST(BackendLmdb, RefusesASecondOwner) {
  TempDirectory directory;
  auto backend = Open(Options(directory));
  const auto second = OpenLmdbBackend(Options(directory));
  EXPECT_TRUE(absl::IsUnavailable(second.status()));
  EXPECT_THAT(second.status().ToString(), HasSubstr(directory.path()));
}

TEST(BackendLmdb, RefusesAFileThatIsNoDatabaseAndChangesNothing) {
  for (const std::string& content :
       {std::string("not a database at all"), std::string(8192, 'x'), std::string()}) {
    TempDirectory directory;
    const std::string path = directory.path() + "/data.mdb";
    std::ofstream(path) << content;
    const auto opened = OpenLmdbBackend(Options(directory));
    EXPECT_TRUE(absl::IsFailedPrecondition(opened.status()) || absl::IsDataLoss(opened.status()));
    EXPECT_THAT(opened.status().ToString(), HasSubstr(path));
    EXPECT_EQ(std::filesystem::file_size(path), content.size());
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory.path()), {}), 1);
  }
}

TEST(BackendLmdb, RefusesTheDatabaseOfAnotherProgram) {
  TempDirectory directory;
  MDB_env* env = nullptr;
  MDB_txn* txn = nullptr;
  MDB_dbi dbi = 0;
  ASSERT_EQ(mdb_env_create(&env), 0);
  ASSERT_EQ(mdb_env_open(env, directory.path().c_str(), 0, 0600), 0);
  ASSERT_EQ(mdb_txn_begin(env, nullptr, 0, &txn), 0);
  ASSERT_EQ(mdb_dbi_open(txn, nullptr, 0, &dbi), 0);
  MDB_val v = {.mv_size = 1, .mv_data = const_cast<char*>("x")};
  ASSERT_EQ(mdb_put(txn, dbi, &v, &v, 0), 0);
  ASSERT_EQ(mdb_txn_commit(txn), 0);
  mdb_env_close(env);
  const auto opened = OpenLmdbBackend(Options(directory));
  EXPECT_TRUE(absl::IsFailedPrecondition(opened.status())) << opened.status();
}

/// The stored bytes of `key` in the table `bucket`, as LMDB gives them.
std::string Stored(const std::string& directory, const char* bucket, std::string_view key) {
  MDB_env* env = nullptr;
  MDB_txn* txn = nullptr;
  MDB_dbi dbi = 0;
  MDB_val k = {.mv_size = key.size(), .mv_data = const_cast<char*>(key.data())};
  MDB_val v = {};
  EXPECT_EQ(mdb_env_create(&env), 0);
  EXPECT_EQ(mdb_env_set_maxdbs(env, kBucketCount), 0);
  EXPECT_EQ(mdb_env_open(env, directory.c_str(), MDB_RDONLY, 0600), 0);
  EXPECT_EQ(mdb_txn_begin(env, nullptr, MDB_RDONLY, &txn), 0);
  EXPECT_EQ(mdb_dbi_open(txn, bucket, 0, &dbi), 0);
  EXPECT_EQ(mdb_get(txn, dbi, &k, &v), 0);
  std::string stored(static_cast<const char*>(v.mv_data), v.mv_size);
  mdb_txn_abort(txn);
  mdb_env_close(env);
  return stored;
}

TEST(BackendLmdb, WritesTheBytesOfTheFormatsPage) {
  TempDirectory directory;
  auto backend = Open(Options(directory));
  Put(*backend, Bucket::kCluster, "clusterVersion", "3.7.0");
  const std::string prefix(510, 'p');
  Put(*backend, Bucket::kAuthRoles, prefix + "b", "2");
  Put(*backend, Bucket::kAuthRoles, prefix + "a", "");
  ASSERT_TRUE(backend->Close().ok());
  EXPECT_EQ(Stored(directory.path(), "cluster", "clusterVersion"), "3.7.0\x9b\x04\x73\x0f");
  std::string bag = Stored(directory.path(), "authRoles", prefix + std::string(1, '\0'));
  bag.resize(bag.size() - 4);
  const auto piece = [](std::string_view p) {
    return std::string{static_cast<char>(p.size()), static_cast<char>(p.size() >> 8), 0, 0} + std::string(p);
  };
  EXPECT_EQ(bag, piece(prefix + "a") + piece("") + piece(prefix + "b") + piece("2"));
}

TEST(BackendLmdb, RefusesAFileThatWasCutOff) {
  TempDirectory directory;
  auto backend = Open(Options(directory));
  for (int i = 1; i < 1000; ++i) Put(*backend, Bucket::kKey, Revision(i), std::string(100, 'v'));
  ASSERT_TRUE(backend->Close().ok());
  backend.reset();
  const std::string path = directory.path() + "/data.mdb";
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 8192);
  EXPECT_TRUE(absl::IsDataLoss(OpenLmdbBackend(Options(directory)).status()));
}

/// The bytes up to the last page that LMDB counts, free or not.
uint64_t CountedBytes(const std::string& directory) {
  MDB_env* env = nullptr;
  EXPECT_EQ(mdb_env_create(&env), 0);
  EXPECT_EQ(mdb_env_open(env, directory.c_str(), MDB_RDONLY | MDB_NOLOCK | MDB_NOTLS, 0600), 0);
  MDB_envinfo info;
  MDB_stat stat;
  mdb_env_info(env, &info);
  mdb_env_stat(env, &stat);
  mdb_env_close(env);
  return (info.me_last_pgno + 1) * stat.ms_psize;
}

/// One transaction in LMDB's own words: a large record comes and goes.
void PutAndDeleteLarge(const std::string& directory) {
  MDB_env* env = nullptr;
  MDB_txn* txn = nullptr;
  MDB_dbi dbi = 0;
  ASSERT_EQ(mdb_env_create(&env), 0);
  ASSERT_EQ(mdb_env_set_maxdbs(env, kBucketCount), 0);
  ASSERT_EQ(mdb_env_open(env, directory.c_str(), MDB_NOTLS, 0600), 0);
  ASSERT_EQ(mdb_txn_begin(env, nullptr, 0, &txn), 0);
  ASSERT_EQ(mdb_dbi_open(txn, "key", 0, &dbi), 0);
  std::string large(100'000, 'x');
  MDB_val small_key{.mv_size = 1, .mv_data = large.data()};
  MDB_val small_value{.mv_size = 5, .mv_data = large.data()};
  MDB_val large_key{.mv_size = 2, .mv_data = large.data()};
  MDB_val large_value{.mv_size = large.size(), .mv_data = large.data()};
  ASSERT_EQ(mdb_put(txn, dbi, &small_key, &small_value, 0), 0);
  ASSERT_EQ(mdb_put(txn, dbi, &large_key, &large_value, 0), 0);
  ASSERT_EQ(mdb_del(txn, dbi, &large_key, nullptr), 0);
  ASSERT_EQ(mdb_del(txn, dbi, &small_key, nullptr), 0);
  ASSERT_EQ(mdb_txn_commit(txn), 0);
  mdb_env_close(env);
}

TEST(BackendLmdb, OpensAFileThatEndsBeforeItsFreePages) {
  TempDirectory directory;
  const std::string path = directory.path() + "/data.mdb";
  auto backend = Open(Options(directory));
  Put(*backend, Bucket::kKey, Revision(1), "v");
  ASSERT_TRUE(backend->Close().ok());
  backend.reset();
  for (int i = 0; i < 10 && CountedBytes(directory.path()) <= std::filesystem::file_size(path); ++i) {
    PutAndDeleteLarge(directory.path());
  }
  ASSERT_GT(CountedBytes(directory.path()), std::filesystem::file_size(path));

  backend = Open(Options(directory));
  EXPECT_EQ(Get(*backend, Bucket::kKey, Revision(1)), "v");
  for (int i = 2; i < 1000; ++i) Put(*backend, Bucket::kKey, Revision(i), std::string(100, 'v'));
  ASSERT_TRUE(backend->Close().ok());
  backend.reset();
  // Its last pages are in use now.
  std::filesystem::resize_file(path, CountedBytes(directory.path()) - 4096);
  const auto size = std::filesystem::file_size(path);
  EXPECT_TRUE(absl::IsDataLoss(OpenLmdbBackend(Options(directory)).status()));
  EXPECT_EQ(std::filesystem::file_size(path), size);
}

TEST(BackendLmdb, CommitsByItselfAfterTheInterval) {
  TempDirectory directory;
  LmdbOptions options = Options(directory);
  metrics::Registry registry;
  options.metrics = &registry;
  options.batch_interval = std::chrono::milliseconds(1);
  auto backend = Open(std::move(options));
  Put(*backend, Bucket::kKey, Revision(1), "x");
  auto& commits = registry.NewHistogram("etcd_disk_backend_commit_duration_seconds", "", 1, 2, 14);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (commits.Read().cumulative.back() == 0 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::yield();
  }
  EXPECT_EQ(commits.Read().cumulative.back(), 1u);
}

TEST(BackendLmdb, WaitsWhereTheBufferIsOverItsLimit) {
  TempDirectory directory;
  LmdbOptions options = Options(directory);
  options.buffer_limit_bytes = 100'000;
  auto backend = Open(std::move(options));
  const std::string value(10'000, 'v');
  for (int i = 1; i <= 200; ++i) {
    backend->BeginEntry();
    Put(*backend, Bucket::kKey, Revision(i), value);
    backend->EndEntry({.index = static_cast<uint64_t>(i), .term = 1});
  }
  EXPECT_EQ(Scan(*backend->NewReadView(), Bucket::kKey).size(), 200u);
}

TEST(BackendLmdb, AFullMapFailsOnceAndForAll) {
  TempDirectory directory;
  LmdbOptions options = Options(directory);
  options.map_size_bytes = 1 << 20;
  options.batch_limit_writes = 100;
  std::atomic<int> failures{0};
  options.on_failure = [&](absl::Status status) {
    EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
    ++failures;
  };
  auto backend = Open(std::move(options));
  Put(*backend, Bucket::kKey, Revision(1), "first");
  ASSERT_TRUE(Commit(*backend).ok());
  for (int i = 2; i <= 2000; ++i) Put(*backend, Bucket::kKey, Revision(i), std::string(1000, 'v'));
  EXPECT_TRUE(absl::IsResourceExhausted(Commit(*backend)));
  EXPECT_TRUE(absl::IsResourceExhausted(Commit(*backend)));
  EXPECT_TRUE(absl::IsResourceExhausted(Defragment(*backend)));
  EXPECT_EQ(Get(*backend, Bucket::kKey, Revision(2000)).size(), 1000u);
  EXPECT_TRUE(absl::IsResourceExhausted(backend->Close()));
  EXPECT_EQ(failures, 1);
  backend = Open(Options(directory));
  EXPECT_EQ(Get(*backend, Bucket::kKey, Revision(1)), "first");
}

TEST(BackendLmdb, SizesTellLiveFromDead) {
  TempDirectory directory;
  auto backend = Open(Options(directory));
  for (int i = 1; i <= 2000; ++i) Put(*backend, Bucket::kKey, Revision(i), std::string(1000, 'v'));
  EXPECT_GT(backend->sizes().in_use_bytes, 2'000'000);  // in the buffer
  ASSERT_TRUE(Commit(*backend).ok());
  const Sizes full = backend->sizes();
  EXPECT_GT(full.in_use_bytes, 2'000'000);
  EXPECT_EQ(full.total_bytes,
            static_cast<int64_t>(std::filesystem::file_size(directory.path() + "/data.mdb")));
  for (int i = 1; i <= 1900; ++i) backend->Delete(Bucket::kKey, Revision(i));
  ASSERT_TRUE(Commit(*backend).ok());
  EXPECT_LT(backend->sizes().in_use_bytes, full.in_use_bytes / 4);
  EXPECT_GE(backend->sizes().total_bytes, full.total_bytes);
  ASSERT_TRUE(Defragment(*backend).ok());
  EXPECT_LT(backend->sizes().total_bytes, full.total_bytes / 4);
  EXPECT_EQ(Scan(*backend->NewReadView(), Bucket::kKey).size(), 100u);
}

TEST(BackendLmdb, AnOldViewReadsTheOldFileAfterADefragmentation) {
  TempDirectory directory;
  auto backend = Open(Options(directory));
  Put(*backend, Bucket::kLease, "a", "1");
  ASSERT_TRUE(Commit(*backend).ok());
  auto view = backend->NewReadView();
  Put(*backend, Bucket::kLease, "a", "2");
  ASSERT_TRUE(Defragment(*backend).ok());
  EXPECT_EQ(Get(*view, Bucket::kLease, "a"), "1");
  EXPECT_EQ(Get(*backend, Bucket::kLease, "a"), "2");
  view.reset();
  ASSERT_TRUE(backend->Close().ok());
  backend.reset();
  EXPECT_FALSE(std::filesystem::exists(directory.path() + "/new.tmp"));
  backend = Open(Options(directory));
  EXPECT_EQ(Get(*backend, Bucket::kLease, "a"), "2");
}

TEST(BackendLmdb, RemovesWhatAnInterruptedDefragmentationLeft) {
  TempDirectory directory;
  Open(Options(directory))->Close().IgnoreError();
  std::filesystem::create_directory(directory.path() + "/new.tmp");
  std::ofstream(directory.path() + "/new.tmp/data.mdb") << "half";
  auto backend = Open(Options(directory));
  EXPECT_FALSE(std::filesystem::exists(directory.path() + "/new.tmp"));
}

TEST(BackendReplace, HasTheContentAndItsPositionAndNothingElse) {
  TempDirectory directory;
  auto backend = Open(Options(directory));
  backend->BeginEntry();
  Put(*backend, Bucket::kKey, Revision(9), "old");
  Put(*backend, Bucket::kLease, "old", "1");
  backend->EndEntry({.index = 5, .term = 1});
  const std::string long_key(600, 'k');
  const Records keys = {{Revision(2), "a"}, {Revision(7), std::string(100'000, 'b')}};
  ASSERT_TRUE(StartReplace(*backend,
                           {{Bucket::kKey, keys},
                            {Bucket::kMembers, {{long_key, "m"}}},
                            {Bucket::kMeta, {{"confState", "{}"}, {"consistent_index", "what it was"}}}},
                           {.index = 70, .term = 4})
                  .get()
                  .ok());
  for (int round = 0; round < 2; ++round) {
    auto view = backend->NewReadView();
    EXPECT_EQ(Scan(*view, Bucket::kKey), keys);
    EXPECT_EQ(Scan(*view, Bucket::kLease), Records());
    EXPECT_EQ(Get(*view, Bucket::kMembers, long_key), "m");
    EXPECT_EQ(Get(*view, Bucket::kMeta, "confState"), "{}");
    EXPECT_EQ(Get(*view, Bucket::kMeta, kConsistentIndexKey), BigEndian64(70).view());
    EXPECT_EQ(backend->applied().index, 70u);
    EXPECT_EQ(backend->applied().term, 4u);
    view.reset();
    ASSERT_TRUE(backend->Close().ok());
    backend = Open(Options(directory));
  }
}

TEST(BackendReplace, WritesGoOnBehindTheNewContent) {
  TempDirectory directory;
  auto backend = Open(Options(directory));
  Put(*backend, Bucket::kKey, Revision(50), "old");
  ASSERT_TRUE(
      StartReplace(*backend, {{Bucket::kKey, {{Revision(3), "3"}}}}, {.index = 9, .term = 1}).get().ok());
  backend->BeginEntry();
  Put(*backend, Bucket::kKey, Revision(4), "4");
  backend->EndEntry({.index = 10, .term = 1});
  const Records expected = {{Revision(3), "3"}, {Revision(4), "4"}};
  EXPECT_EQ(Scan(*backend->NewReadView(), Bucket::kKey), expected);
  ASSERT_TRUE(Commit(*backend).ok());
  EXPECT_EQ(Scan(*backend->NewReadView(), Bucket::kKey), expected);
  ASSERT_TRUE(backend->Close().ok());
  backend = Open(Options(directory));
  EXPECT_EQ(Scan(*backend->NewReadView(), Bucket::kKey), expected);
  EXPECT_EQ(backend->applied().index, 10u);
}

TEST(BackendReplace, AViewKeepsWhatItSees) {
  TempDirectory directory;
  auto backend = Open(Options(directory));
  Put(*backend, Bucket::kKey, Revision(2), "committed");
  ASSERT_TRUE(Commit(*backend).ok());
  Put(*backend, Bucket::kKey, Revision(3), "buffered");
  auto view = backend->NewReadView();
  ASSERT_TRUE(StartReplace(*backend, {}, {.index = 1, .term = 1}).get().ok());
  EXPECT_EQ(Get(*view, Bucket::kKey, Revision(2)), "committed");
  EXPECT_EQ(Get(*view, Bucket::kKey, Revision(3)), "buffered");
  EXPECT_EQ(Scan(*backend->NewReadView(), Bucket::kKey), Records());
}

/// Damaged behind its first record.
class DamagedView final : public ReadView {
 public:
  absl::StatusOr<std::optional<std::string_view>> Get(Bucket, std::string_view) override {
    return std::nullopt;
  }
  absl::Status Scan(Bucket, std::string_view, std::string_view,
                    absl::FunctionRef<bool(std::string_view, std::string_view)> visit) override {
    visit("k", "v");
    return absl::DataLossError("damaged");
  }
};

TEST(BackendReplace, IsAsItWasWhereTheContentIsDamaged) {
  TempDirectory directory;
  auto backend = Open(Options(directory));
  backend->BeginEntry();
  Put(*backend, Bucket::kKey, Revision(2), "old");
  backend->EndEntry({.index = 5, .term = 2});
  std::promise<absl::Status> done;
  backend->Replace(std::make_unique<DamagedView>(), {.index = 9, .term = 2},
                   [&](absl::Status status) { done.set_value(std::move(status)); });
  EXPECT_TRUE(absl::IsDataLoss(done.get_future().get()));
  EXPECT_EQ(Get(*backend, Bucket::kKey, Revision(2)), "old");
  EXPECT_EQ(backend->applied().index, 5u);
  EXPECT_FALSE(std::filesystem::exists(directory.path() + "/new.tmp"));
  Put(*backend, Bucket::kKey, Revision(3), "more");
  ASSERT_TRUE(backend->Close().ok());
  backend = Open(Options(directory));
  EXPECT_EQ(Get(*backend, Bucket::kKey, Revision(3)), "more");
}

TEST(BackendReplace, EndsADefragmentationAndIsEndedByAClose) {
  TempDirectory directory;
  auto backend = Open(Options(directory));
  for (int i = 1; i <= 20'000; ++i) Put(*backend, Bucket::kKey, Revision(i), std::string(100, 'v'));
  std::promise<absl::Status> defragmented;
  backend->Defragment([&](absl::Status status) { defragmented.set_value(std::move(status)); });
  ASSERT_TRUE(
      StartReplace(*backend, {{Bucket::kKey, {{Revision(3), "3"}}}}, {.index = 9, .term = 1}).get().ok());
  const absl::Status status = defragmented.get_future().get();
  EXPECT_TRUE(status.ok() || absl::IsCancelled(status)) << status;
  EXPECT_EQ(Scan(*backend->NewReadView(), Bucket::kKey).size(), 1u);

  auto replaced = StartReplace(*backend, {{Bucket::kKey, {{Revision(4), "4"}}}}, {.index = 11, .term = 1});
  ASSERT_TRUE(backend->Close().ok());
  const absl::Status closed = replaced.get();
  EXPECT_TRUE(closed.ok() || absl::IsCancelled(closed)) << closed;
  backend = Open(Options(directory));
  EXPECT_EQ(backend->applied().index, closed.ok() ? 11u : 9u);
}

}  // namespace
}  // namespace kvorum::backend
