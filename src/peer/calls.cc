#include "peer/calls.h"

#include <algorithm>
#include <charconv>
#include <memory>
#include <utility>

#include "base/status.h"
#include "cluster/members_json.h"
#include "fmt/format.h"
#include "member/errors.h"
#include "mvcc/types.h"
#include "peer/calls_format.h"

namespace kvorum::peer {
namespace {

using http::ClientRequest;
using http::ClientResponse;

constexpr std::string_view kJson = "application/json";
constexpr std::string_view kProtobuf = "application/protobuf";

/// An answer that says nothing about what was asked: the next URL may do better.
absl::Status NoAnswer(std::string text) { return absl::UnavailableError(text); }

absl::Status UnexpectedStatus(const ClientResponse& response) {
  return NoAnswer(
      fmt::format("unexpected http status {}: {}", response.status, response.body.substr(0, 256)));
}

/// What is unreadable is no answer.
template <typename T>
absl::StatusOr<T> Readable(absl::StatusOr<T> parsed) {
  if (!parsed.ok()) return NoAnswer(std::string(parsed.status().message()));
  return parsed;
}

/// One question, asked at one URL after the other until there is an answer. Owned by its callbacks.
template <typename T>
struct Question {
  http::Client* client = nullptr;
  Logger* logger = nullptr;
  member::PeerCalls::Urls urls;
  ClientRequest request;  ///< its URL is the path
  MonotonicTime deadline;
  std::function<absl::StatusOr<T>(ClientResponse& response)> read;
  member::PeerCalls::Done<T> done;
  size_t next = 0;
  absl::Status last = absl::UnavailableError("no peer URL to ask at");
};

template <typename T>
void Ask(std::shared_ptr<Question<T>> question) {
  Question<T>& q = *question;
  if (q.next == q.urls.size()) return q.done(q.last);
  ClientRequest request = q.request;
  request.url = q.urls[q.next] + request.url;
  // A URL that hangs leaves time for those after it.
  const MonotonicTime now = SystemClock().Now();
  const auto left = static_cast<int64_t>(q.urls.size() - q.next++);
  const MonotonicTime deadline = now + std::max(q.deadline - now, MonotonicTime::duration(0)) / left;
  http::Client& client = *q.client;
  client.Call(std::move(request), deadline,
              [question = std::move(question)](absl::StatusOr<ClientResponse> response) mutable {
                Question<T>& asked = *question;
                absl::StatusOr<T> answer = response.ok() ? asked.read(*response) : response.status();
                const bool none = absl::IsUnavailable(answer.status()) || !response.ok();
                if (!none || absl::IsCancelled(answer.status())) return asked.done(std::move(answer));
                KVORUM_LOG(*asked.logger, kDebug, "a member did not answer",
                           {"url", asked.urls[asked.next - 1] + asked.request.url},
                           {"error", std::string(answer.status().message())});
                asked.last = answer.status();
                Ask(std::move(question));
              });
}

class Calls final : public member::PeerCalls {
 public:
  Calls(http::Client* client, Logger* logger) : client_(client), logger_(logger) {}

  void RenewLease(Urls urls, LeaseId id, MonotonicTime deadline, Done<int64_t> done) override {
    Start<int64_t>(std::move(urls), Post("/leases", EncodeRenewal(id)), deadline, std::move(done),
                   [id](const ClientResponse& response) -> absl::StatusOr<int64_t> {
                     KVORUM_RETURN_IF_ERROR(CheckLeaseStatus(response));
                     KVORUM_ASSIGN_OR_RETURN(const Renewed renewed, Readable(ParseRenewed(response.body)));
                     if (renewed.id != id) return NoAnswer("lease: renew id mismatch");
                     return renewed.ttl_seconds;
                   });
  }

  void LeaseTimeToLive(Urls urls, LeaseId id, bool with_keys, MonotonicTime deadline,
                       Done<lease::LeaseView> done) override {
    const std::string body = EncodeLeaseQuestion({.id = id, .with_keys = with_keys});
    Start<lease::LeaseView>(std::move(urls), Post("/leases/internal", body), deadline, std::move(done),
                            [id](const ClientResponse& response) -> absl::StatusOr<lease::LeaseView> {
                              KVORUM_RETURN_IF_ERROR(CheckLeaseStatus(response));
                              KVORUM_ASSIGN_OR_RETURN(lease::LeaseView view,
                                                      Readable(ParseLeaseView(response.body)));
                              if (view.id != id) return NoAnswer("lease: TTL id mismatch");
                              return view;
                            });
  }

  void PromoteMember(Urls urls, MemberId id, MonotonicTime deadline,
                     Done<std::vector<cluster::Member>> done) override {
    ClientRequest request = {.method = "POST", .url = fmt::format("/members/promote/{}", id.value())};
    Start<std::vector<cluster::Member>>(
        std::move(urls), std::move(request), deadline, std::move(done),
        [](const ClientResponse& response) -> absl::StatusOr<std::vector<cluster::Member>> {
          KVORUM_RETURN_IF_ERROR(CheckPromoteStatus(response));
          return Readable(cluster::MembersFromJson(response.body));
        });
  }

