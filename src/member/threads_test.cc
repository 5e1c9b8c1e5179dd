#include <atomic>
#include <thread>

#include "absl/synchronization/notification.h"
#include "backend/memory_backend.h"
#include "base/thread_executor.h"
#include "gtest/gtest.h"
#include "member/kv.h"
#include "member/member.h"
#include "proto/rpc.pb.h"

namespace kvorum::member {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(60);

/// A disk that is always there and takes a thread's time, or the caller's.
class ThreadedDisk final : public wal::LogStorage, public SnapshotStorage {
 public:
  void Enqueue(Write write) override {
    thread_.Post([done = std::move(write.done)]() mutable { done(absl::OkStatus()); });
  }
  void SaveNow(std::vector<Write> writes) override {
    if (absl::Notification* hang = hang_.exchange(nullptr)) {
      hung.Notify();
      hang->WaitForNotification();
    }
    for (Write& write : writes) write.done(absl::OkStatus());
  }
  void ReleaseTo(raft::Index) override {}
  void Save(raft::Snapshot, absl::AnyInvocable<void(absl::Status)> done) override {
    saves_.fetch_add(1);
    thread_.Post([done = std::move(done)]() mutable { done(absl::OkStatus()); });
  }
  void OpenDatabase(
      raft::Index,
      absl::AnyInvocable<void(absl::StatusOr<std::unique_ptr<backend::ReadView>>)> done) override {
    done(absl::NotFoundError("no database"));
  }
  void ReleaseDatabases(raft::Index) override {}
  int saves() const { return saves_.load(); }
  void Stop() { thread_.Stop(); }
  /// The next SaveNow returns only when `until` is notified.
  void Hang(absl::Notification* until) { hang_ = until; }
  absl::Notification hung;  ///< it was called

 private:
  std::atomic<absl::Notification*> hang_{nullptr};
  std::atomic<int> saves_{0};
  ThreadExecutor thread_{"disk"};
};

/// A member on real threads.
class ThreadsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ports_.clock = &SystemClock();
    ports_.raft_executor = &raft_;
    ports_.apply_executor = &apply_;
    ports_.background_executor = &background_;
    ports_.log = &disk_;
    ports_.snapshots = &disk_;
    ports_.backend = backend_.get();
    ports_.random = &random_;
    ports_.logger = &NullLogger();
    MemberOptions options;
    options.snapshot_count = 100;
    StartState start{.id = MemberId(1), .cluster_id = ClusterId(2)};
    start.log = std::make_unique<raft::MemoryStorage>();
    start.bootstrap_members = {{.id = MemberId(1), .peer_urls = {"http://a"}, .name = "m"}};
    member_ = Member::Create(options, ports_, std::move(start)).value();
    absl::Notification ready;
    member_->Start([&ready] { ready.Notify(); });
    ASSERT_TRUE(ready.WaitForNotificationWithTimeout(kPatience));
  }
  void TearDown() override {
    disk_.Stop();
    raft_.Stop();
    apply_.Stop();
    background_.Stop();
    member_.reset();
  }
  void StopMember() {
    absl::Notification stopped;
    member_->Stop([&stopped] { stopped.Notify(); });
    ASSERT_TRUE(stopped.WaitForNotificationWithTimeout(kPatience));
  }

  ApplyResult Do(RequestKind kind, const std::string& request,
                 MonotonicTime deadline = MonotonicTime::max()) {
    const RequestId id = member_->NextRequestId();
    absl::Notification told;
    ApplyResult result;
    member_->Propose(id, BuildEntry(kind, request, id, {}), deadline, [&](ApplyResult got) {
      result = std::move(got);
      told.Notify();
    });
    EXPECT_TRUE(told.WaitForNotificationWithTimeout(kPatience));
    return result;
  }
  ApplyResult Put(const std::string& key, const std::string& value,
                  MonotonicTime deadline = MonotonicTime::max()) {
    etcdserverpb::PutRequest request;
    request.set_key(key);
    request.set_value(value);
    return Do(RequestKind::kPut, request.SerializeAsString(), deadline);
  }
  std::string Get(const std::string& key) {
    absl::Notification confirmed;
    absl::AnyInvocable<void(absl::Status)> done = [&confirmed](const absl::Status&) { confirmed.Notify(); };
    if (!member_->ConfirmRead(MonotonicTime::max(), &done)) {
      EXPECT_TRUE(confirmed.WaitForNotificationWithTimeout(kPatience));
    }
    etcdserverpb::RangeResponse response;
    EXPECT_TRUE(response.ParseFromString(ReadRange(member_->store(), {.key = key})->body));
    return response.kvs_size() == 0 ? "" : response.kvs(0).value();
  }

  ThreadExecutor raft_{"raft"};
  ThreadExecutor apply_{"apply"};
  ThreadExecutor background_{"background"};
  ThreadedDisk disk_;
  std::unique_ptr<backend::MemoryBackend> backend_ = backend::MemoryBackend::Create();
  Random random_{1};
  Ports ports_;
  std::unique_ptr<Member> member_;
};

