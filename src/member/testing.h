#pragma once

// A whole member in one thread, for the tests of this folder: executors that are turned by hand, a clock that
// stands, a log and snapshots that are kept or lost as a disk would.

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/memory_backend.h"
#include "base/random.h"
#include "gtest/gtest.h"
#include "member/kv.h"
#include "member/member.h"
#include "proto/rpc.pb.h"

namespace kvorum::member {

class FakeClock final : public Clock {
 public:
  MonotonicTime Now() const override { return now_; }
  WallTime WallNow() const override { return WallTime(now_.time_since_epoch()); }
  void Set(MonotonicTime now) { now_ = now; }

 private:
  MonotonicTime now_{std::chrono::hours(1)};
};

/// An executor whose tasks run when it is told to.
class ManualExecutor final : public Executor {
 public:
  explicit ManualExecutor(const Clock* clock) : clock_(clock) {}

  void Post(Task task) override { tasks_.push_back(std::move(task)); }
  TimerId PostAt(MonotonicTime deadline, Task task) override {
    timers_.emplace(std::pair(deadline, ++last_timer_), std::move(task));
    return last_timer_;
  }
  void CancelTimer(TimerId timer) override {
    std::erase_if(timers_, [timer](const auto& entry) { return entry.first.second == timer; });
  }
  const Clock& clock() const override { return *clock_; }

  /// Runs one task, or one timer that is due; false where there is none.
  bool RunOne() {
    Task task;
    if (!tasks_.empty()) {
      task = std::move(tasks_.front());
      tasks_.pop_front();
    } else if (!timers_.empty() && timers_.begin()->first.first <= clock_->Now()) {
      task = std::move(timers_.begin()->second);
      timers_.erase(timers_.begin());
    } else {
      return false;
    }
    task();
    return true;
  }
  std::optional<MonotonicTime> NextTimer() const {
    if (timers_.empty()) return std::nullopt;
    return timers_.begin()->first.first;
  }

 private:
  const Clock* const clock_;
  std::deque<Task> tasks_;
  std::map<std::pair<MonotonicTime, TimerId>, Task> timers_;
  TimerId last_timer_ = 0;
};

/// What is on the disk of the log and of the snapshots, and what is on its way there.
class FakeDisk final : public wal::LogStorage, public SnapshotStorage {
 public:
  void Enqueue(Write write) override { writes_.push_back(std::move(write)); }
  void ReleaseTo(raft::Index index) override { released_ = index; }
  void Save(raft::Snapshot snapshot, absl::AnyInvocable<void(absl::Status)> done) override {
    saves_.emplace_back(std::move(snapshot), std::move(done));
  }

  /// Finishes one write; false where none waits.
  bool RunOne() {
    if (!writes_.empty()) {
      Write write = std::move(writes_.front());
      writes_.pop_front();
      if (!failure_.ok()) {
        write.done(failure_);
        return true;
      }
      Keep(write);
      write.done(absl::OkStatus());
      return true;
    }
    if (saves_.empty()) return false;
    auto [snapshot, done] = std::move(saves_.front());
    saves_.pop_front();
    if (failure_.ok()) files_[snapshot.metadata.index] = std::move(snapshot);
    done(failure_);
    return true;
  }
  void FailFrom(absl::Status failure) { failure_ = std::move(failure); }

  /// What was not finished is lost, but for the first `kept` writes.
  void Crash(size_t kept) {
    for (size_t i = 0; i < kept && i < writes_.size(); ++i) Keep(writes_[i]);
    writes_.clear();
    saves_.clear();
  }

  std::unique_ptr<raft::MemoryStorage> Recover() const {
    auto log = std::make_unique<raft::MemoryStorage>();
    if (noted_ != raft::Index(0)) {
      EXPECT_TRUE(log->ApplySnapshot(files_.at(noted_)).ok());
    }
    log->SetHardState(state_);
    std::vector<raft::Entry> entries;
    for (const auto& [index, entry] : entries_) {
      if (index > noted_) entries.push_back(entry);
    }
    log->Append(std::move(entries));
    return log;
  }
  bool empty() const { return state_.empty(); }
  size_t waiting() const { return writes_.size(); }
  raft::Index released() const { return released_; }
  const std::map<raft::Index, raft::Snapshot>& files() const { return files_; }
  const std::map<raft::Index, raft::Entry>& entries() const { return entries_; }
  const raft::HardState& hard_state() const { return state_; }

 private:
  void Keep(const Write& write) {
    for (const raft::Entry& entry : write.entries) {
      entries_.erase(entries_.lower_bound(entry.index), entries_.end());
      entries_[entry.index] = entry;
    }
    if (!write.hard_state.empty()) state_ = write.hard_state;
    if (write.snapshot) {
      EXPECT_LE(write.snapshot->index, state_.commit);
      noted_ = write.snapshot->index;
    }
  }

