#include "peer/prober.h"

#include "absl/time/time.h"
#include "cluster/cluster.h"

namespace kvorum::peer {

namespace {

constexpr auto kInterval = std::chrono::seconds(4);
constexpr auto kTimeout = std::chrono::seconds(5);
constexpr auto kMaxClockDifference = std::chrono::seconds(1);
constexpr std::string_view kRoundTripper = "ROUND_TRIPPER_RAFT_MESSAGE";

}  // namespace

std::string ProbeBody(WallTime now) {
  return fmt::format("{{\"OK\":true,\"Now\":\"{}\"}}\n",
                     absl::FormatTime("%Y-%m-%dT%H:%M:%E*SZ", absl::FromChrono(now), absl::UTCTimeZone()));
}

std::optional<WallTime> ParseProbeBody(std::string_view body) {
  constexpr std::string_view kName = "\"Now\":\"";
  const size_t name = body.find(kName);
  if (name == std::string_view::npos) return std::nullopt;
  const std::string text(
      body.substr(name + kName.size(), body.find('"', name + kName.size()) - name - kName.size()));
  absl::Time time;
  std::string error;
  if (!absl::ParseTime(absl::RFC3339_full, text, &time, &error)) return std::nullopt;
  return WallTime(absl::ToChronoNanoseconds(time - absl::UnixEpoch()));
}

Prober::Prober(Hub* hub, raft::NodeId remote, UrlPicker* urls) : hub_(hub), remote_(remote), urls_(urls) {}

void Prober::Start() { ProbeLater(); }

void Prober::Stop() {
  stopped_ = true;
  if (timer_ != 0) hub_->loop().CancelTimer(std::exchange(timer_, 0));
}

void Prober::ProbeLater() {
  timer_ = hub_->loop().PostAfter(kInterval, [weak = weak_from_this()] {
    const std::shared_ptr<Prober> self = weak.lock();
    if (self == nullptr || self->stopped_) return;
    self->timer_ = 0;
    self->Probe();
  });
}

void Prober::Probe() {
  const MonotonicTime now = hub_->loop().clock().Now();
  hub_->client().Call({.url = urls_->Pick() + "/raft/probing"}, now + kTimeout,
                      [self = shared_from_this(), now](absl::StatusOr<http::ClientResponse> response) {
                        if (self->stopped_) return;
                        self->OnResponse(now, std::move(response));
                        self->ProbeLater();
                      });
}

void Prober::OnResponse(MonotonicTime asked, absl::StatusOr<http::ClientResponse> response) {
  const std::chrono::nanoseconds rtt = hub_->loop().clock().Now() - asked;
  const std::optional<WallTime> remote_now = response.ok() ? ParseProbeBody(response->body) : std::nullopt;
  if (!remote_now) {
    KVORUM_LOG(hub_->logger(), kWarn, "prober detected unhealthy status",
               {"round-tripper-name", kRoundTripper}, LogField::Id("remote-peer-id", remote_.value()),
               {"rtt", rtt},
               {"error", response.ok() ? fmt::format("unexpected answer of status {}", response->status)
                                       : std::string(response.status().message())});
    return;
  }
  hub_->metrics().round_trip_time.With({cluster::IdText(remote_.value())}).Observe(rtt);
  const std::chrono::nanoseconds difference = hub_->loop().clock().WallNow() - *remote_now - rtt / 2;
  if (difference > kMaxClockDifference || difference < -kMaxClockDifference) {
    KVORUM_LOG(hub_->logger(), kWarn, "prober found high clock drift", {"round-tripper-name", kRoundTripper},
               LogField::Id("remote-peer-id", remote_.value()), {"clock-drift", difference}, {"rtt", rtt});
  }
}

}  // namespace kvorum::peer
