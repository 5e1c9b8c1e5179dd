#include "robustness/run.h"

#include <algorithm>
#include <set>
#include <utility>

#include "fmt/format.h"
#include "sim/check/kv_checker.h"
#include "sim/check/lease_checker.h"
#include "sim/check/member_checker.h"
#include "sim/check/watch_checker.h"

namespace kvorum::robustness {

namespace {

constexpr Instant kAnswer = 3 * kSecond;  // one question
constexpr Instant kPause = 200 * kMillisecond;
/// How long after its time a lease may be there: the rounds of the leader, the log, and what a new leader
/// adds.
constexpr Instant kMostLate = 8 * kSecond;
/// How long a request may wait in the socket of a process that stands still, and in the cluster.
constexpr Instant kRequestLifetime = 20 * kSecond;
constexpr double kClockDrift = 0.01;

}  // namespace

Run::Run(http::Loop* loop, Options options, Done done)
    : options_(std::move(options)), done_(std::move(done)), scene_(loop, options_.seed, options_.workload) {
  for (const auto& [name, target] : options_.endpoints) scene_.AddEndpoint(name, target);
  for (const auto& endpoint : scene_.endpoints()) {
    witnesses_.push_back(std::make_unique<Witness>(&scene_, endpoint.get()));
  }
  uint64_t id = 0;
  for (uint64_t i = 0; i < options_.clients; ++i)
    clients_.push_back(std::make_unique<KvClient>(++id, &scene_));
  for (uint64_t i = 0; i < options_.watchers; ++i)
    watchers_.push_back(std::make_unique<Watcher>(++id, &scene_));
  for (uint64_t i = 0; i < options_.leasers; ++i) leasers_.push_back(std::make_unique<Leaser>(++id, &scene_));
}

Run::~Run() { scene_.End(); }

void Run::Start() {
  for (const auto& endpoint : scene_.endpoints()) endpoint->Connect();
  for (const auto& client : clients_) client->Start();
  for (const auto& watcher : watchers_) watcher->Start();
  for (const auto& leaser : leasers_) leaser->Start();
}

template <typename Response, typename Request>
void Run::AskAll(std::string_view method, const Request& request,
                 absl::AnyInvocable<void(std::vector<std::pair<MemberId, Response>>)> done) {
  struct Round {
    std::vector<std::pair<MemberId, Response>> answers;
    size_t open = 1;
    absl::AnyInvocable<void(std::vector<std::pair<MemberId, Response>>)> done;
    void Release() {
      if (--open == 0) done(std::move(answers));
    }
  };
  auto round = std::make_shared<Round>();
  round->done = std::move(done);
  for (const auto& endpoint : scene_.endpoints()) {
    const bool sent = endpoint->Call<Response>(method, request, kAnswer,
                                               [round, id = endpoint->id()](absl::StatusOr<Response> answer) {
                                                 if (answer.ok())
                                                   round->answers.emplace_back(id, *std::move(answer));
                                                 round->Release();
                                               });
    if (sent) ++round->open;
  }
  // Not inside this call.
  scene_.After(0, [round] { round->Release(); });
}

void Run::Again(const std::string& what, absl::AnyInvocable<void()> step) {
  if (scene_.now() > latest_) {
    std::string where;
    for (size_t i = 0; i < witnesses_.size(); ++i) {
      where += fmt::format(", {} told of revision {}", scene_.endpoints()[i]->name(), witnesses_[i]->told());
    }
    return Finish(Verdict::Kind::kLiveness,
                  {fmt::format("{} s after it should: {}; the last revision known is {}{}",
                               options_.patience / kSecond, what, scene_.ledger().last(), where)});
  }
  scene_.After(kPause, std::move(step));
}

void Run::EndOfFaults() {
  latest_ = scene_.now() + options_.patience;
  LookForLeaders();
  AwaitHealth();
}

/// A lease may be counted anew by each leader.
void Run::LookForLeaders() {
  AskAll<etcdserverpb::StatusResponse>(
      "/etcdserverpb.Maintenance/Status", etcdserverpb::StatusRequest(),
      [this](const std::vector<std::pair<MemberId, etcdserverpb::StatusResponse>>& answers) {
        for (const auto& [member, answer] : answers) {
          if (answer.raftterm() == term_ && answer.leader() != 0) continue;
          term_ = std::max(term_, answer.raftterm());
          disturbed_ = scene_.now();
        }
        scene_.After(kPause, [this] { LookForLeaders(); });
      });
}

void Run::AwaitHealth() {
  etcdserverpb::RangeRequest read;
  read.set_key("k0");
  AskAll<etcdserverpb::RangeResponse>("/etcdserverpb.KV/Range", read, [this](const auto& answers) {
    if (answers.size() < options_.endpoints.size()) {
      return Again("not every member answers", [this] { AwaitHealth(); });
    }
    disturbed_ = scene_.now();
    for (const auto& client : clients_) client->Stop();
    for (const auto& watcher : watchers_) watcher->Stop();
    for (const auto& leaser : leasers_) leaser->Stop();
    latest_ = scene_.now() + options_.patience;
    Drain();
  });
}

void Run::Drain() {
  const bool idle =
      std::all_of(clients_.begin(), clients_.end(), [](const auto& client) { return client->idle(); });
  if (!idle) return Again("requests are still without an answer", [this] { Drain(); });
  AwaitEndOfLeases();
}

void Run::AwaitEndOfLeases() {
  etcdserverpb::RangeRequest leased;
  leased.set_key("l");
  leased.set_range_end("m");
  leased.set_count_only(true);
  AskAll<etcdserverpb::RangeResponse>("/etcdserverpb.KV/Range", leased, [this](const auto& answers) {
    const bool gone = !answers.empty() && std::all_of(answers.begin(), answers.end(), [](const auto& answer) {
      return answer.second.count() == 0;
    });
    // Whoever is too late is found by the checker.
    if (gone || scene_.now() > latest_) {
      latest_ = scene_.now() + options_.patience;
      return AwaitSameRevision(0);
    }
    scene_.After(kPause, [this] { AwaitEndOfLeases(); });
  });
}

/// All at one revision, twice. No linearizable read may say less than what a watch told before it.
void Run::AwaitSameRevision(int64_t before) {
  etcdserverpb::RangeRequest read;
  read.set_key("k0");
  const int64_t known = scene_.ledger().newest();
  AskAll<etcdserverpb::RangeResponse>(
      "/etcdserverpb.KV/Range", read, [this, before, known](const auto& answers) {
        std::set<int64_t> revisions;
        for (const auto& [member, answer] : answers) revisions.insert(answer.header().revision());
        if (!revisions.empty() && *revisions.begin() < known) {
          lost_.push_back(fmt::format("a member is at revision {}, although revision {} was told before",
                                      *revisions.begin(), known));
          return Check();
        }
        const bool same = answers.size() == options_.endpoints.size() && revisions.size() == 1 &&
                          *revisions.begin() == scene_.ledger().last() &&
                          scene_.ledger().last() == scene_.ledger().newest();
        if (same && *revisions.begin() == before) return AwaitSameHash();
        const int64_t revision = same ? *revisions.begin() : 0;
        Again(fmt::format("the members are at revisions {}", fmt::join(revisions, " and ")),
              [this, revision] { AwaitSameRevision(revision); });
      });
}

void Run::AwaitSameHash() {
  etcdserverpb::HashKVRequest request;
  request.set_revision(scene_.ledger().last());
  AskAll<etcdserverpb::HashKVResponse>(
      "/etcdserverpb.Maintenance/HashKV", request, [this](const auto& answers) {
        std::set<int64_t> compacted;
        for (const auto& [member, answer] : answers) compacted.insert(answer.compact_revision());
        if (answers.size() < options_.endpoints.size() || compacted.size() != 1) {
          return Again(
              fmt::format("the members are compacted at revisions {}", fmt::join(compacted, " and ")),
              [this] { AwaitSameHash(); });
        }
        for (const auto& [member, answer] : answers) {
          scene_.history().hashes.push_back({.member = member,
                                             .revision = scene_.ledger().last(),
                                             .compact_revision = answer.compact_revision(),
                                             .hash = answer.hash()});
        }
        latest_ = scene_.now() + options_.patience;
        AwaitWatches();
      });
}

void Run::AwaitWatches() {
  const int64_t last = scene_.ledger().last();
  sim::Violations late;
  for (const auto& watcher : watchers_) {
    if (watcher->At(last)) continue;
    late.push_back(
        fmt::format("watch #{} asked how far it has come, and was not told that it is at revision {}",
                    watcher->place(), last));
  }
  for (size_t i = 0; i < witnesses_.size(); ++i) {
    if (witnesses_[i]->told() >= last) continue;
    late.push_back(fmt::format("a watch of everything on {} came to revision {}, not to {}",
                               scene_.endpoints()[i]->name(), witnesses_[i]->told(), last));
  }
  if (!late.empty() && scene_.now() < latest_) return scene_.After(kPause, [this] { AwaitWatches(); });
  for (const auto& watcher : watchers_) watcher->Close();
  late_ = std::move(late);
  Check();
}

void Run::Check() {
  sim::History& history = scene_.history();
  history.revisions = scene_.ledger().revisions();
  sim::Violations violations = lost_;
  const sim::Violations& differences = scene_.ledger().violations();
  violations.insert(violations.end(), differences.begin(), differences.end());
  const auto add = [&violations](const sim::Violations& more) {
    violations.insert(violations.end(), more.begin(), more.end());
  };
  const sim::KvModel model(history.revisions, &violations);
  const sim::KvVerdict verdict = sim::CheckKv(history, model);
  add(verdict.violations);
  add(sim::CheckWatches(history, model));
  add(sim::CheckLeases(history, model, verdict,
                       {.clock_drift = kClockDrift,
                        .most_late = kMostLate,
                        .disturbances = {{.begin = 0, .end = disturbed_}},
                        .request_lifetime = kRequestLifetime,
                        .end_of_run = scene_.now()}));
  add(sim::CheckMembers(history));
  const bool safe = violations.empty();
  add(late_);
  const Verdict::Kind unsafe = safe ? Verdict::Kind::kLiveness : Verdict::Kind::kSafety;
  Finish(violations.empty() ? Verdict::Kind::kGood : unsafe, violations);
}

void Run::Finish(Verdict::Kind kind, const sim::Violations& violations) {
  if (checked_) return;
  checked_ = true;
  scene_.history().revisions = scene_.ledger().revisions();
  done_({.kind = kind, .violations = violations});
}

}  // namespace kvorum::robustness
