#include "api/v3/errors.h"
#include "api/v3/testing/test_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "member/testing/fake_member.h"
#include "proto/rpc.pb.h"

namespace kvorum::api_v3 {
namespace {

using member::testing::FakeMember;
using ::testing::ElementsAre;
using testing::TestServer;

class ApiV3Cluster : public ::testing::Test {
 protected:
  template <typename Response, typename Request>
  absl::StatusOr<Response> Call(const std::string& method, const Request& request) {
    return server_.Call<Response>("/etcdserverpb.Cluster/" + method, request);
  }
  absl::StatusOr<etcdserverpb::MemberAddResponse> Add(const std::vector<std::string>& urls,
                                                      bool learner = false) {
    etcdserverpb::MemberAddRequest request;
    for (const std::string& url : urls) request.add_peerurls(url);
    request.set_islearner(learner);
    return Call<etcdserverpb::MemberAddResponse>("MemberAdd", request);
  }
  absl::StatusOr<etcdserverpb::MemberUpdateResponse> Update(uint64_t id,
                                                            const std::vector<std::string>& urls) {
    etcdserverpb::MemberUpdateRequest request;
    request.set_id(id);
    for (const std::string& url : urls) request.add_peerurls(url);
    return Call<etcdserverpb::MemberUpdateResponse>("MemberUpdate", request);
  }

  metrics::Registry registry_;
  FakeMember member_;
  TestServer server_{{.member = &member_, .metrics = &registry_}};
};

TEST_F(ApiV3Cluster, ListsMembersWithoutARevision) {
  etcdserverpb::MemberListRequest request;
  for (const bool linearizable : {false, true}) {
    request.set_linearizable(linearizable);
    const auto list =
        server_.Call<etcdserverpb::MemberListResponse>("/etcdserverpb.Cluster/MemberList", request);
    ASSERT_TRUE(list.ok()) << list.status();
    ASSERT_EQ(list->members_size(), 1);
    EXPECT_EQ(list->members(0).name(), "m1");
    EXPECT_EQ(list->members(0).id(), 0xabcu);
    EXPECT_THAT(list->members(0).peerurls(), ElementsAre("http://127.0.0.1:2380"));
    EXPECT_THAT(list->members(0).clienturls(), ElementsAre("http://127.0.0.1:2379"));
    EXPECT_EQ(list->header().revision(), 0);
    EXPECT_EQ(list->header().raft_term(), 2u);
  }
  member_.confirm_at_once = false;
  member_.read_status = absl::UnknownError("etcdserver: leader changed");
  EXPECT_EQ(
      server_.Call<etcdserverpb::MemberListResponse>("/etcdserverpb.Cluster/MemberList", request).status(),
      absl::UnavailableError("etcdserver: leader changed"));
}

TEST_F(ApiV3Cluster, AddsAMember) {
  const auto added = Add({" http://127.0.0.2:3380", "http://127.0.0.1:3380"}, /*learner=*/true);
  ASSERT_TRUE(added.ok()) << added.status();
  EXPECT_THAT(added->member().peerurls(), ElementsAre("http://127.0.0.1:3380", "http://127.0.0.2:3380"));
  EXPECT_TRUE(added->member().islearner());
  EXPECT_NE(added->member().id(), 0u);
  EXPECT_EQ(added->members_size(), 2);
  EXPECT_EQ(added->header().revision(), 0);
  EXPECT_EQ(added->header().raft_term(), 2u);
}

TEST_F(ApiV3Cluster, RefusesUrlsThatAreNone) {
  const std::vector<std::vector<std::string>> cases = {
      {},
      {""},
      {"x"},
      {"http://127.0.0.1"},
      {"http://127.0.0.1:1/path"},
      {"ftp://127.0.0.1:1"},
      {"http://127.0.0.1:1,http://127.0.0.1:2"},
      {"http://127.0.0.1:1", "x"},
  };
  for (const std::vector<std::string>& urls : cases) {
    EXPECT_EQ(Add(urls).status(), InvalidMemberUrlsError());
    EXPECT_EQ(Update(0xabc, urls).status(), InvalidMemberUrlsError());
  }
  EXPECT_EQ(member_.cluster().members().size(), 1u);
  EXPECT_EQ(server_.CallRaw("/etcdserverpb.Cluster/MemberAdd", "\x0a\x05").status(), MalformedRequestError());
}

TEST_F(ApiV3Cluster, PromotesUpdatesAndRemoves) {
  const uint64_t id = Add({"http://127.0.0.1:3380"}, /*learner=*/true)->member().id();
  etcdserverpb::MemberPromoteRequest promote;
  promote.set_id(id);
  const auto promoted = Call<etcdserverpb::MemberPromoteResponse>("MemberPromote", promote);
  ASSERT_TRUE(promoted.ok()) << promoted.status();
  for (const etcdserverpb::Member& member : promoted->members()) EXPECT_FALSE(member.islearner());

  ASSERT_TRUE(Update(id, {"http://127.0.0.1:3390"}).ok());
  EXPECT_THAT(member_.cluster().Find(MemberId(id))->peer_urls, ElementsAre("http://127.0.0.1:3390"));

  etcdserverpb::MemberRemoveRequest remove;
  remove.set_id(id);
  const auto removed = Call<etcdserverpb::MemberRemoveResponse>("MemberRemove", remove);
  ASSERT_TRUE(removed.ok()) << removed.status();
  ASSERT_EQ(removed->members_size(), 1);
  EXPECT_EQ(removed->members(0).id(), 0xabcu);
}

TEST_F(ApiV3Cluster, TellsWhyAChangeIsRefused) {
  const std::pair<std::string_view, absl::Status> cases[] = {
      {"membership: peerURL exists", absl::FailedPreconditionError("etcdserver: Peer URLs already exists")},
      {"membership: ID removed", absl::NotFoundError("etcdserver: member not found")},
      {"etcdserver: re-configuration failed due to not enough started members",
       absl::UnknownError("etcdserver: re-configuration failed due to not enough started members")},
      {"etcdserver: unhealthy cluster", absl::UnavailableError("etcdserver: unhealthy cluster")},
      {"membership: too many learner members in cluster",
       absl::FailedPreconditionError("etcdserver: too many learner members in cluster")},
  };
  for (const auto& [text, expected] : cases) {
    member_.change_status = absl::InternalError(absl::string_view(text.data(), text.size()));
    EXPECT_EQ(Add({"http://127.0.0.1:3380"}).status(), expected);
    EXPECT_EQ(Update(0xabc, {"http://127.0.0.1:3380"}).status(), expected);
    EXPECT_EQ(Call<etcdserverpb::MemberRemoveResponse>("MemberRemove", etcdserverpb::MemberRemoveRequest())
                  .status(),
              expected);
    EXPECT_EQ(Call<etcdserverpb::MemberPromoteResponse>("MemberPromote", etcdserverpb::MemberPromoteRequest())
                  .status(),
              expected);
  }
}

}  // namespace
}  // namespace kvorum::api_v3
