#include "proxy/grpc/kv_proxy.h"

#include <map>

#include "absl/synchronization/mutex.h"
#include "grpc/test_client.h"
#include "gtest/gtest.h"
#include "proxy/grpc/kv_messages.h"

namespace kvorum::proxy_grpc {
namespace {

using namespace etcdserverpb;

/// A member with a map for a store, which may answer serializable reads with what it had at `lag`.
class FakeMember {
 public:
  FakeMember() : methods_({}) {
    methods_.AddUnary("/etcdserverpb.KV/Range", [this](auto call) { Range(std::move(call)); });
    methods_.AddUnary("/etcdserverpb.KV/Put", [this](auto call) { Put(std::move(call)); });
    methods_.AddUnary("/etcdserverpb.KV/Compact", [](auto call) { call->Reply(grpc::Payload{}); });
    server_.emplace(&loops_, http::ServerOptions{.grpc_handler = &methods_});
    address = *server_->Listen({"http://127.0.0.1:0"});
    server_->Start();
  }

  void Lag(bool lag) {
    absl::MutexLock lock(&mutex_);
    lag_ = lag;
    old_ = values_;
    old_revision_ = revision_;
  }
  int reads() {
    absl::MutexLock lock(&mutex_);
    return reads_;
  }
  std::string Value(const std::string& key) {
    absl::MutexLock lock(&mutex_);
    return values_[key];
  }

  std::string address;

 private:
  void Range(std::unique_ptr<grpc::UnaryCall> call) {
    RangeRequest request;
    request.ParseFromString(std::string(call->request()));
    absl::MutexLock lock(&mutex_);
    ++reads_;
    const bool old = lag_ && request.serializable();
    RangeResponse response;
    response.mutable_header()->set_revision(old ? old_revision_ : revision_);
    for (const auto& [key, value] : old ? old_ : values_) {
      if (key != request.key()) continue;
      mvccpb::KeyValue* kv = response.add_kvs();
      kv->set_key(key);
      kv->set_value(value);
    }
    call->Reply({response.SerializeAsString(), {}});
  }
  void Put(std::unique_ptr<grpc::UnaryCall> call) {
    PutRequest request;
    request.ParseFromString(std::string(call->request()));
    absl::MutexLock lock(&mutex_);
    values_[request.key()] = request.value();
    PutResponse response;
    response.mutable_header()->set_revision(++revision_);
    call->Reply({response.SerializeAsString(), {}});
  }

  http::LoopGroup loops_{1, "member"};
  grpc::Server methods_;
  std::optional<http::Server> server_;
  absl::Mutex mutex_;
  std::map<std::string, std::string> values_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::string> old_ ABSL_GUARDED_BY(mutex_);
  int64_t revision_ ABSL_GUARDED_BY(mutex_) = 1;
  int64_t old_revision_ ABSL_GUARDED_BY(mutex_) = 1;
  bool lag_ ABSL_GUARDED_BY(mutex_) = false;
  int reads_ ABSL_GUARDED_BY(mutex_) = 0;
};

class KvProxyTest : public testing::Test {
 protected:
  explicit KvProxyTest(const std::string& prefix = "", bool ordering = false)
      : prefix_(prefix),
        proxy_({.channel = [this](http::Loop&) -> grpc::Channel& { return *channel_; },
                .prefix = &prefix_,
                .cache = &cache_,
                .serializable_ordering = ordering}) {
    http::RunOn(loops_.at(0), [&] {
      channel_.emplace(loops_.at(0), grpc::ChannelOptions{.endpoints = {member_.address}});
    });
    proxy_.Register(&methods_);
    server_.emplace(&loops_, http::ServerOptions{.grpc_handler = &methods_});
    const std::string address = *server_->Listen({"http://127.0.0.1:0"});
    server_->Start();
    client_.emplace(grpc::ChannelOptions{.endpoints = {address}});
  }
  ~KvProxyTest() override {
    client_.reset();
    server_.reset();
    http::RunOn(loops_.at(0), [&] { channel_.reset(); });
  }