  void HashKv(Urls urls, ClusterId cluster, int64_t revision, MonotonicTime deadline,
              Done<mvcc::HashResult> done) override {
    ClientRequest request = {.url = "/members/hashkv", .body = HashRequestToJson(revision)};
    request.headers = {{"content-type", std::string(kJson)},
                       {"x-etcd-cluster-id", cluster::IdText(cluster.value())}};
    Start<mvcc::HashResult>(std::move(urls), std::move(request), deadline, std::move(done),
                            [revision](const ClientResponse& response) -> absl::StatusOr<mvcc::HashResult> {
                              KVORUM_RETURN_IF_ERROR(CheckHashStatus(response));
                              return Readable(HashResultFromJson(response.body, revision));
                            });
  }

  void Members(Urls urls, MonotonicTime deadline, Done<member::PeerMembers> done) override {
    Start<member::PeerMembers>(std::move(urls), {.url = "/members"}, deadline, std::move(done), &ReadMembers);
  }

  void Versions(Urls urls, MonotonicTime deadline, Done<member::PeerVersions> done) override {
    Start<member::PeerVersions>(std::move(urls), {.url = "/version"}, deadline, std::move(done),
                                [](const ClientResponse& response) -> absl::StatusOr<member::PeerVersions> {
                                  if (response.status != 200) return UnexpectedStatus(response);
                                  return Readable(VersionsFromJson(response.body));
                                });
  }

  void DowngradeEnabled(Urls urls, MonotonicTime deadline, Done<bool> done) override {
    Start<bool>(std::move(urls), {.url = "/downgrade/enabled"}, deadline, std::move(done),
                [](const ClientResponse& response) -> absl::StatusOr<bool> {
                  // Releases that know no downgrade do not know the path.
                  if (response.status == 404) return false;
                  if (response.status != 200) return UnexpectedStatus(response);
                  if (response.body != "true" && response.body != "false") {
                    return NoAnswer("neither true nor false");
                  }
                  return response.body == "true";
                });
  }

 private:
  static ClientRequest Post(std::string path, std::string body) {
    return {.method = "POST",
            .url = std::move(path),
            .headers = {{"content-type", std::string(kProtobuf)}},
            .body = std::move(body)};
  }

  template <typename T, typename Read>
  void Start(Urls urls, ClientRequest request, MonotonicTime deadline, Done<T> done, Read read) {
    auto question = std::make_shared<Question<T>>();
    question->client = client_;
    question->logger = logger_;
    question->urls = std::move(urls);
    question->request = std::move(request);
    question->deadline = deadline;
    question->read = std::move(read);
    question->done = std::move(done);
    Ask(std::move(question));
  }

  static absl::Status CheckLeaseStatus(const ClientResponse& response) {
    if (response.status == 200) return absl::OkStatus();
    if (response.status == 404) return lease::NotFoundError();
    if (response.status == 408) return member::AppliedWaitTimeoutError();
    return NoAnswer(fmt::format("lease: unknown error({})", response.body.substr(0, 256)));
  }

  static absl::Status CheckPromoteStatus(const ClientResponse& response) {
    if (response.status == 200) return absl::OkStatus();
    if (response.status == 404) return absl::NotFoundError("membership: ID not found");
    if (response.status == 408) return member::TimeoutError();
    for (const std::string_view text :
         {"etcdserver: can only promote a learner member which is in sync with leader",
          "membership: can only promote a learner member"}) {
      if (response.status == 412 && response.body.find(text) != std::string::npos) {
        return absl::FailedPreconditionError(absl::string_view(text.data(), text.size()));
      }
    }
    return NoAnswer(fmt::format("member promote: unknown error({})", response.body.substr(0, 256)));
  }

  static absl::Status CheckHashStatus(const ClientResponse& response) {
    if (response.status == 200) return absl::OkStatus();
    for (const absl::Status& error : {mvcc::CompactedError(), mvcc::FutureRevisionError()}) {
      if (response.status == 400 && response.body.find(std::string(error.message())) != std::string::npos) {
        return error;
      }
    }
    if (response.status == 412 && response.body.find("cluster ID mismatch") != std::string::npos) {
      return absl::FailedPreconditionError("cluster ID mismatch");
    }
    return UnexpectedStatus(response);
  }

  static absl::StatusOr<member::PeerMembers> ReadMembers(const ClientResponse& response) {
    if (response.status != 200) return UnexpectedStatus(response);
    const std::string* id = response.Find("x-etcd-cluster-id");
    if (id == nullptr) return NoAnswer("an answer without a cluster id");
    uint64_t number = 0;
    const auto [end, error] = std::from_chars(id->data(), id->data() + id->size(), number, 16);
    if (error != std::errc() || end != id->data() + id->size()) {
      return NoAnswer("an answer with a malformed cluster id");
    }
    KVORUM_ASSIGN_OR_RETURN(std::vector<cluster::Member> members,
                            Readable(cluster::MembersFromJson(response.body)));
    return member::PeerMembers{.cluster_id = ClusterId(number), .members = std::move(members)};
  }

  http::Client* const client_;
  Logger* const logger_;
};

}  // namespace

std::unique_ptr<member::PeerCalls> NewCalls(http::Client* client, Logger* logger) {
  return std::make_unique<Calls>(client, logger);
}

}  // namespace kvorum::peer
