#include "api/v3/errors.h"
#include "api/v3/testing/test_server.h"
#include "gtest/gtest.h"
#include "member/testing/fake_member.h"
#include "proto/rpc.pb.h"

namespace kvorum::api_v3 {
namespace {

using member::testing::FakeMember;
using testing::TestServer;

class ApiV3Lease : public ::testing::Test {
 protected:
  using KeepAlive =
      TestServer::Stream<etcdserverpb::LeaseKeepAliveRequest, etcdserverpb::LeaseKeepAliveResponse>;

  static etcdserverpb::LeaseKeepAliveRequest Renew(int64_t id) {
    etcdserverpb::LeaseKeepAliveRequest request;
    request.set_id(id);
    return request;
  }
  absl::StatusOr<etcdserverpb::LeaseTimeToLiveResponse> TimeToLive(int64_t id, bool keys) {
    etcdserverpb::LeaseTimeToLiveRequest request;
    request.set_id(id);
    request.set_keys(keys);
    return server_.Call<etcdserverpb::LeaseTimeToLiveResponse>("/etcdserverpb.Lease/LeaseTimeToLive",
                                                               request);
  }

  metrics::Registry registry_;
  FakeMember member_;
  TestServer server_{{.member = &member_, .metrics = &registry_}};
};

TEST_F(ApiV3Lease, PicksAPositiveIdWhereNoneIsGiven) {
  etcdserverpb::LeaseGrantRequest proposed;
  member_.on_propose = [&](const member::EntryView& entry) {
    EXPECT_EQ(entry.kind, static_cast<uint32_t>(member::RequestKind::kLeaseGrant));
    EXPECT_TRUE(proposed.ParseFromString(std::string(entry.body)));
    etcdserverpb::LeaseGrantResponse body;
    body.set_id(proposed.id());
    body.set_ttl(proposed.ttl());
    return member::ApplyResult{.status = {}, .revision = 3, .term = 2, .body = body.SerializeAsString()};
  };
  etcdserverpb::LeaseGrantRequest request;
  request.set_ttl(60);
  auto response = server_.Call<etcdserverpb::LeaseGrantResponse>("/etcdserverpb.Lease/LeaseGrant", request);
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_GT(response->id(), 0);
  EXPECT_EQ(response->ttl(), 60);
  EXPECT_EQ(response->header().revision(), 3);
  request.set_id(99);
  EXPECT_EQ(server_.Call<etcdserverpb::LeaseGrantResponse>("/etcdserverpb.Lease/LeaseGrant", request)->id(),
            99);
}

TEST_F(ApiV3Lease, MapsTheErrorsOfLeases) {
  const std::tuple<const char*, absl::Status, absl::Status> cases[] = {
      {"LeaseGrant", lease::ExistsError(), absl::FailedPreconditionError("etcdserver: lease already exists")},
      {"LeaseGrant", lease::TtlTooLargeError(), absl::OutOfRangeError("etcdserver: too large lease TTL")},
      {"LeaseRevoke", lease::NotFoundError(), absl::NotFoundError("etcdserver: requested lease not found")},
  };
  for (const auto& [method, internal, client] : cases) {
    member_.on_propose = [error = internal](const member::EntryView&) {
      return member::ApplyResult{.status = error, .body = {}};
    };
    EXPECT_EQ(server_.CallRaw(std::string("/etcdserverpb.Lease/") + method, "\x08\x05").status(), client);
  }
  member_.quota_status = absl::ResourceExhaustedError("etcdserver: no space");
  EXPECT_EQ(server_.CallRaw("/etcdserverpb.Lease/LeaseGrant", "\x08\x05").status(),
            absl::ResourceExhaustedError("etcdserver: mvcc: database space exceeded"));
}

TEST_F(ApiV3Lease, AnswersKeepAlivesInOrder) {
  ASSERT_TRUE(member_.leases().Grant(LeaseId(5), 60).ok());
  KeepAlive stream(&server_, "/etcdserverpb.Lease/LeaseKeepAlive");
  for (const int64_t id : {5, 6, 5}) stream.Send(Renew(id));
  for (const auto& [id, ttl] : {std::pair<int64_t, int64_t>(5, 60), {6, 0}, {5, 60}}) {
    const auto response = stream.Next();
    EXPECT_EQ(response.id(), id);
    EXPECT_EQ(response.ttl(), ttl) << "of a lease that is absent: none";
    EXPECT_EQ(response.header().member_id(), 0xabcu);
  }
  stream.HalfClose();
  EXPECT_TRUE(stream.End().ok());
}

TEST_F(ApiV3Lease, AnswersLateKeepAlivesBeforeItEnds) {
  member_.on_renew = [](LeaseId id) -> absl::StatusOr<int64_t> { return id.value() * 10; };
  KeepAlive stream(&server_, "/etcdserverpb.Lease/LeaseKeepAlive");
  for (int64_t id = 1; id <= 50; ++id) stream.Send(Renew(id));
  stream.HalfClose();
  for (int64_t id = 1; id <= 50; ++id) EXPECT_EQ(stream.Next().ttl(), id * 10);
  EXPECT_TRUE(stream.End().ok());
}

TEST_F(ApiV3Lease, EndsTheStreamAtOtherErrors) {
  const std::pair<absl::Status, absl::Status> cases[] = {
      {lease::NotPrimaryError(), absl::UnknownError("not a primary lessor")},
      {absl::UnknownError("etcdserver: no leader"), NoLeaderError()},
      {absl::UnknownError("etcdserver: request timed out, waiting for the applied index took too long"),
       absl::UnavailableError("etcdserver: request timed out, waiting for the applied index took too long")},
  };
  for (const auto& [internal, client] : cases) {
    member_.on_renew = [error = internal](LeaseId) -> absl::StatusOr<int64_t> { return error; };
    KeepAlive stream(&server_, "/etcdserverpb.Lease/LeaseKeepAlive");
    stream.Send(Renew(1));
    EXPECT_EQ(stream.End(), client);
  }
  KeepAlive malformed(&server_, "/etcdserverpb.Lease/LeaseKeepAlive");
  malformed.SendRaw("\x08");
  EXPECT_EQ(malformed.End(), MalformedRequestError());
}

TEST_F(ApiV3Lease, TellsTheTimeToLive) {
  ASSERT_TRUE(member_.leases().Grant(LeaseId(5), 60).ok());
  member_.leases().Attach(LeaseId(5), "k");
  const auto response = TimeToLive(5, true);
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->id(), 5);
  EXPECT_EQ(response->grantedttl(), 60);
  EXPECT_LE(response->ttl(), 60);
  ASSERT_EQ(response->keys_size(), 1);
  EXPECT_EQ(response->keys(0), "k");
  EXPECT_EQ(TimeToLive(5, false)->keys_size(), 0);
  const auto absent = TimeToLive(6, true);
  ASSERT_TRUE(absent.ok());
  EXPECT_EQ(absent->id(), 6);
  EXPECT_EQ(absent->ttl(), -1);
  EXPECT_EQ(absent->grantedttl(), 0);
}

TEST_F(ApiV3Lease, ListsLeasesByRemainingTime) {
  ASSERT_TRUE(member_.leases().Grant(LeaseId(5), 600).ok());
  ASSERT_TRUE(member_.leases().Grant(LeaseId(6), 60).ok());
  const auto response = server_.Call<etcdserverpb::LeaseLeasesResponse>("/etcdserverpb.Lease/LeaseLeases",
                                                                        etcdserverpb::LeaseLeasesRequest());
  ASSERT_TRUE(response.ok()) << response.status();
  ASSERT_EQ(response->leases_size(), 2);
  EXPECT_EQ(response->leases(0).id(), 6);
  EXPECT_EQ(response->leases(1).id(), 5);
  EXPECT_EQ(response->header().revision(), 1);
}

}  // namespace
}  // namespace kvorum::api_v3
