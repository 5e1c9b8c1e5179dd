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

TEST_F(ApiV3Maintenance, MovesTheLeader) {
  MemberId asked;
  member_.on_move_leader = [&](MemberId to) {
    asked = to;
    return absl::OkStatus();
  };
  EXPECT_TRUE(MoveLeader(0x123).ok());
  EXPECT_EQ(asked, MemberId(0x123));
  member_.on_move_leader = [](MemberId) { return absl::UnknownError("etcdserver: bad leader transferee"); };
  EXPECT_EQ(MoveLeader(0x123), absl::FailedPreconditionError("etcdserver: bad leader transferee"));
  member_.on_move_leader = [](MemberId) { return absl::UnknownError("etcdserver: not leader"); };
  EXPECT_EQ(MoveLeader(0x123), absl::FailedPreconditionError("etcdserver: not leader"));
}

TEST_F(ApiV3Maintenance, ChangesTheDowngrade) {
  using Action = member::Member::DowngradeAction;
  std::vector<std::pair<Action, std::string>> asked;
  member_.on_downgrade = [&](Action action, const std::string& target) {
    asked.emplace_back(action, target);
    return "3.7.0";
  };
  etcdserverpb::DowngradeRequest request;
  request.set_version("3.6.0");
  for (const auto action : {etcdserverpb::DowngradeRequest::VALIDATE, etcdserverpb::DowngradeRequest::ENABLE,
                            etcdserverpb::DowngradeRequest::CANCEL}) {
    request.set_action(action);
    const auto response = Call<etcdserverpb::DowngradeResponse>("Downgrade", request);
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_EQ(response->version(), "3.7");
    EXPECT_EQ(response->header().revision(), 1);
  }
  EXPECT_THAT(asked, ElementsAre(std::pair(Action::kValidate, "3.6.0"), std::pair(Action::kEnable, "3.6.0"),
                                 std::pair(Action::kCancel, "3.6.0")));
  EXPECT_EQ(server_.CallRaw("/etcdserverpb.Maintenance/Downgrade", "\x08\x07").status(),
            absl::UnknownError("etcdserver: unknown method"));
  member_.on_downgrade = [](Action, const std::string&) {
    return absl::UnknownError("etcdserver: invalid downgrade target version");
  };
  EXPECT_EQ(Call<etcdserverpb::DowngradeResponse>("Downgrade", request).status(),
            absl::InvalidArgumentError("etcdserver: invalid downgrade target version"));
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

}  // namespace
}  // namespace kvorum::api_v3
