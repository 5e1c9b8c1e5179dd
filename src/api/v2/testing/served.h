#pragma once

#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cctype>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/synchronization/notification.h"
#include "api/v2/handler.h"
#include "base/check.h"
#include "fmt/format.h"
#include "http/server.h"
#include "member/testing/fake_member.h"

namespace kvorum::api_v2::testing {

/// A response taken apart; header names in lower case.
struct Response {
  int status = 0;
  std::string head;
  std::string body;  ///< as it came, with the marks of chunks where there are any

  /// The header's value, or "-" where it is not there.
  std::string Header(std::string_view name) const {
    const std::string begin = fmt::format("\r\n{}: ", name);
    const size_t at = head.find(begin);
    if (at == std::string::npos) return "-";
    return head.substr(at + begin.size(), head.find("\r\n", at + 2) - at - begin.size());
  }
};

/// An HTTP/1.1 connection that sends what it is told. Reads end after 20 s.
class Connection {
 public:
  explicit Connection(const std::string& address) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const timeval patience{.tv_sec = 20, .tv_usec = 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    KVORUM_CHECK(connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
  }
  ~Connection() { Close(); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void Close() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }
  void Send(std::string_view text) {
    while (!text.empty()) {
      const ssize_t n = send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
      if (n <= 0) return;
      text.remove_prefix(static_cast<size_t>(n));
    }
  }
  void Request(const std::string& method, const std::string& target, const std::string& headers = "") {
    Send(fmt::format("{} {} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", method, target, headers));
  }
  /// Waits until the system took what was sent before: the next piece is another one for the server.
  void Flush() {
    for (int queued = 1; queued > 0;) KVORUM_CHECK(ioctl(fd_, SIOCOUTQ, &queued) == 0);
  }
  /// Everything that came so far, as soon as `text` is among it or the server has closed.
  const std::string& ReadUntil(std::string_view text) {
    char buffer[4096];
    while (received_.find(text) == std::string::npos) {
      const ssize_t n = recv(fd_, buffer, sizeof buffer, 0);
      if (n <= 0) break;
      received_.append(buffer, static_cast<size_t>(n));
    }
    return received_;
  }
  const std::string& ReadAll() { return ReadUntil(std::string_view("\0no such text", 13)); }

 private:
  int fd_;
  std::string received_;
};

inline Response TakeApart(const std::string& text) {
  Response response;
  const size_t end = text.find("\r\n\r\n");
  KVORUM_CHECK(end != std::string::npos, "'{}'", text);
  response.head = text.substr(0, end + 2);
  response.body = text.substr(end + 4);
  response.status = std::stoi(text.substr(text.find(' ')));
  bool name = true;
  for (char& c : response.head) {
    if (c == ':') name = false;
    if (c == '\n') name = true;
    if (name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return response;
}

/// Traffic as a test says it is.
class FakeTraffic final : public member::TrafficStats {
 public:
  Appends received() const override { return received_value; }
  Appends sent() const override { return sent_value; }
  std::map<MemberId, Follower> followers() const override { return followers_value; }

  Appends received_value;
  Appends sent_value;
  std::map<MemberId, Follower> followers_value;
};

/// The v2 API of a fake member, served.
class Served {
 public:
  struct Options {
    std::string discovery_scheme = {};
  };
  Served() : Served(Options{}) {}
  explicit Served(const Options& options_of_test) {
    member::MemberStatus status = member.status();
    status.committed_index = 9;
    status.applied_term = 2;
    member.SetStatus(status);
    handler_ = NewHandler({.member = &member,
                           .stats = &stats,
                           .password_executor = &password_executor_,
                           .metrics = &registry,
                           .discovery_scheme = options_of_test.discovery_scheme});
    http::ServerOptions options;
    options.handler = handler_.get();
    server_ = std::make_unique<http::Server>(&loops_, options);
    address_ = *server_->Listen({"http://127.0.0.1:0"});
    server_->Start();
  }
  ~Served() { Shutdown(); }

  const std::string& address() const { return address_; }
  void Shutdown() {
    if (server_ != nullptr) server_->Shutdown(std::chrono::seconds(5));
    server_.reset();
    // Nothing that is under way finds its handler gone.
    password_executor_.Stop();
    loops_.Stop();
  }

  /// Lets no password be checked until `released`.
  void HoldPasswords(absl::Notification* released) {
    password_executor_.Post([released] { released->WaitForNotification(); });
  }
  /// Asks on a connection of its own.
  Response Ask(const std::string& method, const std::string& target, const std::string& headers = "",
               const std::string& body = "") {
    Connection connection(address_);
    connection.Request(method, target,
                       fmt::format("Connection: close\r\nContent-Length: {}\r\n{}", body.size(), headers));
    connection.Send(body);
    return TakeApart(connection.ReadAll());
  }
  Response Get(const std::string& target) { return Ask("GET", target); }
  Response Delete(const std::string& target) { return Ask("DELETE", target); }
  Response Form(const std::string& method, const std::string& target, const std::string& form) {
    return Ask(method, target, "Content-Type: application/x-www-form-urlencoded\r\n", form);
  }
  Response Put(const std::string& target, const std::string& form) { return Form("PUT", target, form); }

  metrics::Registry registry;
  FakeTraffic stats;

 private:
  http::LoopGroup loops_{1};
  ThreadExecutor password_executor_{"passwords"};

 public:
  member::testing::FakeMember member;

 private:
  std::unique_ptr<http::Handler> handler_;
  std::unique_ptr<http::Server> server_;
  std::string address_;
};

}  // namespace kvorum::api_v2::testing
