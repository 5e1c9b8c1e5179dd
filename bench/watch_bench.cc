#include "watch_bench.h"

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/synchronization/notification.h"
#include "base/wire.h"
#include "load.h"

namespace kvorum::bench {
namespace {

using Clock = std::chrono::steady_clock;

/// A WatchRequest that creates a watcher of one key.
std::string CreateRequest(const std::string& key) {
  std::string create;
  wire::AppendBytes(create, 1, key);
  std::string request;
  wire::AppendBytes(request, 1, create);
  return request;
}

/// What a WatchResponse holds, for counting.
struct WatchAnswer {
  bool created = false;
  uint64_t events = 0;
};

WatchAnswer ReadAnswer(std::string_view message) {
  WatchAnswer answer;
  wire::Reader reader(message);
  for (wire::Field field; reader.Next(&field);) {
    if (field.number == 3) answer.created = field.varint != 0;
    if (field.number == 11) ++answer.events;
  }
  return answer;
}

/// Watchers spread over streams, 16 streams a connection or fewer. Lives on the loop but for the waits.
class Watchers {
 public:
  Watchers(http::Loop& loop, const Options& options, const std::vector<std::string>& keys) : loop_(loop) {
    const uint64_t streams = std::min<uint64_t>(options.watch_streams, keys.size());
    connections_ = ConnectAll(loop, options, (streams + 15) / 16);
    RunOn(loop_, [&] {
      for (uint64_t i = 0; i < streams; ++i) Open(*connections_[i % connections_.size()]);
      for (uint64_t i = 0; i < keys.size(); ++i) streams_[i % streams]->Send(CreateRequest(keys[i]));
    });
    Await([this, n = keys.size()] { return created_ == n; });
  }
  ~Watchers() {
    RunOn(loop_, [this] {
      streams_.clear();
      connections_.clear();
    });
  }

  /// Called on the loop, after each message.
  void OnProgress(std::function<void()> callback) { on_progress_ = std::move(callback); }
  uint64_t events() const { return events_; }

  /// Blocks until `condition`, looked at on the loop after each message, holds.
  void Await(std::function<bool()> condition) {
    absl::Notification done;
    loop_.Post([&] {
      if (condition()) return done.Notify();
      on_progress_ = [&, fired = false]() mutable {
        if (fired || !condition()) return;
        fired = true;
        done.Notify();
      };
    });
    done.WaitForNotification();
    RunOn(loop_, [this] { on_progress_ = nullptr; });
  }

 private:
  void Open(grpc::ClientConnection& connection) {
    streams_.push_back(connection.OpenStream("/etcdserverpb.Watch/Watch",
                                             {.on_message =
                                                  [this](std::string_view message) {
                                                    const WatchAnswer answer = ReadAnswer(message);
                                                    created_ += answer.created;
                                                    events_ += answer.events;
                                                    if (on_progress_) on_progress_();
                                                  },
                                              .on_end =
                                                  [](const absl::Status& status) {
                                                    std::fprintf(stderr, "kvorum-bench: a watch ended: %s\n",
                                                                 status.ToString().c_str());
                                                    std::exit(1);
                                                  }}));
  }

  http::Loop& loop_;
  std::vector<std::unique_ptr<grpc::ClientConnection>> connections_;
  std::vector<std::unique_ptr<grpc::ClientConnection::Stream>> streams_;
  uint64_t created_ = 0;
  uint64_t events_ = 0;
  std::function<void()> on_progress_;
};

/// Puts `keys`, `at_once` under way, each answered by `per_put` deliveries before its place is taken by the
/// next.
void MeasureDeliveries(http::Loop& loop, const Options& options, Watchers& watchers, const char* name,
                       const std::vector<std::string>& keys, uint64_t per_put, uint64_t at_once) {
  auto writer = ConnectAll(loop, options, 1);
  const std::string value = ValueOf(options, 1);
  Histogram latency;
  uint64_t sent = 0;
  bool finished = false;
  auto start = Clock::now();
  auto last = start;
  const auto send = [&] {
    while (sent < keys.size() && sent < watchers.events() / per_put + at_once) {
      last = Clock::now();
      const Call call = PutCall(keys[sent++], value);
      writer[0]->Unary(call.method, call.request, [&finished](const absl::Status& status, std::string_view) {
        // The last answers may come behind their events, when nobody waits for them any more.
        if (status.ok() || finished) return;
        std::fprintf(stderr, "kvorum-bench: a put failed: %s\n", status.ToString().c_str());
        std::exit(1);
      });
    }
  };
  absl::Notification done;
  loop.Post([&] {
    start = Clock::now();
    watchers.OnProgress([&] {
      if (at_once == 1 && watchers.events() == sent * per_put) latency.Add((Clock::now() - last).count());
      if (!finished && watchers.events() == keys.size() * per_put) {
        finished = true;
        return done.Notify();
      }
      send();
    });
    send();
  });
  done.WaitForNotification();
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  const double deliveries = static_cast<double>(keys.size() * per_put);
  std::printf(
      "{\"name\":\"%s\",\"events\":%zu,\"deliveries\":%.0f,\"seconds\":%.3f,\"per_second\":%.1f,"
      "\"p50_us\":%.1f,\"p99_us\":%.1f}\n",
      name, keys.size(), deliveries, seconds, deliveries / seconds,
      static_cast<double>(latency.Quantile(0.5)) / 1e3, static_cast<double>(latency.Quantile(0.99)) / 1e3);
  RunOn(loop, [&] {
    watchers.OnProgress(nullptr);
    writer.clear();
  });
}

void HoldUntilInputEnds() {
  std::printf("ready\n");
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  // The process ends with everything open: that is the quickest way to let go of it.
  std::_Exit(0);
}

}  // namespace

void WatchFanout(http::Loop& loop, const Options& options) {
  const std::string key = KeyOf(options, 0);
  Watchers watchers(loop, options, std::vector<std::string>(options.watchers, key));
  MeasureDeliveries(loop, options, watchers, "watch-fanout", std::vector<std::string>(options.events, key),
                    options.watchers, 1);
}

void WatchKeys(http::Loop& loop, const Options& options) {
  std::vector<std::string> keys;
  for (uint64_t i = 0; i < options.keys; ++i) keys.push_back(KeyOf(options, i));
  Watchers watchers(loop, options, keys);
  Random random(1);
  std::vector<std::string> puts;
  for (uint64_t i = 0; i < options.events; ++i) puts.push_back(keys[random.Below(keys.size())]);
  MeasureDeliveries(loop, options, watchers, "watch-keys", puts, 1, options.streams);
}

void HoldWatchers(http::Loop& loop, const Options& options) {
  std::vector<std::string> keys;
  for (uint64_t i = 0; i < options.watchers; ++i) keys.push_back(KeyOf(options, i % options.keys));
  Watchers watchers(loop, options, keys);
  HoldUntilInputEnds();
}

void HoldLeases(http::Loop& loop, const Options& options) {
  std::string grant;
  wire::AppendUint(grant, 1, 3600);
  Options once = options;
  once.seconds = 0;
  uint64_t left = options.leases;
  PrintResult("lease-grant", RunLoad(loop, once, [&]() -> Call {
                if (left == 0) return {};
                --left;
                return {"/etcdserverpb.Lease/LeaseGrant", grant};
              }));
  HoldUntilInputEnds();
}

}  // namespace kvorum::bench
