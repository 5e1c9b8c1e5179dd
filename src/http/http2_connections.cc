#include "http/http2_connections.h"

#include <algorithm>
#include <utility>

#include "fmt/format.h"

namespace kvorum::http {

namespace {

/// A server that speaks HTTP/2 has said so by then.
constexpr auto kPatience = std::chrono::seconds(5);
/// After a connection that broke or could not be made.
constexpr auto kDialAgain = std::chrono::seconds(1);
/// Every etcd has this page, for everybody.
constexpr std::string_view kQuestion = "/version";

}  // namespace

/// Hears what a server says to HTTP/2.
class Http2Connections::Question final : public ResponseSink {
 public:
  Question(Http2Connections* owner, std::string name) : owner_(*owner), name_(std::move(name)) {}

  void OnHead(ClientResponse head) override { good_ = head.status == 200; }
  void OnData(std::string_view data) override { has_body_ = has_body_ || !data.empty(); }
  void OnEnd(absl::Status status) override { owner_.OnAnswer(name_, status.ok() && good_ && has_body_); }

 private:
  Http2Connections& owner_;
  const std::string name_;
  bool good_ = false;
  bool has_body_ = false;
};

std::shared_ptr<ExchangeConnection> Http2Connections::Find(const std::string& server, const HttpUrl& url) {
  const auto it = servers_.find(server);
  if (it == servers_.end()) {
    // Those that need not be remembered are forgotten where one is added.
    const MonotonicTime now = pool_.loop().clock().Now();
    absl::erase_if(servers_,
                   [now](const auto& one) { return !one.second.busy() && one.second.ask_again <= now; });
  } else {
    const Server& known = it->second;
    if (known.connection != nullptr) {
      return known.question == nullptr && known.connection->HasRoom() ? known.connection : nullptr;
    }
    if (known.busy() || pool_.loop().clock().Now() < known.ask_again) return nullptr;
  }
  Dial(server, url);
  return nullptr;
}

void Http2Connections::Dial(const std::string& name, const HttpUrl& url) {
  const std::shared_ptr<const TlsContext>& own = pool_.options().tls;
  const std::shared_ptr<const TlsContext> context = !url.secure      ? nullptr
                                                    : own != nullptr ? own
                                                                     : TlsContext::SystemClient();
  servers_[name].dialer =
      Dialer::Start(pool_.loop(), url.host, url.port, pool_.loop().clock().Now() + kPatience,
                    [this, name, url](absl::StatusOr<std::unique_ptr<ByteStream>> stream) {
                      Server& server = servers_[name];
                      server.dialer.reset();
                      if (!stream.ok()) {
                        server.ask_again = pool_.loop().clock().Now() + kDialAgain;
                      } else if (url.secure && (*stream)->alpn() != "h2") {
                        (*stream)->Close();
                        server.ask_again = pool_.loop().clock().Now() + pool_.options().http2_retry;
                      } else {
                        Ask(name, url, *std::move(stream));
                      }
                    },
                    {context, {"h2", "http/1.1"}});
}

void Http2Connections::Ask(const std::string& name, const HttpUrl& url, std::unique_ptr<ByteStream> stream) {
  Server& server = servers_[name];
  server.connection =
      std::make_shared<Http2ClientConnection>(&pool_, std::move(stream), [this, name] { OnUnusable(name); });
  const ExchangeOptions options = {.deadline = pool_.loop().clock().Now() + kPatience};
  ClientRequest request = {
      .url = fmt::format("{}://{}{}", url.secure ? "https" : "http", url.authority, kQuestion)};
  server.question = std::make_shared<ClientExchange>(&pool_, std::move(request), options,
                                                     std::make_shared<Question>(this, name), nullptr);
  const std::shared_ptr<Http2ClientConnection> connection = server.connection;
  const std::shared_ptr<ClientExchange> question = server.question;
  connection->Start();
  question->StartOn(connection);
}

void Http2Connections::OnAnswer(const std::string& name, bool speaks) {
  Server& server = servers_[name];
  server.question.reset();
  // A question that was displaced may have got its answer elsewhere.
  if (speaks && server.connection != nullptr && server.connection->answered()) return;
  server.ask_again = pool_.loop().clock().Now() + pool_.options().http2_retry;
  if (const std::shared_ptr<Http2ClientConnection> connection = std::move(server.connection)) {
    connection->Close(absl::UnavailableError("the server does not speak HTTP/2"));
  }
}

void Http2Connections::OnUnusable(const std::string& name) {
  Server& server = servers_[name];
  server.connection.reset();
  server.ask_again = std::max(server.ask_again, pool_.loop().clock().Now() + kDialAgain);
}

void Http2Connections::Stop() {
  for (auto& [name, server] : std::exchange(servers_, {})) {
    if (server.dialer != nullptr) server.dialer->Cancel();
    if (server.question != nullptr) server.question->Cancel();
    if (server.connection != nullptr) {
      server.connection->Close(absl::CancelledError("the HTTP client was stopped"));
    }
  }
}

}  // namespace kvorum::http
