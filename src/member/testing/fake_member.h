#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "backend/memory_backend.h"
#include "base/thread_executor.h"
#include "lease/lessor.h"
#include "member/member.h"
#include "member/request_view.h"
#include "mvcc/store.h"

namespace kvorum::member::testing {

/// A member without consensus, for tests of what stands in front of it: a real store and real leases over a
/// backend in memory, and answers that the test decides. Callbacks run on a thread of its own. Fields are set
/// before the server starts or between calls.
class FakeMember final : public member::Member {
 public:
  /// `clock`: of the leases.
  explicit FakeMember(const Clock* clock = &SystemClock()) {
    backend_ = backend::MemoryBackend::Create();
    cluster_ = std::make_unique<cluster::Cluster>(id_, cluster_id_, backend_.get());
    cluster_->AddMember({.id = id_, .peer_urls = {"http://127.0.0.1:2380"}}, cluster::Cluster::Persist::kNo);
    cluster_->UpdateAttributes(id_, "m1", {"http://127.0.0.1:2379"}, cluster::Cluster::Persist::kNo);
    cluster_->SetVersion("3.7.0", cluster::Cluster::Persist::kNo);
    lessor_ = *lease::Lessor::Open({.backend = backend_.get(), .clock = clock});
    lessor_->Promote(std::chrono::nanoseconds(0));
    store_ = *mvcc::Store::Open({.backend = backend_.get(), .clock = &SystemClock()});
    store_->watch_hub().SetBehindCallback([this] {
      background_.Post([this] {
        while (store_->watch_hub().CatchUpStep(1000)) {
        }
      });
    });
    state_ = {.leader = id_,
              .term = 2,
              .committed_index = 9,
              .applied_index = 8,
              .is_leader = true,
              .ready = true,
              .role = raft::Role::kLeader};
  }
  ~FakeMember() override {
    executor_.Stop();
    background_.Stop();
  }

  // What the test decides.

  member::MemberOptions options_value;
  /// The result of a proposal; without it, one at the store's revision with an empty body.
  std::function<member::ApplyResult(const member::EntryView& entry)> on_propose;
  absl::Status read_status;     ///< of a read that is confirmed later
  bool confirm_at_once = true;  ///< else later, with read_status
  absl::Status quota_status;
  absl::Status v2_status;  ///< of v2 requests; with OK they are applied to a real store
  absl::Status defragment_status;
  absl::Status database_status;
  absl::Status compacted_status;
  std::function<absl::StatusOr<int64_t>(LeaseId id)> on_renew;
  std::vector<member::Alarm> alarm_list;
  /// With an error the cluster is not changed; else a change is made at once.
  absl::Status change_status;
  std::function<absl::Status(MemberId to)> on_move_leader;
  std::function<absl::StatusOr<std::string>(DowngradeAction action, const std::string& target)> on_downgrade;

  void SetStatus(const member::MemberStatus& status) {
    absl::MutexLock lock(&mutex_);
    state_ = status;
  }
  /// One transaction of puts.
  void Put(const std::vector<std::pair<std::string, std::string>>& pairs) {
    absl::MutexLock lock(&writer_mutex_);
    auto txn = store_->Begin();
    for (const auto& [key, value] : pairs) txn->Put(key, value, LeaseId(0));
    txn->End();
  }
  void Delete(std::string_view key) {
    absl::MutexLock lock(&writer_mutex_);
    auto txn = store_->Begin();
    txn->DeleteRange({.key = key, .end = {}});
    txn->End();
  }
  void Compact(int64_t revision) {
    absl::MutexLock lock(&writer_mutex_);
    KVORUM_CHECK(store_->StartCompaction(revision).ok());
    while (store_->CompactStep(1000)) {
    }
  }
  /// The encoded body of the last proposal.
  std::string last_proposal() const {
    absl::MutexLock lock(&mutex_);
    return last_proposal_;
  }
  lease::Lessor& leases() { return *lessor_; }
  cluster::Cluster& mutable_cluster() { return *cluster_; }

  // member::Member