TEST_F(ThreadsTest, EveryClientReadsWhatItWrote) {
  constexpr int kClients = 4;
  constexpr int kRounds = 200;
  std::vector<std::thread> clients;
  for (int c = 0; c < kClients; ++c) {
    clients.emplace_back([this, c] {
      const std::string key = "client" + std::to_string(c);
      for (int i = 0; i < kRounds; ++i) {
        EXPECT_TRUE(Put(key, std::to_string(i)).status.ok());
        EXPECT_EQ(Get(key), std::to_string(i));
        EXPECT_TRUE(member_->CheckQuota(100).ok());
        member_->RenewLease(LeaseId(5), [](absl::StatusOr<int64_t> ttl) { EXPECT_FALSE(ttl.ok()); });
        EXPECT_TRUE(member_->status().is_leader);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(member_->store().current_revision(), 1 + kClients * kRounds);
  StopMember();
  EXPECT_GE(disk_.saves(), 1);
}

TEST_F(ThreadsTest, WhoWaitsBehindADiskThatHangsIsToldInTime) {
  absl::Notification goes_on;
  disk_.Hang(&goes_on);
  const auto soon = [] { return SystemClock().Now() + std::chrono::milliseconds(300); };
  std::thread first([this, &soon] {  // the one that is being written
    EXPECT_EQ(Put("a", "1", soon()).status.message(), "etcdserver: request timed out");
  });
  EXPECT_TRUE(disk_.hung.WaitForNotificationWithTimeout(kPatience));
  EXPECT_EQ(Put("b", "2", soon()).status.message(), "etcdserver: request timed out");  // waits for its turn
  first.join();
  goes_on.Notify();
  EXPECT_TRUE(Put("c", "3").status.ok());
  EXPECT_EQ(Get("a"), "1");  // once it is in the log it counts
  StopMember();
}

TEST_F(ThreadsTest, EverybodyIsToldWhenTheMemberStopsUnderLoad) {
  std::atomic<bool> stopped{false};
  std::vector<std::thread> clients;
  for (int c = 0; c < 3; ++c) {
    clients.emplace_back([this, &stopped] {
      while (!stopped.load()) {
        const ApplyResult result = Put("k", "v");
        EXPECT_TRUE(result.status.ok() || result.status.message() == "etcdserver: server stopped");
      }
    });
  }
  absl::Notification hashed;
  member_->HashKv(0, [&hashed](const absl::StatusOr<mvcc::HashResult>&) { hashed.Notify(); });
  EXPECT_TRUE(hashed.WaitForNotificationWithTimeout(kPatience));
  StopMember();
  EXPECT_EQ(Put("k", "v").status.message(), "etcdserver: server stopped");
  stopped.store(true);
  for (std::thread& client : clients) client.join();
}

}  // namespace
}  // namespace kvorum::member
