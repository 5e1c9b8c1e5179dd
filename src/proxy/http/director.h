#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "base/executor.h"
#include "base/log.h"
#include "base/random.h"

namespace kvorum::proxy_http {

/// A member's client URL.
struct Endpoint {
  explicit Endpoint(std::string the_url) : url(std::move(the_url)) {}

  const std::string url;  ///< "http://127.0.0.1:2379"
  /// False for a while after it failed. Atomic: every loop reads it, for each request.
  std::atomic<bool> available{true};
};
using Endpoints = std::vector<std::shared_ptr<Endpoint>>;

/// Knows where requests may go, and who failed (reference: proxy-discovery.md §6.2, §6.3). Thread-safe.
class Director : public std::enable_shared_from_this<Director> {
 public:
  struct Options {
    std::chrono::nanoseconds failure_wait = std::chrono::seconds(5);
    uint64_t seed = 0;             ///< of the order
    Executor* executor = nullptr;  ///< borrowed: its timers, and where `on_none` is called
    Logger* logger = &NullLogger();
    std::function<void()> on_none = {};  ///< the last one that was available failed
  };
  explicit Director(Options options);

  /// Another list, in an order by chance, all of it available. What is no URL is left out.
  void Replace(const std::vector<std::string>& urls);

  /// All of them, in the order in which they are to be tried.
  std::shared_ptr<const Endpoints> endpoints() const;
  std::vector<std::string> AvailableUrls() const;

  /// It is not available for as long as failure_wait.
  void MarkFailed(const std::shared_ptr<Endpoint>& endpoint);

 private:
  const Options options_;
  mutable absl::Mutex mutex_;
  Random random_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const Endpoints> endpoints_ ABSL_GUARDED_BY(mutex_);  // shared with requests under way
};

}  // namespace kvorum::proxy_http
