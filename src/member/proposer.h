#pragma once

#include <atomic>
#include <span>
#include <string_view>

#include "member/member.h"
#include "member/raft_loop.h"

namespace kvorum::member {

/// The member's gate for proposals: gives ids, applies the limits, hands on to the raft loop. Thread-safe.
class Proposer {
 public:
  Proposer(MemberId id, const MemberOptions& options, const Ports& ports, SharedState* state,
           Metrics* metrics);
  void Connect(RaftLoop* loop) { loop_ = loop; }

  /// Unique among all members and runs (reference: apply.md §6).
  RequestId NextId() { return RequestId(id_prefix_ | (next_id_.fetch_add(1) & kIdMask)); }

  /// See Member::Propose.
  void Propose(RequestId id, Bytes entry, MonotonicTime deadline, ApplyDone done);
  /// See Member::ProposeV2; `allowed` is what others say of it. A result's `v2` is there where its status is
  /// OK.
  void ProposeV2(const absl::Status& allowed, std::span<Member::V2Write> writes);
  /// A request of the member itself, which the limits do not hold back.
  void ProposeInternal(RequestKind kind, std::string_view encoded_request, ApplyDone done);
  /// The same for what only the leader may decide: fails where this member does not lead when the request
  /// comes to consensus, and is never handed on to the one that does.
  void ProposeAsLeader(RequestKind kind, std::string_view encoded_request, ApplyDone done);
  /// The same in the form of releases before 3.6 (BuildLegacyPut).
  void ProposeLegacyPut(std::string_view path, std::string_view value, ApplyDone done);
  /// A request of the v2 API that nobody waits for.
  void ProposeOwnV2(v2store::Request request);

 private:
  /// Says why a request is not proposed.
  void Refuse(const absl::Status& limits, ApplyDone done);
  Waiter WaiterFor(RequestId id, const Bytes& entry, MonotonicTime now, MonotonicTime deadline,
                   ApplyDone done) const;
  void ProposeOwn(RequestId id, Bytes entry, ApplyDone done, bool as_leader = false);

  static constexpr uint64_t kIdMask = (uint64_t{1} << 48) - 1;

  absl::Status CheckBacklog() const;

  const MemberOptions options_;
  const Ports ports_;
  SharedState* const state_;
  Metrics* const metrics_;
  RaftLoop* loop_ = nullptr;
  const uint64_t id_prefix_;
  std::atomic<uint64_t> next_id_;  // its low 48 bits count
};

}  // namespace kvorum::member
