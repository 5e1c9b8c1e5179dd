#pragma once

#include <functional>
#include <map>
#include <memory>

#include "absl/synchronization/mutex.h"
#include "member/member.h"

namespace kvorum::member {

/// Renewals and queries of leases, which only the leader can answer: here where this member leads, else on
/// the leader through its peer URLs, again each 50 ms until the request time-out (reference: peer-protocol.md
/// §6.4). Never a log entry. Thread-safe.
class LeaseRequests {
 public:
  template <typename T>
  using Done = absl::AnyInvocable<void(absl::StatusOr<T>)>;
  LeaseRequests(Member* member, lease::Lessor* lessor, const Ports& ports)
      : member_(*member), lessor_(*lessor), ports_(ports) {}

  /// What waits for its next try fails, and what comes after.
  void Stop();

  /// See Member.
  void Renew(LeaseId id, Done<int64_t> done);
  void TimeToLive(LeaseId id, bool with_keys, Done<lease::LeaseView> done);

 private:
  template <typename T>
  struct Request {
    MonotonicTime deadline;
    std::function<absl::StatusOr<T>()> here;
    std::function<void(PeerCalls::Urls urls, MonotonicTime deadline, Done<T> done)> there;
    Done<T> done;
  };
  template <typename T>
  using RequestPtr = std::shared_ptr<Request<T>>;  // shared with the one callback that is under way

  template <typename T>
  void Try(RequestPtr<T> request);
  template <typename T>
  void AskHere(RequestPtr<T> request);
  template <typename T>
  void AskLeader(MemberId leader, RequestPtr<T> request);
  template <typename T>
  void TryAgain(RequestPtr<T> request, absl::Status overdue);

  /// Takes a request off the list of those that wait for their next try; false where it is not there.
  bool StopWaiting(uint64_t number);

  Member& member_;
  lease::Lessor& lessor_;
  const Ports ports_;

  absl::Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t last_number_ ABSL_GUARDED_BY(mutex_) = 0;
  /// How those that wait for their next try are answered, by number.
  std::map<uint64_t, absl::AnyInvocable<void(absl::Status)>> waiting_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace kvorum::member
