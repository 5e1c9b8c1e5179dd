#include "v2/wire.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>

#include "base/check.h"

namespace kvorum::test {

WireConnection::WireConnection(int port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  KVORUM_CHECK(connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0,
               "cannot connect to port {}", port);
  const int on = 1;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

WireConnection::~WireConnection() { close(fd_); }

void WireConnection::Send(std::string_view bytes, bool is_head) {
  answer_ = Answer();
  have_head_ = false;
  is_head_ = is_head;
  while (!bytes.empty()) {
    const ssize_t n = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

bool WireConnection::AwaitHead(std::chrono::milliseconds patience) { return Await(patience, false); }

bool WireConnection::AwaitEnd(std::chrono::milliseconds patience) { return Await(patience, true); }

void WireConnection::Take() {
  while (!answer_.ended && Receive(0)) {
  }
}

bool WireConnection::Await(std::chrono::milliseconds patience, bool whole) {
  const auto end = std::chrono::steady_clock::now() + patience;
  for (;;) {
    if (answer_.ended || (have_head_ && !whole)) return true;
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    if (left.count() <= 0 || !Receive(static_cast<int>(left.count()))) return false;
  }
}

bool WireConnection::Receive(int milliseconds) {
  pollfd waiting{fd_, POLLIN, 0};
  if (poll(&waiting, 1, milliseconds) <= 0) return false;
  char buffer[64 << 10];
  const ssize_t n = recv(fd_, buffer, sizeof(buffer), 0);
  if (n > 0) {
    raw_.append(buffer, static_cast<size_t>(n));
  } else {
    closed_ = true;
    reusable_ = false;
  }
  Parse();
  return true;
}

void WireConnection::Parse() {
  while (!have_head_) {
    const size_t end = raw_.find("\r\n\r\n");
    if (end == std::string::npos) {
      if (closed_) answer_.ended = true;
      return;
    }
    ParseHead(std::string_view(raw_).substr(0, end + 2));
    raw_.erase(0, end + 4);
    have_head_ = answer_.status != 100;
  }
  if (is_head_ || answer_.status == 204 || answer_.status == 304) {
    answer_.ended = true;
  } else if (answer_.headers.contains("transfer-encoding")) {
    ParseChunks();
  } else if (const auto length = answer_.headers.find("content-length"); length != answer_.headers.end()) {
    const size_t wanted = std::strtoull(length->second.c_str(), nullptr, 10);
    const size_t taken = std::min(wanted - answer_.body.size(), raw_.size());
    answer_.body.append(raw_, 0, taken);
    raw_.erase(0, taken);
    answer_.ended = answer_.body.size() == wanted;
  } else {
    answer_.body += raw_;
    raw_.clear();
  }
  if (closed_) answer_.ended = true;
}

void WireConnection::ParseHead(std::string_view head) {
  answer_.headers.clear();
  const size_t blank = head.find(' ');
  answer_.status = blank == std::string_view::npos ? 0 : std::atoi(head.data() + blank + 1);
  head.remove_prefix(head.find("\r\n") + 2);
  while (!head.empty()) {
    const std::string_view line = head.substr(0, head.find("\r\n"));
    head.remove_prefix(line.size() + 2);
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    std::string name(line.substr(0, colon));
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    std::string_view value = line.substr(colon + 1);
    while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
    std::string& known = answer_.headers[name];
    known += (known.empty() ? "" : ", ") + std::string(value);
  }
  const auto connection = answer_.headers.find("connection");
  if (connection != answer_.headers.end() && connection->second == "close") reusable_ = false;
}

void WireConnection::ParseChunks() {
  for (;;) {
    const size_t line = raw_.find("\r\n");
    if (line == std::string::npos) return;
    const size_t size = std::strtoull(raw_.c_str(), nullptr, 16);
    if (raw_.size() < line + 2 + size + 2) return;
    answer_.body.append(raw_, line + 2, size);
    raw_.erase(0, line + 2 + size + 2);
    if (size == 0) {
      answer_.ended = true;
      return;
    }
  }
}

}  // namespace kvorum::test