  void Put(const std::string& key, const std::string& value) {
    PutRequest request;
    request.set_key(key);
    request.set_value(value);
    const auto reply = client_->Call("/etcdserverpb.KV/Put", request.SerializeAsString());
    ASSERT_TRUE(reply.status.ok()) << reply.status;
  }
  /// The value, or the error.
  std::string Get(const std::string& key, bool serializable, const std::string& token = "",
                  int64_t revision = 0) {
    RangeRequest request;
    request.set_key(key);
    request.set_serializable(serializable);
    request.set_revision(revision);
    http::Headers metadata;
    if (!token.empty()) metadata.emplace_back("token", token);
    const auto reply = client_->Call("/etcdserverpb.KV/Range", request.SerializeAsString(),
                                     std::chrono::seconds(10), metadata);
    if (!reply.status.ok()) return std::string(reply.status.message());
    RangeResponse response;
    response.ParseFromString(reply.text);
    if (response.kvs_size() == 0) return "none";
    EXPECT_EQ(response.kvs(0).key(), key);
    return response.kvs(0).value();
  }

  FakeMember member_;
  const KeyPrefix prefix_;
  metrics::Registry metrics_;
  RangeCache cache_{{.max_age = std::chrono::hours(1)}, metrics_};
  http::LoopGroup loops_{1, "proxy"};
  std::optional<grpc::Channel> channel_;
  KvProxy proxy_;
  grpc::Server methods_{{}};
  std::optional<http::Server> server_;
  std::optional<grpc::Client> client_;
};

class KvProxyNamespaceTest : public KvProxyTest {
 protected:
  KvProxyNamespaceTest() : KvProxyTest("ns/") {}
};
class KvProxyOrderingTest : public KvProxyTest {
 protected:
  KvProxyOrderingTest() : KvProxyTest("", /*ordering=*/true) {}
};

TEST_F(KvProxyTest, AnswersSerializableReadsFromMemory) {
  Put("a", "1");
  EXPECT_EQ(Get("a", true), "1");
  EXPECT_EQ(Get("a", true), "1");
  EXPECT_EQ(member_.reads(), 1);
  EXPECT_EQ(Get("a", false), "1");
  EXPECT_EQ(member_.reads(), 2);
  Put("a", "2");
  EXPECT_EQ(Get("a", true), "2");
}

TEST_F(KvProxyTest, KeepsReadsOfUsersApart) {
  Put("a", "1");
  EXPECT_EQ(Get("a", true, "alice"), "1");
  EXPECT_EQ(Get("a", true, "bob"), "1");
  EXPECT_EQ(Get("a", true), "1");
  EXPECT_EQ(member_.reads(), 3);
  EXPECT_EQ(Get("a", true, "alice"), "1");
  EXPECT_EQ(member_.reads(), 3);
}

TEST_F(KvProxyTest, IsNeverOlderThanAWriteThatWasAcknowledged) {
  Put("a", "1");
  member_.Lag(true);
  Put("a", "2");
  EXPECT_EQ(Get("a", true), "2");  // the member, asked for what it has, has 1
}

TEST_F(KvProxyTest, KnowsWhatIsCompacted) {
  Put("a", "1");
  CompactionRequest request;
  request.set_revision(5);
  ASSERT_TRUE(client_->Call("/etcdserverpb.KV/Compact", request.SerializeAsString()).status.ok());
  EXPECT_EQ(Get("a", true, "", 4), "etcdserver: mvcc: required revision has been compacted");
  EXPECT_EQ(Get("a", true, "", 5), "1");
}

TEST_F(KvProxyTest, RefusesAnEmptyKey) { EXPECT_EQ(Get("", true), "etcdserver: key is not provided"); }

TEST_F(KvProxyNamespaceTest, PutsTheNamespaceBeforeKeys) {
  Put("a", "1");
  EXPECT_EQ(member_.Value("ns/a"), "1");
  EXPECT_EQ(Get("a", true), "1");
  EXPECT_EQ(Get("a", false), "1");
  EXPECT_EQ(Get("b", false), "none");
}

TEST_F(KvProxyOrderingTest, RefusesToGoBackInTime) {
  Put("a", "1");
  member_.Lag(true);
  Put("a", "2");
  EXPECT_EQ(Get("a", true),
            "etcdclient: no cluster members have a revision higher than the previously received revision");
  EXPECT_EQ(Get("a", false), "2");
  member_.Lag(true);
  EXPECT_EQ(Get("a", true), "2");
}

}  // namespace
}  // namespace kvorum::proxy_grpc
