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

}  // namespace kvorum::member
