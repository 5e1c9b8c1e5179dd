#include "nothing_server.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "sockets.h"

namespace kvorum::bench {
namespace {

constexpr std::string_view kEndOfHead = "\r\n\r\n";
constexpr std::string_view kLength = "Content-Length: ";

/// The answers, of the sizes that they have in the v2 API for a value of --value-bytes.
struct Answers {
  explicit Answers(const Options& options) {
    const std::string fields =
        "Content-Type: application/json\r\nX-Etcd-Cluster-Id: cdf818194e3a8c32\r\nX-Etcd-Index: 1000007\r\n"
        "X-Raft-Index: 1000011\r\nX-Raft-Term: 2\r\nDate: Mon, 02 Jan 2006 15:04:05 GMT\r\n";
    const std::string key(std::max<size_t>(options.key_bytes, 6), 'k');
    const std::string node = "{\"key\":\"/" + key + "\",\"value\":\"" +
                             std::string(options.value_bytes, 'v') +
                             "\",\"modifiedIndex\":1000007,\"createdIndex\":1000007}";
    const auto whole = [&](const std::string& body) {
      return "HTTP/1.1 200 OK\r\n" + fields + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
             body;
    };
    const std::string event = "{\"action\":\"set\",\"node\":" + node + ",\"prevNode\":" + node + "}\n";
    get = whole("{\"action\":\"get\",\"node\":" + node + "}\n");
    put = whole(event);
    wait = "HTTP/1.1 200 OK\r\n" + fields + "Transfer-Encoding: chunked\r\n\r\n";
    char size[20];
    std::snprintf(size, sizeof size, "%zx\r\n", event.size());
    woken = size + event + "\r\n0\r\n\r\n";
  }
  std::string get;
  std::string put;
  std::string wait;
  std::string woken;
};

struct Connection {
  int fd = -1;
  bool putting = false;  // a put's head came, its answer is not made
  size_t body_left = 0;  // of a put's form, to be passed over
};

/// What puts wait for. The file has its size and its blocks from the beginning (zeros were written: space
/// that was only promised would become the file's by a write to the file system's journal), and is begun
/// again at its end.
class Log {
 public:
  explicit Log(const std::string& path)
      : fd_(open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)) {
    if (fd_ < 0) Fail(path.c_str());
    const std::string zeros(1 << 20, '\0');
    for (size_t at = 0; at < kBytes; at += zeros.size()) Write(zeros, at);
    Sync();
  }

  /// Returns when the bytes are on the disk.
  void Append(std::string_view bytes) {
    while (!bytes.empty()) {
      const std::string_view part = bytes.substr(0, kBytes - end_);
      Write(part, end_);
      end_ = (end_ + part.size()) % kBytes;
      bytes.remove_prefix(part.size());
    }
    Sync();
  }

 private:
  static constexpr size_t kBytes = 64 << 20;

  void Write(std::string_view bytes, size_t at) {
    if (pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(at)) !=
        static_cast<ssize_t>(bytes.size())) {
      Fail("write of the log");
    }
  }
  void Sync() {
    if (fdatasync(fd_) != 0) Fail("fdatasync of the log");
  }

  const int fd_;
  size_t end_ = 0;
};

/// Some of the connections, on a thread of their own.
class Worker {
 public:
  /// `log`: null where puts are not written.
  Worker(const Answers* answers, std::vector<std::unique_ptr<Worker>>* all, std::unique_ptr<Log> log)
      : answers_(*answers),
        all_(*all),
        log_(std::move(log)),
        epoll_(epoll_create1(EPOLL_CLOEXEC)),
        put_(eventfd(0, EFD_CLOEXEC)) {
    Add(put_, nullptr);
  }

  /// From any thread.
  void Take(int fd) { Add(fd, new Connection{.fd = fd}); }
  void Wake() {
    const uint64_t one = 1;
    if (write(put_, &one, sizeof one) != sizeof one) Fail("eventfd");
  }

  [[noreturn]] void Run() {
    epoll_event events[256];
    while (true) {
      const int count = epoll_wait(epoll_, events, 256, -1);
      for (int i = 0; i < count; ++i) {
        auto* const connection = static_cast<Connection*>(events[i].data.ptr);
        connection == nullptr ? AnswerWaiters() : Read(connection);
      }
      EndTurn();
    }
  }