  void Start(absl::AnyInvocable<void()> ready) override { ready(); }
  void Stop(absl::AnyInvocable<void()> done) override { done(); }
  const member::MemberOptions& options() const override { return options_value; }
  MemberId id() const override { return id_; }
  ClusterId cluster_id() const override { return cluster_id_; }
  member::MemberStatus status() const override {
    absl::MutexLock lock(&mutex_);
    return state_;
  }
  member::RequestId NextRequestId() override { return member::RequestId(next_id_.fetch_add(1)); }
  void Propose(member::RequestId, Bytes entry, MonotonicTime, member::ApplyDone done) override {
    const std::optional<member::EntryView> view = member::ParseEntry(entry.view());
    KVORUM_CHECK(view.has_value());
    member::ApplyResult result = {
        .status = {}, .revision = store_->current_revision(), .term = 2, .body = {}};
    {
      absl::MutexLock lock(&mutex_);
      last_proposal_ = view->body;
    }
    if (on_propose) result = on_propose(*view);
    executor_.Post(
        [done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
  }
  bool ConfirmRead(MonotonicTime, absl::AnyInvocable<void(absl::Status)>* done) override {
    if (confirm_at_once) return true;
    executor_.Post([done = std::move(*done), status = read_status]() mutable { done(status); });
    return false;
  }
  absl::Status CheckQuota(int64_t) override { return quota_status; }
  void WaitCompacted(int64_t, absl::AnyInvocable<void(absl::Status)> done) override {
    executor_.Post([done = std::move(done), status = compacted_status]() mutable { done(status); });
  }
  void ProposeV2(std::span<V2Write> writes) override {
    for (V2Write& write : writes) {
      executor_.Post([this, entry = std::move(write.entry), done = std::move(write.done)]() mutable {
        if (!v2_status.ok()) return done({.status = v2_status});
        done({.v2 = std::make_shared<member::V2Applied>(
                  member::V2Applied{.result = v2_store_.Apply(v2store::ParseRequest(entry.view()).value()),
                                    .raft_index = 9,
                                    .raft_term = 2})});
      });
    }
  }
  v2store::Store& v2_store() override { return v2_store_; }
  void Defragment(absl::AnyInvocable<void(absl::Status)> done) override {
    executor_.Post([done = std::move(done), status = defragment_status]() mutable { done(status); });
  }
  void HashKv(int64_t revision, absl::AnyInvocable<void(absl::StatusOr<mvcc::HashResult>)> done) override {
    executor_.Post([this, revision, done = std::move(done)]() mutable { done(store_->Hash(revision)); });
  }
  void HashDatabase(absl::AnyInvocable<void(absl::StatusOr<uint32_t>)> done) override {
    executor_.Post([done = std::move(done)]() mutable { done(77); });
  }
  void ReadDatabase(absl::AnyInvocable<void(absl::StatusOr<DatabaseView>)> done) override {
    executor_.Post([this, done = std::move(done)]() mutable {
      if (!database_status.ok()) return done(database_status);
      done(DatabaseView{.view = backend().NewReadView(), .position = backend().applied()});
    });
  }
  void RenewLease(LeaseId id, absl::AnyInvocable<void(absl::StatusOr<int64_t>)> done) override {
    if (!on_renew) return done(lessor_->Renew(id));
    executor_.Post([this, id, done = std::move(done)]() mutable { done(on_renew(id)); });
  }
  void LeaseTimeToLive(LeaseId id, bool with_keys,
                       absl::AnyInvocable<void(absl::StatusOr<lease::LeaseView>)> done) override {
    done(lessor_->Get(id, with_keys));
  }
  void Receive(raft::Message) override {}
  void ReceiveSnapshot(raft::Message, absl::AnyInvocable<void(absl::Status)> done) override {
    done(absl::OkStatus());
  }
  void ReportUnreachable(raft::NodeId) override {}
  void ReportSnapshot(raft::NodeId, bool) override {}
  void OnRemoved() override {}
  void AddMember(cluster::Member added, MonotonicTime, MembersDone done) override {
    added.id = cluster::MemberIdOf(added.peer_urls, "", 1);
    Change(std::move(done), [&] { cluster_->AddMember(added, cluster::Cluster::Persist::kNo); });
  }
  void RemoveMember(MemberId id, MonotonicTime, MembersDone done) override {
    Change(std::move(done), [&] { cluster_->RemoveMember(id, cluster::Cluster::Persist::kNo); });
  }
  void UpdateMember(MemberId id, std::vector<std::string> peer_urls, MonotonicTime,
                    MembersDone done) override {
    Change(std::move(done),
           [&] { cluster_->UpdatePeerUrls(id, std::move(peer_urls), cluster::Cluster::Persist::kNo); });
  }
  void PromoteMember(MemberId id, MonotonicTime, MembersDone done) override {
    Change(std::move(done), [&] { cluster_->Promote(id, cluster::Cluster::Persist::kNo); });
  }
  void MoveLeader(MemberId to, MonotonicTime, absl::AnyInvocable<void(absl::Status)> done) override {
    const absl::Status status = on_move_leader ? on_move_leader(to) : absl::OkStatus();
    executor_.Post([done = std::move(done), status]() mutable { done(status); });
  }
  void ChangeDowngrade(DowngradeAction action, std::string target_version, MonotonicTime,
                       absl::AnyInvocable<void(absl::StatusOr<std::string>)> done) override {
    absl::StatusOr<std::string> version = cluster_->version();
    if (on_downgrade) version = on_downgrade(action, target_version);
    executor_.Post([done = std::move(done), version = std::move(version)]() mutable { done(version); });
  }
  mvcc::Store& store() override { return *store_; }
  const lease::Lessor& lessor() const override { return *lessor_; }
  const cluster::Cluster& cluster() const override { return *cluster_; }
  backend::Backend& backend() override { return *backend_; }
  std::vector<member::Alarm> alarms() const override { return alarm_list; }

 private:
  template <typename F>
  void Change(MembersDone done, F change) {
    if (change_status.ok()) change();
    absl::StatusOr<std::vector<cluster::Member>> result = cluster_->members();
    if (!change_status.ok()) result = change_status;
    executor_.Post(
        [done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
  }

  const MemberId id_{0xabc};
  const ClusterId cluster_id_{0xdef};
  std::atomic<uint64_t> next_id_{1};
  std::unique_ptr<backend::MemoryBackend> backend_;
  std::unique_ptr<cluster::Cluster> cluster_;
  std::unique_ptr<lease::Lessor> lessor_;
  std::unique_ptr<mvcc::Store> store_;
  v2store::Store v2_store_{&SystemClock()};
  absl::Mutex writer_mutex_;  // the store has one writer
  mutable absl::Mutex mutex_;
  member::MemberStatus state_ ABSL_GUARDED_BY(mutex_);
  std::string last_proposal_ ABSL_GUARDED_BY(mutex_);
  ThreadExecutor background_{"fake-catch-up"};
  ThreadExecutor executor_{"fake-member"};
};

}  // namespace kvorum::member::testing
