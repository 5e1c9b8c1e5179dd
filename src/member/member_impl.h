#pragma once

#include <memory>
#include <string>
#include <vector>

#include "member/alarm_store.h"
#include "member/applier.h"
#include "member/compactor.h"
#include "member/corruption_checker.h"
#include "member/downgrades.h"
#include "member/entry_applier.h"
#include "member/lease_keeper.h"
#include "member/lease_requests.h"
#include "member/member.h"
#include "member/member_changes.h"
#include "member/membership_applier.h"
#include "member/metrics.h"
#include "member/proposer.h"
#include "member/publisher.h"
#include "member/quota.h"
#include "member/raft_loop.h"
#include "member/shared_state.h"
#include "member/v2_expirer.h"
#include "member/v2_gate.h"
#include "member/v2_tree.h"
#include "member/version_keeper.h"

namespace kvorum::member {

/// The parts of a member, put together.
class MemberImpl final : public Member {
 public:
  MemberImpl(MemberOptions options, const Ports& ports, MemberId id, ClusterId cluster_id);
  absl::Status Open(StartState start);
  ~MemberImpl() override;

  void Start(absl::AnyInvocable<void()> ready) override;
  void Stop(absl::AnyInvocable<void()> done) override;

  const MemberOptions& options() const override { return options_; }
  MemberId id() const override { return cluster_.local(); }
  ClusterId cluster_id() const override { return cluster_.id(); }
  MemberStatus status() const override;

  RequestId NextRequestId() override { return proposer_.NextId(); }
  void Propose(RequestId id, Bytes entry, MonotonicTime deadline, ApplyDone done) override;
  bool ConfirmRead(MonotonicTime deadline, absl::AnyInvocable<void(absl::Status)>* done) override;
  absl::Status CheckQuota(int64_t cost_bytes) override;
  void WaitCompacted(int64_t revision, absl::AnyInvocable<void(absl::Status)> done) override;
  void ProposeV2(std::span<V2Write> writes) override;
  v2store::Store& v2_store() override { return v2_store_; }
  void Defragment(absl::AnyInvocable<void(absl::Status)> done) override;
  void HashKv(int64_t revision, absl::AnyInvocable<void(absl::StatusOr<mvcc::HashResult>)> done) override;
  void HashDatabase(absl::AnyInvocable<void(absl::StatusOr<uint32_t>)> done) override;
  void ReadDatabase(absl::AnyInvocable<void(absl::StatusOr<DatabaseView>)> done) override;
  void RenewLease(LeaseId id, absl::AnyInvocable<void(absl::StatusOr<int64_t>)> done) override {
    lease_requests_->Renew(id, std::move(done));
  }
  void LeaseTimeToLive(LeaseId id, bool with_keys,
                       absl::AnyInvocable<void(absl::StatusOr<lease::LeaseView>)> done) override {
    lease_requests_->TimeToLive(id, with_keys, std::move(done));
  }
  void Receive(raft::Message message) override;
  void ReceiveSnapshot(raft::Message message, absl::AnyInvocable<void(absl::Status)> done) override;
  void ReportUnreachable(raft::NodeId id) override { loop_->ReportUnreachable(id); }
  void ReportSnapshot(raft::NodeId id, bool finished) override { loop_->ReportSnapshot(id, finished); }
  void OnRemoved() override;
  void AddMember(cluster::Member member, MonotonicTime deadline, MembersDone done) override {
    changes_.Add(std::move(member), deadline, std::move(done));
  }
  void RemoveMember(MemberId id, MonotonicTime deadline, MembersDone done) override {
    changes_.Remove(id, deadline, std::move(done));
  }
  void UpdateMember(MemberId id, std::vector<std::string> peer_urls, MonotonicTime deadline,
                    MembersDone done) override {
    changes_.Update(id, std::move(peer_urls), deadline, std::move(done));
  }
  void PromoteMember(MemberId id, MonotonicTime deadline, MembersDone done) override {
    changes_.Promote(id, deadline, std::move(done));
  }
  void MoveLeader(MemberId to, MonotonicTime deadline, absl::AnyInvocable<void(absl::Status)> done) override {
    changes_.MoveLeader(to, deadline, std::move(done));
  }
  void ChangeDowngrade(DowngradeAction action, std::string target_version, MonotonicTime deadline,
                       absl::AnyInvocable<void(absl::StatusOr<std::string>)> done) override {
    downgrades_.Change(action, std::move(target_version), deadline, std::move(done));
  }

  mvcc::Store& store() override { return *store_; }
  const lease::Lessor& lessor() const override { return *lessor_; }
  const cluster::Cluster& cluster() const override { return cluster_; }
  backend::Backend& backend() override { return *ports_.backend; }
  std::vector<Alarm> alarms() const override { return alarms_.List(AlarmType::kNone); }

 private:
  /// The lessor as the store sees it.
  class Leases final : public mvcc::LeaseBinder {
   public:
    explicit Leases(const std::unique_ptr<lease::Lessor>& lessor) : lessor_(lessor) {}
    bool Exists(LeaseId lease) const override { return lessor_->Exists(lease); }
    void Attach(LeaseId lease, std::string_view key) override { lessor_->Attach(lease, key); }
    void Detach(LeaseId lease, std::string_view key) override { lessor_->Detach(lease, key); }

   private:
    const std::unique_ptr<lease::Lessor>& lessor_;
  };

  absl::Status OpenMembership(const StartState& start);
  absl::Status OpenState();
  absl::Status CheckStart(const StartState& start) const;
  absl::Status OpenLoop(StartState start);
  void AddPeers(const StartState& start);
  bool IsFromRemoved(const raft::Message& message) const;
  void Run(absl::AnyInvocable<void()> ready);
  void CatchUpWatchers();
  void RaiseNoSpace();

  // Constant after construction.
  const MemberOptions options_;
  const Ports ports_;
  const std::shared_ptr<SharedState> state_;  // shared with the metrics registry

  Metrics metrics_;
  cluster::Cluster cluster_;
  AlarmStore alarms_;
  std::unique_ptr<lease::Lessor> lessor_;
  Leases leases_{lessor_};
  std::unique_ptr<mvcc::Store> store_;
  v2store::Store v2_store_{ports_.clock};
  V2Tree v2_tree_{&v2_store_, cluster_.local(), cluster_.id(), options_.max_learners};
  V2Gate v2_gate_{&cluster_, ports_};
  Proposer proposer_;
  V2Expirer v2_expirer_{&v2_store_, &v2_gate_, &proposer_, state_.get(), ports_};
  MemberChanges changes_;
  Downgrades downgrades_{this, ports_};
  Publisher publisher_{&cluster_, &proposer_, options_, ports_};
  CorruptionChecker corruption_checker_{this, &proposer_, options_, ports_};
  VersionKeeper version_keeper_{&cluster_, &proposer_, state_.get(), options_, ports_};
  Quota quota_;
  std::unique_ptr<Compactor> compactor_;
  std::unique_ptr<EntryApplier> entries_;
  std::unique_ptr<MembershipApplier> membership_;
  std::unique_ptr<SnapshotInstaller> installer_;
  std::unique_ptr<Applier> applier_;
  std::unique_ptr<RaftLoop> loop_;
  std::unique_ptr<LeaseKeeper> lease_keeper_;
  std::unique_ptr<LeaseRequests> lease_requests_;

  std::atomic<bool> ready_{false};
  std::atomic<bool> stopped_{false};
  std::atomic<bool> removed_{false};
};

}  // namespace kvorum::member