 private:
  void Add(int fd, Connection* connection) {
    epoll_event event{EPOLLIN, {.ptr = connection}};
    if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) Fail("epoll_ctl");
  }

  void Read(Connection* connection) {
    char buffer[64 << 10];
    const ssize_t n = recv(connection->fd, buffer, sizeof buffer, 0);
    if (n <= 0) {
      std::erase(waiting_, connection);
      close(connection->fd);
      delete connection;
      return;
    }
    const std::string_view input(buffer, static_cast<size_t>(n));
    out_.clear();
    const uint64_t puts_before = puts_;
    const bool written = Answer(connection, input) && log_ != nullptr;
    if (written) to_write_ += input;
    if (out_.empty()) return;
    // Of what was answered on this connection in one turn, gets behind a put wait with it.
    if (written && puts_ != puts_before) {
      held_.push_back({connection->fd, out_});
    } else {
      Send(connection->fd, out_);
    }
  }

  /// Makes the answers to the requests that end in the input. True where some of it is a put's.
  bool Answer(Connection* connection, std::string_view input) {
    bool put = false;
    while (true) {
      const size_t body = std::min(connection->body_left, input.size());
      connection->body_left -= body;
      input.remove_prefix(body);
      if (connection->putting) {
        put = true;
        if (connection->body_left > 0) return put;
        connection->putting = false;
        out_ += answers_.put;
        ++puts_;
      }
      if (input.empty()) return put;
      const size_t end = input.find(kEndOfHead);
      if (end == std::string_view::npos) {
        std::fprintf(stderr, "kvorum-bench: a head came in pieces\n");
        std::exit(1);
      }
      const std::string_view head = input.substr(0, end);
      input.remove_prefix(end + kEndOfHead.size());
      if (head[0] == 'P') {
        const size_t length = head.find(kLength);
        if (length != std::string_view::npos) {
          connection->body_left = static_cast<size_t>(std::atoi(head.data() + length + kLength.size()));
        }
        connection->putting = true;
      } else if (head.substr(0, head.find('\r')).find("wait=") != std::string_view::npos) {
        out_ += answers_.wait;
        waiting_.push_back(connection);
        has_waiting_ = true;
      } else {
        out_ += answers_.get;
      }
    }
  }

  /// What was put in this turn comes to the disk by one write, is answered, and wakes who waits.
  void EndTurn() {
    if (!to_write_.empty()) log_->Append(to_write_);
    to_write_.clear();
    for (const auto& [fd, answers] : held_) Send(fd, answers);
    held_.clear();
    if (puts_ == 0) return;
    puts_ = 0;
    for (const std::unique_ptr<Worker>& worker : all_) {
      if (worker->has_waiting_) worker->Wake();
    }
  }

  void AnswerWaiters() {
    uint64_t ignored;
    if (read(put_, &ignored, sizeof ignored) != sizeof ignored) Fail("eventfd");
    for (const Connection* connection : waiting_) Send(connection->fd, answers_.woken);
    waiting_.clear();
    has_waiting_ = false;
  }

  /// What a client does not take at once is lost, and the client with it.
  void Send(int fd, std::string_view bytes) {
    if (send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size())) {
      shutdown(fd, SHUT_RDWR);
    }
  }

  const Answers& answers_;
  const std::vector<std::unique_ptr<Worker>>& all_;
  const std::unique_ptr<Log> log_;
  const int epoll_;
  const int put_;  // readable when somebody has put something
  std::string out_;
  // Of this turn.
  uint64_t puts_ = 0;                              // answered
  std::string to_write_;                           // what came of puts
  std::vector<std::pair<int, std::string>> held_;  // their answers, until it is written
  std::vector<Connection*> waiting_;
  std::atomic<bool> has_waiting_{false};
};

int Listen(const std::string& target) {
  const sockaddr_in address = AddressOf(target);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) Fail("bind");
  if (listen(fd, SOMAXCONN) != 0) Fail("listen");
  return fd;
}

}  // namespace

void ServeNothing(const Options& options) {
  const Answers answers(options);
  std::vector<std::unique_ptr<Worker>> workers;
  const size_t count = std::max(1u, std::thread::hardware_concurrency());
  for (size_t i = 0; i < count; ++i) {
    auto log = options.log.empty() ? nullptr : std::make_unique<Log>(options.log + "." + std::to_string(i));
    workers.push_back(std::make_unique<Worker>(&answers, &workers, std::move(log)));
  }
  for (const auto& worker : workers) std::thread([&worker] { worker->Run(); }).detach();
  const int listener = Listen(options.targets[0]);
  std::printf("ready\n");
  std::fflush(stdout);
  for (size_t next = 0;; ++next) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) Fail("accept");
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    workers[next % count]->Take(fd);
  }
}

}  // namespace kvorum::bench
