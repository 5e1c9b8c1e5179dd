#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "base/env.h"
#include "base/executor.h"
#include "base/log.h"
#include "http/client.h"
#include "proxy/http/director.h"
#include "proxy/http/members.h"

namespace kvorum::proxy_http {

/// Asks the members again and again who they are, tells the director, and keeps their peer URLs on disk
/// (reference: proxy-discovery.md §6.2). Where none of them answers, everything stays as it was. Lives on one
/// executor, which may wait for the disk; every call to it is made there.
class MemberList {
 public:
  struct Options {
    std::vector<std::string> peer_urls;
    std::string cluster_file;
    std::chrono::nanoseconds refresh_interval = std::chrono::seconds(30);
    Env* env = nullptr;              // these are borrowed
    http::Client* client = nullptr;  ///< on any loop
    Executor* executor = nullptr;
    Director* director = nullptr;
    Logger* logger = &NullLogger();
    std::function<void(const std::vector<std::string>&)> on_refresh =
        {};  ///< the client URLs that were found
  };
  explicit MemberList(Options options);

  /// `done` is called when all were asked once.
  void Start(absl::AnyInvocable<void()> done);
  /// No member can be reached: asks sooner.
  void HurryUp();
  /// Asks no more. Answers that come late are dropped.
  void Stop();

 private:
  void Refresh();
  void AskNext();
  void OnAnswer(const absl::StatusOr<http::ClientResponse>& response);
  void Take(MemberUrls found);
  /// This round is over.
  void Finish();
  void ScheduleIn(std::chrono::nanoseconds delay);
  std::chrono::nanoseconds Interval() const;

  const Options options_;
  std::vector<std::string> peer_urls_;
  size_t next_ = 0;      // of peer_urls_, to be asked
  bool asking_ = false;  // a round is under way
  bool stopped_ = false;
  bool found_any_ = false;  // some time
  Executor::TimerId timer_ = 0;
  absl::AnyInvocable<void()> started_;                          // empty once called
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // shared with callbacks that come late
};

}  // namespace kvorum::proxy_http
