#pragma once

#include <map>
#include <optional>

#include "cluster/cluster.h"
#include "cluster/version.h"
#include "member/ports.h"

namespace kvorum::member {

/// What each member said of its versions; nothing where it could not be asked.
using MemberVersions = std::map<MemberId, std::optional<PeerVersions>>;

/// Asks every member for its versions, this one's own (`own_release`) among them; `done` on the apply
/// executor. Borrows everything.
void AskVersions(const cluster::Cluster& cluster, const Ports& ports, std::string_view own_release,
                 MonotonicTime deadline, absl::AnyInvocable<void(MemberVersions)> done);

/// The oldest release among those known; null where one is not known.
std::optional<cluster::Version> OldestMember(const MemberVersions& versions);

/// In which form the log tells of members' attributes and the cluster's version: releases before 3.6 write
/// both as requests of etcd's v2 store, 3.4 dies of the newer form and 3.7 of the older one (reference:
/// apply.md §2.3, §10).
enum class MembershipForm : uint8_t { kLegacy, kCurrent };
/// The form that the oldest member understands, by the cluster's version alone; null where that says too
/// little. "3.0.0" is what a cluster gets of which not every member could be asked.
std::optional<MembershipForm> FormFor(std::string_view cluster_version);
/// The same, by what the members said.
std::optional<MembershipForm> FormFor(std::string_view cluster_version, const MemberVersions& versions);

}  // namespace kvorum::member
