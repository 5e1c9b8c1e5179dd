#include <charconv>
#include <utility>

#include "cluster/members_json.h"
#include "fmt/format.h"
#include "member/errors.h"
#include "peer/calls.h"
#include "peer/calls_format.h"

namespace kvorum::peer {
namespace {

constexpr size_t kMaxBodyBytes = 64 << 10;
constexpr std::string_view kPromotePrefix = "/members/promote/";
constexpr std::string_view kPlain = "text/plain; charset=utf-8";

struct Answer {
  int status = 200;
  http::Headers headers;
  std::string body;
};

/// Go's plain error.
Answer Error(int status, std::string_view text) {
  return {.status = status,
          .headers = {{"content-type", std::string(kPlain)}, {"x-content-type-options", "nosniff"}},
          .body = std::string(text) + "\n"};
}

/// The way back to whoever asked, for answers from any thread.
class WayBack {
 public:
  WayBack(http::ResponseWriter& writer, std::shared_ptr<bool> alive)
      : writer_(&writer), loop_(&writer.loop()), alive_(std::move(alive)) {}

  void Send(Answer answer) const {
    loop_->Post([writer = writer_, alive = alive_, answer = std::move(answer)]() mutable {
      if (*alive) writer->Reply(answer.status, std::move(answer.headers), answer.body);
    });
  }

 private:
  http::ResponseWriter* writer_;
  http::Loop* loop_;
  std::shared_ptr<bool> alive_;  // shared with the sink; on the loop only
};

/// Collects a body and hands it on with the way back.
class Sink final : public http::RequestSink {
 public:
  using Handle = absl::AnyInvocable<void(const std::string& body, const WayBack& back)>;
  Sink(http::ResponseWriter& writer, Handle handle)
      : alive_(std::make_shared<bool>(true)),
        body_(http::CollectBody(writer, kMaxBodyBytes,
                                [handle = std::move(handle), back = WayBack(writer, alive_)](
                                    const std::string& body) mutable { handle(body, back); })) {}
  ~Sink() override { *alive_ = false; }

  void OnData(std::string_view data) override { body_->OnData(data); }
  void OnEnd() override { body_->OnEnd(); }
  void OnAbort() override {
    *alive_ = false;
    body_->OnAbort();
  }

 private:
  const std::shared_ptr<bool> alive_;  // shared with the answers under way
  const std::unique_ptr<http::RequestSink> body_;
};

class CallsHandler final : public http::Handler {
 public:
  CallsHandler(member::Member* member, Logger* logger)
      : member_(*member), logger_(*logger), cluster_id_(cluster::IdText(member->cluster_id().value())) {}

  std::unique_ptr<http::RequestSink> Start(const http::Request& request,
                                           http::ResponseWriter& writer) override {
    return std::make_unique<Sink>(writer, [this, &request](const std::string& body, const WayBack& back) {
      Handle(request, body, back);
    });
  }

 private:
  void Handle(const http::Request& request, const std::string& body, const WayBack& back) {
    const std::string_view path = request.path;
    if (path == "/members") {
      if (Allowed(request, "GET", back)) back.Send(Json(cluster::MembersToJson(member_.cluster().members())));
    } else if (path.starts_with(kPromotePrefix)) {
      if (Allowed(request, "POST", back)) Promote(path.substr(kPromotePrefix.size()), back);
    } else if (path == "/members/hashkv") {
      if (Allowed(request, "GET", back)) HashKv(request, body, back);
    } else if (path == "/leases" || path == "/leases/internal") {
      if (request.method != "POST") return back.Send(Error(405, "Method Not Allowed"));
      path == "/leases" ? Renew(body, back) : TimeToLive(body, back);
    } else if (path == "/downgrade/enabled") {
      if (Allowed(request, "GET", back)) DowngradeEnabled(back);
    } else {
      back.Send(Error(404, "404 page not found"));
    }
  }

  static bool Allowed(const http::Request& request, std::string_view method, const WayBack& back) {
    if (request.method == method) return true;
    Answer answer = Error(405, "Method Not Allowed");
    answer.headers.emplace_back("allow", method);
    back.Send(std::move(answer));
    return false;
  }

  MonotonicTime Deadline() const { return SystemClock().Now() + member_.options().request_timeout(); }

  Answer WithClusterId(Answer answer) const {
    answer.headers.emplace_back("x-etcd-cluster-id", cluster_id_);
    return answer;
  }
  Answer Json(std::string body) const {
    return WithClusterId({.headers = {{"content-type", "application/json"}}, .body = std::move(body)});
  }
  static Answer Protobuf(std::string body) {
    return {.headers = {{"content-type", "application/protobuf"}}, .body = std::move(body)};
  }

