#include "api/v3/errors.h"
#include "api/v3/testing/test_server.h"
#include "base/version.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "member/testing/fake_member.h"
#include "proto/rpc.pb.h"

namespace kvorum::api_v3 {
namespace {

using member::testing::FakeMember;
using ::testing::ElementsAre;
using testing::TestServer;

class ApiV3Maintenance : public ::testing::Test {
 protected:
  template <typename Response, typename Request = etcdserverpb::StatusRequest>
  absl::StatusOr<Response> Call(const std::string& method, const Request& request = {}) {
    return server_.Call<Response>("/etcdserverpb.Maintenance/" + method, request);
  }
  absl::Status MoveLeader(uint64_t target) {
    etcdserverpb::MoveLeaderRequest request;
    request.set_targetid(target);
    return Call<etcdserverpb::MoveLeaderResponse>("MoveLeader", request).status();
  }

  metrics::Registry registry_;
  FakeMember member_;
  TestServer server_{{.member = &member_, .metrics = &registry_}};
};

TEST_F(ApiV3Maintenance, ReportsItsStatus) {
  member_.options_value.quota_bytes = 0;
  const auto status = Call<etcdserverpb::StatusResponse>("Status");
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_EQ(status->version(), kApiVersion);
  EXPECT_EQ(status->leader(), 0xabcu);
  EXPECT_EQ(status->raftindex(), 9u);
  EXPECT_EQ(status->raftappliedindex(), 8u);
  EXPECT_EQ(status->raftterm(), 2u);
  EXPECT_EQ(status->dbsizequota(), 2147483648);
  EXPECT_EQ(status->storageversion(), kStorageVersion);
  EXPECT_TRUE(status->has_downgradeinfo());
  EXPECT_EQ(status->errors_size(), 0);
  EXPECT_EQ(status->header().revision(), 1);
}

TEST_F(ApiV3Maintenance, ListsWhatIsWrong) {
  member::MemberStatus state = member_.status();
  state.leader = MemberId(0);
  member_.SetStatus(state);
  member_.alarm_list = {{MemberId(0xabc), member::AlarmType::kNoSpace}};
  const auto status = Call<etcdserverpb::StatusResponse>("Status");
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_THAT(status->errors(), ElementsAre("etcdserver: no leader", "memberID:2748 alarm:NOSPACE "));
}

TEST_F(ApiV3Maintenance, AnswersWithoutAHeaderWhereEtcdDoes) {
  EXPECT_EQ(*server_.CallRaw("/etcdserverpb.Maintenance/Defragment", ""), "");
  EXPECT_EQ(*server_.CallRaw("/etcdserverpb.Maintenance/MoveLeader", "\x08\xbc\x15"), "");
  member_.defragment_status = absl::FailedPreconditionError("a defragmentation is running");
  EXPECT_EQ(Call<etcdserverpb::DefragmentResponse>("Defragment").status(),
            absl::UnknownError("a defragmentation is running"));
}

TEST_F(ApiV3Maintenance, MovesTheLeaderNowhereElse) {
  EXPECT_TRUE(MoveLeader(0xabc).ok());
  EXPECT_EQ(MoveLeader(0x123), BadLeaderTransfereeError());
  member_.mutable_cluster().AddMember(
      {.id = MemberId(0x123), .peer_urls = {"http://127.0.0.1:3380"}, .is_learner = true},
      cluster::Cluster::Persist::kNo);
  EXPECT_EQ(MoveLeader(0x123), BadLeaderTransfereeError()) << "a learner";
  member::MemberStatus state = member_.status();
  state.is_leader = false;
  member_.SetStatus(state);
  EXPECT_EQ(MoveLeader(0xabc), NotLeaderError());
}

TEST_F(ApiV3Maintenance, HashesTheHistory) {
  member_.Put({{"a", "b"}});
  const auto now = Call<etcdserverpb::HashKVResponse>("HashKV", etcdserverpb::HashKVRequest());
  ASSERT_TRUE(now.ok()) << now.status();
  EXPECT_EQ(now->hash(), 3628877040u);  // v3-api.md §6.11
  EXPECT_EQ(now->hash_revision(), 2);
  EXPECT_EQ(now->compact_revision(), -1);
  EXPECT_EQ(now->header().revision(), 2);
  etcdserverpb::HashKVRequest future;
  future.set_revision(9);
  EXPECT_EQ(Call<etcdserverpb::HashKVResponse>("HashKV", future).status(),
            absl::OutOfRangeError("etcdserver: mvcc: required revision is a future revision"));
  EXPECT_EQ(Call<etcdserverpb::HashResponse>("Hash")->hash(), 77u);
}

TEST_F(ApiV3Maintenance, ProposesAlarms) {
  etcdserverpb::AlarmRequest request;
  request.set_action(etcdserverpb::AlarmRequest::DEACTIVATE);
  request.set_memberid(5);
  request.set_alarm(etcdserverpb::NOSPACE);
  member_.on_propose = [&](const member::EntryView& entry) {
    EXPECT_EQ(entry.kind, static_cast<uint32_t>(member::RequestKind::kAlarm));
    EXPECT_EQ(entry.body, request.SerializeAsString());
    return member::ApplyResult{.status = {}, .revision = 4, .term = 2, .body = {}};
  };
  EXPECT_EQ(Call<etcdserverpb::AlarmResponse>("Alarm", request)->header().revision(), 4);
}

TEST_F(ApiV3Maintenance, AuthenticationIsOff) {
  const auto status = server_.Call<etcdserverpb::AuthStatusResponse>("/etcdserverpb.Auth/AuthStatus",
                                                                     etcdserverpb::AuthStatusRequest());
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_FALSE(status->enabled());
  EXPECT_EQ(status->authrevision(), 1u);
}

TEST_F(ApiV3Maintenance, ListsMembersWithoutARevision) {
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

}  // namespace
}  // namespace kvorum::api_v3
