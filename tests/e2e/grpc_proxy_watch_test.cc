#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "base/random.h"
#include "grpc/client.h"
#include "proto/rpc.pb.h"
#include "support/server.h"

namespace kvorum::test {
namespace {

// `kvorum grpc-proxy` in front of real members: watches and leases of many clients, brought together.

using etcdserverpb::WatchRequest;
using etcdserverpb::WatchResponse;

template <typename Work>
void RunOn(http::Loop& loop, Work work) {
  absl::Notification done;
  loop.Post([&] {
    work();
    done.Notify();
  });
  done.WaitForNotification();
}

/// One connection, and calls on it that wait for their answers.
class Connection {
 public:
  Connection(http::Loop& loop, const std::string& target) : loop_(loop) {
    absl::Notification done;
    grpc::ClientConnection::Connect(loop, target, [&](auto connection) {
      if (connection.ok()) connection_ = *std::move(connection);
      done.Notify();
    });
    done.WaitForNotification();
  }
  ~Connection() {
    RunOn(loop_, [this] { connection_.reset(); });
  }

  http::Loop& loop() { return loop_; }
  /// On the loop only; null where nobody could be reached.
  grpc::ClientConnection* get() { return connection_.get(); }

  template <typename Response, typename Request>
  absl::StatusOr<Response> Call(const std::string& method, const Request& request) {
    if (connection_ == nullptr) return absl::UnavailableError("no connection");
    struct State {
      absl::Notification done;
      absl::Status status;
      Response response;
    };
    auto state = std::make_shared<State>();
    loop_.Post([this, state, method, bytes = request.SerializeAsString()] {
      connection_->Unary("/etcdserverpb." + method, bytes,
                         [state](const absl::Status& status, std::string_view r) {
                           state->status = status;
                           state->response.ParseFromArray(r.data(), static_cast<int>(r.size()));
                           state->done.Notify();
                         });
    });
    if (!state->done.WaitForNotificationWithTimeout(absl::Seconds(2))) return absl::DeadlineExceededError("");
    if (!state->status.ok()) return state->status;
    return state->response;
  }

 private:
  http::Loop& loop_;
  std::unique_ptr<grpc::ClientConnection> connection_;
};

/// A Watch stream that keeps what came.
class Watching {
 public:
  explicit Watching(Connection& connection, http::Headers metadata = {}) : loop_(connection.loop()) {
    RunOn(loop_, [&] {
      stream_ = connection.get()->OpenStream("/etcdserverpb.Watch/Watch",
                                             {.on_message = [this](std::string_view m) { OnMessage(m); },
                                              .on_end = [this](const absl::Status& s) { OnEnd(s); }},
                                             metadata);
    });
  }
  ~Watching() {
    RunOn(loop_, [this] { stream_.reset(); });
  }

  void Send(const WatchRequest& request) {
    RunOn(loop_, [&] { stream_->Send(request.SerializeAsString()); });
  }
  /// The created response, and every event.
  WatchResponse created() const {
    absl::MutexLock lock(&mutex_);
    return created_;
  }
  std::vector<mvccpb::Event> events() const {
    absl::MutexLock lock(&mutex_);
    return events_;
  }
  int64_t last_revision() const {
    absl::MutexLock lock(&mutex_);
    return events_.empty() ? 0 : events_.back().kv().mod_revision();
  }
  absl::Status ended() const {
    absl::MutexLock lock(&mutex_);
    return ended_;
  }

 private:
  void OnMessage(std::string_view message) {
    WatchResponse response;
    response.ParseFromArray(message.data(), static_cast<int>(message.size()));
    absl::MutexLock lock(&mutex_);
    if (response.created()) created_ = response;
    if (response.canceled()) ended_ = absl::CancelledError(response.cancel_reason());
    for (const auto& event : response.events()) events_.push_back(event);
  }
  void OnEnd(const absl::Status& status) {
    absl::MutexLock lock(&mutex_);
    ended_ = status;
  }