  std::deque<Write> writes_;
  std::deque<std::pair<raft::Snapshot, absl::AnyInvocable<void(absl::Status)>>> saves_;
  absl::Status failure_;
  raft::HardState state_;
  std::map<raft::Index, raft::Entry> entries_;
  std::map<raft::Index, raft::Snapshot> files_;
  raft::Index noted_;
  raft::Index released_;
};

/// Several members' messages in one thread: delivered in order, unless a member is cut off.
class FakeNetwork {
 public:
  class Port final : public PeerTransport {
   public:
    explicit Port(FakeNetwork* network) : network_(network) {}
    void Send(std::vector<raft::Message> messages) override {
      for (raft::Message& message : messages) network_->messages_.push_back(std::move(message));
    }
    void AddPeer(raft::NodeId, const std::vector<std::string>&) override {}
    void RemovePeer(raft::NodeId) override {}
    void UpdatePeer(raft::NodeId, const std::vector<std::string>&) override {}
    std::optional<MonotonicTime> ActiveSince(raft::NodeId id) const override {
      if (network_->cut_off_ == id) return std::nullopt;
      return MonotonicTime();
    }

   private:
    FakeNetwork* const network_;
  };

  void CutOff(raft::NodeId id) { cut_off_ = id; }
  std::optional<raft::Message> Next() {
    while (!messages_.empty()) {
      raft::Message message = std::move(messages_.front());
      messages_.pop_front();
      if (message.to != cut_off_ && message.from != cut_off_) return message;
    }
    return std::nullopt;
  }

 private:
  std::deque<raft::Message> messages_;
  raft::NodeId cut_off_;
};

/// A member with its surroundings. `seed` 0: everything runs in a fixed order; else in a random one.
class World {
 public:
  static constexpr MemberId kId{0x1234};
  static constexpr ClusterId kClusterId{0x5678};

  explicit World(uint64_t seed = 0) : order_(seed), random_order_(seed != 0) {
    options_.name = "m1";
    options_.advertise_client_urls = {"http://127.0.0.1:2379"};
  }
  ~World() { Crash(); }

  MemberOptions& options() { return options_; }
  FakeDisk& disk() { return disk_; }
  FakeClock& clock() { return clock_; }
  backend::MemoryBackend& backend() { return *backend_; }
  Member& member() { return *member_; }
  Ports& ports() { return ports_; }
  const absl::Status& fatal() const { return fatal_; }
  bool ready() const { return ready_; }
  metrics::Registry& registry() { return registry_; }
  /// Before Start: which member of which cluster.
  void Join(MemberId id, std::vector<cluster::Member> members, PeerTransport* transport) {
    id_ = id;
    members_ = std::move(members);
    transport_ = transport;
  }
  void set_entries_before_start(std::vector<raft::Entry> entries) { extra_ = std::move(entries); }

  /// Brings the member up from what the disk has, and waits until it is ready.
  absl::Status Start() {
    absl::Status status = Begin();
    if (!status.ok()) return status;
    for (int i = 0; i < 1000 && !ready_; ++i) Advance(std::chrono::milliseconds(10));
    EXPECT_TRUE(ready_);
    return absl::OkStatus();
  }
  /// The same without waiting.
  absl::Status Begin() {
    for (auto& executor : executors_) executor = std::make_unique<ManualExecutor>(&clock_);
    random_ = std::make_unique<Random>(++starts_ + id_.value() * 100);
    ports_ = {.clock = &clock_,
              .raft_executor = executors_[0].get(),
              .apply_executor = executors_[1].get(),
              .background_executor = executors_[2].get(),
              .log = &disk_,
              .snapshots = &disk_,
              .backend = backend_.get(),
              .transport = transport_,
              .random = random_.get(),
              .logger = &NullLogger(),
              .metrics = &registry_,
              .on_fatal = [this](absl::Status status) { fatal_ = std::move(status); }};
    ready_ = false;
    StartState start{.id = id_, .cluster_id = kClusterId, .log = disk_.Recover()};
    if (disk_.empty()) {
      start.bootstrap_members = members_;
    }
    if (!extra_.empty()) start.log->Append(extra_);
    absl::StatusOr<std::unique_ptr<Member>> member = Member::Create(options_, ports_, std::move(start));
    if (!member.ok()) return member.status();
    member_ = *std::move(member);
    member_->Start([this] { ready_ = true; });
    return absl::OkStatus();
  }

