#include "member/applier.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "cluster/v2_store_json.h"
#include "member/errors.h"

namespace kvorum::member {
namespace {

constexpr std::chrono::milliseconds kTimeoutCheckInterval(50);
/// So many entries are applied before those who wait for them are told, at most: one wake-up for all.
constexpr size_t kMaxDeliveries = 64;
/// How often the log in memory is cut: after so many entries, or so many bytes of them.
constexpr uint64_t kCutIntervalEntries = 1000;
constexpr uint64_t kCutIntervalBytes = uint64_t{4} << 20;
/// What a byte string can hold.
constexpr size_t kMaxSnapshotDataBytes = UINT32_MAX;

}  // namespace

Applier::Applier(const Parts& parts, const MemberOptions& options, const Ports& ports)
    : parts_(parts), options_(options), ports_(ports) {
  last_snapshot_ = last_cut_ = parts.snapshot_index.value();
  bytes_since_cut_ = kCutIntervalBytes;  // the snapshot's data is in memory until the first cut
}

void Applier::Start() {
  ports_.apply_executor->Post([this] { parts_.compactor->Run(); });
}

void Applier::Stop(absl::AnyInvocable<void()> done) {
  ports_.apply_executor->Post([this, done = std::move(done)]() mutable {
    stopped_ = true;
    ports_.apply_executor->CancelTimer(timeout_timer_);
    parts_.compactor->Stop(StoppedError());
    DeliverConfChanges();
    for (Waiter& waiter : waiters_.TakeAll()) {
      deliveries_.push_back({std::move(waiter), {.status = StoppedError()}});
    }
    Deliver();
    done();
  });
}

void Applier::Apply(std::vector<raft::Entry> entries, std::vector<Waiter> waiters,
                    absl::AnyInvocable<void()> applied) {
  ports_.apply_executor->Post([this, entries = std::move(entries), waiters = std::move(waiters),
                               applied = std::move(applied)]() mutable {
    AddWaiters(std::move(waiters));
    if (parts_.state->failed.load(std::memory_order_acquire)) return;
    if (stopped_ || entries.empty()) return applied();
    if (!ApplyNow(entries)) return;
    applied();
    if (!conf_deliveries_.empty()) {
      // Who made the change may make the next one, which the core has to take.
      loop_->AfterApplied([this] { ports_.apply_executor->Post([this] { DeliverConfChanges(); }); });
    }
    // After a restart the database may be ahead of what the core knows to be committed.
    if (entries.back().index.value() == parts_.state->applied.load()) CutIfDue(entries.back().term);
  });
}

void Applier::OnLeadershipLost() { parts_.lessor->Demote(); }

bool Applier::ApplyNow(const std::vector<raft::Entry>& entries) {
  entry_start_ = ports_.clock->Now();
  const uint64_t done = ports_.backend->applied().index;
  for (const raft::Entry& entry : entries) {
    bytes_since_cut_ += entry.data.size();
    // What the database has already was applied in an earlier run.
    if (entry.index.value() > done) {
      if (const absl::Status status = ApplyEntry(entry); !status.ok()) {
        deliveries_.clear();
        loop_->Fail(status);
        return false;
      }
      parts_.state->applied_term.store(entry.term.value(), std::memory_order_relaxed);
      parts_.state->applied.store(entry.index.value(), std::memory_order_release);
    }
    if (deliveries_.size() >= kMaxDeliveries) Deliver();
  }
  Deliver();
  return true;
}

absl::Status Applier::ApplyEntry(const raft::Entry& entry) {
  const uint64_t previous = ports_.backend->applied().index;
  KVORUM_CHECK(previous == 0 || entry.index.value() == previous + 1, "entry {} after {}", entry.index,
               previous);
  ports_.backend->BeginEntry();
  absl::Status status = absl::OkStatus();
  if (entry.type != raft::EntryType::kNormal) {
    status = ApplyConfChange(entry);
  } else if (!entry.data.empty()) {
    status = ApplyNormal(entry);
  }
  // An entry that cannot be applied must not count as applied; the database is not written to any more.
  if (!status.ok()) return status;
  ports_.backend->EndEntry({.index = entry.index.value(), .term = entry.term.value()});
  if (entry.type == raft::EntryType::kNormal && entry.data.empty()) OnFirstOfTerm(entry.term);
  return absl::OkStatus();
}

absl::Status Applier::ApplyNormal(const raft::Entry& entry) {
  const std::optional<EntryView> view = ParseEntry(entry.data.view());
  if (!view || view->kind == kV2Kind) {
    const std::optional<v2store::RequestView> request = V2RequestOf(entry.data.view(), view);
    return request ? ApplyV2(entry, *request) : EntryApplier::CheckAppliable(entry);
  }
  Waiter waiter = waiters_.Take(view->id);
  const Want want = waiter.done ? Want::kReply : Want::kEffectOnly;
  KVORUM_ASSIGN_OR_RETURN(ApplyResult result, parts_.entries->Apply(*view, want));
  if (view->kind >= static_cast<uint32_t>(RequestKind::kClusterVersionSet)) parts_.v2->Follow(entry);
  Finish(std::move(waiter), std::move(result), view->kind);
  return absl::OkStatus();
}

absl::Status Applier::ApplyV2(const raft::Entry& entry, const v2store::RequestView& request) {
  KVORUM_RETURN_IF_ERROR(parts_.entries->ApplyMembershipPut(request));
  v2store::Result done = parts_.v2->Apply(request);
  Waiter waiter = waiters_.Take(RequestId(request.id));
  ApplyResult result;
  if (waiter.done) {
    const uint64_t committed = parts_.state->committed.load(std::memory_order_acquire);
    result.v2 = std::make_shared<V2Applied>(V2Applied{.result = std::move(done),
                                                      .raft_index = std::max(committed, entry.index.value()),
                                                      .raft_term = entry.term.value()});
  }
  Finish(std::move(waiter), std::move(result), kV2Kind);
  return absl::OkStatus();
}

void Applier::Finish(Waiter waiter, ApplyResult result, uint32_t kind) {
  const MonotonicTime now = ports_.clock->Now();
  const std::chrono::nanoseconds took = now - std::exchange(entry_start_, now);
  if (kind > kV2Kind) parts_.metrics->ApplyDuration(kind, result.status.ok()).Observe(took);
  if (took > options_.warning_apply_duration) {
    parts_.metrics->slow_apply.Add();
    KVORUM_LOG(*ports_.logger, kWarn, "apply request took too long", {"took", took},
               {"expected-duration", options_.warning_apply_duration},
               {"request", fmt::format("header:<ID:{} > {}", waiter.id, KindName(kind))},
               {"response", fmt::format("size:{}", result.body.size())},
               {"error", std::string(result.status.message())});
  }
  if (!waiter.done) return;
  result.term = parts_.state->term.load(std::memory_order_relaxed);
  deliveries_.push_back({std::move(waiter), std::move(result)});
}

void Applier::Deliver() {
  if (deliveries_.empty()) return;
  parts_.metrics->proposals_pending.Add(-static_cast<int64_t>(deliveries_.size()));
  uint64_t bytes = 0;
  for (Delivery& delivery : deliveries_) {
    bytes += delivery.waiter.bytes;
    delivery.waiter.done(std::move(delivery.result));
  }
  deliveries_.clear();
  parts_.state->pending_bytes.fetch_sub(bytes, std::memory_order_relaxed);
}

// ---- Membership.

absl::Status Applier::ApplyConfChange(const raft::Entry& entry) {
  KVORUM_ASSIGN_OR_RETURN(MembershipApplier::Outcome outcome, parts_.membership->Apply(entry));
  parts_.v2->Follow(entry);
  loop_->ApplyConfChange(std::move(outcome.for_core));
  Waiter waiter = waiters_.Take(outcome.id);
  if (!waiter.done) return absl::OkStatus();
  conf_deliveries_.push_back({std::move(waiter),
                              {.status = std::move(outcome.status),
                               .revision = parts_.store->current_revision(),
                               .term = parts_.state->term.load(std::memory_order_relaxed)}});
  return absl::OkStatus();
}

void Applier::DeliverConfChanges() {
  for (Delivery& delivery : conf_deliveries_) deliveries_.push_back(std::move(delivery));
  conf_deliveries_.clear();
  Deliver();
}

void Applier::OnFirstOfTerm(raft::Term term) {
  parts_.state->applied_leader_term.store(term.value(), std::memory_order_release);
  entry_start_ = ports_.clock->Now();
  if (!parts_.state->is_leader() || parts_.state->term.load() != term.value()) return;
  parts_.lessor->Promote(options_.election_timeout);
  // Leadership may have gone meanwhile, and OnLeadershipLost before the promotion.
  if (!parts_.state->is_leader()) parts_.lessor->Demote();
  parts_.on_leading();
}

// ---- Those who wait.

void Applier::AddWaiters(std::vector<Waiter> waiters) {
  if (waiters.empty()) return;
  for (Waiter& waiter : waiters) {
    if (stopped_) {
      deliveries_.push_back({std::move(waiter), {.status = StoppedError()}});
    } else {
      waiters_.Add(std::move(waiter));
    }
  }
  Deliver();
  ArmTimeouts();
}

void Applier::ArmTimeouts() {
  if (timeouts_armed_ || stopped_ || waiters_.empty()) return;
  timeouts_armed_ = true;
  timeout_timer_ = ports_.apply_executor->PostAfter(kTimeoutCheckInterval, [this] { OnTimeoutCheck(); });
}

void Applier::OnTimeoutCheck() {
  timeouts_armed_ = false;
  for (Waiter& waiter : waiters_.TakeOverdue(ports_.clock->Now())) {
    parts_.metrics->proposals_failed.Add();
    absl::Status status = TimeoutOf(waiter);
    deliveries_.push_back({std::move(waiter), {.status = std::move(status)}});
  }
  Deliver();
  ArmTimeouts();
}

absl::Status Applier::TimeoutOf(const Waiter& waiter) const {
  const MonotonicTime elected{std::chrono::nanoseconds(parts_.state->elected_at.load())};
  const MonotonicTime previous_lost = elected - 2 * options_.election_timeout;
  if (waiter.start > previous_lost && waiter.start < elected) return LeaderFailTimeoutError();
  const raft::NodeId leader(parts_.state->leader.load());
  if (leader == raft::kNoNode || ports_.transport == nullptr) return TimeoutError();

  const auto connected = [&](raft::NodeId id) {
    const std::optional<MonotonicTime> since = ports_.transport->ActiveSince(id);
    return since && *since < waiter.start;
  };
  const raft::NodeId local(parts_.cluster->local().value());
  if (leader != local) return connected(leader) ? TimeoutError() : ConnectionLostTimeoutError();
  const std::vector<raft::NodeId> voters = parts_.cluster->conf_state().voters;
  const auto reachable = std::count_if(voters.begin(), voters.end(),
                                       [&](raft::NodeId id) { return id == local || connected(id); });
  return static_cast<size_t>(reachable) > voters.size() / 2 ? TimeoutError() : ConnectionLostTimeoutError();
}

// ---- Snapshots.

SnapshotPoint Applier::PointHere(raft::Term term) {
  return {.index = raft::Index(parts_.state->applied.load()),
          .term = term,
          .conf_state = parts_.membership->conf_state(),
          .data = {}};
}

void Applier::WithData(SnapshotPoint point, absl::AnyInvocable<void(SnapshotPoint)> done) {
  ports_.background_executor->Post([this, view = parts_.v2->store().SaveView(), point = std::move(point),
                                    done = std::move(done)]() mutable {
    const std::string json = view->ToJson();
    if (json.size() > kMaxSnapshotDataBytes) {
      return loop_->Fail(absl::ResourceExhaustedError(
          fmt::format("the keys of the v2 API take {} bytes in a snapshot, which must not be more than {}",
                      json.size(), kMaxSnapshotDataBytes)));
    }
    point.data = Bytes::Copy(json);
    ports_.apply_executor->Post(
        [this, view = std::move(view), point = std::move(point), done = std::move(done)]() mutable {
          if (!stopped_ && !parts_.state->failed.load()) done(std::move(point));
        });
  });
}

void Applier::SendSnapshot(raft::Message message) {
  ports_.apply_executor->Post([this, message = std::move(message)]() mutable {
    const MemberId to(message.to.value());
    parts_.v2_gate->MayHaveKeys(to, [this, message = std::move(message)](bool may) mutable {
      if (!stopped_ && !parts_.state->failed.load()) SendHere(std::move(message), may);
    });
  });
}

void Applier::SendHere(raft::Message message, bool with_v2_keys) {
  if (ports_.transport == nullptr) return;
  SnapshotPoint here = PointHere(raft::Term(ports_.backend->applied().term));
  KVORUM_CHECK(here.index == raft::Index(ports_.backend->applied().index));
  auto send = [this, message = std::move(message),
               database = ports_.backend->NewReadView()](SnapshotPoint point) mutable {
    message.snapshot = raft::Snapshot{
        .data = std::move(point.data),
        .metadata = {.conf_state = std::move(point.conf_state), .index = point.index, .term = point.term}};
    ports_.transport->SendSnapshot({.message = std::move(message), .database = std::move(database)});
  };
  if (with_v2_keys) return WithData(std::move(here), std::move(send));
  here.data = Bytes::Copy(cluster::V2StoreJson(*parts_.cluster));
  send(std::move(here));
}

void Applier::CutIfDue(raft::Term term) {
  const uint64_t applied = parts_.state->applied.load();
  const bool snapshot_due = !snapshot_running_ && applied > last_snapshot_ + options_.snapshot_count;
  const bool cut_due = applied >= last_cut_ + kCutIntervalEntries || bytes_since_cut_ >= kCutIntervalBytes;
  if (!snapshot_due && !cut_due) return;
  last_cut_ = applied;
  bytes_since_cut_ = 0;
  SnapshotPoint point = PointHere(term);
  loop_->CutMemory(point);
  if (!snapshot_due) return;

  KVORUM_LOG(*ports_.logger, kInfo, "triggering snapshot",
             LogField::Id("local-member-id", parts_.cluster->local().value()),
             {"local-member-applied-index", applied}, {"local-member-snapshot-index", last_snapshot_},
             {"local-member-snapshot-count", options_.snapshot_count});
  last_snapshot_ = applied;
  snapshot_running_ = true;
  WithData(std::move(point), [this](SnapshotPoint full) { Save(std::move(full)); });
}

void Applier::Save(SnapshotPoint point) {
  // The database has to be on disk up to the snapshot before the log forgets how it came to be.
  ports_.backend->Commit([this, point = std::move(point)](absl::Status status) mutable {
    if (!status.ok()) {
      loop_->Fail(status);
      return;
    }
    const uint64_t index = point.index.value();
    loop_->SaveSnapshot(std::move(point), [this, index] {
      KVORUM_LOG(*ports_.logger, kInfo, "saved snapshot to disk", {"snapshot-index", index});
      ports_.apply_executor->Post([this] { snapshot_running_ = false; });
    });
  });
}

void Applier::Install(raft::Snapshot snapshot, absl::AnyInvocable<void()> installed) {
  ports_.apply_executor->Post(
      [this, snapshot = std::move(snapshot), installed = std::move(installed)]() mutable {
        installations_.push_back({std::move(snapshot), std::move(installed)});
        if (installations_.size() == 1) InstallNext();
      });
}

void Applier::InstallNext() {
  if (installations_.empty() || stopped_ || parts_.state->failed.load()) return;
  const uint64_t index = installations_.front().snapshot.metadata.index.value();
  parts_.installer->Run(std::move(installations_.front().snapshot), [this, index](absl::Status status) {
    if (!status.ok()) return loop_->Fail(status);
    last_snapshot_ = last_cut_ = index;
    bytes_since_cut_ = kCutIntervalBytes;
    installations_.front().installed();
    installations_.pop_front();
    InstallNext();
  });
}

}  // namespace kvorum::member
