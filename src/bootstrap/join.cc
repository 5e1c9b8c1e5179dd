#include "bootstrap/join.h"

#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "base/status.h"
#include "base/version.h"
#include "bootstrap/config_check.h"
#include "fmt/format.h"
#include "fmt/ranges.h"

namespace kvorum::bootstrap {
namespace {

using Urls = std::vector<std::string>;
using member::PeerCalls;

absl::Status Refused(std::string text) { return absl::FailedPreconditionError(std::move(text)); }

/// The answers to a question that was put to several at once.
template <typename T>
class Answers {
 public:
  explicit Answers(size_t count) : answers_(count) {}

  PeerCalls::Done<T> Taker(size_t i, const std::shared_ptr<Answers>& self) {
    return [self, i](absl::StatusOr<T> answer) {
      absl::MutexLock lock(&self->mutex_);
      self->answers_[i] = std::move(answer);
      ++self->come_;
      self->good_ = self->good_ || self->answers_[i]->ok();
    };
  }
  /// Until all are there.
  std::vector<absl::StatusOr<T>> All() {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(this, &Answers::AllCame));
    return Taken();
  }
  /// Until one is good, or all are there.
  std::vector<absl::StatusOr<T>> OneGood() {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(this, &Answers::Enough));
    return Taken();
  }

 private:
  bool AllCame() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return come_ == answers_.size(); }
  bool Enough() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return good_ || AllCame(); }
  std::vector<absl::StatusOr<T>> Taken() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    std::vector<absl::StatusOr<T>> out;
    for (const auto& answer : answers_)
      out.push_back(answer.value_or(absl::UnavailableError("no answer yet")));
    return out;
  }

  absl::Mutex mutex_;
  std::vector<std::optional<absl::StatusOr<T>>> answers_ ABSL_GUARDED_BY(mutex_);
  size_t come_ ABSL_GUARDED_BY(mutex_) = 0;
  bool good_ ABSL_GUARDED_BY(mutex_) = false;
};

/// The peer URLs of every other member of --initial-cluster, sorted.
Urls OtherUrls(const Options& options) {
  Urls urls;
  for (const auto& [name, of_name] : options.initial_cluster) {
    if (name != options.name) urls.insert(urls.end(), of_name.begin(), of_name.end());
  }
  std::sort(urls.begin(), urls.end());
  return urls;
}

/// What the members at `urls` answered, in the order of the URLs.
std::shared_ptr<Answers<member::PeerMembers>> AskMembers(const Options& options, const Urls& urls,
                                                         std::chrono::nanoseconds timeout) {
  auto answers = std::make_shared<Answers<member::PeerMembers>>(urls.size());
  const MonotonicTime deadline = options.wal.clock->Now() + timeout;
  for (size_t i = 0; i < urls.size(); ++i) {
    options.calls->Members({urls[i]}, deadline, answers->Taker(i, answers));
  }
  return answers;
}

absl::StatusOr<member::PeerMembers> FetchCluster(const Options& options) {
  constexpr std::string_view kOuter = "cannot fetch cluster info from peer urls: ";
  const Urls urls = OtherUrls(options);
  std::vector<absl::StatusOr<member::PeerMembers>> answers =
      AskMembers(options, urls, options.fetch_timeout)->OneGood();
  for (size_t i = 0; i < urls.size(); ++i) {
    if (answers[i].ok()) {
      if (!answers[i]->members.empty()) return std::move(answers[i]);
      return Refused(fmt::format("{}failed to get raft cluster member(s) from the given URLs", kOuter));
    }
    if (absl::IsUnavailable(answers[i].status()) && answers[i].status().message() == "no answer yet")
      continue;
    KVORUM_LOG(*options.wal.logger, kWarn, "failed to get cluster response", {"address", urls[i]},
               {"error", std::string(answers[i].status().message())});
  }
  return Refused(fmt::format("{}could not retrieve cluster information from the given URLs", kOuter));
}

/// As etcd prints a cluster in this error.
std::string ClusterText(const member::PeerMembers& cluster) {
  std::vector<std::string> members;
  for (const cluster::Member& member : cluster.members) {
    members.push_back(fmt::format(
        "&{{ID:{:x} RaftAttributes:{{PeerURLs:[{}] IsLearner:{}}} Attributes:{{Name:{} ClientURLs:[{}]}}}}",
        member.id.value(), fmt::join(member.peer_urls, " "), member.is_learner, member.name,
        fmt::join(member.client_urls, " ")));
  }
  return fmt::format("{{ClusterID:{:x} Members:[{}] RemovedMemberIDs:[]}}", cluster.cluster_id.value(),
                     fmt::join(members, " "));
}

/// The id that the running cluster has for this member.
absl::StatusOr<MemberId> Match(const Options& options, const member::PeerMembers& cluster) {
  const auto bad = [&](std::string_view what) {
    return Refused(fmt::format("error validating peerURLs {}: {}", ClusterText(cluster), what));
  };
  if (cluster.members.size() != options.initial_cluster.size()) return bad("member count is unequal");
  MemberId own;
  for (const cluster::Member& existing : cluster.members) {
    bool found = false;
    absl::Status why;
    for (const auto& [name, urls] : options.initial_cluster) {
      why = SameUrls(options, existing.peer_urls, urls);
      if (!why.ok()) continue;
      found = true;
      if (name == options.name) own = existing.id;
      break;
    }
    if (!found) {
      return bad(
          fmt::format("PeerURLs: no match found for existing member ({:x}, [{}]), last resolver error ({})",
                      existing.id.value(), fmt::join(existing.peer_urls, " "), std::string(why.message())));
    }
  }
  if (own == MemberId(0)) {
    return bad(fmt::format("no existing member has the URLs of {}", options.name));
  }
  return own;
}

