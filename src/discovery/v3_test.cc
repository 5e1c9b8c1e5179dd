#include "discovery/v3.h"

#include <deque>
#include <map>
#include <set>

#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "grpc/server.h"
#include "gtest/gtest.h"
#include "http/server.h"
#include "proto/rpc.pb.h"

namespace kvorum::discovery {
namespace {

using ::testing::ElementsAre;

/// As much of the v3 API as discovery uses. On the server's one loop.
class Registry {
 public:
  explicit Registry(grpc::Server* server) {
    server->AddUnary("/etcdserverpb.KV/Range", [this](auto call) { Range(std::move(call)); });
    server->AddUnary("/etcdserverpb.KV/Put", [this](auto call) { Put(std::move(call)); });
    server->AddUnary("/etcdserverpb.Auth/Authenticate", [this](auto call) { Authenticate(std::move(call)); });
    server->AddStream("/etcdserverpb.Watch/Watch", grpc::MethodKind::kBidiStream,
                      [this](grpc::StreamWriter& writer) { return std::make_unique<Watch>(this, writer); });
  }

  void Set(const std::string& key, const std::string& value) {
    mvccpb::KeyValue& kv = kvs[key];
    kv.set_key(key);
    kv.set_value(value);
    kv.set_mod_revision(++revision);
    if (kv.create_revision() == 0) kv.set_create_revision(revision);
    for (Watch* watch : watches) watch->Tell(kv);
  }

  std::map<std::string, mvccpb::KeyValue> kvs;
  int64_t revision = 1;
  std::deque<absl::Status> failures;  ///< of the next calls
  std::string password;               ///< empty: authentication is off
  std::function<void(const std::string&)> on_put = [](const std::string&) {};
  std::function<bool()> breaks_watch = [] { return false; };

 private:
  struct Watch final : grpc::StreamHandler {
    Watch(Registry* r, grpc::StreamWriter& w) : registry(r), writer(w) { registry->watches.insert(this); }
    ~Watch() override { registry->watches.erase(this); }
    void OnMessage(std::string_view message) override {
      registry->watches.erase(this);
      if (registry->breaks_watch()) return writer.Finish(absl::UnavailableError("gone"));
      registry->watches.insert(this);
      etcdserverpb::WatchRequest request;
      request.ParseFromArray(message.data(), static_cast<int>(message.size()));
      for (const auto& [key, kv] : registry->kvs) {
        const auto& create = request.create_request();
        if (key >= create.key() && key < create.range_end() && kv.mod_revision() >= create.start_revision()) {
          Tell(kv);
        }
      }
    }
    void OnHalfClose() override { writer.Finish(absl::OkStatus()); }
    void OnCancel() override {}
    void Tell(const mvccpb::KeyValue& kv) {
      etcdserverpb::WatchResponse response;
      *response.add_events()->mutable_kv() = kv;
      writer.Send({response.SerializeAsString(), {}});
    }
    Registry* const registry;
    grpc::StreamWriter& writer;
  };

  bool Refused(grpc::UnaryCall& call) {
    absl::Status status;
    if (!failures.empty()) {
      status = failures.front();
      failures.pop_front();
    } else if (const std::string_view* token = call.info().Find("token");
               !password.empty() && (token == nullptr || *token != "a-token")) {
      status = absl::UnauthenticatedError("etcdserver: invalid auth token");
    }
    if (!status.ok()) call.Fail(status);
    return !status.ok();
  }
  template <typename Request>
  static Request RequestOf(const grpc::UnaryCall& call) {
    Request request;
    request.ParseFromArray(call.request().data(), static_cast<int>(call.request().size()));
    return request;
  }

  void Range(std::unique_ptr<grpc::UnaryCall> call) {
    if (Refused(*call)) return;
    const auto request = RequestOf<etcdserverpb::RangeRequest>(*call);
    etcdserverpb::RangeResponse response;
    response.mutable_header()->set_revision(revision);
    for (const auto& [key, kv] : kvs) {
      const bool within = request.range_end().empty() ? key == request.key()
                                                      : key >= request.key() && key < request.range_end();
      if (within) *response.add_kvs() = kv;
    }
    call->Reply({response.SerializeAsString(), {}});
  }
  void Put(std::unique_ptr<grpc::UnaryCall> call) {
    if (Refused(*call)) return;
    const auto request = RequestOf<etcdserverpb::PutRequest>(*call);
    Set(request.key(), request.value());
    call->Reply({etcdserverpb::PutResponse().SerializeAsString(), {}});
    on_put(request.key());
  }
  void Authenticate(std::unique_ptr<grpc::UnaryCall> call) {
    const auto request = RequestOf<etcdserverpb::AuthenticateRequest>(*call);
    if (password.empty()) {
      return call->Fail(absl::FailedPreconditionError("etcdserver: authentication is not enabled"));
    }
    if (request.name() != "user" || request.password() != password) {
      return call->Fail(
          absl::InvalidArgumentError("etcdserver: authentication failed, invalid user ID or password"));
    }
    etcdserverpb::AuthenticateResponse response;
    response.set_token("a-token");
    call->Reply({response.SerializeAsString(), {}});
  }

