#include "discovery/v2.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/synchronization/notification.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/status.h"
#include "discovery/keys_answer.h"
#include "fmt/format.h"
#include "http/url.h"

namespace kvorum::discovery {
namespace {

constexpr std::chrono::seconds kRequestTimeout(5);
/// A watch that says nothing for so long is opened anew: its server may be gone without a word.
constexpr std::chrono::minutes kWatchTimeout(5);
constexpr std::chrono::seconds kPauseAfterEmptyWatch(1);
constexpr int kMaxRedirects = 10;
constexpr int kKeyExists = 105;
constexpr int kHistoryCleared = 401;
constexpr uint64_t kMaxRetries = std::numeric_limits<uint32_t>::max();
constexpr std::string_view kConfigName = "_config";
constexpr std::string_view kNoQuorum = "quorum=false&recursive=false&sorted=false";

std::string_view BaseName(std::string_view key) { return key.substr(key.rfind('/') + 1); }

bool IsConnectionError(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
}

/// --discovery-proxy as a URL (reference: §7.1).
absl::StatusOr<std::string> ProxyUrl(const std::string& proxy) {
  if (proxy.empty()) return proxy;
  const std::string url =
      proxy.starts_with("http") && http::ParseHttpUrl(proxy).ok() ? proxy : "http://" + proxy;
  if (http::ParseHttpUrl(url).ok()) return url;
  return absl::InvalidArgumentError(fmt::format("invalid proxy address \"{}\": {}", proxy,
                                                std::string(http::ParseHttpUrl(proxy).status().message())));
}

/// One member's or proxy's way through the protocol. Of one thread.
class Session {
 public:
  Session(const V2Options& options, const Registration* self)
      : client_(*options.client), logger_(*options.logger), pause_(options.pause), self_(self) {
    if (self_ != nullptr) own_name_ = fmt::format("{:x}", self_->id.value());
  }

