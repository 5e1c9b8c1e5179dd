#include <algorithm>
#include <charconv>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "api/v2/access.h"
#include "api/v2/exchange.h"
#include "api/v2/http_status.h"
#include "base/check.h"
#include "base/go_json.h"
#include "base/go_json_reader.h"
#include "base/status.h"
#include "cluster/cluster.h"
#include "config/url.h"
#include "fmt/format.h"

namespace kvorum::api_v2 {
namespace {

constexpr std::string_view kMembersPath = "/v2/members";

/// What no change may be about: a change of the membership that changes nothing has it.
constexpr MemberId kNoMember(0);

using Members = std::vector<cluster::Member>;
using Urls = std::vector<std::string>;

void AppendUrls(std::string& out, const Urls& urls) {
  out.push_back('[');
  for (const std::string& url : urls) {
    if (out.back() != '[') out.push_back(',');
    AppendJsonString(out, url);
  }
  out.push_back(']');
}

void AppendJson(std::string& out, const cluster::Member& member) {
  out += fmt::format("{{\"id\":\"{}\",\"name\":", cluster::IdText(member.id.value()));
  AppendJsonString(out, member.name);
  out += ",\"peerURLs\":";
  AppendUrls(out, member.peer_urls);
  out += ",\"clientURLs\":";
  AppendUrls(out, member.client_urls);
  out.push_back('}');
}

void ReplyMember(const ExchangePtr& exchange, int status, const cluster::Member& member) {
  std::string body;
  AppendJson(body, member);
  exchange->ReplyJson(status, body + "\n");
}

/// The list "peerURLs" of a body, with Go's errors.
absl::StatusOr<Urls> UrlTexts(std::string_view body) {
  KVORUM_RETURN_IF_ERROR(CheckJson(body));
  JsonReader reader(body);
  std::string problem;
  const auto mismatch = [&](std::string_view target) {
    const std::string_view found = JsonKindName(reader.Peek());
    if (problem.empty()) problem = fmt::format("json: cannot unmarshal {} into Go {}", found, target);
    reader.Skip();
  };
  Urls urls;
  const auto read_element = [&] {
    switch (reader.Peek()) {
      case JsonReader::Kind::kString:
        urls.push_back(*reader.ReadString());
        break;
      case JsonReader::Kind::kNull:
        urls.emplace_back();
        reader.Skip();
        break;
      default:
        mismatch("struct field .peerURLs of type string");
    }
  };
  const auto read_field = [&](const std::string& name) {
    if (!absl::EqualsIgnoreCase(name, "peerURLs")) return reader.Skip();
    urls.clear();
    const JsonReader::Kind kind = reader.Peek();
    if (kind == JsonReader::Kind::kNull) return reader.Skip();
    if (kind != JsonReader::Kind::kArray) return mismatch("struct field .peerURLs of type []string");
    reader.ReadArray(read_element);
  };
  if (reader.Peek() == JsonReader::Kind::kObject) {
    reader.ReadObject(read_field);
  } else if (reader.Peek() != JsonReader::Kind::kNull) {
    mismatch(R"(value of type struct { PeerURLs []string "json:\"peerURLs\"" })");
  }
  if (!problem.empty()) return absl::InvalidArgumentError(problem);
  return urls;
}

/// The peer URLs of a body, sorted, in the form in which members keep them.
absl::StatusOr<Urls> PeerUrls(std::string_view body) {
  KVORUM_ASSIGN_OR_RETURN(const Urls texts, UrlTexts(body));
  if (texts.empty()) return absl::InvalidArgumentError("no valid URLs given");
  Urls urls;
  for (const std::string& text : texts) {
    KVORUM_ASSIGN_OR_RETURN(const config::Url url, config::ParseUrl(text));
    urls.push_back(url.Text());
  }
  std::sort(urls.begin(), urls.end());
  return urls;
}

/// Null where the text is no id.
std::optional<MemberId> ParseId(std::string_view text) {
  uint64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id, 16);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return MemberId(id);
}

/// /v2/members: who is in the cluster (reference: v2-keys.md §10).
class MembersEndpoint final : public Endpoint {
 public:
  MembersEndpoint(const HandlerOptions& options, AccessControl* access)
      : member_(*options.member), logger_(*options.logger), access_(*access) {}

  std::unique_ptr<http::RequestSink> Start(const Call& call) override;

 private:
  void Get(const ExchangePtr& exchange, std::string_view rest) const;
  void Add(const ExchangePtr& exchange, const std::string& content_type, std::string_view body);
  void Update(const ExchangePtr& exchange, const std::string& rest, const std::string& content_type,
              std::string_view body);
  void Remove(const ExchangePtr& exchange, const std::string& rest);

