#include "api/v3/errors.h"

#include "gtest/gtest.h"

namespace kvorum::api_v3 {
namespace {

using enum absl::StatusCode;

struct Case {
  absl::Status internal;
  absl::StatusCode code;
  std::string_view text;
};

TEST(ApiV3Errors, MapsTheInternalTexts) {
  const Case cases[] = {
      {absl::ResourceExhaustedError("etcdserver: no space"), kResourceExhausted,
       "etcdserver: mvcc: database space exceeded"},
      {absl::NotFoundError("lease not found"), kNotFound, "etcdserver: requested lease not found"},
      {absl::AlreadyExistsError("lease already exists"), kFailedPrecondition,
       "etcdserver: lease already exists"},
      {absl::OutOfRangeError("too large lease TTL"), kOutOfRange, "etcdserver: too large lease TTL"},
      {absl::OutOfRangeError("mvcc: required revision has been compacted"), kOutOfRange,
       "etcdserver: mvcc: required revision has been compacted"},
      {absl::OutOfRangeError("mvcc: required revision is a future revision"), kOutOfRange,
       "etcdserver: mvcc: required revision is a future revision"},
      {absl::NotFoundError("membership: ID removed"), kNotFound, "etcdserver: member not found"},
      {absl::NotFoundError("membership: ID not found"), kNotFound, "etcdserver: member not found"},
      {absl::AlreadyExistsError("membership: ID exists"), kFailedPrecondition,
       "etcdserver: member ID already exist"},
      {absl::AlreadyExistsError("membership: peerURL exists"), kFailedPrecondition,
       "etcdserver: Peer URLs already exists"},
      {absl::UnknownError("auth: revision in header is old"), kInvalidArgument,
       "etcdserver: revision of auth store is old"},
      {absl::UnknownError("auth: permission denied"), kPermissionDenied, "etcdserver: permission denied"},
      {absl::UnknownError("auth: invalid auth token"), kUnauthenticated, "etcdserver: invalid auth token"},
      {absl::UnavailableError("etcdserver: server stopped"), kUnavailable, "etcdserver: server stopped"},
      {absl::UnknownError("etcdserver: leader changed"), kUnavailable, "etcdserver: leader changed"},
      {absl::DeadlineExceededError("etcdserver: request timed out"), kUnavailable,
       "etcdserver: request timed out"},
      {absl::UnknownError("etcdserver: request timed out, possibly due to connection lost"), kUnavailable,
       "etcdserver: request timed out, possibly due to connection lost"},
      {absl::InvalidArgumentError("etcdserver: request is too large"), kInvalidArgument,
       "etcdserver: request is too large"},
      {absl::UnknownError("etcdserver: corrupt cluster"), kDataLoss, "etcdserver: corrupt cluster"},
      {absl::NotFoundError("etcdserver: key not found"), kInvalidArgument, "etcdserver: key not found"},
  };
  for (const Case& c : cases) {
    const absl::Status client = ToClientError(c.internal);
    EXPECT_EQ(client.code(), c.code) << c.internal;
    EXPECT_EQ(std::string(client.message()), c.text);
    EXPECT_EQ(ToClientError(client), client) << "mapped twice";
  }
}

TEST(ApiV3Errors, TwoTextsLoseTheirCode) {
  EXPECT_EQ(ToClientError(absl::ResourceExhaustedError("etcdserver: too many requests")).code(), kUnknown);
  EXPECT_EQ(ToClientError(absl::FailedPreconditionError(
                              "etcdserver: re-configuration failed due to not enough started members"))
                .code(),
            kUnknown);
}

TEST(ApiV3Errors, OtherTextsLeaveAsUnknown) {
  EXPECT_EQ(ToClientError(absl::FailedPreconditionError("not a primary lessor")),
            absl::UnknownError("not a primary lessor"));
  EXPECT_EQ(ToClientError(absl::DataLossError("mvcc: a record's checksum")).code(), kUnknown);
}

TEST(ApiV3Errors, ContextErrorsKeepTheirCode) {
  const absl::Status late = absl::DeadlineExceededError("context deadline exceeded");
  const absl::Status gone = absl::CancelledError("context canceled");
  EXPECT_EQ(ToClientError(late), late);
  EXPECT_EQ(ToClientError(gone), gone);
  EXPECT_TRUE(ToClientError(absl::OkStatus()).ok());
}

TEST(ApiV3Errors, PrintsAnErrorAsGoDoes) {
  EXPECT_EQ(RpcErrorText(ToClientError(absl::OutOfRangeError("mvcc: required revision has been compacted"))),
            "rpc error: code = OutOfRange desc = etcdserver: mvcc: required revision has been compacted");
}

}  // namespace
}  // namespace kvorum::api_v3