  absl::Status SetUrls(const V2Options& options) {
    KVORUM_ASSIGN_OR_RETURN(proxy_, ProxyUrl(options.proxy));
    if (!proxy_.empty()) {
      KVORUM_LOG(logger_, kInfo, "running proxy with discovery", {"proxy-url", proxy_});
    }
    const absl::StatusOr<http::HttpUrl> url = http::ParseHttpUrl(options.url);
    if (!url.ok()) return url.status();
    server_ = options.url.substr(0, options.url.find("://") + 3) + url->authority;
    token_ = url->target.substr(0, url->target.find('?'));
    while (token_.ends_with('/')) token_.pop_back();
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Join() {
    KVORUM_ASSIGN_OR_RETURN(View view, Check());
    if (view.full) return FullError();
    KVORUM_ASSIGN_OR_RETURN(const uint64_t created, Register());
    KVORUM_RETURN_IF_ERROR(Confirm(created));
    KVORUM_ASSIGN_OR_RETURN(view, Check());
    if (view.full) return FullError();
    return WaitAndBuild(std::move(view));
  }

  absl::StatusOr<std::string> LookUp() {
    KVORUM_ASSIGN_OR_RETURN(View view, Check());
    return WaitAndBuild(std::move(view));
  }

 private:
  struct Peer {
    std::string name;  ///< an id in hex
    std::string value;
    uint64_t created = 0;
  };
  /// The token as it stood at one index of the key space.
  struct View {
    size_t size = 0;
    std::string directory;    ///< the token's key
    std::vector<Peer> peers;  ///< in the order in which they came
    uint64_t index = 0;
    bool full = false;  ///< of others
  };

  // One request each. Errors: what ParseKeysAnswer and http::Client say; what a status of 3xx misses.

  absl::StatusOr<KeysAnswer> Get(std::string_view below, std::string_view query) {
    return Ask({.url = fmt::format("{}{}{}?{}", server_, token_, below, query)}, kRequestTimeout);
  }
  absl::StatusOr<KeysAnswer> Watch(std::string_view below, bool recursive, uint64_t index) {
    return Ask({.url = fmt::format("{}{}{}?quorum=false&recursive={}&sorted=false&wait=true&waitIndex={}",
                                   server_, token_, below, recursive, index)},
               kWatchTimeout);
  }

  absl::StatusOr<KeysAnswer> Ask(http::ClientRequest request, std::chrono::nanoseconds timeout) {
    request.proxy = proxy_;
    for (int redirects = 0; redirects <= kMaxRedirects; ++redirects) {
      absl::StatusOr<http::ClientResponse> response = Send(request, timeout);
      if (!response.ok()) return Misconfigured(response.status());
      if (response->status / 100 != 3) {
        absl::StatusOr<KeysAnswer> answer = ParseKeysAnswer(*response);
        if (!answer.ok() && IsConnectionError(answer.status())) return Misconfigured(answer.status());
        return answer;
      }
      const std::string* const location = response->Find("location");
      if (location == nullptr) return absl::FailedPreconditionError("client: Location header not set");
      const size_t path = request.url.find('/', request.url.find("://") + 3);
      request.url = location->starts_with('/') ? request.url.substr(0, path) + *location : *location;
    }
    return absl::FailedPreconditionError("client: too many redirects");
  }

  static absl::Status Misconfigured(const absl::Status& cause) {
    return absl::Status(cause.code(),
                        fmt::format("client: etcd cluster is unavailable or misconfigured; error #0: {}",
                                    std::string(cause.message())));
  }

  absl::StatusOr<http::ClientResponse> Send(const http::ClientRequest& request,
                                            std::chrono::nanoseconds timeout) {
    absl::StatusOr<http::ClientResponse> result;
    absl::Notification done;
    client_.Call(request, SystemClock().Now() + timeout, [&](absl::StatusOr<http::ClientResponse> response) {
      result = std::move(response);
      done.Notify();
    });
    done.WaitForNotification();
    return result;
  }

  static absl::Status ErrorOf(const KeysAnswer& answer) {
    return absl::FailedPreconditionError(answer.error->text);
  }

  // The steps of §7.2.

  absl::StatusOr<View> CheckOnce() {
    View view;
    KVORUM_ASSIGN_OR_RETURN(const KeysAnswer size, Get("/_config/size", kNoQuorum));
    if (size.error) return ErrorOf(size);
    KVORUM_ASSIGN_OR_RETURN(view.size, ParseSize(size.node.value));
    KVORUM_ASSIGN_OR_RETURN(KeysAnswer directory, Get("", kNoQuorum));
    if (directory.error) return ErrorOf(directory);
    view.index = directory.index;
    view.directory = directory.node.key;
    for (KeysNode& node : directory.node.nodes) {
      const std::string_view name = BaseName(node.key);
      if (name == kConfigName) continue;
      view.peers.push_back({std::string(name), std::move(node.value), node.created_index});
    }
    Arrange(view);
    return view;
  }

  /// Sorts, and looks whether there is a place among the first.
  void Arrange(View& view) const {
    std::stable_sort(view.peers.begin(), view.peers.end(),
                     [](const Peer& a, const Peer& b) { return a.created < b.created; });
    const auto end = view.peers.begin() + static_cast<ptrdiff_t>(std::min(view.size, view.peers.size()));
    const bool found =
        std::any_of(view.peers.begin(), end, [&](const Peer& p) { return p.name == own_name_; });
    view.full = view.peers.size() >= view.size && !found;
  }

  /// Until the service answers.
  absl::StatusOr<View> Check() {
    while (true) {
      absl::StatusOr<View> view = CheckOnce();
      if (view.ok() || !IsConnectionError(view.status())) return view;
      KVORUM_LOG(logger_, kWarn, "failed to get from discovery server", {"discovery-url", server_},
                 {"path", token_}, {"error", std::string(view.status().message())});
      KVORUM_RETURN_IF_ERROR(WaitToRetry("cluster status check"));
    }
  }

  absl::Status WaitToRetry(std::string_view reason) {
    if (++retries_ >= kMaxRetries) return TooManyRetriesError();
    const std::chrono::nanoseconds time = BackOff(retries_);
    KVORUM_LOG(logger_, kInfo, "retry connecting to discovery service", {"url", server_}, {"reason", reason},
               {"backoff", time});
    pause_(time);
    return absl::OkStatus();
  }

  /// Gives the index at which the own key was made.
  absl::StatusOr<uint64_t> Register() {
    http::ClientRequest request{.method = "PUT",
                                .url = fmt::format("{}{}/{}?prevExist=false", server_, token_, own_name_),
                                .headers = {{"content-type", "application/x-www-form-urlencoded"}},
                                .body = "value=" + FormText(self_->Text())};
    KVORUM_ASSIGN_OR_RETURN(const KeysAnswer answer, Ask(std::move(request), kRequestTimeout));
    if (!answer.error) return answer.node.created_index;
    return answer.error->code == kKeyExists ? DuplicateIdError() : ErrorOf(answer);
  }

  static std::string FormText(std::string_view text) {
    std::string out;
    for (const char c : text) {
      const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                         c == '-' || c == '_' || c == '.' || c == '~';
      if (plain) {
        out.push_back(c);
      } else {
        fmt::format_to(std::back_inserter(out), "%{:02X}", static_cast<unsigned char>(c));
      }
    }
    return out;
  }

  /// Until the server that answers has the own key.
  absl::Status Confirm(uint64_t created) {
    while (true) {
      const absl::StatusOr<KeysAnswer> answer = Watch("/" + own_name_, /*recursive=*/false, created);
      if (answer.ok() && answer->empty) {
        pause_(kPauseAfterEmptyWatch);
      } else if (answer.ok()) {
        // What the history has lost already is there all the more.
        if (answer->error && answer->error->code != kHistoryCleared) return ErrorOf(*answer);
        return absl::OkStatus();
      } else if (!IsConnectionError(answer.status())) {
        return answer.status();
      } else {
        KVORUM_RETURN_IF_ERROR(WaitToRetry("waiting for other nodes"));
      }
    }
  }

  absl::StatusOr<std::string> WaitAndBuild(View view) {
    LogFound(view);
    uint64_t next = view.index + 1;
    while (view.peers.size() < view.size) {
      const absl::StatusOr<KeysAnswer> answer = Watch("", /*recursive=*/true, next);
      if (absl::IsDeadlineExceeded(answer.status())) continue;
      if (!answer.ok() && !IsConnectionError(answer.status())) return answer.status();
      if (!answer.ok()) {
        KVORUM_RETURN_IF_ERROR(WaitToRetry("waiting for other nodes"));
      } else if (answer->empty) {
        pause_(kPauseAfterEmptyWatch);
        continue;
      } else if (!answer->error) {
        if (answer->node.modified_index < next) {
          return absl::FailedPreconditionError("discovery: bad discovery endpoint");
        }
        next = answer->node.modified_index + 1;
        KVORUM_RETURN_IF_ERROR(Take(*answer, view));
        continue;
      } else if (answer->error->code != kHistoryCleared) {
        return ErrorOf(*answer);
      }
      // What happened meanwhile is not known.
      KVORUM_ASSIGN_OR_RETURN(view, Check());
      if (self_ != nullptr && view.full) return FullError();
      next = view.index + 1;
    }
    KVORUM_LOG(logger_, kInfo, "found all needed peers from discovery server", {"discovery-url", server_},
               {"found-peers", uint64_t{view.size}});
    return Build(view);
  }

  void LogFound(const View& view) const {
    for (size_t i = 0; i < std::min(view.size, view.peers.size()); ++i) {
      const std::string& name = view.peers[i].name;
      if (name == own_name_) {
        KVORUM_LOG(logger_, kInfo, "found self from discovery server", {"discovery-url", server_},
                   {"self", name});
      } else {
        KVORUM_LOG(logger_, kInfo, "found peer from discovery server", {"discovery-url", server_},
                   {"peer", name});
      }
    }
    if (view.peers.size() >= view.size) return;
    KVORUM_LOG(logger_, kInfo, "found peers from discovery server; waiting for more",
               {"discovery-url", server_}, {"found-peers", uint64_t{view.peers.size()}},
               {"needed-peers", uint64_t{view.size - view.peers.size()}});
  }

  /// One event on the token's directory.
  absl::Status Take(const KeysAnswer& event, View& view) const {
    const std::string& key = event.node.key;
    const bool gone =
        event.action == "delete" || event.action == "expire" || event.action == "compareAndDelete";
    const bool is_peer = key.size() > view.directory.size() + 1 && key.starts_with(view.directory + "/") &&
                         key.find('/', view.directory.size() + 1) == std::string::npos &&
                         key[view.directory.size() + 1] != '_';
    if (gone && (view.directory == key || view.directory.starts_with(key + "/"))) {
      return absl::NotFoundError("discovery: token not found");
    }
    if (!is_peer) return absl::OkStatus();
    std::erase_if(view.peers, [&](const Peer& peer) { return peer.name == BaseName(key); });
    if (gone) return absl::OkStatus();
    view.peers.push_back({std::string(BaseName(key)), event.node.value, event.node.created_index});
    Arrange(view);
    KVORUM_LOG(logger_, kInfo, "found peer from discovery server", {"discovery-url", server_},
               {"peer", BaseName(key)});
    return absl::OkStatus();
  }

  static absl::StatusOr<std::string> Build(const View& view) {
    std::vector<std::string> values;
    for (size_t i = 0; i < view.size; ++i) values.push_back(view.peers[i].value);
    KVORUM_ASSIGN_OR_RETURN(ClusterText cluster, JoinTexts(values, "discovery: invalid URL"));
    if (cluster.names != view.size) return DuplicateNameError();
    return std::move(cluster.text);
  }

  http::Client& client_;
  Logger& logger_;
  const std::function<void(std::chrono::nanoseconds)> pause_;
  const Registration* const self_;  // null: a proxy
  std::string own_name_;            // empty: a proxy
  std::string proxy_;
  std::string server_;  // scheme and authority
  std::string token_;   // the path of the token
  uint64_t retries_ = 0;
};

}  // namespace

absl::StatusOr<std::string> JoinV2(const V2Options& options, const Registration& self) {
  KVORUM_CHECK(options.client != nullptr);
  Session session(options, &self);
  KVORUM_RETURN_IF_ERROR(session.SetUrls(options));
  return session.Join();
}

bool IsFull(const absl::Status& status) { return FailureOf(status) == Failure::kFull; }

absl::StatusOr<std::string> ClusterV2(const V2Options& options) {
  KVORUM_CHECK(options.client != nullptr);
  Session session(options, nullptr);
  KVORUM_RETURN_IF_ERROR(session.SetUrls(options));
  return session.LookUp();
}

}  // namespace kvorum::discovery