  http::Loop& loop_;
  std::unique_ptr<grpc::ClientConnection::Stream> stream_;
  mutable absl::Mutex mutex_;
  WatchResponse created_ ABSL_GUARDED_BY(mutex_);
  std::vector<mvccpb::Event> events_ ABSL_GUARDED_BY(mutex_);
  absl::Status ended_ ABSL_GUARDED_BY(mutex_);
};

/// Three members, each of which can be killed and started again.
class ThreeMembers {
 public:
  ThreeMembers() {
    for (int i = 0; i < 3; ++i) Start(i);
    for (int i = 0; i < 3; ++i) WaitReady(i);
  }
  std::string endpoint(int i) const { return "127.0.0.1:" + std::to_string(client_ports_[i]); }
  std::string endpoints() const { return endpoint(0) + "," + endpoint(1) + "," + endpoint(2); }
  void Start(int i) {
    std::string all;
    for (int m = 0; m < 3; ++m) all += (m == 0 ? "m" : ",m") + std::to_string(m) + "=" + Peer(m);
    const std::string client = "http://" + endpoint(i);
    members_[i] = std::make_unique<Process>(
        std::vector<std::string>{KvorumProgram(), "--name=m" + std::to_string(i),
                                 "--data-dir=" + (dir_ / std::to_string(i)), "--listen-client-urls=" + client,
                                 "--advertise-client-urls=" + client, "--listen-peer-urls=" + Peer(i),
                                 "--initial-advertise-peer-urls=" + Peer(i), "--initial-cluster=" + all});
  }
  void WaitReady(int i) { ASSERT_TRUE(members_[i]->WaitForOutput("ready to serve client requests")); }
  void Kill(int i) {
    members_[i]->Signal(SIGKILL);
    members_[i]->Wait();
  }

 private:
  std::string Peer(int i) const { return "http://127.0.0.1:" + std::to_string(peer_ports_[i]); }

  const TempDir dir_;
  const int client_ports_[3] = {FreePort(), FreePort(), FreePort()};
  const int peer_ports_[3] = {FreePort(), FreePort(), FreePort()};
  std::unique_ptr<Process> members_[3];
};

class GrpcProxy {
 public:
  explicit GrpcProxy(const std::string& endpoints, std::vector<std::string> flags = {}) {
    std::vector<std::string> argv = {KvorumProgram(), "grpc-proxy", "start", "--endpoints=" + endpoints,
                                     "--listen-addr=" + endpoint()};
    argv.insert(argv.end(), flags.begin(), flags.end());
    process_ = std::make_unique<Process>(argv);
    EXPECT_TRUE(process_->WaitForOutput("started gRPC proxy")) << process_->output();
  }
  std::string endpoint() const { return "127.0.0.1:" + std::to_string(port_); }
  pid_t pid() const { return process_->pid(); }
  CommandResult Etcdctl(const std::string& arguments) const {
    return Shell("etcdctl " + arguments, {{"ETCDCTL_API", "3"}, {"ETCDCTL_ENDPOINTS", endpoint()}});
  }

 private:
  const int port_ = FreePort();
  std::unique_ptr<Process> process_;
};

WatchRequest Create(const std::string& key, const std::string& end = "", int64_t start = 0) {
  WatchRequest request;
  request.mutable_create_request()->set_key(key);
  request.mutable_create_request()->set_range_end(end);
  request.mutable_create_request()->set_start_revision(start);
  return request;
}

/// Random puts and deletes of few keys at whichever member takes them, until it goes.
class RandomLoad {
 public:
  explicit RandomLoad(const ThreeMembers& members) : thread_([this, &members] { Run(members); }) {}
  ~RandomLoad() { Stop(); }
  void Stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  int64_t revision() const { return revision_; }
  static std::string Key(uint64_t i) { return std::string(1, static_cast<char>('a' + i)); }
  static constexpr uint64_t kKeys = 8;

 private:
  void Run(const ThreeMembers& members) {
    http::Loop loop("load");
    Random random(1);
    std::unique_ptr<Connection> connection;
    for (int number = 0; !stop_; ++number) {
      if (connection == nullptr) {
        connection = std::make_unique<Connection>(loop, members.endpoint(static_cast<int>(random.Below(3))));
      }
      if (!Write(*connection, random, number)) connection.reset();
    }
  }
  bool Write(Connection& connection, Random& random, int number) {
    const std::string key = Key(random.Below(kKeys));
    if (random.Below(4) == 0) {
      etcdserverpb::DeleteRangeRequest request;
      request.set_key(key);
      if (random.Below(3) == 0) request.set_range_end("z");
      const auto answer = connection.Call<etcdserverpb::DeleteRangeResponse>("KV/DeleteRange", request);
      if (answer.ok()) revision_ = answer->header().revision();
      return answer.ok();
    }
    etcdserverpb::PutRequest request;
    request.set_key(key);
    request.set_value(std::to_string(number));
    const auto answer = connection.Call<etcdserverpb::PutResponse>("KV/Put", request);
    if (answer.ok()) revision_ = answer->header().revision();
    return answer.ok();
  }

