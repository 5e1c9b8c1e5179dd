#include "member/member_versions.h"

#include <utility>

#include "base/version.h"
#include "member/ask_others.h"

namespace kvorum::member {
namespace {

constexpr cluster::Version kFirstWithCurrentForm{.major = 3, .minor = 6};

}  // namespace

void AskVersions(const cluster::Cluster& cluster, const Ports& ports, std::string_view own_release,
                 MonotonicTime deadline, absl::AnyInvocable<void(MemberVersions)> done) {
  const std::string version = cluster.version();
  MemberVersions versions;
  for (const cluster::Member& member : cluster.members()) versions[member.id];
  versions[cluster.local()] = PeerVersions{.server = std::string(own_release),
                                           .cluster = version.empty() ? "not_decided" : version,
                                           .kvorum = std::string(kKvorumVersion)};
  AskOthers<PeerVersions>(
      cluster, ports,
      [&ports, deadline](const cluster::Member& member, PeerCalls::Done<PeerVersions> answered) {
        ports.calls->Versions(member.peer_urls, deadline, std::move(answered));
      },
      [versions = std::move(versions), logger = ports.logger,
       done = std::move(done)](Answers<PeerVersions> answers) mutable {
        for (auto& [id, answer] : answers) {
          if (answer.ok()) {
            versions[id] = *std::move(answer);
            continue;
          }
          KVORUM_LOG(*logger, kWarn, "failed to get version", LogField::Id("remote-member-id", id.value()),
                     {"error", std::string(answer.status().message())});
        }
        done(std::move(versions));
      });
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
