#include "member/errors.h"

namespace kvorum::member {

absl::Status NoSpaceError() { return absl::ResourceExhaustedError("etcdserver: no space"); }
absl::Status CorruptError() { return absl::DataLossError("etcdserver: corrupt cluster"); }
absl::Status RequestTooLargeError() { return absl::InvalidArgumentError("etcdserver: request is too large"); }
absl::Status TooManyRequestsError() { return absl::ResourceExhaustedError("etcdserver: too many requests"); }
absl::Status StoppedError() { return absl::UnavailableError("etcdserver: server stopped"); }
absl::Status TimeoutError() { return absl::UnavailableError("etcdserver: request timed out"); }
absl::Status LeaderFailTimeoutError() {
  return absl::UnavailableError("etcdserver: request timed out, possibly due to previous leader failure");
}
absl::Status ConnectionLostTimeoutError() {
  return absl::UnavailableError("etcdserver: request timed out, possibly due to connection lost");
}
absl::Status AppliedWaitTimeoutError() {
  return absl::UnavailableError("etcdserver: request timed out, waiting for the applied index took too long");
}
absl::Status LeaderChangedError() { return absl::UnavailableError("etcdserver: leader changed"); }
absl::Status NoLeaderError() { return absl::UnavailableError("etcdserver: no leader"); }
absl::Status NotLeaderError() { return absl::FailedPreconditionError("etcdserver: not leader"); }
absl::Status BadTransfereeError() {
  return absl::FailedPreconditionError("etcdserver: bad leader transferee");
}
absl::Status TransferTimeoutError() {
  return absl::UnknownError("etcdserver: request timed out, leader transfer took too long");
}
absl::Status UnhealthyError() { return absl::UnavailableError("etcdserver: unhealthy cluster"); }
absl::Status TooFewStartedError() {
  return absl::FailedPreconditionError(
      "etcdserver: re-configuration failed due to not enough started members");
}
absl::Status LearnerNotReadyError() {
  return absl::FailedPreconditionError(
      "etcdserver: can only promote a learner member which is in sync with leader");
}
absl::Status MemberNotFoundError() { return absl::NotFoundError("membership: ID not found"); }
absl::Status RemovedError() {
  return absl::FailedPreconditionError("the member has been permanently removed from the cluster");
}

}  // namespace kvorum::member