  std::set<Watch*> watches;
};

const std::string kMembers = "/_etcd/registry/t/members/";

class V3Test : public ::testing::Test {
 protected:
  V3Test() {
    server_ = std::make_unique<http::Server>(&loops_, http::ServerOptions{.grpc_handler = &grpc_});
    options_.endpoints = {server_->Listen({"http://127.0.0.1:0"}).value()};
    server_->Start();
    options_.token = "t";
    options_.loop = &loop_;
    options_.pause = [this](std::chrono::nanoseconds time) {
      paused_.push_back(time / std::chrono::seconds(1));
    };
    Size("2");
  }
  ~V3Test() override { server_->Shutdown(std::chrono::seconds(5)); }

  void Size(const std::string& text) { registry_.Set("/_etcd/registry/t/_config/size", text); }
  std::string Join() {
    const absl::StatusOr<std::string> joined = JoinV3(options_, self_);
    return joined.ok() ? *joined : std::string(joined.status().message());
  }

  http::LoopGroup loops_{1};
  grpc::Server grpc_{{}};
  Registry registry_{&grpc_};  // changed by the test before it joins
  std::unique_ptr<http::Server> server_;
  http::Loop loop_{"client"};
  V3Options options_;
  const Registration self_{.id = MemberId(0xab), .name = "own", .peer_urls = {"http://o:1"}};
  std::vector<int64_t> paused_;
};

TEST_F(V3Test, RegistersAndWaitsForTheOthers) {
  Size(" 2\n");
  registry_.on_put = [this](const std::string& key) {
    EXPECT_EQ(key, kMembers + "ab");
    registry_.Set(kMembers + "1", "no registration");
    // After the watch begins, or before: both are seen.
    loops_.at(0).PostAfter(std::chrono::milliseconds(20), [this] {
      registry_.Set(kMembers + "ab", "own=http://o:1");  // again
      registry_.Set(kMembers + "cd", " other=http://p:1 ");
    });
  };
  EXPECT_EQ(Join(), "own=http://o:1,other=http://p:1");
  EXPECT_TRUE(paused_.empty());
}

TEST_F(V3Test, TheFirstOnesAreTheMembers) {
  registry_.Set(kMembers + "f", "first=http://p:1");
  registry_.Set(kMembers + "ab", "own=http://o:1");  // by an earlier try
  registry_.Set(kMembers + "c", "late=http://q:1");
  EXPECT_EQ(Join(), "first=http://p:1,own=http://o:1");
}

TEST_F(V3Test, AFullClusterTakesNobody) {
  registry_.Set(kMembers + "1", "a=http://p:1");
  registry_.Set(kMembers + "2", "b=http://q:1");
  EXPECT_EQ(Join(), "discovery: cluster is full");
  EXPECT_FALSE(registry_.kvs.contains(kMembers + "ab"));
}

TEST_F(V3Test, SaysWhatIsWrongWithTheToken) {
  for (const char* size : {"x", "0", "-1", ""}) {
    Size(size);
    EXPECT_EQ(Join(), "discovery: size key is bad") << size;
  }
  registry_.kvs.clear();
  EXPECT_EQ(Join(), "discovery: size key not found");
}

TEST_F(V3Test, ValuesMustBeUrls) {
  Size("1");
  registry_.Set(kMembers + "ab", "own=nonsense");
  registry_.on_put = [this](const std::string& key) { registry_.kvs[key].set_value("own=nonsense"); };
  EXPECT_EQ(Join(), "discovery: invalid peer URL");
}

TEST_F(V3Test, TriesAgainWithBackOffUntilAnAnswerComes) {
  Size("1");
  registry_.failures = {absl::UnavailableError("etcdserver: no leader"), absl::FailedPreconditionError("odd"),
                        absl::PermissionDeniedError("etcdserver: permission denied")};
  EXPECT_EQ(Join(), "own=http://o:1");
  EXPECT_THAT(paused_, ElementsAre(2, 4, 8));
}

TEST_F(V3Test, DialsWithoutATimeOfItsOwn) {
  Size("1");
  options_.dial_timeout = std::chrono::seconds(0);
  EXPECT_EQ(Join(), "own=http://o:1");
}

TEST_F(V3Test, ABrokenWatchIsTakenUpAgain) {
  bool broken = false;
  registry_.breaks_watch = [&] {
    if (broken) return false;
    broken = true;
    registry_.Set(kMembers + "cd", "other=http://p:1");  // meanwhile
    return true;
  };
  EXPECT_EQ(Join(), "own=http://o:1,other=http://p:1");
  EXPECT_THAT(paused_, ElementsAre(2));
}

TEST_F(V3Test, ShowsAPassword) {
  Size("1");
  options_.user = "user";
  options_.password = "secret";
  EXPECT_EQ(Join(), "own=http://o:1");  // authentication is off
  registry_.password = "secret";
  EXPECT_EQ(Join(), "own=http://o:1");
  options_.password = "wrong";
  EXPECT_EQ(Join(), "etcdserver: authentication failed, invalid user ID or password");
}

}  // namespace
}  // namespace kvorum::discovery
