#include "api/v3/errors.h"

#include "absl/container/flat_hash_map.h"

namespace kvorum::api_v3 {
namespace {

using enum absl::StatusCode;

struct ClientError {
  absl::StatusCode code;
  std::string_view text;
};

/// Every text that leaves with a code of its own, by the text under which it is known inside.
struct Row {
  std::string_view internal;
  ClientError client;
};

constexpr Row kTable[] = {
    {"etcdserver: key is not provided", {kInvalidArgument, "etcdserver: key is not provided"}},
    {"etcdserver: key not found", {kInvalidArgument, "etcdserver: key not found"}},
    {"etcdserver: value is provided", {kInvalidArgument, "etcdserver: value is provided"}},
    {"etcdserver: lease is provided", {kInvalidArgument, "etcdserver: lease is provided"}},
    {"etcdserver: too many operations in txn request",
     {kInvalidArgument, "etcdserver: too many operations in txn request"}},
    {"etcdserver: duplicate key given in txn request",
     {kInvalidArgument, "etcdserver: duplicate key given in txn request"}},
    {"etcdserver: invalid client api version", {kInvalidArgument, "etcdserver: invalid client api version"}},
    {"etcdserver: invalid sort option", {kInvalidArgument, "etcdserver: invalid sort option"}},
    {"mvcc: required revision has been compacted",
     {kOutOfRange, "etcdserver: mvcc: required revision has been compacted"}},
    {"mvcc: required revision is a future revision",
     {kOutOfRange, "etcdserver: mvcc: required revision is a future revision"}},
    {"etcdserver: no space", {kResourceExhausted, "etcdserver: mvcc: database space exceeded"}},
    {"lease not found", {kNotFound, "etcdserver: requested lease not found"}},
    {"lease already exists", {kFailedPrecondition, "etcdserver: lease already exists"}},
    {"too large lease TTL", {kOutOfRange, "etcdserver: too large lease TTL"}},
    {"etcdserver: watch canceled", {kCancelled, "etcdserver: watch canceled"}},
    {"membership: ID exists", {kFailedPrecondition, "etcdserver: member ID already exist"}},
    {"membership: peerURL exists", {kFailedPrecondition, "etcdserver: Peer URLs already exists"}},
    {"membership: ID removed", {kNotFound, "etcdserver: member not found"}},
    {"membership: ID not found", {kNotFound, "etcdserver: member not found"}},
    {"membership: can only promote a learner member",
     {kFailedPrecondition, "etcdserver: can only promote a learner member"}},
    {"membership: too many learner members in cluster",
     {kFailedPrecondition, "etcdserver: too many learner members in cluster"}},
    {"etcdserver: can only promote a learner member which is in sync with leader",
     {kFailedPrecondition, "etcdserver: can only promote a learner member which is in sync with leader"}},
    {"etcdserver: given member URLs are invalid",
     {kInvalidArgument, "etcdserver: given member URLs are invalid"}},
    {"etcdserver: request is too large", {kInvalidArgument, "etcdserver: request is too large"}},
    {"auth: root user does not exist", {kFailedPrecondition, "etcdserver: root user does not exist"}},
    {"auth: root user does not have root role",
     {kFailedPrecondition, "etcdserver: root user does not have root role"}},
    {"auth: user already exists", {kFailedPrecondition, "etcdserver: user name already exists"}},
    {"auth: user name is empty", {kInvalidArgument, "etcdserver: user name is empty"}},
    {"auth: user not found", {kFailedPrecondition, "etcdserver: user name not found"}},
    {"auth: role already exists", {kFailedPrecondition, "etcdserver: role name already exists"}},
    {"auth: role not found", {kFailedPrecondition, "etcdserver: role name not found"}},
    {"auth: role name is empty", {kInvalidArgument, "etcdserver: role name is empty"}},
    {"auth: authentication failed, invalid user ID or password",
     {kInvalidArgument, "etcdserver: authentication failed, invalid user ID or password"}},
    {"auth: permission not given", {kInvalidArgument, "etcdserver: permission not given"}},
    {"auth: permission denied", {kPermissionDenied, "etcdserver: permission denied"}},
    {"auth: role is not granted to the user",
     {kFailedPrecondition, "etcdserver: role is not granted to the user"}},
    {"auth: permission is not granted to the role",
     {kFailedPrecondition, "etcdserver: permission is not granted to the role"}},
    {"auth: authentication is not enabled",
     {kFailedPrecondition, "etcdserver: authentication is not enabled"}},
    {"auth: invalid auth token", {kUnauthenticated, "etcdserver: invalid auth token"}},
    {"auth: invalid auth management", {kInvalidArgument, "etcdserver: invalid auth management"}},
    {"auth: revision in header is old", {kInvalidArgument, "etcdserver: revision of auth store is old"}},
    {"etcdserver: no leader", {kUnavailable, "etcdserver: no leader"}},
    {"etcdserver: not leader", {kFailedPrecondition, "etcdserver: not leader"}},
    {"etcdserver: leader changed", {kUnavailable, "etcdserver: leader changed"}},
    {"etcdserver: not capable", {kFailedPrecondition, "etcdserver: not capable"}},
    {"etcdserver: server stopped", {kUnavailable, "etcdserver: server stopped"}},
    {"etcdserver: request timed out", {kUnavailable, "etcdserver: request timed out"}},
    {"etcdserver: request timed out, possibly due to previous leader failure",
     {kUnavailable, "etcdserver: request timed out, possibly due to previous leader failure"}},
    {"etcdserver: request timed out, possibly due to connection lost",
     {kUnavailable, "etcdserver: request timed out, possibly due to connection lost"}},
    {"etcdserver: request timed out, waiting for the applied index took too long",
     {kUnavailable, "etcdserver: request timed out, waiting for the applied index took too long"}},
    {"etcdserver: unhealthy cluster", {kUnavailable, "etcdserver: unhealthy cluster"}},
    {"etcdserver: corrupt cluster", {kDataLoss, "etcdserver: corrupt cluster"}},
    {"etcdserver: rpc not supported for learner",
     {kFailedPrecondition, "etcdserver: rpc not supported for learner"}},
    {"etcdserver: bad leader transferee", {kFailedPrecondition, "etcdserver: bad leader transferee"}},
    {"etcdserver: wrong downgrade target version format",
     {kInvalidArgument, "etcdserver: wrong downgrade target version format"}},
    {"etcdserver: invalid downgrade target version",
     {kInvalidArgument, "etcdserver: invalid downgrade target version"}},
    {"etcdserver: cluster version not found during downgrade",
     {kFailedPrecondition, "etcdserver: cluster version not found during downgrade"}},
    {"etcdserver: cluster has a downgrade job in progress",
     {kFailedPrecondition, "etcdserver: cluster has a downgrade job in progress"}},
    {"etcdserver: request canceled", {kCancelled, "etcdserver: request canceled"}},
    // The two that lose their declared code on the way (v3-errors.md §2).
    {"etcdserver: too many requests", {kUnknown, "etcdserver: too many requests"}},
    {"etcdserver: re-configuration failed due to not enough started members",
     {kUnknown, "etcdserver: re-configuration failed due to not enough started members"}},
};

const absl::flat_hash_map<std::string_view, ClientError>& Table() {
  static const auto* const table = [] {
    auto* map = new absl::flat_hash_map<std::string_view, ClientError>;
    for (const Row& row : kTable) {
      map->emplace(row.internal, row.client);
      map->emplace(row.client.text, row.client);
    }
    return map;
  }();
  return *table;
}

absl::Status MakeStatus(const ClientError& error) {
  return absl::Status(error.code, absl::string_view(error.text.data(), error.text.size()));
}

/// The client's error whose text inside and outside is the same.
absl::Status Named(std::string_view text) { return MakeStatus(Table().at(text)); }

}  // namespace

absl::Status KeyNotProvidedError() { return Named("etcdserver: key is not provided"); }
absl::Status ValueProvidedError() { return Named("etcdserver: value is provided"); }
absl::Status LeaseProvidedError() { return Named("etcdserver: lease is provided"); }
absl::Status TooManyOperationsError() { return Named("etcdserver: too many operations in txn request"); }
absl::Status DuplicateKeyError() { return Named("etcdserver: duplicate key given in txn request"); }
absl::Status InvalidClientApiVersionError() { return Named("etcdserver: invalid client api version"); }
absl::Status InvalidSortOptionError() { return Named("etcdserver: invalid sort option"); }
absl::Status KeyNotFoundError() { return Named("etcdserver: key not found"); }
absl::Status NoLeaderError() { return Named("etcdserver: no leader"); }
absl::Status NotCapableError() { return Named("etcdserver: not capable"); }
absl::Status NotSupportedForLearnerError() { return Named("etcdserver: rpc not supported for learner"); }
absl::Status InvalidMemberUrlsError() { return Named("etcdserver: given member URLs are invalid"); }

absl::Status MalformedRequestError() {
  return absl::InternalError(
      "grpc: error unmarshalling request: proto: cannot parse invalid wire-format data");
}

absl::Status ToClientError(const absl::Status& internal) {
  if (internal.ok()) return internal;
  const auto row = Table().find(std::string_view(internal.message().data(), internal.message().size()));
  if (row != Table().end()) return MakeStatus(row->second);
  if (internal.code() == kCancelled || internal.code() == kDeadlineExceeded) return internal;
  return absl::UnknownError(internal.message());
}

std::string RpcErrorText(const absl::Status& status) {
  return fmt::format("rpc error: code = {} desc = {}", CodeName(status.code()),
                     std::string(status.message()));
}

std::string_view CodeName(absl::StatusCode code) {
  switch (code) {
    case kOk:
      return "OK";
    case kCancelled:
      return "Canceled";
    case kUnknown:
      return "Unknown";
    case kInvalidArgument:
      return "InvalidArgument";
    case kDeadlineExceeded:
      return "DeadlineExceeded";
    case kNotFound:
      return "NotFound";
    case kAlreadyExists:
      return "AlreadyExists";
    case kPermissionDenied:
      return "PermissionDenied";
    case kResourceExhausted:
      return "ResourceExhausted";
    case kFailedPrecondition:
      return "FailedPrecondition";
    case kAborted:
      return "Aborted";
    case kOutOfRange:
      return "OutOfRange";
    case kUnimplemented:
      return "Unimplemented";
    case kInternal:
      return "Internal";
    case kUnavailable:
      return "Unavailable";
    case kDataLoss:
      return "DataLoss";
    case kUnauthenticated:
      return "Unauthenticated";
    default:
      return "Unknown";
  }
}

}  // namespace kvorum::api_v3