  /// The member that a path names; else answers.
  static std::optional<MemberId> IdOf(const ExchangePtr& exchange, const std::string& rest);
  /// The URLs of a body; else answers.
  static std::optional<Urls> UrlsOf(const ExchangePtr& exchange, const std::string& content_type,
                                    std::string_view body);
  /// Runs `then` on the request's loop with the members after a change, or answers why there was none; `id`
  /// is the member that it was about.
  member::Member::MembersDone OnLoop(ExchangePtr exchange, std::string id,
                                     absl::AnyInvocable<void(const ExchangePtr&, const Members&)> then) const;
  void ReplyRefusal(const ExchangePtr& exchange, const std::string& id, const absl::Status& refusal) const;
  MonotonicTime Deadline(const ExchangePtr& exchange) const {
    return exchange->loop().clock().Now() + member_.options().request_timeout();
  }

  member::Member& member_;
  Logger& logger_;
  AccessControl& access_;
};

std::unique_ptr<http::RequestSink> MembersEndpoint::Start(const Call& call) {
  const std::string_view method = call.request.method;
  const bool changes = method == "POST" || method == "PUT";
  if (!changes && method != "GET" && method != "DELETE") {
    ReplyMethodNotAllowed(call.writer, "GET,POST,DELETE,PUT");
    return IgnoreBody();
  }
  std::string rest(call.path.substr(std::min(kMembersPath.size(), call.path.size())));
  if (rest.starts_with('/')) rest.erase(0, 1);
  const std::string_view* header = call.request.Find("content-type");
  std::string content_type(header == nullptr ? std::string_view() : *header);
  const Gate gate{.access = method == "GET" ? nullptr : &access_,
                  .body_limit = changes ? member_.options().max_request_bytes : 0};
  return StartGated(call, gate,
                    [this, rest = std::move(rest), content_type = std::move(content_type),
                     method = std::string(method)](const ExchangePtr& exchange, const std::string& body) {
                      AddClusterId(*exchange, member_.cluster_id());
                      if (method == "GET") return Get(exchange, rest);
                      if (method == "POST") return Add(exchange, content_type, body);
                      if (method == "PUT") return Update(exchange, rest, content_type, body);
                      Remove(exchange, rest);
                    });
}

void MembersEndpoint::Get(const ExchangePtr& exchange, std::string_view rest) const {
  if (rest == "leader") {
    const std::optional<cluster::Member> leader = member_.cluster().Find(member_.status().leader);
    if (!leader) return exchange->ReplyMessage(kUnavailable, "During election");
    return ReplyMember(exchange, kOk, *leader);
  }
  if (!rest.empty()) return exchange->ReplyMessage(kNotFound, "Not found");
  std::string body = "{\"members\":[";
  for (const cluster::Member& member : member_.cluster().members()) {
    if (body.back() != '[') body.push_back(',');
    AppendJson(body, member);
  }
  exchange->ReplyJson(kOk, body + "]}\n");
}

std::optional<MemberId> MembersEndpoint::IdOf(const ExchangePtr& exchange, const std::string& rest) {
  if (rest.empty()) {
    exchange->ReplyPlain(kMethodNotAllowed, "Method Not Allowed");
    return std::nullopt;
  }
  const std::optional<MemberId> id = ParseId(rest);
  if (!id) exchange->ReplyMessage(kNotFound, fmt::format("No such member: {}", rest));
  return id;
}

std::optional<Urls> MembersEndpoint::UrlsOf(const ExchangePtr& exchange, const std::string& content_type,
                                            std::string_view body) {
  const std::string type = content_type.substr(0, content_type.find(';'));
  if (type != "application/json") {
    exchange->ReplyMessage(kUnsupportedType,
                           fmt::format("Bad Content-Type {}, accept application/json", type));
    return std::nullopt;
  }
  absl::StatusOr<Urls> urls = PeerUrls(body);
  if (urls.ok()) return *std::move(urls);
  exchange->ReplyMessage(kBadRequest, std::string(urls.status().message()));
  return std::nullopt;
}

void MembersEndpoint::ReplyRefusal(const ExchangePtr& exchange, const std::string& id,
                                   const absl::Status& refusal) const {
  const std::string text(refusal.message());
  if (text == "membership: peerURL exists" || text == "membership: ID exists") {
    return exchange->ReplyMessage(kConflict, text);
  }
  if (text == "membership: ID not found") {
    return exchange->ReplyMessage(kNotFound, fmt::format("No such member: {}", id));
  }
  KVORUM_LOG(logger_, kWarn, "failed to change the members", {"error", text});
  exchange->ReplyMessage(kInternalError, "Internal Server Error");
}

