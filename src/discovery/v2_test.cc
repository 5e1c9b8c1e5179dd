#include "discovery/v2.h"

#include <deque>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "http/server.h"

namespace kvorum::discovery {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Answer {
  int status = 200;
  std::string body;
  http::Headers headers = {};
};

/// A service that answers what it was told to, one request after the other; the last one again and again.
class Script final : public http::Handler {
 public:
  std::unique_ptr<http::RequestSink> Start(const http::Request& request,
                                           http::ResponseWriter& writer) override {
    std::string line = fmt::format("{} {}?{}", request.method, request.path, request.query);
    return http::CollectBody(writer, 1 << 20, [this, line = std::move(line), &writer](std::string body) {
      Answer answer;
      {
        absl::MutexLock lock(&mutex_);
        asked_.push_back(line + (body.empty() ? "" : " " + body));
        if (!answers_.empty()) answer = answers_.front();
        if (answers_.size() > 1) answers_.pop_front();
      }
      http::Headers headers = answer.headers;
      headers.emplace_back("x-etcd-index", "10");
      writer.Reply(answer.status, headers, answer.body);
    });
  }
  void Add(std::vector<Answer> answers) {
    absl::MutexLock lock(&mutex_);
    answers_.insert(answers_.end(), answers.begin(), answers.end());
  }
  std::vector<std::string> asked() {
    absl::MutexLock lock(&mutex_);
    return asked_;
  }

 private:
  absl::Mutex mutex_;
  std::deque<Answer> answers_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> asked_ ABSL_GUARDED_BY(mutex_);
};

std::string Node(std::string_view name, std::string_view value, int index) {
  return fmt::format(R"({{"key":"/r/t/{}","value":"{}","modifiedIndex":{},"createdIndex":{}}})", name, value,
                     index, index);
}
Answer Size(std::string_view size) {
  return {.body = fmt::format(R"({{"action":"get","node":{}}})", Node("_config/size", size, 3))};
}
Answer Directory(std::vector<std::string> nodes) {
  return {.body = fmt::format(R"({{"action":"get","node":{{"key":"/r/t","dir":true,"nodes":[{}]}}}})",
                              fmt::join(nodes, ","))};
}
Answer Event(std::string_view action, std::string_view node) {
  return {.status = action == "create" ? 201 : 200,
          .body = fmt::format(R"({{"action":"{}","node":{}}})", action, node)};
}
Answer Failed(int status, int code, std::string_view message) {
  return {.status = status,
          .body = fmt::format(R"({{"errorCode":{},"message":"{}","cause":"/c","index":9}})", code, message)};
}

const std::string kOwn = Node("ab", "own=http://o:1", 11);
const std::string kOther = Node("cd", "other=http://p:1", 5);

class V2Test : public ::testing::Test {
 protected:
  V2Test() {
    server_ = std::make_unique<http::Server>(&loops_, http::ServerOptions{.handler = &script_});
    options_.url = fmt::format("http://{}/v2/keys/r/t/", server_->Listen({"http://127.0.0.1:0"}).value());
    server_->Start();
    options_.client = &client_;
    options_.pause = [this](std::chrono::nanoseconds time) {
      slept_.push_back(time / std::chrono::seconds(1));
    };
  }
  ~V2Test() override { client_.Stop(); }

  std::string Join() {
    const absl::StatusOr<std::string> joined = JoinV2(options_, self_);
    failure_ = FailureOf(joined.status());
    return joined.ok() ? *joined : std::string(joined.status().message());
  }

