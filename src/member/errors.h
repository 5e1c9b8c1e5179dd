#pragma once

#include "absl/status/status.h"

namespace kvorum::member {

// The errors of a member, with etcd's texts (reference: v3-errors.md).

absl::Status NoSpaceError();                ///< "etcdserver: no space"
absl::Status CorruptError();                ///< "etcdserver: corrupt cluster"
absl::Status RequestTooLargeError();        ///< "etcdserver: request is too large"
absl::Status TooManyRequestsError();        ///< "etcdserver: too many requests"
absl::Status StoppedError();                ///< "etcdserver: server stopped"
absl::Status TimeoutError();                ///< "etcdserver: request timed out"
absl::Status LeaderFailTimeoutError();      ///< "…, possibly due to previous leader failure"
absl::Status ConnectionLostTimeoutError();  ///< "…, possibly due to connection lost"
absl::Status AppliedWaitTimeoutError();     ///< "…, waiting for the applied index took too long"
absl::Status LeaderChangedError();          ///< "etcdserver: leader changed"
absl::Status NoLeaderError();               ///< "etcdserver: no leader"
absl::Status NotLeaderError();              ///< "etcdserver: not leader"
absl::Status BadTransfereeError();          ///< "etcdserver: bad leader transferee"
absl::Status TransferTimeoutError();        ///< "…, leader transfer took too long"
absl::Status UnhealthyError();              ///< "etcdserver: unhealthy cluster"
absl::Status TooFewStartedError();          ///< "etcdserver: re-configuration failed due to not enough …"
absl::Status LearnerNotReadyError();  ///< "etcdserver: can only promote a learner … in sync with leader"
absl::Status MemberNotFoundError();   ///< "membership: ID not found"
absl::Status RemovedError();          ///< "the member has been permanently removed from the cluster"

}  // namespace kvorum::member
