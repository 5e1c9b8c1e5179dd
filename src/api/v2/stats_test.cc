#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "api/v2/testing/served.h"

namespace kvorum::api_v2 {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using testing::Response;

class V2Stats : public ::testing::Test {
 protected:
  std::string Body(const std::string& name) {
    const Response response = served_.Get("/v2/stats/" + name);
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.Header("content-type"), "application/json");
    EXPECT_EQ(response.Header("x-etcd-cluster-id"), "-");
    return response.body;
  }
  void Follow(MemberId leader) {
    member::MemberStatus status = served_.member.status();
    status.leader = leader;
    status.is_leader = false;
    served_.member.SetStatus(status);
  }

  testing::Served served_;
};

TEST_F(V2Stats, StoreCounts) {
  EXPECT_EQ(served_.Put("/v2/keys/a", "value=1").status, 201);
  EXPECT_EQ(served_.Get("/v2/keys/b").status, 404);
  const std::string body = Body("store");
  EXPECT_THAT(body, HasSubstr(R"({"getsSuccess":0,"getsFail":1,"setsSuccess":1,"setsFail":0,)"));
  EXPECT_THAT(body, HasSubstr(R"("expireCount":0,"watchers":0})"));
}

TEST_F(V2Stats, SelfOfALeader) {
  constexpr const char* kTime = "20[0-9-]+T[0-9:.]+(Z|[+-][0-9:]+)";
  member::MemberStatus status = served_.member.status();
  status.leader_since = SystemClock().WallNow() - std::chrono::minutes(2);
  served_.member.SetStatus(status);
  served_.stats.received_value = {.count = 3};
  served_.stats.sent_value = {.count = 1200, .messages_per_second = 1005.25, .bytes_per_second = 1e7 / 3};
  EXPECT_THAT(
      Body("self"),
      MatchesRegex(fmt::format(
          R"(\{{"name":"default","id":"abc","state":"StateLeader","startTime":"{}","leaderInfo":)"
          R"(\{{"leader":"abc","uptime":"2m[0-9.]+s","startTime":"{}"\}},"recvAppendRequestCnt":3,)"
          R"("sendAppendRequestCnt":1200,"sendPkgRate":1005.25,"sendBandwidthRate":3333333.3333333335\}})",
          kTime, kTime)));
}

TEST_F(V2Stats, SelfOfAFollower) {
  Follow(MemberId(7));
  EXPECT_THAT(Body("self"), HasSubstr(R"("state":"StateFollower",)"));
  EXPECT_THAT(Body("self"), HasSubstr(R"("leaderInfo":{"leader":"7",)"));
  Follow(MemberId(0));
  EXPECT_THAT(Body("self"), HasSubstr(R"("leaderInfo":{"leader":"","uptime":"0s",)"));
}

TEST_F(V2Stats, RatesThatAreNoNumbersAreLeftOut) {
  served_.stats.sent_value = {.count = 1,
                              .messages_per_second = std::numeric_limits<double>::infinity(),
                              .bytes_per_second = std::numeric_limits<double>::quiet_NaN()};
  EXPECT_THAT(Body("self"), HasSubstr(R"("sendAppendRequestCnt":1,"sendPkgRate":0})"));
}

TEST_F(V2Stats, LeaderShowsFollowers) {
  EXPECT_EQ(Body("leader"), R"({"leader":"abc","followers":{}})");
  served_.stats.followers_value = {{MemberId(0x9), {}},
                                   {MemberId(0x10),
                                    {.latency_current = 0.25,
                                     .latency_average = 1.5e-7,
                                     .latency_standard_deviation = 12,
                                     .latency_minimum = 0.001,
                                     .latency_maximum = 1234.5,
                                     .fail = 2,
                                     .success = 40}}};
  EXPECT_EQ(Body("leader"),
            R"({"leader":"abc","followers":{"10":{"latency":{"current":0.25,"average":1.5e-7,)"
            R"("standardDeviation":12,"minimum":0.001,"maximum":1234.5},"counts":{"fail":2,"success":40}},)"
            R"("9":{"latency":{"current":0,"average":0,"standardDeviation":0,"minimum":9223372036854776000,)"
            R"("maximum":0},"counts":{"fail":0,"success":0}}}})");
}

TEST_F(V2Stats, OnlyTheLeaderKnowsFollowers) {
  Follow(MemberId(7));
  const Response response = served_.Get("/v2/stats/leader");
  EXPECT_EQ(response.status, 403);
  EXPECT_EQ(response.body, R"({"message":"not current leader"})");
}

TEST_F(V2Stats, PathsAndMethods) {
  for (const char* path : {"/v2/stats", "/v2/stats/", "/v2/stats/self/", "/v2/stats/other"}) {
    EXPECT_EQ(served_.Get(path).status, 404) << path;
  }
  for (const char* method : {"HEAD", "PUT"}) {
    EXPECT_EQ(served_.Ask(method, "/v2/stats/self").Header("allow"), "GET");
  }
}

}  // namespace
}  // namespace kvorum::api_v2
