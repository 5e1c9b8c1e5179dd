#include "api/v2/key_watch.h"

#include <chrono>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "api/v2/testing/served.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kvorum::api_v2 {
namespace {

using testing::Connection;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::Response;
using testing::Served;
using testing::TakeApart;

std::string SetEvent(const std::string& key, int value, int index) {
  return fmt::format(
      R"({{"action":"create","node":{{"key":"{}","value":"{}","modifiedIndex":{},"createdIndex":{}}}}})"
      "\n",
      key, value, index, index);
}
std::string Chunk(const std::string& text) { return fmt::format("{:x}\r\n{}\r\n", text.size(), text); }
constexpr char kLastChunk[] = "0\r\n\r\n";

class V2Watch : public ::testing::Test {
 protected:
  /// Begins a watch and waits for its head.
  std::unique_ptr<Connection> Watch(const std::string& target, const std::string& headers = "") {
    auto connection = std::make_unique<Connection>(served_.address());
    connection->Request("GET", target, headers);
    connection->ReadUntil("\r\n\r\n");
    return connection;
  }
  /// A new file.
  void Create(const std::string& key, int value) {
    ASSERT_EQ(served_.Put("/v2/keys" + key + "?prevExist=false", fmt::format("value={}", value)).status, 201);
  }
  uint64_t watchers() { return served_.member.v2_store().stats().watchers; }
  /// With a bound.
  bool ComeTo(uint64_t count) {
    const MonotonicTime end = SystemClock().Now() + std::chrono::seconds(20);
    while (watchers() != count) {
      if (SystemClock().Now() > end) return false;
      std::this_thread::yield();
    }
    return true;
  }

  Served served_;
};

TEST_F(V2Watch, ALongPollGetsOneEvent) {
  Create("/other", 0);
  auto watch = Watch("/v2/keys/foo?wait=true", "Connection: close\r\n");
  Create("/another", 1);
  Create("/foo", 2);
  const Response response = TakeApart(watch->ReadAll());
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, Chunk(SetEvent("/foo", 2, 3)) + kLastChunk);
  EXPECT_EQ(response.Header("content-type"), "application/json");
  EXPECT_EQ(response.Header("transfer-encoding"), "chunked");
  EXPECT_EQ(response.Header("x-etcd-cluster-id"), "def");
  EXPECT_EQ(response.Header("x-etcd-index"), "1");  // when the watch began
  EXPECT_EQ(response.Header("x-raft-index"), "9");
  EXPECT_EQ(response.Header("x-raft-term"), "2");
  EXPECT_TRUE(ComeTo(0));
}

TEST_F(V2Watch, TheConnectionIsUsedAgain) {
  auto watch = Watch("/v2/keys/foo?wait=true");
  Create("/foo", 1);
  watch->ReadUntil(kLastChunk);
  watch->Request("GET", "/v2/keys/foo?wait=true&waitIndex=2");
  watch->ReadUntil("X-Etcd-Index: 1\r\n");
  ASSERT_TRUE(ComeTo(1));
  served_.Put("/v2/keys/foo", "value=second");
  EXPECT_THAT(watch->ReadUntil("second"), HasSubstr(R"("action":"set")"));
  watch->Request("GET", "/v2/keys/foo", "Connection: close\r\n");
  EXPECT_THAT(watch->ReadAll(), HasSubstr("\"action\":\"get\""));
}

TEST_F(V2Watch, TheHistoryIsAnsweredAtOnce) {
  Create("/foo", 1);
  Create("/d/x", 3);
  const Response response = served_.Get("/v2/keys/d?wait=true&waitIndex=1&recursive=true");
  EXPECT_EQ(response.body, Chunk(SetEvent("/d/x", 3, 2)) + kLastChunk);
  EXPECT_EQ(watchers(), 0u);
}

TEST_F(V2Watch, TellsWhenTheHistoryIsGone) {
  for (int i = 0; i < 1005; ++i) {
    served_.member.v2_store().Set("/1/foo", /*dir=*/false, "x", std::nullopt);
  }
  const Response response = served_.Get("/v2/keys/foo?wait=true&waitIndex=1");
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(response.body,
            R"({"errorCode":401,"message":"The event in requested index is outdated and cleared",)"
            R"("cause":"the requested history has been cleared [6/1]","index":1005})"
            "\n");
  EXPECT_EQ(response.Header("x-etcd-index"), "1005");
}

TEST_F(V2Watch, AStreamGetsThemAll) {
  auto watch = Watch("/v2/keys/?wait=true&stream=true&recursive=true");
  std::string all;
  for (int i = 1; i <= 30; ++i) {
    const std::string key = fmt::format("/k{}", i);
    Create(key, i);
    all += Chunk(SetEvent(key, i, i));
  }
  EXPECT_THAT(watch->ReadUntil("/k30"), HasSubstr(all.substr(0, all.size() - 10)));
  EXPECT_EQ(watchers(), 1u);
  watch->Close();
  EXPECT_TRUE(ComeTo(0));
}

