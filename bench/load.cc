#include "load.h"

#include <cstdio>
#include <cstdlib>

#include "absl/synchronization/notification.h"

namespace kvorum::bench {
namespace {

using Clock = std::chrono::steady_clock;

/// One run: everything on the loop's thread, but for the wait at the end.
class Run {
 public:
  Run(http::Loop& loop, const Options& options, std::function<Call()> next,
      std::vector<std::unique_ptr<grpc::ClientConnection>>& connections)
      : loop_(loop), options_(options), next_(std::move(next)), connections_(connections) {}

  LoadResult Wait() {
    loop_.Post([this] { Begin(); });
    done_.WaitForNotification();
    return std::move(result_);
  }

 private:
  void Begin() {
    start_ = Clock::now();
    ++under_way_;  // keeps the run open while it begins
    if (options_.rate != 0) {
      ++under_way_;  // and while it ticks
      Tick();
    } else {
      for (uint64_t stream = 0; stream < options_.streams; ++stream) {
        for (auto& connection : connections_) Send(*connection, Clock::now());
      }
    }
    Release();
  }

  /// Open loop: sends everything that is due, each turn on the next connection.
  void Tick() {
    const auto now = Clock::now();
    const auto interval = std::chrono::nanoseconds(1'000'000'000 / options_.rate);
    if (over(now)) return Release();
    for (; start_ + sent_ * interval <= now; ++sent_) {
      Send(*connections_[sent_ % connections_.size()], start_ + sent_ * interval);
    }
    loop_.PostAt(start_ + sent_ * interval, [this] { Tick(); });
  }

  bool over(Clock::time_point now) const {
    return options_.seconds > 0 && now - start_ > std::chrono::duration<double>(options_.seconds);
  }

  void Send(grpc::ClientConnection& connection, Clock::time_point due) {
    Call call = next_();
    if (call.method == nullptr) return;
    ++under_way_;
    connection.UnaryInPieces(
        call.method, call.request, [this](std::string_view piece) { result_.response_bytes += piece.size(); },
        [this, &connection, due](const absl::Status& status, std::string_view) {
          const auto now = Clock::now();
          result_.latency.Add((now - due).count());
          if (!status.ok() && result_.errors++ == 0) result_.first_error = status.ToString();
          if (options_.rate == 0 && !over(now) && !connection.broken()) Send(connection, now);
          Release();
        });
  }

  void Release() {
    if (--under_way_ != 0) return;
    result_.seconds = std::chrono::duration<double>(Clock::now() - start_).count();
    done_.Notify();
  }

  http::Loop& loop_;
  const Options& options_;
  const std::function<Call()> next_;
  std::vector<std::unique_ptr<grpc::ClientConnection>>& connections_;
  Clock::time_point start_;
  uint64_t sent_ = 0;
  uint64_t under_way_ = 0;
  LoadResult result_;
  absl::Notification done_;
};

}  // namespace

void RunOn(http::Loop& loop, const std::function<void()>& task) {
  absl::Notification done;
  loop.Post([&] {
    task();
    done.Notify();
  });
  done.WaitForNotification();
}

std::vector<std::unique_ptr<grpc::ClientConnection>> ConnectAll(http::Loop& loop, const Options& options,
                                                                uint64_t count) {
  std::vector<std::unique_ptr<grpc::ClientConnection>> connections;
  for (uint64_t i = 0; i < count; ++i) {
    absl::Notification done;
    loop.Post([&] {
      grpc::ClientConnection::Connect(
          loop, options.targets[i % options.targets.size()], [&](auto connection) {
            if (!connection.ok()) {
              std::fprintf(stderr, "kvorum-bench: %s\n", connection.status().ToString().c_str());
              std::exit(1);
            }
            connections.push_back(*std::move(connection));
            done.Notify();
          });
    });
    done.WaitForNotification();
  }
  return connections;
}

LoadResult RunLoad(http::Loop& loop, const Options& options, std::function<Call()> next) {
  auto connections = ConnectAll(loop, options, options.connections);
  LoadResult result = Run(loop, options, std::move(next), connections).Wait();
  RunOn(loop, [&] { connections.clear(); });
  return result;
}

void PrintResult(const std::string& name, const LoadResult& result) {
  const auto micros = [&](double quantile) {
    return static_cast<double>(result.latency.Quantile(quantile)) / 1e3;
  };
  std::printf(
      "{\"name\":\"%s\",\"requests\":%llu,\"seconds\":%.3f,\"per_second\":%.1f,\"p50_us\":%.1f,\"p99_us\":%."
      "1f,"
      "\"max_us\":%.1f,\"bytes\":%llu,\"errors\":%llu,\"first_error\":\"%s\"}\n",
      name.c_str(), static_cast<unsigned long long>(result.latency.count()), result.seconds,
      static_cast<double>(result.latency.count()) / result.seconds, micros(0.5), micros(0.99),
      static_cast<double>(result.latency.max()) / 1e3, static_cast<unsigned long long>(result.response_bytes),
      static_cast<unsigned long long>(result.errors), result.first_error.c_str());
}

}  // namespace kvorum::bench
