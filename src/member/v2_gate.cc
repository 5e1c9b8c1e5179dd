#include "member/v2_gate.h"

#include <utility>

#include "cluster/version.h"
#include "fmt/format.h"
#include "member/ask_others.h"

namespace kvorum::member {
namespace {

constexpr cluster::Version kFirstWithoutV2{.major = 3, .minor = 6};
constexpr std::chrono::seconds kInterval(4);
/// While somebody's kind is not known.
constexpr std::chrono::milliseconds kShortInterval(500);
constexpr std::chrono::seconds kAskTime(3);

absl::Status Refused(std::string_view what) {
  return absl::FailedPreconditionError(fmt::format("etcdserver: {}", what));
}

}  // namespace

void V2Gate::Stop() {
  stopped_ = true;
  ports_.apply_executor->CancelTimer(timer_);
}

void V2Gate::Ask() {
  const MonotonicTime deadline = ports_.clock->Now() + kAskTime;
  AskOthers<PeerVersions>(
      cluster_, ports_,
      [this, deadline](const cluster::Member& member, PeerCalls::Done<PeerVersions> answered) {
        ports_.calls->Versions(member.peer_urls, deadline, std::move(answered));
      },
      [this](Answers<PeerVersions> answers) { OnAnswers(std::move(answers)); });
}

void V2Gate::OnAnswers(std::map<MemberId, absl::StatusOr<PeerVersions>> answers) {
  if (stopped_) return;
  bool all_known = true;
  {
    absl::MutexLock lock(&mutex_);
    for (auto& [id, answer] : answers) {
      const std::optional<cluster::Member> member = cluster_.Find(id);
      if (!member) {
        said_.erase(id);
        continue;
      }
      // One that does not answer is what it was.
      if (answer.ok()) {
        said_[id] = {.versions = *std::move(answer), .published_kvorum = member->is_kvorum};
      }
      all_known = all_known && KindOf(*member) != Kind::kUnknown;
    }
    judged_at_.reset();
  }
  timer_ = ports_.apply_executor->PostAfter(all_known ? std::chrono::nanoseconds(kInterval) : kShortInterval,
                                            [this] { Ask(); });
}

void V2Gate::MayHaveKeys(MemberId id, absl::AnyInvocable<void(bool)> done) {
  const std::optional<cluster::Member> member = cluster_.Find(id);
  Kind kind = Kind::kApplies;
  if (member && ports_.calls != nullptr) {
    absl::MutexLock lock(&mutex_);
    kind = KindOf(*member);
  }
  if (kind != Kind::kUnknown) return done(kind == Kind::kApplies);
  ports_.calls->Versions(
      member->peer_urls, ports_.clock->Now() + kAskTime,
      [this, member = *member, done = std::move(done)](absl::StatusOr<PeerVersions> answer) mutable {
        ports_.apply_executor->Post(
            [this, member = std::move(member), answer = std::move(answer), done = std::move(done)]() mutable {
              if (stopped_) return;
              Kind said = Kind::kUnknown;
              if (answer.ok()) {
                absl::MutexLock lock(&mutex_);
                said_[member.id] = {.versions = *std::move(answer), .published_kvorum = member.is_kvorum};
                judged_at_.reset();
                said = KindOf(member);
              }
              done(said != Kind::kDiesOfIt);
            });
      });
}

V2Gate::Kind V2Gate::KindOf(const cluster::Member& member) const {
  if (member.id == cluster_.local()) return Kind::kApplies;
  const auto said = said_.find(member.id);
  if (said != said_.end() && said->second.published_kvorum == member.is_kvorum) {
    if (!said->second.versions.kvorum.empty()) return Kind::kApplies;
    const std::optional<cluster::Version> version = cluster::ParseVersion(said->second.versions.server);
    if (version) return *version < kFirstWithoutV2 ? Kind::kApplies : Kind::kDiesOfIt;
  }
  return member.is_kvorum ? Kind::kApplies : Kind::kUnknown;
}

absl::Status V2Gate::Judge() const {
  const std::optional<cluster::Version> version = cluster::ParseVersion(cluster_.version());
  for (const cluster::Member& member : cluster_.members()) {
    const Kind kind = KindOf(member);
    if (kind == Kind::kDiesOfIt) {
      return Refused(fmt::format("member {} ({:x}, etcd {}) does not understand v2 requests", member.name,
                                 member.id.value(), said_.at(member.id).versions.server));
    }
    const bool started = !member.name.empty();
    if (kind == Kind::kUnknown && started && version && *version >= kFirstWithoutV2) {
      return Refused(fmt::format(
          "member {} ({:x}) cannot be asked whether it understands v2 requests, which etcd {} does not",
          member.name, member.id.value(), version->ShortText()));
    }
  }
  return absl::OkStatus();
}

absl::Status V2Gate::Check() const {
  absl::MutexLock lock(&mutex_);
  const uint64_t now = cluster_.changes();
  if (judged_at_ != now) {
    judgement_ = Judge();
    judged_at_ = now;
  }
  return judgement_;
}

}  // namespace kvorum::member