TEST_F(V2Watch, AStreamGoesOnAfterTheHistory) {
  for (int i = 1; i <= 5; ++i) Create(fmt::format("/d/{}", i), i);
  auto watch = Watch("/v2/keys/d?wait=true&stream=true&recursive=true&waitIndex=3");
  watch->ReadUntil("/d/5");
  ASSERT_TRUE(ComeTo(1));
  Create("/d/6", 6);
  const std::string text = watch->ReadUntil("/d/6");
  EXPECT_THAT(text, Not(HasSubstr("/d/2\"")));
  EXPECT_THAT(text, HasSubstr(Chunk(SetEvent("/d/3", 3, 3)) + Chunk(SetEvent("/d/4", 4, 4)) +
                              Chunk(SetEvent("/d/5", 5, 5))));
}

TEST_F(V2Watch, WhoLosesWhatItWaitsForIsEnded) {
  auto poll = Watch("/v2/keys/foo?wait=true");
  auto stream = Watch("/v2/keys/foo?wait=true&stream=true");
  auto patient = Watch("/v2/keys/foo?wait=true&waitIndex=1100");
  v2store::Store leader(&SystemClock());
  for (int i = 0; i < 1050; ++i) leader.Set("/1/foo", /*dir=*/false, "x", std::nullopt);
  ASSERT_TRUE(served_.member.v2_store().Recover(leader.SaveView()->ToJson()).ok());
  EXPECT_THAT(poll->ReadUntil(kLastChunk), EndsWith("\r\n\r\n" + std::string(kLastChunk)));
  EXPECT_THAT(stream->ReadUntil(kLastChunk), EndsWith("\r\n\r\n" + std::string(kLastChunk)));
  EXPECT_TRUE(ComeTo(1));
}

TEST_F(V2Watch, ManyWaitForOneKey) {
  std::vector<std::unique_ptr<Connection>> all;
  for (int i = 0; i < 700; ++i) all.push_back(Watch("/v2/keys/foo?wait=true"));
  EXPECT_EQ(watchers(), 700u);
  Create("/foo", 7);
  for (const auto& watch : all) {
    EXPECT_THAT(watch->ReadUntil(kLastChunk), EndsWith(Chunk(SetEvent("/foo", 7, 1)) + kLastChunk));
  }
  EXPECT_TRUE(ComeTo(0));
}

TEST_F(V2Watch, WhoGoesAwayWaitsNoMore) {
  auto gone = Watch("/v2/keys/foo?wait=true");
  auto stays = Watch("/v2/keys/foo?wait=true");
  EXPECT_EQ(watchers(), 2u);
  gone->Close();
  EXPECT_TRUE(ComeTo(1));
  Create("/foo", 1);
  EXPECT_THAT(stays->ReadUntil(kLastChunk), EndsWith(kLastChunk));
}

TEST_F(V2Watch, ManyComeAndGoWhileKeysChange) {
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    while (!stop.load()) served_.member.v2_store().Set("/1/foo", /*dir=*/false, "x", std::nullopt);
  });
  for (int i = 0; i < 200; ++i) {
    auto watch = Watch(i % 2 == 0 ? "/v2/keys/foo?wait=true" : "/v2/keys/foo?wait=true&stream=true");
    if (i % 3 == 0) watch->ReadUntil("\"action\"");
  }
  stop.store(true);
  writer.join();
  EXPECT_TRUE(ComeTo(0));
}

TEST_F(V2Watch, AStreamThatIsNotReadIsBrokenOff) {
  auto watch = Watch("/v2/keys/foo?wait=true&stream=true");
  const std::string value(1 << 20, 'x');
  int written = 0;
  const MonotonicTime end = SystemClock().Now() + std::chrono::seconds(60);
  while (watchers() == 1 && SystemClock().Now() < end) {
    served_.member.v2_store().Set("/1/foo", /*dir=*/false, value, std::nullopt);
    ++written;
  }
  EXPECT_EQ(watchers(), 0u) << written;
  const std::string& text = watch->ReadAll();
  EXPECT_FALSE(text.ends_with(kLastChunk));
}

TEST_F(V2Watch, AStopEndsThemWithAnEmptyBody) {
  auto poll = Watch("/v2/keys/foo?wait=true");
  auto stream = Watch("/v2/keys/foo?wait=true&stream=true");
  served_.Shutdown();
  EXPECT_EQ(TakeApart(poll->ReadAll()).body, kLastChunk);
  EXPECT_EQ(TakeApart(stream->ReadAll()).body, kLastChunk);
}

}  // namespace
}  // namespace kvorum::api_v2
