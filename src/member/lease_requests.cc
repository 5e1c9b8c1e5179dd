#include "member/lease_requests.h"

#include <utility>

#include "base/planted_bug.h"
#include "member/errors.h"

namespace kvorum::member {
namespace {

constexpr std::chrono::milliseconds kRetryInterval(50);

bool IsFinal(const absl::Status& status) { return status.ok() || status == lease::NotFoundError(); }

}  // namespace

void LeaseRequests::Renew(LeaseId id, Done<int64_t> done) {
  auto request = std::make_shared<Request<int64_t>>();
  request->deadline = ports_.clock->Now() + member_.options().request_timeout();
  request->here = [this, id] { return lessor_.Renew(id); };
  request->there = [this, id](PeerCalls::Urls urls, MonotonicTime deadline, Done<int64_t> answered) {
    ports_.calls->RenewLease(std::move(urls), id, deadline, std::move(answered));
  };
  request->done = std::move(done);
  Try(std::move(request));
}

void LeaseRequests::TimeToLive(LeaseId id, bool with_keys, Done<lease::LeaseView> done) {
  auto request = std::make_shared<Request<lease::LeaseView>>();
  request->deadline = ports_.clock->Now() + member_.options().request_timeout();
  request->here = [this, id, with_keys]() -> absl::StatusOr<lease::LeaseView> {
    absl::StatusOr<lease::LeaseView> view = lessor_.Get(id, with_keys);
    // Only the primary counts a lease's time down.
    if (view.ok() && !lessor_.primary()) return lease::NotPrimaryError();
    return view;
  };
  request->there = [this, id, with_keys](PeerCalls::Urls urls, MonotonicTime deadline,
                                         Done<lease::LeaseView> answered) {
    ports_.calls->LeaseTimeToLive(std::move(urls), id, with_keys, deadline, std::move(answered));
  };
  request->done = std::move(done);
  Try(std::move(request));
}

template <typename T>
void LeaseRequests::Try(RequestPtr<T> request) {
  const MemberStatus status = member_.status();
  if (status.is_leader) return AskHere(std::move(request));
  AskLeader(status.leader, std::move(request));
}

/// A leader that is one no more must not promise that a lease lives on: whoever leads now may end it. And a
/// lease that is not here may have been granted by an entry that is not applied yet. So this is a
/// linearizable read.
template <typename T>
void LeaseRequests::AskHere(RequestPtr<T> request) {
  const MonotonicTime deadline = request->deadline;
  absl::AnyInvocable<void(absl::Status)> confirmed = [this, request](absl::Status status) mutable {
    if (!status.ok()) return TryAgain(std::move(request), std::move(status));
    absl::StatusOr<T> answer = request->here();
    if (IsFinal(answer.status())) return request->done(std::move(answer));
    const bool ending = answer.status() == lease::EndingError();
    TryAgain(std::move(request), ending ? TimeoutError() : answer.status());
  };
  // `confirmed` is taken only where it is to be called later.
  const bool sure = IsPlanted(PlantedBug::kRenewalUnconfirmed) || member_.ConfirmRead(deadline, &confirmed);
  if (sure) confirmed(absl::OkStatus());
}

template <typename T>
void LeaseRequests::AskLeader(MemberId leader, RequestPtr<T> request) {
  const std::optional<cluster::Member> member = member_.cluster().Find(leader);
  if (!member || member->peer_urls.empty() || ports_.calls == nullptr) {
    return TryAgain(std::move(request), NoLeaderError());
  }
  // The answer may come inside the call.
  const RequestPtr<T> asked = request;
  asked->there(member->peer_urls, asked->deadline,
               [this, request = std::move(request)](absl::StatusOr<T> answer) mutable {
                 if (IsFinal(answer.status())) return request->done(std::move(answer));
                 TryAgain(std::move(request), TimeoutError());
               });
}

template <typename T>
void LeaseRequests::TryAgain(RequestPtr<T> request, absl::Status overdue) {
  if (ports_.clock->Now() + kRetryInterval >= request->deadline) return request->done(std::move(overdue));
  uint64_t number = 0;
  {
    absl::MutexLock lock(&mutex_);
    if (!stopped_) {
      number = ++last_number_;
      waiting_.emplace(number, [request](absl::Status status) { request->done(std::move(status)); });
    }
  }
  if (number == 0) return request->done(StoppedError());
  ports_.apply_executor->PostAfter(kRetryInterval, [this, number, request = std::move(request)]() mutable {
    if (StopWaiting(number)) Try(std::move(request));
  });
}

bool LeaseRequests::StopWaiting(uint64_t number) {
  absl::MutexLock lock(&mutex_);
  return waiting_.erase(number) > 0;
}

void LeaseRequests::Stop() {
  std::map<uint64_t, absl::AnyInvocable<void(absl::Status)>> waiting;
  {
    absl::MutexLock lock(&mutex_);
    stopped_ = true;
    waiting.swap(waiting_);
  }
  for (auto& [number, fail] : waiting) fail(StoppedError());
}

}  // namespace kvorum::member
