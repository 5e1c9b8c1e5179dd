#include "proxy/grpc/upstream.h"

#include <deque>

#include "grpc/test_client.h"
#include "gtest/gtest.h"
#include "proto/rpc.pb.h"

namespace kvorum::proxy_grpc {
namespace {

using std::string_literals::operator""s;

TEST(KeyPrefixTest, NamesKeysOfTheCluster) {
  const KeyPrefix prefix("ns/");
  EXPECT_EQ(prefix.Key("a"), "ns/a");
  EXPECT_EQ(prefix.Strip("ns/a"), "a");
  EXPECT_EQ(prefix.Range("a", ""), (std::pair{"ns/a"s, ""s}));
  EXPECT_EQ(prefix.Range("a", "b"), (std::pair{"ns/a"s, "ns/b"s}));
  EXPECT_EQ(prefix.Range("", "\0"s), (std::pair{"ns/"s, "ns0"s}));
  EXPECT_EQ(KeyPrefix("a\xff").Range("", "\0"s), (std::pair{"a\xff"s, "b"s}));
  EXPECT_EQ(KeyPrefix("\xff").Range("", "\0"s), (std::pair{"\xff"s, "\0"s}));
  EXPECT_EQ(KeyPrefix("").Range("a", "\0"s), (std::pair{"a"s, "\0"s}));
}

TEST(ForwardedMetadataTest, IsTheTokenAndTheWishForALeader) {
  EXPECT_EQ(ForwardedMetadata({{"user-agent", "x"}, {"token", "t"}, {"hasleader", "true"}, {"a", "b"}}),
            (http::Headers{{"token", "t"}, {"hasleader", "true"}}));
}

/// A Watch service: each stream's first request waits for a test to answer it.
class FakeWatch {
 public:
  FakeWatch() : methods_({}) {
    methods_.AddStream("/etcdserverpb.Watch/Watch", grpc::MethodKind::kBidiStream,
                       [this](grpc::StreamWriter& writer) { return std::make_unique<Stream>(this, writer); });
    server_.emplace(&loops_, http::ServerOptions{.grpc_handler = &methods_});
    address = *server_->Listen({"http://127.0.0.1:0"});
    server_->Start();
  }

  /// Waits for a watch, says that it is there if `created`, and ends it with `end` unless that is OK.
  etcdserverpb::WatchRequest Answer(bool created, const absl::Status& end) {
    Asked asked;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(
          +[](std::deque<Asked>* all) { return !all->empty(); }, &asked_));
      asked = asked_.front();
      asked_.pop_front();
    }
    http::RunOn(loops_.at(0), [&] {
      etcdserverpb::WatchResponse response;
      response.set_created(true);
      if (created) asked.writer->Send({response.SerializeAsString(), {}});
      if (!end.ok()) asked.writer->Finish(end);
      last_ = asked.writer;
    });
    return asked.request;
  }
  /// Ends the watch that was answered last.
  void End(const absl::Status& end) {
    http::RunOn(loops_.at(0), [&] { last_->Finish(end); });
  }

  std::string address;

 private:
  struct Asked {
    grpc::StreamWriter* writer = nullptr;
    etcdserverpb::WatchRequest request;
  };
  struct Stream final : grpc::StreamHandler {
    Stream(FakeWatch* f, grpc::StreamWriter& w) : fake(f), writer(w) {}
    void OnMessage(std::string_view message) override {
      absl::MutexLock lock(&fake->mutex_);
      Asked asked{.writer = &writer};
      asked.request.ParseFromString(std::string(message));
      EXPECT_NE(writer.info().Find("hasleader"), nullptr);
      fake->asked_.push_back(std::move(asked));
    }
    void OnHalfClose() override {}
    void OnCancel() override {}
    FakeWatch* const fake;
    grpc::StreamWriter& writer;
  };

  http::LoopGroup loops_{1, "cluster"};
  grpc::Server methods_;
  absl::Mutex mutex_;
  std::deque<Asked> asked_ ABSL_GUARDED_BY(mutex_);
  grpc::StreamWriter* last_ = nullptr;  // of the loop
  std::optional<http::Server> server_;
};

TEST(LeaderWatchTest, TellsWhenTheLeaderIsLost) {
  FakeWatch cluster;
  grpc::Client client({.endpoints = {cluster.address}});
  std::unique_ptr<LeaderState> leader;
  std::atomic<int> told{0};
  http::RunOn(client.loop, [&] {
    leader = WatchLeader(client.loop, *client.channel, NullLogger());
    leader->OnLost([&] { ++told; });
  });
  const auto lost = [&] {
    bool value = false;
    http::RunOn(client.loop, [&] { value = leader->lost(); });
    return value;
  };
  const auto request = cluster.Answer(/*created=*/true, absl::OkStatus());
  EXPECT_EQ(request.create_request().key(), "__lostleader");
  EXPECT_EQ(request.create_request().start_revision(), INT64_MAX - 2);
  // The member that had the watch went away: nothing is lost where the next one takes it.
  cluster.End(absl::UnavailableError("transport is closing"));
  cluster.Answer(/*created=*/true, absl::OkStatus());
  EXPECT_FALSE(lost());
  EXPECT_EQ(told, 0);
  // It says that there is no leader, and the next one does so too: that is told once.
  cluster.End(NoLeaderError());
  cluster.Answer(/*created=*/false, NoLeaderError());
  cluster.Answer(/*created=*/false, NoLeaderError());
  EXPECT_TRUE(lost());
  EXPECT_EQ(told, 1);
  cluster.Answer(/*created=*/true, absl::OkStatus());
  while (lost()) {
  }
  EXPECT_EQ(told, 1);
  http::RunOn(client.loop, [&] { leader.reset(); });
}

}  // namespace
}  // namespace kvorum::proxy_grpc