  std::atomic<bool> stop_{false};
  std::atomic<int64_t> revision_{1};
  std::thread thread_;
};

/// What a watcher with this request should have been told of `all`, as text.
std::string Expected(const WatchRequest& request, int64_t start, const std::vector<mvccpb::Event>& all) {
  const auto& create = request.create_request();
  std::string text;
  for (mvccpb::Event event : all) {
    const std::string& key = event.kv().key();
    const bool inside =
        create.range_end().empty() ? key == create.key() : key >= create.key() && key < create.range_end();
    bool filtered = !inside || event.kv().mod_revision() < start;
    for (const int filter : create.filters()) filtered |= filter == (event.type() == mvccpb::Event::DELETE);
    if (filtered) continue;
    if (!create.prev_kv()) event.clear_prev_kv();
    text += event.ShortDebugString() + "\n";
  }
  return text;
}

std::string Seen(const std::vector<mvccpb::Event>& events) {
  std::string text;
  for (const auto& event : events) text += event.ShortDebugString() + "\n";
  return text;
}

WatchRequest RandomWatch(Random& random, int64_t revision) {
  const uint64_t first = random.Below(RandomLoad::kKeys);
  WatchRequest request =
      Create(RandomLoad::Key(first), random.Below(3) == 0 ? RandomLoad::Key(first + 3) : "",
             random.Below(2) == 0 ? 0 : 1 + static_cast<int64_t>(random.Below(revision + 50)));
  auto* create = request.mutable_create_request();
  create->set_prev_kv(random.Below(2) == 0);
  if (random.Below(4) == 0) create->add_filters(create->NOPUT);
  if (random.Below(4) == 0) create->add_filters(create->NODELETE);
  return request;
}

TEST(GrpcProxyWatch, GivesWhatMembersGiveWhileTheyDieAndComeBack) {
  ThreeMembers members;
  GrpcProxy proxy(members.endpoints());
  RandomLoad load(members);
  http::Loop loop("clients");
  Connection connection(loop, proxy.endpoint());
  ASSERT_NE(connection.get(), nullptr);
  Random random(7);
  struct One {
    WatchRequest request;
    std::unique_ptr<Watching> watching;
  };
  std::vector<One> watchers;
  for (int round = 0; round < 6; ++round) {
    for (int i = 0; i < 15; ++i) {
      One one{.request = RandomWatch(random, load.revision()),
              .watching = std::make_unique<Watching>(connection)};
      one.watching->Send(one.request);
      watchers.push_back(std::move(one));
    }
    const int victim = round % 3;
    members.Kill(victim);
    const int64_t then = load.revision();
    ASSERT_TRUE(Eventually([&] { return load.revision() > then + 30; }));
    members.Start(victim);
    members.WaitReady(victim);
  }
  load.Stop();

  Connection direct(loop, members.endpoint(0));
  Watching truth(direct);
  WatchRequest everything = Create("a", "z", 1);
  everything.mutable_create_request()->set_prev_kv(true);
  truth.Send(everything);
  ASSERT_TRUE(Eventually([&] { return truth.last_revision() >= load.revision(); }));
  const std::vector<mvccpb::Event> all = truth.events();
  for (const One& one : watchers) {
    ASSERT_TRUE(Eventually([&] { return one.watching->created().created(); }));
    const int64_t asked = one.request.create_request().start_revision();
    const int64_t start = asked != 0 ? asked : one.watching->created().header().revision() + 1;
    const std::string expected = Expected(one.request, start, all);
    EXPECT_TRUE(Eventually([&] { return Seen(one.watching->events()) == expected; }))
        << one.request.ShortDebugString() << "\n"
        << one.watching->ended() << "\nexpected:\n"
        << expected << "seen:\n"
        << Seen(one.watching->events());
    if (::testing::Test::HasFailure()) break;
  }
}

/// Connections of a process to a port of this machine.
size_t Connections(pid_t pid, int port) {
  std::set<std::string> sockets;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd")) {
    std::error_code error;
    const std::string target = std::filesystem::read_symlink(entry.path(), error);
    if (target.starts_with("socket:[")) sockets.insert(target.substr(8, target.size() - 9));
  }
  size_t n = 0;
  std::ifstream table("/proc/net/tcp");
  std::string line;
  while (std::getline(table, line)) {
    std::istringstream words(line);
    std::vector<std::string> columns;
    for (std::string word; words >> word;) columns.push_back(word);
    if (columns.size() < 10 || !sockets.contains(columns[9]) || columns[3] != "01") continue;
    n += std::stoi(columns[2].substr(columns[2].find(':') + 1), nullptr, 16) == port;
  }
  return n;
}

int64_t Metric(const Server& server, const std::string& name) {
  const CommandResult result = Shell("curl -s " + server.url() + "/metrics | grep '^" + name + " '");
  return result.out.empty() ? -1 : static_cast<int64_t>(std::stod(result.out.substr(name.size() + 1)));
}

TEST(GrpcProxyWatch, CarriesAThousandClientsOverOneConnection) {
  constexpr int kClients = 1000;
  constexpr int kWatches = 100;
  Server server(Server::Kind::kKvorum);
  GrpcProxy proxy(server.endpoint());
  http::Loop loop("clients");
  std::atomic<int> created{0};
  std::atomic<int> events{0};
  std::vector<std::unique_ptr<grpc::ClientConnection>> connections(kClients);
  std::vector<std::unique_ptr<grpc::ClientConnection::Stream>> streams;
  for (auto& connection : connections) {
    grpc::ClientConnection::Connect(loop, proxy.endpoint(), [&connection](auto made) {
      ASSERT_TRUE(made.ok()) << made.status();
      connection = *std::move(made);
    });
  }
  const auto connected = [&] {
    bool all = true;
    RunOn(loop, [&] {
      for (const auto& connection : connections) all &= connection != nullptr;
    });
    return all;
  };
  ASSERT_TRUE(Eventually(connected));
  RunOn(loop, [&] {
    for (auto& connection : connections) {
      streams.push_back(connection->OpenStream("/etcdserverpb.Watch/Watch",
                                               {.on_message =
                                                    [&](std::string_view message) {
                                                      WatchResponse response;
                                                      response.ParseFromArray(
                                                          message.data(), static_cast<int>(message.size()));
                                                      created += response.created() && !response.canceled();
                                                      events += response.events_size();
                                                    },
                                                .on_end = [](const absl::Status&) {}}));
      for (int i = 0; i < kWatches; ++i) {
        streams.back()->Send(Create("key" + std::to_string(i)).SerializeAsString());
      }
    }
  });
  ASSERT_TRUE(Eventually([&] { return created == kClients * kWatches; })) << created;
  EXPECT_LE(Metric(server, "etcd_debugging_mvcc_watcher_total"), kWatches + 1) << "and one for the leader";
  EXPECT_LE(Metric(server, "etcd_debugging_mvcc_watch_stream_total"), 2);
  const int port = std::stoi(server.endpoint().substr(server.endpoint().find(':') + 1));
  const size_t with_all = Connections(proxy.pid(), port);
  EXPECT_GE(with_all, 1);
  EXPECT_LE(with_all, 3) << "one for what is shared, and one for each loop's other calls";
  for (int i = 0; i < kWatches; ++i) server.Etcdctl("put key" + std::to_string(i) + " x");
  EXPECT_TRUE(Eventually([&] { return events == kClients * kWatches; })) << events;
  RunOn(loop, [&] {
    streams.clear();
    connections.clear();
  });
  EXPECT_TRUE(Eventually([&] { return Metric(server, "etcd_debugging_mvcc_watcher_total") <= 1; }));
}

TEST(GrpcProxyWatch, EndsStreamsThatRequireALeaderWithoutOne) {
  ThreeMembers members;
  GrpcProxy proxy(members.endpoints());
  http::Loop loop("clients");
  Connection connection(loop, proxy.endpoint());
  Watching requires_leader(connection, {{"hasleader", "true"}});
  Watching does_not(connection);
  for (Watching* watching : {&requires_leader, &does_not}) {
    watching->Send(Create("k"));
    ASSERT_TRUE(Eventually([&] { return watching->created().created(); }));
  }
  members.Kill(0);
  members.Kill(1);
  EXPECT_TRUE(Eventually([&] { return !requires_leader.ended().ok(); }));
  EXPECT_EQ(requires_leader.ended(), absl::UnavailableError("etcdserver: no leader"));
  EXPECT_TRUE(does_not.ended().ok());
  members.Start(0);
  members.WaitReady(0);
  Connection writer(loop, members.endpoint(0));
  etcdserverpb::PutRequest put;
  put.set_key("k");
  ASSERT_TRUE(Eventually([&] { return writer.Call<etcdserverpb::PutResponse>("KV/Put", put).ok(); }));
  EXPECT_TRUE(Eventually([&] { return !does_not.events().empty(); }));
}

TEST(GrpcProxyWatch, ServesEtcdctl) {
  Server server(Server::Kind::kKvorum);
  GrpcProxy proxy(server.endpoint(), {"--namespace=ns/"});
  const std::map<std::string, std::string> environment = {{"ETCDCTL_API", "3"},
                                                          {"ETCDCTL_ENDPOINTS", proxy.endpoint()}};
  EXPECT_EQ(proxy.Etcdctl("put k 1").out, "OK\n");
  Process watch({"etcdctl", "watch", "k", "--rev=1", "--prev-kv"}, environment);
  EXPECT_TRUE(watch.WaitForOutput("PUT\nk\n1\n")) << watch.output();
  EXPECT_EQ(proxy.Etcdctl("put k 2").out, "OK\n");
  EXPECT_TRUE(watch.WaitForOutput("PUT\nk\n1\nk\n2\n")) << watch.output();

  const std::string granted = proxy.Etcdctl("lease grant 2").out;  // "lease 694d… granted with TTL(2s)"
  const std::string lease = granted.substr(6, granted.find(' ', 6) - 6);
  EXPECT_EQ(proxy.Etcdctl("put leased x --lease=" + lease).out, "OK\n");
  EXPECT_NE(proxy.Etcdctl("lease timetolive --keys " + lease).out.find("keys([leased])"), std::string::npos);
  {
    Process alive({"etcdctl", "lease", "keep-alive", lease}, environment);
    const auto renewals = [&] {
      const std::string output = alive.output();
      size_t n = 0;
      for (size_t at = 0; (at = output.find("keepalived", at)) != std::string::npos; ++at) ++n;
      return n >= 5;  // that is more than its two seconds
    };
    EXPECT_TRUE(Eventually(renewals)) << alive.output();
    EXPECT_EQ(proxy.Etcdctl("get leased --print-value-only").out, "x\n");
  }
  EXPECT_TRUE(Eventually([&] { return proxy.Etcdctl("get leased --print-value-only").out.empty(); }));
  EXPECT_EQ(proxy.Etcdctl("lease keep-alive --once " + lease).out, "");
  EXPECT_EQ(proxy.Etcdctl("lock mutex echo held").out, "held\n");
}

TEST(GrpcProxyWatch, LetsUsersWatchWhatTheyMayRead) {
  Server server(Server::Kind::kEtcd);
  for (const char* command : {"user add root:r", "user add alice:a", "role add root", "role add reader",
                              "user grant-role root root", "user grant-role alice reader",
                              "role grant-permission reader read mine", "auth enable"}) {
    ASSERT_EQ(server.Etcdctl(command).exit_code, 0) << command;
  }
  GrpcProxy proxy(server.endpoint());
  const std::map<std::string, std::string> environment = {{"ETCDCTL_API", "3"},
                                                          {"ETCDCTL_ENDPOINTS", proxy.endpoint()}};
  Process root({"etcdctl", "--user=root:r", "watch", "--prefix", ""}, environment);
  Process alice({"etcdctl", "--user=alice:a", "watch", "mine", "--rev=1"}, environment);
  const auto put = [&] {
    return proxy.Etcdctl("--user=root:r put mine 1 && etcdctl --user=root:r put his 2");
  };
  ASSERT_EQ(put().exit_code, 0);
  EXPECT_TRUE(alice.WaitForOutput("mine\n1\n")) << alice.output();
  for (const char* denied : {"--user=alice:a watch his", "--user=alice:a watch mine zz", "watch mine"}) {
    const CommandResult through = Shell(std::string("etcdctl ") + denied, environment);
    const CommandResult direct = server.Etcdctl(denied);
    EXPECT_NE(through.exit_code, 0) << denied;
    EXPECT_EQ(through.exit_code, direct.exit_code) << denied;
    EXPECT_EQ(through.err, direct.err) << denied;
  }
  EXPECT_EQ(alice.output().find("his"), std::string::npos) << alice.output();
}

}  // namespace
}  // namespace kvorum::test
