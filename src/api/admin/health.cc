#include "api/admin/health.h"

#include <algorithm>
#include <array>
#include <set>

#include "api/admin/exchange.h"
#include "fmt/format.h"

namespace kvorum::api_admin {
namespace {

constexpr std::string_view kTextPlain = "text/plain; charset=utf-8";

std::string_view AlarmName(member::AlarmType type) {
  switch (type) {
    case member::AlarmType::kNoSpace:
      return "NOSPACE";
    case member::AlarmType::kCorrupt:
      return "CORRUPT";
    case member::AlarmType::kNone:
      break;
  }
  return "UNKNOWN";
}

enum class Check : uint8_t { kDataCorruption, kSerializableRead, kLinearizableRead, kNonLearner };

std::string_view CheckName(Check check) {
  switch (check) {
    case Check::kDataCorruption:
      return "data_corruption";
    case Check::kSerializableRead:
      return "serializable_read";
    case Check::kLinearizableRead:
      return "linearizable_read";
    case Check::kNonLearner:
      return "non_learner";
  }
  return "";
}

constexpr std::array kLivezChecks = {Check::kSerializableRead};
constexpr std::array kReadyzChecks = {Check::kDataCorruption, Check::kSerializableRead,
                                      Check::kLinearizableRead, Check::kNonLearner};

}  // namespace

struct Health::Probe {
  std::string_view type;  ///< "livez" or "readyz"
  std::span<const Check> checks;
};

/// One probe that is being answered; on its connection's loop only.
struct Health::Run {
  std::string_view type;
  std::string path;
  bool verbose = false;
  std::vector<Check> checks;
  size_t next = 0;
  std::string lines;
  std::string failures;  // for the log
  bool failed = false;
  http::ResponseWriter* writer = nullptr;
  std::shared_ptr<bool> alive;  // shared with the sink
};

Health::Health(const HandlerOptions& options)
    : member_(*options.member),
      logger_(*options.logger),
      health_success_(options.metrics->NewCounter("etcd_server_health_success",
                                                  "The total number of successful health checks")),
      health_failures_(options.metrics->NewCounter("etcd_server_health_failures",
                                                   "The total number of failed health checks")),
      healthcheck_(options.metrics->NewGaugeFamily(
          "etcd_server_healthcheck", "The result of each kind of healthcheck.", {"type", "name"})),
      healthchecks_(options.metrics->NewCounterFamily("etcd_server_healthchecks_total",
                                                      "The total number of each kind of healthcheck.",
                                                      {"type", "name", "status"})) {}

std::unique_ptr<http::RequestSink> Health::TryStart(const http::Request& request,
                                                    http::ResponseWriter& writer) {
  static const Probe kProbes[] = {{"livez", kLivezChecks}, {"readyz", kReadyzChecks}};
  if (request.path == "/health") return StartLegacy(request, writer);
  for (const Probe& probe : kProbes) {
    std::string_view path = request.path;
    if (!path.starts_with("/") || path.substr(1, probe.type.size()) != probe.type) continue;
    path.remove_prefix(1 + probe.type.size());
    if (path.empty()) return StartProbe(probe, path, request, writer);
    if (path[0] != '/') continue;
    path.remove_prefix(1);
    const bool known = std::any_of(probe.checks.begin(), probe.checks.end(),
                                   [&](Check check) { return CheckName(check) == path; });
    if (known) return StartProbe(probe, path, request, writer);
  }
  return nullptr;
}

void Health::Read(http::Loop& loop, bool linearizable, absl::AnyInvocable<void(absl::Status)> done) {
  auto range = [this] {
    return member_.store().Range({.range = {.key = "", .end = ""}, .limit = 1}).status();
  };
  if (!linearizable) return done(range());
  auto shared = std::make_shared<absl::AnyInvocable<void(absl::Status)>>(std::move(done));
  absl::AnyInvocable<void(absl::Status)> confirmed = [&loop, range, shared](absl::Status status) {
    loop.Post([range, shared, status = std::move(status)] { (*shared)(status.ok() ? range() : status); });
  };
  const MonotonicTime deadline = SystemClock().Now() + member_.options().request_timeout();
  if (member_.ConfirmRead(deadline, &confirmed)) (*shared)(range());
}

std::unique_ptr<http::RequestSink> Health::StartLegacy(const http::Request& request,
                                                       http::ResponseWriter& writer) {
  auto sink = std::make_unique<Exchange>();
  if (request.method != "GET") {
    ReplyMethodNotAllowed(writer, "GET");
    return sink;
  }
  std::set<std::string> excluded;
  bool serializable = false;
  for (auto& [name, value] : ParseQuery(request.query)) {
    if (name == "exclude" && !value.empty()) excluded.insert(std::move(value));
    if (name == "serializable") serializable = value == "true";
  }
  for (const member::Alarm& alarm : member_.alarms()) {
    const std::string_view name = AlarmName(alarm.type);
    if (excluded.contains(std::string(name))) continue;
    AnswerLegacy(writer, fmt::format("ALARM {}", name));
    return sink;
  }
  if (!serializable && member_.status().leader == MemberId(0)) {
    AnswerLegacy(writer, "RAFT NO LEADER");
    return sink;
  }
  Read(writer.loop(), !serializable, [this, &writer, alive = sink->alive()](const absl::Status& status) {
    if (!*alive) return;
    AnswerLegacy(writer, status.ok() ? "" : fmt::format("RANGE ERROR:{}", std::string(status.message())));
  });
  return sink;
}

void Health::AnswerLegacy(http::ResponseWriter& writer, std::string_view reason) {
  const bool healthy = reason.empty();
  const std::string body = fmt::format("{{\"health\":\"{}\",\"reason\":{}}}", healthy, JsonString(reason));
  if (healthy) {
    health_success_.Add();
    KVORUM_LOG(logger_, kDebug, "/health OK", {"status-code", 200});
    return writer.Reply(200, {{"content-type", std::string(kTextPlain)}}, body);
  }
  health_failures_.Add();
  KVORUM_LOG(logger_, kWarn, "/health error", {"output", body}, {"status-code", 503});
  writer.ReplyError(503, body);
}

std::unique_ptr<http::RequestSink> Health::StartProbe(const Probe& probe, std::string_view sub_path,
                                                      const http::Request& request,
                                                      http::ResponseWriter& writer) {
  auto sink = std::make_unique<Exchange>();
  if (request.method != "GET") {
    ReplyMethodNotAllowed(writer, "GET");
    return sink;
  }
  auto run = std::make_shared<Run>();
  run->type = probe.type;
  run->path = request.path;
  run->writer = &writer;
  run->alive = sink->alive();
  std::set<std::string> excluded;
  for (auto& [name, value] : ParseQuery(request.query)) {
    if (name == "verbose") run->verbose = true;
    if (name == "exclude" && sub_path.empty() && !value.empty()) excluded.insert(std::move(value));
  }
  for (const Check check : probe.checks) {
    const std::string name(CheckName(check));
    if (!sub_path.empty() && sub_path != name) continue;
    if (excluded.erase(name) == 0) run->checks.push_back(check);
  }
  if (!excluded.empty()) {
    KVORUM_LOG(logger_, kWarn, "some health checks cannot be excluded", {"path", run->path},
               {"missing-health-checks", std::vector<std::string>(excluded.begin(), excluded.end())});
  }
  Advance(std::move(run));
  return sink;
}

/// Why clients should go elsewhere, known without waiting for it.
absl::Status Health::Trouble() const {
  const member::MemberStatus status = member_.status();
  if (status.leader == MemberId(0)) return absl::UnavailableError("etcdserver: no leader");
  if (status.disk_stalled) return absl::UnavailableError("a write to the disk does not end");
  return absl::OkStatus();
}

void Health::Advance(std::shared_ptr<Run> run) {
  while (run->next < run->checks.size()) {
    const Check check = run->checks[run->next];
    absl::Status result;
    if (check == Check::kDataCorruption) {
      for (const member::Alarm& alarm : member_.alarms()) {
        if (alarm.type == member::AlarmType::kCorrupt)
          result = absl::DataLossError("alarm activated: CORRUPT");
      }
    } else if (check == Check::kNonLearner) {
      if (member_.status().is_learner) result = absl::FailedPreconditionError("not supported for learner");
    } else if (const absl::Status trouble = Trouble(); check == Check::kLinearizableRead && !trouble.ok()) {
      result = trouble;
    } else {
      http::Loop& loop = run->writer->loop();
      return Read(loop, check == Check::kLinearizableRead, [this, run](const absl::Status& status) {
        if (!*run->alive) return;
        Record(*run, status);
        Advance(run);
      });
    }
    Record(*run, result);
  }
  AnswerProbe(*run);
}

void Health::Record(Run& run, const absl::Status& result) {
  const std::string name(CheckName(run.checks[run.next++]));
  const std::string type(run.type);
  healthcheck_.With({type, name}).Set(result.ok() ? 1 : 0);
  healthchecks_.With({type, name, result.ok() ? "success" : "error"}).Add();
  if (result.ok()) {
    run.lines += fmt::format("[+]{} ok\n", name);
    return;
  }
  run.failed = true;
  const std::string line = fmt::format("[-]{} failed: {}\n", name, std::string(result.message()));
  run.lines += line;
  run.failures += line;
}

void Health::AnswerProbe(Run& run) {
  if (run.failed) {
    KVORUM_LOG(logger_, kError, "Health check error", {"path", run.path}, {"reason", run.failures},
               {"status-code", 503});
    return run.writer->ReplyError(503, run.lines);
  }
  KVORUM_LOG(logger_, kDebug, "Health check OK", {"path", run.path}, {"status-code", 200});
  run.writer->Reply(200, {{"content-type", std::string(kTextPlain)}, {"x-content-type-options", "nosniff"}},
                    run.verbose ? run.lines + "ok\n" : "ok\n");
}

}  // namespace kvorum::api_admin
