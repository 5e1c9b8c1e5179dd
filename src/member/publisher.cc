#include "member/publisher.h"

#include <utility>

#include "base/wire.h"

namespace kvorum::member {
namespace {

constexpr std::chrono::milliseconds kMembershipWait(20);
constexpr std::chrono::milliseconds kAskWait(250);
constexpr std::chrono::seconds kAskTime(2);

}  // namespace

void Publisher::Start(absl::AnyInvocable<void()> published) {
  published_ = std::move(published);
  guess_at_ = ports_.clock->Now() + options_.request_timeout();
  Try();
}

void Publisher::TryAgainAfter(std::chrono::nanoseconds delay) {
  ports_.apply_executor->PostAfter(delay, [this] { Try(); });
}

void Publisher::Try() {
  if (stopped_) return;
  // One that joins learns from the log who it is, and who the others are.
  if (!cluster_->Find(cluster_->local())) return TryAgainAfter(kMembershipWait);
  if (const std::optional<MembershipForm> form = FormFor(cluster_->version())) return Propose(*form);
  AskVersions(*cluster_, ports_, options_.release, ports_.clock->Now() + kAskTime,
              [this](const MemberVersions& versions) { ChooseForm(versions); });
}

void Publisher::ChooseForm(const MemberVersions& versions) {
  if (stopped_) return;
  const std::optional<MembershipForm> form = FormFor(cluster_->version(), versions);
  if (form) return Propose(*form);
  // A wrong guess stops members of other releases, so they get time to answer; but one that never started
  // must not keep a cluster from beginning.
  if (ports_.clock->Now() < guess_at_) return TryAgainAfter(kAskWait);
  Propose(MembershipForm::kCurrent);
}

void Publisher::Propose(MembershipForm form) {
  auto done = [this](const ApplyResult& result) { OnProposed(result.status); };
  if (form == MembershipForm::kLegacy) {
    proposer_->ProposeLegacyPut(
        LegacyAttributesPath(cluster_->local()),
        cluster::AttributesToJson(
            {.name = options_.name, .client_urls = options_.advertise_client_urls, .is_kvorum = true}),
        std::move(done));
    return;
  }
  std::string attributes;
  if (!options_.name.empty()) wire::AppendBytes(attributes, 1, options_.name);
  for (const std::string& url : options_.advertise_client_urls) wire::AppendBytes(attributes, 2, url);
  std::string request;
  wire::AppendUint(request, 1, cluster_->local().value());
  wire::AppendBytes(request, 2, attributes);
  wire::AppendUint(request, kSaysKvorumField, 1);
  proposer_->ProposeInternal(RequestKind::kClusterMemberAttrSet, request, std::move(done));
}

void Publisher::OnProposed(const absl::Status& status) {
  if (stopped_) return;
  const std::string attributes =
      cluster::AttributesToJson({.name = options_.name, .client_urls = options_.advertise_client_urls});
  if (!status.ok()) {
    KVORUM_LOG(*ports_.logger, kWarn, "failed to publish local member to cluster through raft",
               LogField::Id("local-member-id", cluster_->local().value()),
               LogField::Raw("local-member-attributes", attributes),
               {"publish-timeout", options_.request_timeout()}, {"error", std::string(status.message())});
    return TryAgainAfter(kMembershipWait);
  }
  KVORUM_LOG(*ports_.logger, kInfo, "published local member to cluster through raft",
             LogField::Id("local-member-id", cluster_->local().value()),
             LogField::Raw("local-member-attributes", attributes),
             LogField::Id("cluster-id", cluster_->id().value()),
             {"publish-timeout", options_.request_timeout()});
  if (published_) std::exchange(published_, nullptr)();
}

}  // namespace kvorum::member
