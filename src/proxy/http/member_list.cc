#include "proxy/http/member_list.h"

#include <utility>

#include "base/status.h"
#include "proxy/http/cluster_file.h"

namespace kvorum::proxy_http {
namespace {

/// One member may take so long to say who the others are.
constexpr std::chrono::seconds kPatience(10);
/// Where no member can be reached, whoever refreshes no more often than that asks this soon.
constexpr std::chrono::seconds kLongInterval(30);
constexpr std::chrono::seconds kSoon(1);

}  // namespace

MemberList::MemberList(Options options) : options_(std::move(options)), peer_urls_(options_.peer_urls) {}

void MemberList::Start(absl::AnyInvocable<void()> done) {
  started_ = std::move(done);
  Refresh();
}

void MemberList::Stop() {
  stopped_ = true;
  *alive_ = false;
  if (timer_ != 0) options_.executor->CancelTimer(std::exchange(timer_, 0));
}

std::chrono::nanoseconds MemberList::Interval() const {
  const bool hurry = options_.refresh_interval >= kLongInterval && options_.director->AvailableUrls().empty();
  return hurry ? kSoon : options_.refresh_interval;
}

void MemberList::HurryUp() {
  if (!asking_ && !stopped_ && options_.refresh_interval >= kLongInterval) ScheduleIn(kSoon);
}

void MemberList::ScheduleIn(std::chrono::nanoseconds delay) {
  if (timer_ != 0) options_.executor->CancelTimer(timer_);
  timer_ = options_.executor->PostAfter(delay, [this, alive = alive_] {
    if (!*alive) return;
    timer_ = 0;
    Refresh();
  });
}

void MemberList::Refresh() {
  asking_ = true;
  next_ = 0;
  AskNext();
}

void MemberList::AskNext() {
  if (next_ == peer_urls_.size()) {
    KVORUM_LOG(*options_.logger, kWarn, "failed to get cluster from remote peers", {"peer-urls", peer_urls_},
               {"error", "could not retrieve cluster information from the given URLs"});
    return Finish();
  }
  options_.client->Call(
      {.url = peer_urls_[next_] + "/members"}, SystemClock().Now() + kPatience,
      [this, alive = alive_, executor = options_.executor](absl::StatusOr<http::ClientResponse> response) {
        executor->Post([this, alive, response = std::move(response)] {
          if (*alive) OnAnswer(response);
        });
      });
}

void MemberList::OnAnswer(const absl::StatusOr<http::ClientResponse>& response) {
  absl::StatusOr<MemberUrls> found = response.ok() ? ReadMembers(*response) : response.status();
  const std::string address = peer_urls_[next_++] + "/members";
  if (!found.ok()) {
    KVORUM_LOG(*options_.logger, kWarn, "failed to get cluster response", {"address", address},
               {"error", std::string(found.status().message())});
    return AskNext();
  }
  if (found->empty || found->peer_urls.empty()) {
    KVORUM_LOG(*options_.logger, kWarn, "failed to get cluster from remote peers", {"peer-urls", peer_urls_},
               {"error", "failed to get raft cluster member(s) from the given URLs"});
  } else {
    Take(*std::move(found));
  }
  Finish();
}

void MemberList::Take(MemberUrls found) {
  const absl::Status written = WriteClusterFile(*options_.env, options_.cluster_file, found.peer_urls);
  if (!written.ok()) {
    KVORUM_LOG(*options_.logger, kWarn, "proxy failed to write cluster file", {"path", options_.cluster_file},
               {"error", std::string(written.message())});
  }
  if (found.peer_urls != peer_urls_) {
    KVORUM_LOG(*options_.logger, kInfo, "proxy updated peer URLs", {"from", peer_urls_},
               {"to", found.peer_urls});
  }
  peer_urls_ = std::move(found.peer_urls);
  options_.director->Replace(found.client_urls);
  if (options_.on_refresh) options_.on_refresh(found.client_urls);
}

void MemberList::Finish() {
  asking_ = false;
  if (const std::vector<std::string> urls = options_.director->AvailableUrls();
      !urls.empty() && !std::exchange(found_any_, true)) {
    KVORUM_LOG(*options_.logger, kInfo, "endpoints found", {"endpoints", urls});
  }
  ScheduleIn(Interval());
  if (started_) std::exchange(started_, nullptr)();
}

}  // namespace kvorum::proxy_http