  void Promote(std::string_view id_text, const WayBack& back) {
    uint64_t id = 0;
    const auto [end, error] = std::from_chars(id_text.data(), id_text.data() + id_text.size(), id);
    if (error != std::errc() || end != id_text.data() + id_text.size()) {
      return back.Send(WithClusterId(Error(404, fmt::format("member {} not found in cluster", id_text))));
    }
    member_.PromoteMember(MemberId(id), Deadline(),
                          [this, id, back](const absl::StatusOr<std::vector<cluster::Member>>& members) {
                            if (members.ok()) return back.Send(Json(cluster::MembersToJson(*members)));
                            KVORUM_LOG(logger_, kWarn, "failed to promote a member",
                                       LogField::Id("member-id", id),
                                       {"error", std::string(members.status().message())});
                            back.Send(WithClusterId(PromoteError(members.status())));
                          });
  }

  static Answer PromoteError(const absl::Status& status) {
    const std::string_view text(status.message().data(), status.message().size());
    if (text == "membership: ID not found") return Error(404, text);
    if (text == "membership: can only promote a learner member" ||
        text == "etcdserver: can only promote a learner member which is in sync with leader") {
      return Error(412, text);
    }
    return {.status = 500,
            .headers = {{"content-type", "application/json"}},
            .body = R"({"message":"Internal Server Error"})"};
  }

  void HashKv(const http::Request& request, const std::string& body, const WayBack& back) {
    const std::string_view* cluster = request.Find("x-etcd-cluster-id");
    if (cluster != nullptr && !cluster->empty() && *cluster != cluster_id_) {
      return back.Send(Error(412, "cluster ID mismatch"));
    }
    const absl::StatusOr<int64_t> revision = HashRequestFromJson(body);
    if (!revision.ok()) return back.Send(Error(400, "error unmarshalling request"));
    member_.HashKv(*revision, [this, back](const absl::StatusOr<mvcc::HashResult>& hash) {
      back.Send(hash.ok() ? Json(HashResultToJson(*hash)) : Error(400, Text(hash.status())));
    });
  }

  /// Only a leader renews; one that is not must not ask the next.
  void Renew(const std::string& body, const WayBack& back) {
    const absl::StatusOr<LeaseId> id = ParseRenewal(body);
    if (!id.ok()) return back.Send(Error(400, "error unmarshalling request"));
    if (!member_.status().is_leader) return back.Send(LeaseError(lease::NotPrimaryError(), 400));
    member_.RenewLease(*id, [id = *id, back](const absl::StatusOr<int64_t>& ttl) {
      if (!ttl.ok()) return back.Send(LeaseError(ttl.status(), 400));
      back.Send(Protobuf(EncodeRenewed({.id = id, .ttl_seconds = *ttl})));
    });
  }

  void TimeToLive(const std::string& body, const WayBack& back) {
    const absl::StatusOr<LeaseQuestion> question = ParseLeaseQuestion(body);
    if (!question.ok()) return back.Send(Error(400, "error unmarshalling request"));
    if (!member_.status().is_leader) {
      const bool known = member_.lessor().Exists(question->id);
      return back.Send(LeaseError(known ? lease::NotPrimaryError() : lease::NotFoundError(), 500));
    }
    member_.LeaseTimeToLive(question->id, question->with_keys,
                            [back](const absl::StatusOr<lease::LeaseView>& view) {
                              if (!view.ok()) return back.Send(LeaseError(view.status(), 500));
                              back.Send(Protobuf(EncodeLeaseView(*view)));
                            });
  }

  static Answer LeaseError(const absl::Status& status, int otherwise) {
    if (status == lease::NotFoundError()) return Error(404, Text(status));
    if (status == member::TimeoutError()) {
      return Error(408, "waiting for node to catch up its applied index has timed out");
    }
    return Error(otherwise, Text(status));
  }

  void DowngradeEnabled(const WayBack& back) {
    auto answer = [this, back] {
      const bool enabled = member_.cluster().downgrade().enabled;
      back.Send(
          WithClusterId({.headers = {{"content-type", "text/plain"}}, .body = enabled ? "true" : "false"}));
    };
    absl::AnyInvocable<void(absl::Status)> confirmed = [this, answer, back](const absl::Status& status) {
      if (status.ok()) return answer();
      back.Send(WithClusterId(Error(500, fmt::format("failed linearized read: {}", Text(status)))));
    };
    if (member_.ConfirmRead(Deadline(), &confirmed)) answer();
  }

  static std::string Text(const absl::Status& status) { return std::string(status.message()); }

  member::Member& member_;
  Logger& logger_;
  const std::string cluster_id_;
};

}  // namespace

std::unique_ptr<http::Handler> NewCallsHandler(member::Member* member, Logger* logger) {
  return std::make_unique<CallsHandler>(member, logger);
}

}  // namespace kvorum::peer
