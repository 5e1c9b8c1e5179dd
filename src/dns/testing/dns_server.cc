#include "dns/testing/dns_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "base/check.h"
#include "base/random.h"
#include "fmt/format.h"

extern char** environ;  // NOLINT(readability-redundant-declaration)

namespace kvorum::dns::testing {
namespace {

/// Whether somebody listens there.
bool Answers(const std::string& host, uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  inet_pton(AF_INET, host.c_str(), &address.sin_addr);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool connected = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  close(fd);
  return connected;
}

}  // namespace

DnsServer::DnsServer(const std::vector<std::string>& records) {
  // One of 16 million addresses: what runs beside it has another.
  const uint64_t drawn = SystemEntropy();
  const std::string host =
      fmt::format("127.{}.{}.{}", 1 + drawn % 250, (drawn >> 16) % 250, 1 + (drawn >> 32) % 250);
  const auto port = static_cast<uint16_t>(20'000 + (drawn >> 48) % 12'000);
  address_ = fmt::format("{}:{}", host, port);
  const std::string file = folder_.path() + "/dnsmasq.conf";
  {
    std::ofstream out(file);
    out << "no-resolv\nno-hosts\nkeep-in-foreground\nbind-interfaces\nlocal=/test/\nlocal-ttl=0\npid-file\n"
        << "log-facility=/dev/null\nport=" << port << "\nlisten-address=" << host << '\n';
    if (geteuid() == 0) out << "user=root\n";
    for (const std::string& record : records) out << record << '\n';
  }
  std::string program = "/usr/sbin/dnsmasq";
  std::string option = "--conf-file=" + file;
  char* const argv[] = {program.data(), option.data(), nullptr};
  KVORUM_CHECK(posix_spawn(&pid_, program.c_str(), nullptr, nullptr, argv, environ) == 0, "no {}", program);
  for (int tries = 0; !Answers(host, port); ++tries) {
    KVORUM_CHECK(tries < 6'000 && waitpid(pid_, nullptr, WNOHANG) == 0, "dnsmasq does not start");
    poll(nullptr, 0, 10);
  }
}

DnsServer::~DnsServer() {
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

}  // namespace kvorum::dns::testing
