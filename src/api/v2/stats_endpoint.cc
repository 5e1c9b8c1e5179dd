#include <charconv>
#include <cmath>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "api/v2/access.h"
#include "api/v2/endpoint.h"
#include "api/v2/http_status.h"
#include "base/check.h"
#include "base/go_json.h"
#include "cluster/cluster.h"
#include "fmt/format.h"

namespace kvorum::api_v2 {
namespace {

/// A number that is not negative as Go's JSON has it: the fewest digits that mean it, with an exponent where
/// it is tiny or huge.
std::string Number(double value) {
  if (!std::isfinite(value) || value <= 0) return "0";
  constexpr size_t kRoom = 32;
  char text[kRoom];
  const auto [end, error] = std::to_chars(text, text + kRoom, value, std::chars_format::scientific);
  KVORUM_CHECK(error == std::errc());
  const std::string_view scientific(text, static_cast<size_t>(end - text));  // "1.25e-03"
  const size_t at = scientific.find('e');
  const int exponent = std::stoi(std::string(scientific.substr(at + 1)));
  if (exponent < -6 || exponent >= 21) {
    return fmt::format("{}e{}{}", scientific.substr(0, at), exponent < 0 ? "" : "+", exponent);
  }
  std::string digits(1, scientific[0]);
  if (at > 1) digits += scientific.substr(2, at - 2);
  if (exponent < 0) return "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  const size_t whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= whole) return digits + std::string(whole - digits.size(), '0');
  return digits.substr(0, whole) + "." + digits.substr(whole);
}

/// RFC 3339 in the server's zone, to the nanosecond.
std::string Time(WallTime time) {
  std::string text =
      absl::FormatTime("%Y-%m-%dT%H:%M:%E*S%Ez", absl::FromChrono(time), absl::LocalTimeZone());
  constexpr std::string_view kUtc = "+00:00";
  if (text.ends_with(kUtc)) text.replace(text.size() - kUtc.size(), kUtc.size(), "Z");
  return text;
}

/// /v2/stats: what was asked of the store, and what went between members (reference: v2-keys.md §9).
class StatsEndpoint final : public Endpoint {
 public:
  explicit StatsEndpoint(const HandlerOptions& options)
      : member_(*options.member), traffic_(*options.stats), started_(SystemClock().WallNow()) {}

  std::unique_ptr<http::RequestSink> Start(const Call& call) override {
    const bool store = call.path == "/v2/stats/store";
    const bool self = call.path == "/v2/stats/self";
    if (!store && !self && call.path != "/v2/stats/leader") {
      call.writer.ReplyError(kNotFound, "404 page not found");
    } else if (call.request.method != "GET") {
      ReplyMethodNotAllowed(call.writer, "GET");
    } else if (store) {
      Reply(call.writer, v2store::ToJson(member_.v2_store().stats()));
    } else if (self) {
      Reply(call.writer, Self());
    } else if (!member_.status().is_leader) {
      ReplyMessage(call.writer, kForbidden, "not current leader");
    } else {
      Reply(call.writer, Leader());
    }
    return IgnoreBody();
  }

 private:
  static void Reply(http::ResponseWriter& writer, std::string_view json) {
    writer.Reply(kOk, {{"content-type", "application/json"}}, json);
  }
  std::string Self() const;
  std::string Leader() const;

  member::Member& member_;
  const member::TrafficStats& traffic_;
  const WallTime started_;
};

/// `"recvAppendRequestCnt":…` and the rates, where there are some.
void AppendTraffic(std::string& out, std::string_view direction,
                   const member::TrafficStats::Appends& appends) {
  out += fmt::format(",\"{}AppendRequestCnt\":{}", direction, appends.count);
  if (appends.messages_per_second > 0) {
    out += fmt::format(",\"{}PkgRate\":{}", direction, Number(appends.messages_per_second));
  }
  if (appends.bytes_per_second > 0) {
    out += fmt::format(",\"{}BandwidthRate\":{}", direction, Number(appends.bytes_per_second));
  }
}

std::string StatsEndpoint::Self() const {
  const member::MemberStatus status = member_.status();
  const WallTime now = SystemClock().WallNow();
  const bool led = status.leader != MemberId(0);
  std::string out = "{\"name\":";
  AppendJsonString(out, member_.options().name);
  out += fmt::format(
      R"(,"id":"{}","state":"{}","startTime":"{}","leaderInfo":{{"leader":"{}","uptime":"{}","startTime":"{}"}})",
      cluster::IdText(member_.id().value()), status.is_leader ? "StateLeader" : "StateFollower",
      Time(started_), led ? cluster::IdText(status.leader.value()) : "",
      FormatDuration(led ? std::max(now - status.leader_since, WallTime::duration(0))
                         : WallTime::duration(0)),
      Time(status.leader_since));
  AppendTraffic(out, "recv", traffic_.received());
  AppendTraffic(out, "send", traffic_.sent());
  out.push_back('}');
  return out;
}

std::string StatsEndpoint::Leader() const {
  std::string out = fmt::format(R"({{"leader":"{}","followers":{{)", cluster::IdText(member_.id().value()));
  std::map<std::string, member::TrafficStats::Follower> followers;  // as text sorts them
  for (const auto& [id, follower] : traffic_.followers()) followers[cluster::IdText(id.value())] = follower;
  for (const auto& [id, follower] : followers) {
    if (out.back() != '{') out.push_back(',');
    out += fmt::format(
        R"("{}":{{"latency":{{"current":{},"average":{},"standardDeviation":{},"minimum":{},"maximum":{}}},)"
        R"("counts":{{"fail":{},"success":{}}}}})",
        id, Number(follower.latency_current), Number(follower.latency_average),
        Number(follower.latency_standard_deviation), Number(follower.latency_minimum),
        Number(follower.latency_maximum), follower.fail, follower.success);
  }
  return out + "}}";
}

}  // namespace

std::unique_ptr<Endpoint> NewStatsEndpoint(const HandlerOptions& options) {
  KVORUM_CHECK(options.member != nullptr && options.stats != nullptr);
  return std::make_unique<StatsEndpoint>(options);
}

}  // namespace kvorum::api_v2