  /// The process ends at this instant. The first `kept_writes` that were on their way reach the disk.
  void Crash(size_t kept_writes = 0) {
    for (auto& executor : executors_) executor.reset();
    disk_.Crash(kept_writes);
    member_.reset();
    backend_ = backend_->Crash();
    fatal_ = absl::OkStatus();
  }

  /// One step of somebody; false where nobody has anything to do now.
  bool Step() {
    const size_t first = random_order_ ? order_.Below(4) : 0;
    for (size_t i = 0; i < 4; ++i) {
      const size_t who = (first + i) % 4;
      if (who == 3 ? !hold_disk_ && disk_.RunOne() : executors_[who]->RunOne()) return true;
    }
    return false;
  }
  /// Until nothing is left to do at this time.
  void Settle() {
    for (int i = 0; i < 1'000'000; ++i) {
      if (!Step()) return;
    }
    ADD_FAILURE() << "there is always something left to do";
  }
  /// Lets `time` pass, timer by timer.
  void Advance(std::chrono::nanoseconds time) {
    const MonotonicTime end = clock_.Now() + time;
    for (;;) {
      Settle();
      std::optional<MonotonicTime> next;
      for (const auto& executor : executors_) {
        const std::optional<MonotonicTime> timer = executor->NextTimer();
        if (timer && (!next || *timer < *next)) next = timer;
      }
      if (!next || *next > end) break;
      clock_.Set(std::max(*next, clock_.Now()));
    }
    clock_.Set(end);
    Settle();
  }
  void HoldDisk(bool hold) { hold_disk_ = hold; }

  /// Proposes; the result comes into `*result` when there is one.
  template <typename Request>
  void Propose(RequestKind kind, const Request& request, std::optional<ApplyResult>* result) {
    const RequestId id = member_->NextRequestId();
    member_->Propose(id, BuildEntry(kind, request.SerializeAsString(), id, {}), MonotonicTime::max(),
                     [result](ApplyResult got) {
                       EXPECT_FALSE(result->has_value());
                       *result = std::move(got);
                     });
  }
  /// Proposes and waits.
  template <typename Request>
  ApplyResult Do(RequestKind kind, const Request& request) {
    std::optional<ApplyResult> result;
    Propose(kind, request, &result);
    for (int i = 0; i < 1000 && !result; ++i) {
      Settle();
      if (!result) Advance(std::chrono::milliseconds(50));
    }
    EXPECT_TRUE(result);
    return result ? *std::move(result) : ApplyResult{.status = absl::UnknownError("no result")};
  }

  ApplyResult Put(const std::string& key, const std::string& value, int64_t lease = 0) {
    etcdserverpb::PutRequest request;
    request.set_key(key);
    request.set_value(value);
    request.set_lease(lease);
    return Do(RequestKind::kPut, request);
  }
  /// The newest value; nothing where there is no such key.
  std::optional<std::string> Get(const std::string& key) {
    const auto reply = ReadRangeOf(key, "");
    if (reply.kvs_size() == 0) return std::nullopt;
    return reply.kvs(0).value();
  }
  etcdserverpb::RangeResponse ReadRangeOf(const std::string& key, const std::string& end) {
    etcdserverpb::RangeResponse response;
    const absl::StatusOr<KvReply> reply = ReadRange(member_->store(), {.key = key, .range_end = end});
    EXPECT_TRUE(reply.ok()) << reply.status();
    if (reply.ok()) {
      EXPECT_TRUE(response.ParseFromString(reply->body));
    }
    return response;
  }

 private:
  MemberOptions options_;
  MemberId id_ = kId;
  std::vector<cluster::Member> members_{{.id = kId, .peer_urls = {"http://127.0.0.1:2380"}, .name = "m1"}};
  PeerTransport* transport_ = nullptr;
  FakeClock clock_;
  FakeDisk disk_;
  metrics::Registry registry_;
  std::unique_ptr<backend::MemoryBackend> backend_ = backend::MemoryBackend::Create();
  std::unique_ptr<ManualExecutor> executors_[3];
  std::unique_ptr<Random> random_;
  Ports ports_;
  Random order_;
  const bool random_order_;
  uint64_t starts_ = 0;
  bool hold_disk_ = false;
  bool ready_ = false;
  absl::Status fatal_;
  std::vector<raft::Entry> extra_;
  std::unique_ptr<Member> member_;  // last: goes before what it borrows
};

/// The reply that a result stands for.
template <typename Response>
Response Decode(const ApplyResult& result) {
  EXPECT_TRUE(result.status.ok()) << result.status;
  Response response;
  EXPECT_TRUE(response.ParseFromString(result.body));
  return response;
}

inline std::string Error(const ApplyResult& result) { return std::string(result.status.message()); }

}  // namespace kvorum::member
