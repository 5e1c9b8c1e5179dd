#include "member/version_keeper.h"

#include <utility>

#include "base/version.h"
#include "base/wire.h"

namespace kvorum::member {
namespace {

constexpr std::chrono::seconds kInterval(4);
constexpr std::chrono::milliseconds kFirstInterval(250);
constexpr std::chrono::seconds kAskTime(3);

/// A downgrade goes one minor version down.
bool IsDowngrade(const cluster::Version& from, const cluster::Version& to) {
  return from.minor > 0 && to == cluster::Version{.major = from.major, .minor = from.minor - 1};
}

}  // namespace

void VersionKeeper::Start() {
  ArmVersions(kInterval);
  ArmDowngrade();
}

void VersionKeeper::Stop() {
  stopped_ = true;
  ports_.apply_executor->CancelTimer(version_timer_);
  ports_.apply_executor->CancelTimer(downgrade_timer_);
}

void VersionKeeper::OnLeading() {
  leading_since_ = ports_.clock->Now();
  CheckVersion();
}

void VersionKeeper::ArmVersions(std::chrono::nanoseconds delay) {
  ports_.apply_executor->CancelTimer(version_timer_);
  version_timer_ = ports_.apply_executor->PostAfter(delay, [this] {
    ArmVersions(kInterval);
    CheckVersion();
  });
}

void VersionKeeper::CheckVersion() {
  if (stopped_ || checking_ || !state_->is_leader()) return;
  checking_ = true;
  AskVersions(*cluster_, ports_, options_.release, ports_.clock->Now() + kAskTime,
              [this](const MemberVersions& versions) {
                checking_ = false;
                if (!stopped_ && state_->is_leader()) Decide(versions);
              });
}

void VersionKeeper::Decide(const MemberVersions& versions) {
  const auto own = *cluster::ParseVersion(kApiVersion);
  for (const auto& [id, said] : versions) {
    const auto version = said ? cluster::ParseVersion(said->server) : std::nullopt;
    if (!version || *version <= own) continue;
    KVORUM_LOG(*ports_.logger, kWarn, "leader found higher-versioned member",
               {"local-member-version", kApiVersion}, LogField::Id("remote-member-id", id.value()),
               {"remote-member-version", said->server});
  }
  const std::optional<cluster::Version> current = cluster::ParseVersion(cluster_->version());
  if (!current) return DecideFirst(versions);
  const std::optional<cluster::Version> oldest = OldestMember(versions);
  if (!oldest) return;
  if (const auto next = Next(*current, oldest->Cluster()))
    Propose(*next, *FormFor(current->Text(), versions));
}

void VersionKeeper::DecideFirst(const MemberVersions& versions) {
  const std::optional<MembershipForm> form = FormFor("", versions);
  if (const std::optional<cluster::Version> oldest = OldestMember(versions)) {
    return Propose(oldest->Cluster(), *form);
  }
  // Members of etcd serve nobody before the version is set, so one that never started must not keep the
  // cluster from beginning. But a version in the form that a member does not know stops that member.
  if (!form && ports_.clock->Now() < leading_since_ + options_.request_timeout()) {
    return ArmVersions(kFirstInterval);
  }
  Propose(*cluster::ParseVersion(kMinClusterVersion), form.value_or(MembershipForm::kCurrent));
}

std::optional<cluster::Version> VersionKeeper::Next(const cluster::Version& current,
                                                    const cluster::Version& oldest) const {
  const cluster::Downgrade downgrade = cluster_->downgrade();
  if (!downgrade.enabled) {
    const bool rises = current < oldest && current.major == oldest.major;
    return rises ? std::optional(oldest) : std::nullopt;
  }
  const std::optional<cluster::Version> target = cluster::ParseVersion(downgrade.target_version);
  if (target == current) return std::nullopt;
  if (!target || !IsDowngrade(current, *target) || !IsDowngrade(oldest, *target)) {
    KVORUM_LOG(*ports_.logger, kError, "Failed to monitor cluster version",
               {"cluster-version", current.Text()}, {"minimal-server-version", oldest.Text()},
               {"downgrade-target", downgrade.target_version}, {"error", "invalid downgrade target"});
    return std::nullopt;
  }
  return target;
}

void VersionKeeper::Propose(const cluster::Version& version, MembershipForm form) {
  const std::string api = form == MembershipForm::kLegacy ? "v2 API" : "v3 API";
  const std::optional<cluster::Version> before = cluster::ParseVersion(cluster_->version());
  if (before) {
    KVORUM_LOG(*ports_.logger, kInfo, "updating cluster version using " + api, {"from", before->ShortText()},
               {"to", version.ShortText()});
  } else {
    KVORUM_LOG(*ports_.logger, kInfo, "setting up initial cluster version using " + api,
               {"cluster-version", version.ShortText()});
  }
  checking_ = true;
  auto done = [this, shown = version.ShortText()](const ApplyResult& result) {
    checking_ = false;
    if (stopped_) return;
    if (result.status.ok()) {
      KVORUM_LOG(*ports_.logger, kInfo, "cluster version is updated", {"cluster-version", shown});
    } else {
      KVORUM_LOG(*ports_.logger, kWarn, "failed to update cluster version",
                 {"error", std::string(result.status.message())});
    }
  };
  if (form == MembershipForm::kLegacy) {
    return proposer_->ProposeLegacyPut(kLegacyVersionPath, version.Text(), std::move(done));
  }
  std::string request;
  wire::AppendBytes(request, 1, version.Text());
  proposer_->ProposeInternal(RequestKind::kClusterVersionSet, request, std::move(done));
}

void VersionKeeper::ArmDowngrade() {
  if (options_.downgrade_check_time <= std::chrono::nanoseconds(0)) return;
  downgrade_timer_ = ports_.apply_executor->PostAfter(options_.downgrade_check_time, [this] {
    ArmDowngrade();
    CheckDowngrade();
  });
}

void VersionKeeper::CheckDowngrade() {
  if (stopped_ || !state_->is_leader() || !cluster_->downgrade().enabled) return;
  AskVersions(*cluster_, ports_, options_.release, ports_.clock->Now() + kAskTime,
              [this](const MemberVersions& versions) {
                if (!stopped_ && state_->is_leader()) EndDowngrade(versions);
              });
}

void VersionKeeper::EndDowngrade(const MemberVersions& versions) {
  const cluster::Downgrade downgrade = cluster_->downgrade();
  const std::optional<cluster::Version> target = cluster::ParseVersion(downgrade.target_version);
  if (!downgrade.enabled || !target) return;
  for (const auto& [id, said] : versions) {
    const auto version = said ? cluster::ParseVersion(said->server) : std::nullopt;
    if (!version) return;
    if (version->Cluster() == *target) continue;
    KVORUM_LOG(*ports_.logger, kWarn, "remotes server has mismatching etcd version",
               LogField::Id("remote-member-id", id.value()), {"current-server-version", version->Text()},
               {"target-version", target->Text()});
    return;
  }
  KVORUM_LOG(*ports_.logger, kInfo, "the cluster has been downgraded", {"cluster-version", target->Text()});
  proposer_->ProposeInternal(RequestKind::kDowngradeInfoSet, "", [this](const ApplyResult& result) {
    if (stopped_ || result.status.ok()) return;
    KVORUM_LOG(*ports_.logger, kError, "failed to cancel downgrade",
               {"error", std::string(result.status.message())});
  });
}

}  // namespace kvorum::member