  http::LoopGroup loops_{1};
  Script script_;
  std::unique_ptr<http::Server> server_;
  http::Loop loop_{"client"};
  http::Client client_{&loop_, {}};
  V2Options options_;
  const Registration self_{.id = MemberId(0xab), .name = "own", .peer_urls = {"http://o:1"}};
  std::vector<int64_t> slept_;
  Failure failure_ = Failure::kOther;
};

TEST_F(V2Test, RegistersAndWaitsForTheOthers) {
  script_.Add({Size("2"), Directory({}), Event("create", kOwn), Event("create", kOwn), Size("2"),
               Directory({kOwn}), Event("create", Node("cd", "other=http://p:1", 14))});
  EXPECT_EQ(Join(), "own=http://o:1,other=http://p:1");
  constexpr std::string_view kLocal = "quorum=false&recursive=false&sorted=false";
  EXPECT_THAT(
      script_.asked(),
      ElementsAre(
          fmt::format("GET /v2/keys/r/t/_config/size?{}", kLocal), fmt::format("GET /v2/keys/r/t?{}", kLocal),
          "PUT /v2/keys/r/t/ab?prevExist=false value=own%3Dhttp%3A%2F%2Fo%3A1",
          fmt::format("GET /v2/keys/r/t/ab?{}&wait=true&waitIndex=11", kLocal),
          fmt::format("GET /v2/keys/r/t/_config/size?{}", kLocal), fmt::format("GET /v2/keys/r/t?{}", kLocal),
          "GET /v2/keys/r/t?quorum=false&recursive=true&sorted=false&wait=true&waitIndex=11"));
}

TEST_F(V2Test, CutsTheMembersAtTheSizeInTheOrderInWhichTheyCame) {
  script_.Add({Size("2"), Directory({kOther}), Event("create", kOwn), Event("create", kOwn), Size("2"),
               Directory({Node("ef", "late=http://q:1", 12), kOwn, kOther})});
  EXPECT_EQ(Join(), "other=http://p:1,own=http://o:1");
}

TEST_F(V2Test, AFullClusterTakesNobody) {
  script_.Add({Size("1"), Directory({kOther})});
  EXPECT_EQ(Join(), "discovery: cluster is full");
  EXPECT_EQ(failure_, Failure::kFull);
  EXPECT_EQ(script_.asked().size(), 2u);  // nothing was registered
}

TEST_F(V2Test, OneWhoIsBeatenToTheLastPlaceIsTold) {
  script_.Add({Size("1"), Directory({}), Event("create", kOwn), Event("create", kOwn), Size("1"),
               Directory({kOther, kOwn})});
  EXPECT_EQ(Join(), "discovery: cluster is full");
}

TEST_F(V2Test, IdsMustDiffer) {
  script_.Add({Size("2"), Directory({kOwn}), Failed(412, 105, "Key already exists")});
  EXPECT_EQ(Join(), "discovery: found duplicate id");
  EXPECT_EQ(failure_, Failure::kDuplicateId);
}

TEST_F(V2Test, NamesMustDiffer) {
  script_.Add({Size("2"), Directory({}), Event("create", kOwn), Event("create", kOwn), Size("2"),
               Directory({kOwn, Node("cd", "own=http://p:1", 12)})});
  EXPECT_EQ(Join(), "discovery: found duplicate name");
  EXPECT_EQ(failure_, Failure::kDuplicateName);
}

TEST_F(V2Test, SaysWhatIsWrongWithTheService) {
  script_.Add({Size("x")});
  EXPECT_EQ(Join(), "discovery: size key is bad");
  script_.Add({Failed(404, 100, "Key not found"), {.body = "<html>"}, {.status = 301}});
  EXPECT_EQ(Join(), "discovery: size key is bad");  // the last of before
  EXPECT_EQ(Join(), "100: Key not found (/c) [9]");
  EXPECT_EQ(Join(), "discovery: bad discovery endpoint");
  EXPECT_EQ(Join(), "client: Location header not set");
  EXPECT_TRUE(slept_.empty());
}

TEST_F(V2Test, ValuesMustBeUrls) {
  script_.Add({Size("1"), Directory({Node("ab", "nonsense", 4)}), Event("create", kOwn),
               Event("create", kOwn), Size("1"), Directory({Node("ab", "nonsense", 4)})});
  EXPECT_EQ(Join(), "discovery: invalid URL");
}

TEST_F(V2Test, TriesAgainWithBackOff) {
  script_.Add({{.status = 500},
               {.status = 503},
               {.status = 502},
               Size("1"),
               Directory({}),
               Event("create", kOwn),
               Event("create", kOwn),
               Size("1"),
               Directory({kOwn})});
  EXPECT_EQ(Join(), "own=http://o:1");
  EXPECT_THAT(slept_, ElementsAre(2, 4, 8));
}

TEST_F(V2Test, DoesNotRegisterTwice) {
  script_.Add({Size("1"), Directory({}), {.status = 503}});
  EXPECT_EQ(
      Join(),
      "client: etcd cluster is unavailable or misconfigured; error #0: the server answers with status 503");
}

TEST_F(V2Test, LooksAgainWhenTheHistoryWasLost) {
  script_.Add({Size("2"), Directory({}), Event("create", kOwn), Failed(400, 401, "cleared"), Size("2"),
               Directory({kOwn}), Failed(400, 401, "cleared"), Size("2"), Directory({kOwn, kOther})});
  EXPECT_EQ(Join(), "other=http://p:1,own=http://o:1");
}

TEST_F(V2Test, WaitsForMembersAlone) {
  script_.Add({Size("2"),
               Directory({}),
               Event("create", kOwn),
               Event("create", kOwn),
               Size("2"),
               Directory({kOwn}),
               Event("set", Node("_config/note", "x", 12)),
               {},
               Event("set", Node("a/b", "x", 13)),
               Event("create", Node("cd", "other=http://p:1", 14))});
  EXPECT_EQ(Join(), "own=http://o:1,other=http://p:1");
  EXPECT_THAT(slept_, ElementsAre(1));  // after the watch that ended with nothing
}

TEST_F(V2Test, ATokenThatGoesAwayEndsTheWaiting) {
  script_.Add({Size("2"), Directory({}), Event("create", kOwn), Event("create", kOwn), Size("2"),
               Directory({kOwn}), Event("expire", R"({"key":"/r/t","dir":true,"modifiedIndex":20})")});
  EXPECT_EQ(Join(), "discovery: token not found");
}

TEST_F(V2Test, FollowsRedirectsWithTheSameRequest) {
  const Answer moved{.status = 307, .headers = {{"location", "/elsewhere"}}};
  script_.Add({moved, Size("1"), Directory({}), moved, Event("create", kOwn), Event("create", kOwn),
               Size("1"), Directory({kOwn})});
  EXPECT_EQ(Join(), "own=http://o:1");
  EXPECT_EQ(script_.asked()[1], "GET /elsewhere?");
  EXPECT_EQ(script_.asked()[4], "PUT /elsewhere? value=own%3Dhttp%3A%2F%2Fo%3A1");
}

TEST_F(V2Test, GivesUpOnAServiceThatLeadsNowhere) {
  const Answer moved{.status = 307, .headers = {{"location", "/elsewhere"}}};
  script_.Add(std::vector<Answer>(11, moved));
  EXPECT_EQ(Join(), "client: too many redirects");
  script_.Add({Answer{.status = 307}});
  EXPECT_EQ(Join(), "client: Location header not set");
  EXPECT_TRUE(slept_.empty());
}

TEST_F(V2Test, TakesNoAnswerThatIsTooLong) {
  http::Client client(&loop_, {.max_response_bytes = 1000});
  options_.client = &client;
  script_.Add({Answer{.body = std::string(1001, ' ')}});
  EXPECT_THAT(Join(), testing::HasSubstr("a response of more than 1000 bytes"));
  client.Stop();
}

TEST_F(V2Test, AProxyLooksWithoutRegistering) {
  script_.Add({Size("1"), Directory({kOther, kOwn})});
  EXPECT_EQ(*ClusterV2(options_), "other=http://p:1");
  EXPECT_EQ(script_.asked().size(), 2u);
}

TEST_F(V2Test, RefusesAProxyThatIsNone) {
  options_.proxy = "::bad";
  EXPECT_THAT(Join(), HasSubstr("invalid proxy address \"::bad\": parse \"::bad\": missing protocol scheme"));
}

}  // namespace
}  // namespace kvorum::discovery
