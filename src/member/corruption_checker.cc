#include "member/corruption_checker.h"

#include <map>
#include <string>
#include <utility>

#include "base/wire.h"

namespace kvorum::member {
namespace {

std::vector<std::string> IdTexts(const std::vector<MemberId>& ids) {
  std::vector<std::string> texts;
  for (const MemberId id : ids) texts.push_back(cluster::IdText(id.value()));
  return texts;
}

}  // namespace

void CorruptionChecker::Start() {
  if (options_.corrupt_check_time > std::chrono::nanoseconds(0)) {
    KVORUM_LOG(*ports_.logger, kInfo, "enabled corruption checking",
               LogField::Id("local-member-id", member_.id().value()),
               {"interval", options_.corrupt_check_time});
    ArmPeriodic();
  }
  if (options_.compact_hash_check) ArmCompaction();
}

void CorruptionChecker::Stop() {
  stopped_ = true;
  ports_.apply_executor->CancelTimer(periodic_timer_);
  ports_.apply_executor->CancelTimer(compaction_timer_);
}

void CorruptionChecker::ArmPeriodic() {
  periodic_timer_ = ports_.apply_executor->PostAfter(options_.corrupt_check_time, [this] {
    ArmPeriodic();
    CheckPeriodically();
  });
}

void CorruptionChecker::ArmCompaction() {
  compaction_timer_ = ports_.apply_executor->PostAfter(options_.compact_hash_check_time, [this] {
    ArmCompaction();
    CheckCompactions();
  });
}

void CorruptionChecker::HashHere(HashDone done) {
  member_.HashKv(0, [this, done = std::move(done)](absl::StatusOr<Hash> hash) mutable {
    ports_.apply_executor->Post(
        [done = std::move(done), hash = std::move(hash)]() mutable { done(std::move(hash)); });
  });
}

void CorruptionChecker::HashThere(int64_t revision, absl::AnyInvocable<void(Answers<Hash>)> done) {
  AskOthers<Hash>(
      member_.cluster(), ports_,
      [this, revision](const cluster::Member& member, PeerCalls::Done<Hash> answered) {
        ports_.calls->HashKv(member.peer_urls, member_.cluster_id(), revision, Deadline(),
                             std::move(answered));
      },
      std::move(done));
}

// ---- At the start.

void CorruptionChecker::CheckInitially(absl::AnyInvocable<void(absl::Status)> done) {
  KVORUM_LOG(*ports_.logger, kInfo, "starting initial corruption check",
             LogField::Id("local-member-id", member_.id().value()), {"timeout", options_.request_timeout()});
  HashHere([this, done = std::move(done)](absl::StatusOr<Hash> hash) mutable {
    if (stopped_) return;
    if (!hash.ok()) {
      return done(absl::DataLossError(fmt::format("{:x} failed to fetch hash ({})", member_.id().value(),
                                                  std::string(hash.status().message()))));
    }
    HashThere(hash->revision,
              [this, here = *hash, done = std::move(done)](const Answers<Hash>& peers) mutable {
                if (!stopped_) done(CompareInitially(here, peers));
              });
  });
}

absl::Status CorruptionChecker::CompareInitially(const Hash& here, const Answers<Hash>& peers) const {
  size_t mismatches = 0;
  for (const auto& [id, answer] : peers) {
    if (!answer.ok()) {
      KVORUM_LOG(*ports_.logger, kWarn, "cannot fetch hash from remote peer",
                 LogField::Id("local-member-id", member_.id().value()),
                 {"local-member-revision", here.revision},
                 {"local-member-compact-revision", here.compact_revision},
                 {"local-member-hash", uint64_t{here.hash}}, LogField::Id("remote-peer-id", id.value()),
                 {"error", std::string(answer.status().message())});
      continue;
    }
    if (answer->hash == here.hash) continue;
    if (answer->compact_revision != here.compact_revision) {
      LogInitialDifference("found different compact revision values from remote peer", here, id, *answer);
      continue;
    }
    LogInitialDifference("found different hash values from remote peer", here, id, *answer);
    ++mismatches;
  }
  if (mismatches > 0) {
    return absl::DataLossError(fmt::format("{:x} found data inconsistency with peers", member_.id().value()));
  }
  KVORUM_LOG(*ports_.logger, kInfo, "initial corruption checking passed; no corruption",
             LogField::Id("local-member-id", member_.id().value()));
  return absl::OkStatus();
}

void CorruptionChecker::LogInitialDifference(std::string_view message, const Hash& here, MemberId id,
                                             const Hash& there) const {
  KVORUM_LOG(
      *ports_.logger, kWarn, message, LogField::Id("local-member-id", member_.id().value()),
      {"local-member-revision", here.revision}, {"local-member-compact-revision", here.compact_revision},
      {"local-member-hash", uint64_t{here.hash}}, LogField::Id("remote-peer-id", id.value()),
      {"remote-peer-revision", there.current_revision},
      {"remote-peer-compact-revision", there.compact_revision}, {"remote-peer-hash", uint64_t{there.hash}});
}

// ---- From time to time.

void CorruptionChecker::CheckPeriodically() {
  if (stopped_ || periodic_running_ || !member_.status().is_leader) return;
  periodic_running_ = true;
  HashHere([this](absl::StatusOr<Hash> before) {
    if (!before.ok()) return FailPeriodic(before.status());
    HashThere(before->revision, [this, here = *before](Answers<Hash> peers) {
      ConfirmPeriodic({.before = here, .peers = std::move(peers), .after = {}});
    });
  });
}

/// A member whose revision is above this leader's after a linearizable read has what nobody agreed on.
void CorruptionChecker::ConfirmPeriodic(Periodic check) {
  auto shared = std::make_shared<Periodic>(std::move(check));  // shared with the callback that may not come
  auto confirmed = [this, shared] {
    HashHere([this, shared](absl::StatusOr<Hash> after) {
      if (!after.ok()) return FailPeriodic(after.status());
      shared->after = *after;
      periodic_running_ = false;
      if (!stopped_) JudgePeriodic(*shared);
    });
  };
  absl::AnyInvocable<void(absl::Status)> done = [this, confirmed](absl::Status status) {
    ports_.apply_executor->Post([this, confirmed, status = std::move(status)] {
      if (!status.ok()) return FailPeriodic(status);
      confirmed();
    });
  };
  if (member_.ConfirmRead(Deadline(), &done)) confirmed();
}

void CorruptionChecker::FailPeriodic(const absl::Status& status) {
  periodic_running_ = false;
  KVORUM_LOG(*ports_.logger, kWarn, "failed to check hash KV",
             LogField::Id("local-member-id", member_.id().value()), {"error", std::string(status.message())});
}

void CorruptionChecker::JudgePeriodic(const Periodic& check) {
  const Hash& before = check.before;
  const Hash& after = check.after;
  bool alarmed = false;
  const auto alarm = [&](MemberId id) {
    if (!std::exchange(alarmed, true)) RaiseAlarm(id);
  };
  if (after.hash != before.hash && after.revision == before.revision &&
      after.compact_revision == before.compact_revision) {
    KVORUM_LOG(*ports_.logger, kWarn, "found hash mismatch", {"revision-1", before.revision},
               {"compact-revision-1", before.compact_revision}, {"hash-1", uint64_t{before.hash}},
               {"revision-2", after.revision}, {"compact-revision-2", after.compact_revision},
               {"hash-2", uint64_t{after.hash}});
    alarm(member_.id());
  }
  size_t checked = 0;
  for (const auto& [id, peer] : check.peers) {
    if (!peer.ok()) continue;
    ++checked;
    if (Contradicts(check, id, *peer)) alarm(id);
  }
  KVORUM_LOG(*ports_.logger, kInfo, "finished peer corruption check",
             {"number-of-peers-checked", uint64_t{checked}});
}

bool CorruptionChecker::Contradicts(const Periodic& check, MemberId id, const Hash& peer) const {
  bool wrong = false;
  if (peer.current_revision > check.after.current_revision) {
    KVORUM_LOG(*ports_.logger, kWarn, "revision from follower must be less than or equal to leader's",
               {"leader-revision", check.after.current_revision},
               {"follower-revision", peer.current_revision}, LogField::Id("follower-peer-id", id.value()));
    wrong = true;
  }
  if (peer.compact_revision > check.after.compact_revision) {
    KVORUM_LOG(*ports_.logger, kWarn, "compact revision from follower must be less than or equal to leader's",
               {"leader-compact-revision", check.after.compact_revision},
               {"follower-compact-revision", peer.compact_revision},
               LogField::Id("follower-peer-id", id.value()));
    wrong = true;
  }
  if (peer.compact_revision == check.before.compact_revision && peer.hash != check.before.hash) {
    KVORUM_LOG(*ports_.logger, kWarn, "same compact revision then hashes must match",
               {"leader-compact-revision", check.after.compact_revision},
               {"leader-hash", uint64_t{check.before.hash}},
               {"follower-compact-revision", peer.compact_revision}, {"follower-hash", uint64_t{peer.hash}},
               LogField::Id("follower-peer-id", id.value()));
    wrong = true;
  }
  return wrong;
}

// ---- Of compactions.

void CorruptionChecker::CheckCompactions() {
  if (stopped_ || compaction_running_ || !member_.status().is_leader) return;
  compaction_running_ = true;
  KVORUM_LOG(*ports_.logger, kInfo, "starting compact hash check",
             LogField::Id("local-member-id", member_.id().value()), {"timeout", options_.request_timeout()});
  std::vector<Hash> unchecked;
  for (const Hash& hash : member_.store().compaction_hashes()) {
    if (hash.revision > last_checked_) unchecked.push_back(hash);
  }
  CheckCompaction(std::move(unchecked), 0);
}

void CorruptionChecker::CheckCompaction(std::vector<Hash> hashes, size_t next) {
  if (next == hashes.size()) return EndCompactions(next);
  const int64_t revision = hashes[next].revision;
  HashThere(revision, [this, hashes = std::move(hashes), next](const Answers<Hash>& peers) mutable {
    if (stopped_) return;
    if (!peers.empty() && JudgeCompaction(hashes[next], peers)) {
      compaction_running_ = false;
      return;
    }
    CheckCompaction(std::move(hashes), next + 1);
  });
}

void CorruptionChecker::EndCompactions(size_t checked) {
  compaction_running_ = false;
  KVORUM_LOG(*ports_.logger, kInfo, "finished compaction hash check",
             {"number-of-hashes-checked", uint64_t{checked}});
}

bool CorruptionChecker::JudgeCompaction(const Hash& here, const Answers<Hash>& peers) {
  std::map<uint32_t, std::vector<MemberId>> by_hash = {{here.hash, {member_.id()}}};
  size_t checked = 0;
  for (const auto& [id, peer] : peers) {
    if (!peer.ok() || peer->compact_revision != here.compact_revision) {
      const std::string reason =
          peer.ok() ? fmt::format("the peer's CompactRevision {} doesn't match leader's CompactRevision {}",
                                  peer->compact_revision, here.compact_revision)
                    : "no response";
      KVORUM_LOG(*ports_.logger, kWarn, "Skipped peer's hash", {"number-of-peers", uint64_t{peers.size()}},
                 LogField::Id("leader-id", member_.id().value()), LogField::Id("peer-id", id.value()),
                 {"reason", reason});
      continue;
    }
    ++checked;
    by_hash[peer->hash].push_back(id);
  }
  if (by_hash.size() == 1) {
    const bool all = checked == peers.size();
    if (all) {
      last_checked_ = std::max(last_checked_, here.revision);
      KVORUM_LOG(*ports_.logger, kInfo, "successfully checked hash on whole cluster",
                 {"number-of-peers-checked", uint64_t{checked}}, {"revision", here.revision});
    } else {
      KVORUM_LOG(*ports_.logger, kWarn,
                 "skipped revision in compaction hash check; was not able to check all peers",
                 {"number-of-peers-checked", uint64_t{checked}}, {"number-of-peers", uint64_t{peers.size()}},
                 {"revision", here.revision});
    }
    return all;
  }
  // Those who agree with the most are right; where no half of the members agrees, nobody knows who is.
  const size_t quorum = (peers.size() + 1) / 2 + 1;
  const size_t agreed =
      std::erase_if(by_hash, [quorum](const auto& group) { return group.second.size() >= quorum; });
  if (agreed == 0) RaiseAlarm(MemberId(0));
  for (const auto& [hash, members] : by_hash) {
    if (agreed != 0) {
      for (const MemberId id : members) RaiseAlarm(id);
    }
    LogCompactionDifference(here, members, hash, agreed != 0);
  }
  return true;
}

void CorruptionChecker::LogCompactionDifference(const Hash& here, const std::vector<MemberId>& members,
                                                uint32_t hash, bool quorum) const {
  KVORUM_LOG(*ports_.logger, kError, "Detected compaction hash mismatch",
             LogField::Id("leader-id", member_.id().value()), {"leader-revision", here.revision},
             {"leader-compact-revision", here.compact_revision}, {"leader-hash", uint64_t{here.hash}},
             {"peer-ids", IdTexts(members)}, {"peer-hash", uint64_t{hash}}, {"quorum-exist", quorum});
}

void CorruptionChecker::RaiseAlarm(MemberId member) {
  std::string request;
  wire::AppendUint(request, 1, 1);  // ACTIVATE
  if (member != MemberId(0)) wire::AppendUint(request, 2, member.value());
  wire::AppendUint(request, 3, static_cast<uint64_t>(AlarmType::kCorrupt));
  proposer_->ProposeInternal(RequestKind::kAlarm, request, [this, member](const ApplyResult& result) {
    if (result.status.ok() || stopped_) return;
    KVORUM_LOG(*ports_.logger, kError, "failed to raise the CORRUPT alarm",
               LogField::Id("member-id", member.value()), {"error", std::string(result.status.message())});
  });
}

}  // namespace kvorum::member
