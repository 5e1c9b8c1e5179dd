#include "member/member_versions.h"

#include <memory>
#include <utility>

#include "base/version.h"

namespace kvorum::member {
namespace {

constexpr cluster::Version kFirstWithCurrentForm{.major = 3, .minor = 6};

/// Questions under way. On the apply executor.
struct Round {
  MemberVersions versions;
  size_t missing = 0;
  absl::AnyInvocable<void(MemberVersions)> done;

  void Finish() {
    if (missing == 0) done(std::move(versions));
  }
};

void AskOne(const cluster::Member& member, const Ports& ports, MonotonicTime deadline,
            std::shared_ptr<Round> round) {
  auto answered = [id = member.id, executor = ports.apply_executor, logger = ports.logger,
                   round = std::move(round)](absl::StatusOr<PeerVersions> versions) mutable {
    executor->Post([id, logger, round = std::move(round), versions = std::move(versions)]() mutable {
      if (versions.ok()) {
        round->versions[id] = *std::move(versions);
      } else {
        KVORUM_LOG(*logger, kWarn, "failed to get version", LogField::Id("remote-member-id", id.value()),
                   {"error", std::string(versions.status().message())});
      }
      --round->missing;
      round->Finish();
    });
  };
  ports.calls->Versions(member.peer_urls, deadline, std::move(answered));
}

}  // namespace

void AskVersions(const cluster::Cluster& cluster, const Ports& ports, std::string_view own_release,
                 MonotonicTime deadline, absl::AnyInvocable<void(MemberVersions)> done) {
  auto round = std::make_shared<Round>();  // shared by the questions
  round->done = std::move(done);
  const std::string version = cluster.version();
  std::vector<cluster::Member> others;
  for (cluster::Member& member : cluster.members()) {
    round->versions[member.id];
    if (member.id != cluster.local()) others.push_back(std::move(member));
  }
  round->versions[cluster.local()] =
      PeerVersions{.server = std::string(own_release), .cluster = version.empty() ? "not_decided" : version};
  if (ports.calls == nullptr) others.clear();
  round->missing = others.size();
  for (const cluster::Member& member : others) AskOne(member, ports, deadline, round);
  if (others.empty()) ports.apply_executor->Post([round] { round->Finish(); });
}

std::optional<cluster::Version> OldestMember(const MemberVersions& versions) {
  std::optional<cluster::Version> oldest;
  for (const auto& [id, said] : versions) {
    const auto version = said ? cluster::ParseVersion(said->server) : std::nullopt;
    if (!version) return std::nullopt;
    if (!oldest || *version < *oldest) oldest = version;
  }
  return oldest;
}

std::optional<MembershipForm> FormFor(std::string_view cluster_version) {
  const std::optional<cluster::Version> version = cluster::ParseVersion(cluster_version);
  if (!version || *version <= *cluster::ParseVersion(kMinClusterVersion)) return std::nullopt;
  return *version >= kFirstWithCurrentForm ? MembershipForm::kCurrent : MembershipForm::kLegacy;
}

std::optional<MembershipForm> FormFor(std::string_view cluster_version, const MemberVersions& versions) {
  for (const auto& [id, said] : versions) {
    const auto version = said ? cluster::ParseVersion(said->server) : std::nullopt;
    if (version && *version < kFirstWithCurrentForm) return MembershipForm::kLegacy;
  }
  if (OldestMember(versions)) return MembershipForm::kCurrent;
  return FormFor(cluster_version);
}

}  // namespace kvorum::member
