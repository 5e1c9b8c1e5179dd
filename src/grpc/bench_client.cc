// Loads grpc_bench_server:
//   grpc_bench_client TARGET CONNECTIONS STREAMS CALLS
// Keeps STREAMS unary calls under way on each connection and prints the rate.
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>

#include "absl/synchronization/notification.h"
#include "grpc/client.h"

namespace {

using namespace kvorum;

struct Load {
  http::Loop& loop;
  std::string target;
  size_t streams;
  size_t left;  // calls not begun
  size_t under_way = 0;
  size_t failed = 0;
  std::vector<std::unique_ptr<grpc::ClientConnection>> connections;
  absl::Notification done;

  void Connect(size_t count) {
    for (size_t i = 0; i < count; ++i) {
      ++under_way;
      grpc::ClientConnection::Connect(
          loop, target, [this](absl::StatusOr<std::unique_ptr<grpc::ClientConnection>> connection) {
            if (connection.ok()) {
              connections.push_back(*std::move(connection));
              for (size_t s = 0; s < streams; ++s) Next(connections.back().get());
            } else {
              std::fprintf(stderr, "%s\n", connection.status().ToString().c_str());
              ++failed;
            }
            Leave();
          });
    }
  }

  void Next(grpc::ClientConnection* connection) {
    if (left == 0) return;
    --left;
    ++under_way;
    connection->Unary("/bench.Echo/Fixed", "hello",
                      [this, connection](const absl::Status& status, std::string_view) {
                        if (!status.ok() && ++failed == 1)
                          std::fprintf(stderr, "%s\n", status.ToString().c_str());
                        if (status.ok()) Next(connection);
                        Leave();
                      });
  }

  void Leave() {
    if (--under_way == 0) done.Notify();
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: %s TARGET CONNECTIONS STREAMS CALLS\n", argv[0]);
    return 1;
  }
  const auto calls = static_cast<size_t>(std::atol(argv[4]));
  http::Loop loop("client");
  Load load{loop, argv[1], static_cast<size_t>(std::atol(argv[3])), calls};
  const MonotonicTime begin = SystemClock().Now();
  loop.Post([&] { load.Connect(static_cast<size_t>(std::atol(argv[2]))); });
  load.done.WaitForNotification();
  const std::chrono::duration<double> elapsed = SystemClock().Now() - begin;
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const double cpu = static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                     1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
  std::printf("%.0f calls/s, %.2f us of client CPU a call, %zu failed\n",
              static_cast<double>(calls) / elapsed.count(), 1e6 * cpu / static_cast<double>(calls),
              load.failed);
  absl::Notification closed;
  loop.Post([&] {
    load.connections.clear();
    closed.Notify();
  });
  closed.WaitForNotification();
  return load.failed == 0 ? 0 : 1;
}
