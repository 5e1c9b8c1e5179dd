#include "api/admin/pages.h"

#include <sys/resource.h>

#include <algorithm>
#include <cctype>
#include <optional>

#include "api/admin/exchange.h"
#include "api/admin/gzip.h"
#include "base/version.h"
#include "boost/json/parse.hpp"
#include "cluster/version.h"
#include "fmt/format.h"
#include "fmt/ranges.h"

namespace kvorum::api_admin {
namespace {

bool AllowGet(const http::Request& request, http::ResponseWriter& writer) {
  if (request.method == "GET") return true;
  ReplyMethodNotAllowed(writer, "GET");
  return false;
}

std::string JsonStrings(const std::vector<std::string>& texts) {
  std::vector<std::string> quoted;
  for (const std::string& text : texts) quoted.push_back(JsonString(text));
  return fmt::format("[{}]", fmt::join(quoted, ","));
}

std::string ToLower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

std::optional<LogLevel> ParseLevel(std::string_view text) {
  static constexpr std::pair<std::string_view, LogLevel> kLevels[] = {
      {"debug", LogLevel::kDebug},  {"info", LogLevel::kInfo},   {"warn", LogLevel::kWarn},
      {"warning", LogLevel::kWarn}, {"error", LogLevel::kError}, {"panic", LogLevel::kPanic},
      {"fatal", LogLevel::kFatal}};
  const std::string lower = ToLower(text);
  for (const auto& [name, level] : kLevels) {
    if (name == lower) return level;
  }
  return std::nullopt;
}

/// The member "Level" (in any case, as Go's decoder has it) of a JSON object; null where the body is none.
std::optional<std::string> LevelOf(std::string_view body) {
  boost::json::error_code error;
  const boost::json::value value = boost::json::parse({body.data(), body.size()}, error);
  if (error || !value.is_object()) return std::nullopt;
  for (const auto& member : value.get_object()) {
    if (ToLower(std::string_view(member.key().data(), member.key().size())) != "level") continue;
    if (!member.value().is_string()) return std::nullopt;
    return std::string(member.value().get_string());
  }
  return "";
}

bool AcceptsGzip(const http::Request& request) {
  const std::string_view* accepted = request.Find("accept-encoding");
  if (accepted == nullptr) return false;
  for (std::string_view rest = *accepted; !rest.empty();) {
    const size_t end = std::min(rest.find(','), rest.size());
    std::string_view item = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    item.remove_prefix(std::min(item.find_first_not_of(" \t"), item.size()));
    if (item.substr(0, 4) == "gzip") return item.find("q=0") == std::string_view::npos;
  }
  return false;
}

}  // namespace

void ServeVersion(member::Member& member, std::string_view release, std::string_view more,
                  const http::Request& request, http::ResponseWriter& writer) {
  if (!AllowGet(request, writer)) return;
  const std::string cluster = member.cluster().version();
  const std::string storage = cluster::StorageVersionOf(cluster);
  writer.Reply(
      200, {{"content-type", "application/json"}},
      fmt::format(R"({{"etcdserver":"{}","etcdcluster":"{}","storage":"{}"{}}})", release,
                  cluster.empty() ? "not_decided" : cluster, storage.empty() ? "unknown" : storage, more));
}

MetricsPage::MetricsPage(metrics::Registry* registry)
    : registry_(*registry),
      in_flight_(registry->NewGauge("promhttp_metric_handler_requests_in_flight",
                                    "Current number of scrapes being served.")),
      ok_(registry
              ->NewCounterFamily("promhttp_metric_handler_requests_total",
                                 "Total number of scrapes by HTTP status code.", {"code"})
              .With({"200"})) {
  auto& requests = registry->NewCounterFamily("promhttp_metric_handler_requests_total", "", {"code"});
  requests.With({"500"});
  requests.With({"503"});
}

void MetricsPage::Serve(const http::Request& request, http::ResponseWriter& writer) {
  in_flight_.Add(1);
  const std::string text = registry_.Text();
  http::Headers headers = {{"content-type", "text/plain; version=0.0.4; charset=utf-8"}};
  if (AcceptsGzip(request)) {
    headers.emplace_back("content-encoding", "gzip");
    writer.Reply(200, std::move(headers), Gzip(text));
  } else {
    writer.Reply(200, std::move(headers), text);
  }
  ok_.Add();
  in_flight_.Add(-1);
}

void ServeVars(const HandlerOptions& options, const http::Request& request, http::ResponseWriter& writer) {
  if (!AllowGet(request, writer)) return;
  member::Member& member = *options.member;
  const member::MemberStatus status = member.status();
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  const std::string raft = fmt::format(
      R"({{"id":"{:x}","term":{},"vote":"{:x}","commit":{},"lead":"{:x}","raftState":"{}","applied":{},)"
      R"("progress":{{}},"leadtransferee":"0"}})",
      member.id(), status.term, status.vote, status.committed_index, status.leader,
      raft::RoleName(status.role), status.applied_index);
  writer.Reply(200, {{"content-type", "application/json; charset=utf-8"}},
               fmt::format("{{\n\"cmdline\": {},\n\"file_descriptor_limit\": {},\n\"raft.status\": {}\n}}\n",
                           JsonStrings(options.command_line), files.rlim_cur, raft));
}

std::unique_ptr<http::RequestSink> ServeLogLevel(const HandlerOptions& options, const http::Request& request,
                                                 http::ResponseWriter& writer) {
  constexpr size_t kMaxBody = 4096;
  if (request.method != "PUT") {
    ReplyMethodNotAllowed(writer, "PUT");
    return std::make_unique<Exchange>();
  }
  return http::CollectBody(writer, kMaxBody, [&options, &writer](const std::string& body) {
    const std::optional<std::string> text = LevelOf(body);
    if (!text.has_value()) return ReplyJsonError(writer, 400, "Invalid json body");
    const std::optional<LogLevel> level = ParseLevel(*text);
    if (!level.has_value()) return ReplyJsonError(writer, 400, fmt::format("Invalid log level {}", *text));
    options.set_log_level(*level);
    KVORUM_LOG(*options.logger, kInfo, "changed the log level", {"level", ToLower(*text)});
    writer.SendOnlyHead(204, {});
  });
}

}  // namespace kvorum::api_admin