member::Member::MembersDone MembersEndpoint::OnLoop(
    ExchangePtr exchange, std::string id,
    absl::AnyInvocable<void(const ExchangePtr&, const Members&)> then) const {
  return [this, exchange = std::move(exchange), id = std::move(id),
          then = std::move(then)](absl::StatusOr<Members> members) mutable {
    http::Loop& loop = exchange->loop();
    loop.Post([this, exchange = std::move(exchange), id = std::move(id), then = std::move(then),
               members = std::move(members)]() mutable {
      if (!members.ok()) return ReplyRefusal(exchange, id, members.status());
      then(exchange, *members);
    });
  };
}

void MembersEndpoint::Add(const ExchangePtr& exchange, const std::string& content_type,
                          std::string_view body) {
  std::optional<Urls> urls = UrlsOf(exchange, content_type, body);
  if (!urls) return;
  cluster::Member added{.peer_urls = *urls};
  member_.AddMember(
      std::move(added), Deadline(exchange),
      OnLoop(exchange, "", [urls = *std::move(urls)](const ExchangePtr& done, const Members& members) {
        const auto found = std::find_if(members.begin(), members.end(), [&](const cluster::Member& member) {
          return member.peer_urls == urls;
        });
        // Another change may have followed at once.
        if (found == members.end()) return done->ReplyMessage(kInternalError, "Internal Server Error");
        ReplyMember(done, kCreated, *found);
      }));
}

void MembersEndpoint::Update(const ExchangePtr& exchange, const std::string& rest,
                             const std::string& content_type, std::string_view body) {
  const std::optional<MemberId> id = IdOf(exchange, rest);
  if (!id) return;
  std::optional<Urls> urls = UrlsOf(exchange, content_type, body);
  if (!urls) return;
  if (*id == kNoMember) return exchange->ReplyMessage(kNotFound, "No such member: 0");
  member_.UpdateMember(*id, *std::move(urls), Deadline(exchange),
                       OnLoop(exchange, cluster::IdText(id->value()),
                              [](const ExchangePtr& done, const Members&) { done->ReplyNoContent(); }));
}

void MembersEndpoint::Remove(const ExchangePtr& exchange, const std::string& rest) {
  const std::optional<MemberId> id = IdOf(exchange, rest);
  if (!id) return;
  if (*id == kNoMember) return exchange->ReplyMessage(kNotFound, "No such member: 0");
  const std::string text = cluster::IdText(id->value());
  auto done =
      OnLoop(exchange, text, [](const ExchangePtr& removed, const Members&) { removed->ReplyNoContent(); });
  member_.RemoveMember(*id, Deadline(exchange),
                       [exchange, text, done = std::move(done)](absl::StatusOr<Members> members) mutable {
                         if (members.ok() || members.status().message() != "membership: ID removed") {
                           return done(std::move(members));
                         }
                         exchange->loop().Post([exchange, text] {
                           exchange->ReplyMessage(kGone, fmt::format("Member permanently removed: {}", text));
                         });
                       });
}

/// /v2/machines: where clients can be (reference: v2-keys.md §11).
class MachinesEndpoint final : public Endpoint {
 public:
  explicit MachinesEndpoint(const HandlerOptions& options) : cluster_(options.member->cluster()) {}

  std::unique_ptr<http::RequestSink> Start(const Call& call) override {
    if (call.request.method != "GET" && call.request.method != "HEAD") {
      ReplyMethodNotAllowed(call.writer, "GET,HEAD");
      return IgnoreBody();
    }
    std::vector<std::string> urls;
    for (const cluster::Member& member : cluster_.members()) {
      urls.insert(urls.end(), member.client_urls.begin(), member.client_urls.end());
    }
    std::sort(urls.begin(), urls.end());
    call.writer.Reply(kOk, {{"content-type", "text/plain; charset=utf-8"}}, absl::StrJoin(urls, ", "));
    return IgnoreBody();
  }

 private:
  const cluster::Cluster& cluster_;
};

}  // namespace

std::unique_ptr<Endpoint> NewMembersEndpoint(const HandlerOptions& options, AccessControl* access) {
  KVORUM_CHECK(options.member != nullptr && access != nullptr);
  return std::make_unique<MembersEndpoint>(options, access);
}

std::unique_ptr<Endpoint> NewMachinesEndpoint(const HandlerOptions& options) {
  KVORUM_CHECK(options.member != nullptr);
  return std::make_unique<MachinesEndpoint>(options);
}

}  // namespace kvorum::api_v2
