#include "member/proposer.h"

#include <algorithm>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "member/errors.h"

namespace kvorum::member {
namespace {

constexpr uint64_t kMaxApplyLag = 5000;
/// Writes of the v2 API that come together and take no memory of their own on their way.
constexpr size_t kUsualBatch = 64;

}  // namespace

Proposer::Proposer(MemberId id, const MemberOptions& options, const Ports& ports, SharedState* state,
                   Metrics* metrics)
    : options_(options), ports_(ports), state_(state), metrics_(metrics), id_prefix_(id.value() << 48) {
  // By chance, not by the wall clock: one that shows the same time at each boot would give the ids of the
  // last run once more, and whoever waits now would get the answer to what was asked then.
  next_id_ = ports.random->Next();
}

absl::Status Proposer::CheckBacklog() const {
  const uint64_t committed = state_->committed.load(std::memory_order_acquire);
  const uint64_t applied = state_->applied.load(std::memory_order_acquire);
  const bool behind = committed > applied + kMaxApplyLag;
  if (behind || state_->pending_bytes.load(std::memory_order_relaxed) > options_.max_pending_bytes) {
    return TooManyRequestsError();
  }
  return absl::OkStatus();
}

void Proposer::Propose(RequestId id, Bytes entry, MonotonicTime deadline, ApplyDone done) {
  const bool too_large = entry.size() > options_.max_request_bytes;
  const absl::Status limits = too_large ? RequestTooLargeError() : CheckBacklog();
  if (!limits.ok()) return Refuse(limits, std::move(done));
  Waiter waiter = WaiterFor(id, entry, ports_.clock->Now(), deadline, std::move(done));
  loop_->Propose(std::move(entry), std::move(waiter));
}

void Proposer::ProposeV2(const absl::Status& allowed, std::span<Member::V2Write> writes) {
  const absl::Status limits = allowed.ok() ? CheckBacklog() : allowed;
  const MonotonicTime now = ports_.clock->Now();
  absl::InlinedVector<std::pair<Bytes, Waiter>, kUsualBatch> proposals;
  for (Member::V2Write& write : writes) {
    if (!limits.ok()) {
      Refuse(limits, std::move(write.done));
      continue;
    }
    Waiter waiter = WaiterFor(write.id, write.entry, now, write.deadline, std::move(write.done));
    proposals.emplace_back(std::move(write.entry), std::move(waiter));
  }
  if (!proposals.empty()) loop_->Propose(std::span(proposals));
}

void Proposer::Refuse(const absl::Status& limits, ApplyDone done) {
  metrics_->proposals_failed.Add();
  ports_.apply_executor->Post([limits, done = std::move(done)]() mutable { done({.status = limits}); });
}

Waiter Proposer::WaiterFor(RequestId id, const Bytes& entry, MonotonicTime now, MonotonicTime deadline,
                           ApplyDone done) const {
  return {.id = id,
          .start = now,
          .deadline = std::min(deadline, now + options_.request_timeout()),
          .bytes = entry.size(),
          .done = std::move(done)};
}

void Proposer::ProposeInternal(RequestKind kind, std::string_view encoded_request, ApplyDone done) {
  const RequestId id = NextId();
  ProposeOwn(id, BuildEntry(kind, encoded_request, id, {}), std::move(done));
}

void Proposer::ProposeAsLeader(RequestKind kind, std::string_view encoded_request, ApplyDone done) {
  const RequestId id = NextId();
  ProposeOwn(id, BuildEntry(kind, encoded_request, id, {}), std::move(done), true);
}

void Proposer::ProposeLegacyPut(std::string_view path, std::string_view value, ApplyDone done) {
  const RequestId id = NextId();
  ProposeOwn(id, BuildLegacyPut(path, value, id), std::move(done));
}

void Proposer::ProposeOwnV2(v2store::Request request) {
  const RequestId id = NextId();
  request.id = id.value();
  ProposeOwn(id, v2store::Encode(request), [](const ApplyResult&) {});
}

void Proposer::ProposeOwn(RequestId id, Bytes entry, ApplyDone done, bool as_leader) {
  const MonotonicTime now = ports_.clock->Now();
  loop_->Propose(std::move(entry), {.id = id,
                                    .start = now,
                                    .deadline = now + options_.request_timeout(),
                                    .as_leader = as_leader,
                                    .done = std::move(done)});
}

}  // namespace kvorum::member