using MajorMinor = std::tuple<unsigned, unsigned>;
std::optional<MajorMinor> ParseVersion(std::string_view text) {
  unsigned major = 0;
  unsigned minor = 0;
  const char* const end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, major);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != '.') return std::nullopt;
  const auto second = std::from_chars(first.ptr + 1, end, minor);
  if (second.ec != std::errc() || second.ptr == end || *second.ptr != '.') return std::nullopt;
  return MajorMinor(major, minor);
}

/// Whether the others are on their way down to an older release. Asking may take a while: they answer only
/// with a quorum, which they may be without until this member runs.
bool IsDowngrading(const Options& options, const std::vector<cluster::Member>& others) {
  auto downgrades = std::make_shared<Answers<bool>>(others.size());
  const MonotonicTime deadline = options.wal.clock->Now() + options.fetch_timeout;
  for (size_t i = 0; i < others.size(); ++i) {
    options.calls->DowngradeEnabled(others[i].peer_urls, deadline, downgrades->Taker(i, downgrades));
  }
  const auto answers = downgrades->All();
  return std::any_of(answers.begin(), answers.end(),
                     [](const auto& answer) { return answer.ok() && *answer; });
}

/// Whether this release may stand in the cluster.
absl::Status CheckVersions(const Options& options, const std::vector<cluster::Member>& others) {
  auto versions = std::make_shared<Answers<member::PeerVersions>>(others.size());
  const MonotonicTime deadline = options.wal.clock->Now() + options.fetch_timeout;
  for (size_t i = 0; i < others.size(); ++i) {
    options.calls->Versions(others[i].peer_urls, deadline, versions->Taker(i, versions));
  }
  MajorMinor newest = *ParseVersion(kClusterVersion);
  const MajorMinor oldest = *ParseVersion(kMinClusterVersion);
  bool known = false;
  bool asked = false;
  const auto answers = versions->All();
  for (size_t i = 0; i < others.size(); ++i) {
    if (!answers[i].ok()) {
      KVORUM_LOG(*options.wal.logger, kWarn, "failed to get version",
                 LogField::Id("remote-member-id", others[i].id.value()),
                 {"error", std::string(answers[i].status().message())});
      continue;
    }
    const std::optional<MajorMinor> version = ParseVersion(answers[i]->cluster);
    if (!version) {
      KVORUM_LOG(*options.wal.logger, kWarn, "failed to parse cluster version of remote member",
                 LogField::Id("remote-member-id", others[i].id.value()),
                 {"remote-member-cluster-version", answers[i]->cluster});
      continue;
    }
    if (*version > newest && !std::exchange(asked, true) && IsDowngrading(options, others)) {
      ++std::get<1>(newest);
    }
    if (*version < oldest || *version > newest) {
      KVORUM_LOG(*options.wal.logger, kWarn, "cluster version of remote member is not compatible",
                 LogField::Id("remote-member-id", others[i].id.value()),
                 {"remote-member-cluster-version", answers[i]->cluster});
      return Refused("incompatible with current running cluster");
    }
    known = true;
  }
  return known ? absl::OkStatus() : Refused("incompatible with current running cluster");
}

}  // namespace

absl::StatusOr<Joined> Join(const Options& options) {
  if (options.calls == nullptr) return Refused("there is no way to ask the other members");
  KVORUM_ASSIGN_OR_RETURN(member::PeerMembers cluster, FetchCluster(options));
  Joined joined;
  KVORUM_ASSIGN_OR_RETURN(joined.id, Match(options, cluster));
  joined.cluster_id = cluster.cluster_id;
  joined.members = std::move(cluster.members);
  std::sort(joined.members.begin(), joined.members.end(),
            [](const auto& a, const auto& b) { return a.id < b.id; });

  std::vector<cluster::Member> others = joined.members;
  std::erase_if(others, [&](const cluster::Member& member) { return member.id == joined.id; });
  KVORUM_RETURN_IF_ERROR(CheckVersions(options, others));
  const auto learners = std::count_if(joined.members.begin(), joined.members.end(),
                                      [](const cluster::Member& member) { return member.is_learner; });
  if (static_cast<size_t>(learners) > options.max_learners) {
    return Refused("membership: too many learner members in cluster");
  }
  return joined;
}

absl::Status CheckNotBootstrapped(const Options& options, MemberId id) {
  if (options.calls == nullptr) return absl::OkStatus();
  const Urls urls = OtherUrls(options);
  for (const absl::StatusOr<member::PeerMembers>& answer :
       AskMembers(options, urls, options.ask_timeout)->All()) {
    if (!answer.ok()) continue;
    for (const cluster::Member& member : answer->members) {
      if (member.id == id && !member.client_urls.empty()) {
        return Refused(fmt::format("member {:x} has already been bootstrapped", id.value()));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace kvorum::bootstrap
