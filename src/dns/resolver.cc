#include "dns/resolver.h"

#include <ares.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <memory>

#include "base/check.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/status.h"
#include "fmt/format.h"

namespace kvorum::dns {
namespace {

constexpr uint16_t kDnsPort = 53;
/// Of a datagram: what passes every path unbroken (the DNS flag day of 2020).
constexpr int kDatagramBytes = 1232;

/// A server's address as c-ares takes it.
absl::StatusOr<ares_addr_port_node> ParseServer(const std::string& text) {
  ares_addr_port_node node{};
  std::string host = text;
  uint16_t port = kDnsPort;
  const absl::Status bad = absl::InvalidArgumentError(fmt::format(
      "\"{}\" is no address of a DNS server: an IP address, or one with a port, is expected", text));
  const size_t colon = text.rfind(':');
  const bool bracketed = text.starts_with('[');
  const bool has_port =
      colon != std::string::npos && (bracketed ? text[colon - 1] == ']' : text.find(':') == colon);
  if (has_port) {
    const char* end = text.data() + text.size();
    const auto [parsed, error] = std::from_chars(text.data() + colon + 1, end, port);
    if (error != std::errc() || parsed != end || port == 0) return bad;
    host = text.substr(0, colon);
  }
  if (bracketed) {
    if (host.size() < 2 || host.back() != ']') return bad;
    host = host.substr(1, host.size() - 2);
  }
  if (!bracketed && inet_pton(AF_INET, host.c_str(), &node.addr.addr4) == 1) {
    node.family = AF_INET;
  } else if (inet_pton(AF_INET6, host.c_str(), &node.addr.addr6) == 1) {
    node.family = AF_INET6;
  } else {
    return bad;
  }
  node.udp_port = node.tcp_port = port;
  return node;
}

std::string ServerName(const ares_addr_port_node& node) {
  char text[INET6_ADDRSTRLEN] = {};
  inet_ntop(node.family, &node.addr, text, sizeof text);
  const int port = node.udp_port == 0 ? kDnsPort : node.udp_port;
  return node.family == AF_INET6 ? fmt::format("[{}]:{}", text, port) : fmt::format("{}:{}", text, port);
}

/// A c-ares channel for one lookup.
class Channel {
 public:
  explicit Channel(const ResolverOptions& options) : options_(options) {}
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;
  ~Channel() {
    if (channel_ != nullptr) ares_destroy(channel_);
  }

  absl::Status Open() {
    KVORUM_RETURN_IF_ERROR(Initialize(ARES_FLAG_EDNS));
    if (servers_.size() != 1) return absl::OkStatus();
    // Where there is no other to ask, what the server says of its failure is the answer.
    ares_destroy(std::exchange(channel_, nullptr));
    return Initialize(ARES_FLAG_EDNS | ARES_FLAG_NOCHECKRESP);
  }

  ares_channel get() const { return channel_; }

  /// Runs what was asked until it has ended, by force where it takes too long.
  void Run() {
    const MonotonicTime deadline =
        SystemClock().Now() +
        options_.timeout * (options_.tries * std::max<int64_t>(1, static_cast<int64_t>(servers_.size())));
    for (;;) {
      std::array<ares_socket_t, ARES_GETSOCK_MAXNUM> sockets;
      const int wanted = ares_getsock(channel_, sockets.data(), static_cast<int>(sockets.size()));
      std::array<pollfd, ARES_GETSOCK_MAXNUM> polled;
      nfds_t count = 0;
      for (int i = 0; i < ARES_GETSOCK_MAXNUM; ++i) {
        int16_t events = 0;
        if (ARES_GETSOCK_READABLE(wanted, i)) events |= POLLIN;
        if (ARES_GETSOCK_WRITABLE(static_cast<unsigned>(wanted), i)) events |= POLLOUT;
        if (events != 0)
          polled[count++] = {.fd = sockets[static_cast<size_t>(i)], .events = events, .revents = 0};
      }
      if (count == 0) return;
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - SystemClock().Now());
      if (left.count() <= 0) return ares_cancel(channel_);
      const int64_t left_ms = std::min<int64_t>(left.count(), 3'600'000);
      timeval longest{.tv_sec = left_ms / 1000, .tv_usec = left_ms % 1000 * 1000};
      timeval wait{};
      const timeval* next = ares_timeout(channel_, &longest, &wait);
      const int ready =
          poll(polled.data(), count, static_cast<int>(next->tv_sec * 1000 + (next->tv_usec + 999) / 1000));
      if (ready <= 0) {
        ares_process_fd(channel_, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
        continue;
      }
      for (nfds_t i = 0; i < count; ++i) {
        const bool failed = (polled[i].revents & (POLLERR | POLLHUP | POLLNVAL)) != 0;
        const bool read = failed || (polled[i].revents & POLLIN) != 0;
        const bool write = (polled[i].revents & POLLOUT) != 0;
        if (!read && !write) continue;
        ares_process_fd(channel_, read ? polled[i].fd : ARES_SOCKET_BAD,
                        write ? polled[i].fd : ARES_SOCKET_BAD);
      }
    }
  }

  /// What went wrong, as Go says it.
  absl::Status Error(const std::string& name, int status) const {
    const std::string lookup = servers_.empty() ? fmt::format("lookup {}", name)
                                                : fmt::format("lookup {} on {}", name, servers_.front());
    switch (status) {
      case ARES_ENOTFOUND:
      case ARES_ENODATA:
      case ARES_EBADNAME:
      case ARES_ENONAME:
        return absl::NotFoundError(lookup + ": no such host");
      case ARES_ETIMEOUT:
      case ARES_ECANCELLED:
        return absl::UnavailableError(lookup + ": i/o timeout");
      case ARES_ECONNREFUSED:  // of several servers: none could be asked, or each failed
        if (servers_.size() > 1) return absl::UnavailableError(lookup + ": server misbehaving");
        return absl::UnavailableError(lookup + ": connection refused");
      case ARES_EBADRESP:
        return absl::UnavailableError(lookup + ": cannot unmarshal DNS message");
      case ARES_ENOMEM:
        return absl::ResourceExhaustedError(lookup + ": out of memory");
      default:
        return absl::UnavailableError(lookup + ": server misbehaving");
    }
  }

 private:
  absl::Status Initialize(int flags) {
    using std::chrono::milliseconds;
    char files_first[] = "fb";
    ares_options settings{};
    settings.flags = flags;
    settings.ednspsz = kDatagramBytes;
    settings.timeout =
        static_cast<int>(std::max<int64_t>(1, std::chrono::ceil<milliseconds>(options_.timeout).count()));
    settings.tries = options_.tries;
    settings.lookups = files_first;
    constexpr int kGiven =
        ARES_OPT_FLAGS | ARES_OPT_EDNSPSZ | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS;
    if (const int status = ares_init_options(&channel_, &settings, kGiven); status != ARES_SUCCESS) {
      channel_ = nullptr;
      return absl::UnavailableError(fmt::format("cannot set up DNS: {}", ares_strerror(status)));
    }
    if (!options_.server.empty()) {
      KVORUM_ASSIGN_OR_RETURN(ares_addr_port_node server, ParseServer(options_.server));
      const int status = ares_set_servers_ports(channel_, &server);
      KVORUM_CHECK(status == ARES_SUCCESS, "a server's address: {}", ares_strerror(status));
    }
    servers_.clear();
    ares_addr_port_node* servers = nullptr;
    if (ares_get_servers_ports(channel_, &servers) == ARES_SUCCESS) {
      for (auto* server = servers; server != nullptr; server = server->next)
        servers_.push_back(ServerName(*server));
      ares_free_data(servers);
    }
    return absl::OkStatus();
  }

  const ResolverOptions& options_;
  ares_channel channel_ = nullptr;
  std::vector<std::string> servers_;
};

/// Whether `name` can be the name of a host: labels of letters, digits, '-' and '_', and not digits alone, as
/// an address would be. The root, ".", which says that there is no such service (RFC 2782), passes.
bool IsHostName(std::string_view name) {
  if (name == ".") return true;
  if (name.empty() || name.size() > 254) return false;
  if (name.back() == '.') name.remove_suffix(1);
  size_t label = 0;
  bool has_letter = false;
  for (const char c : name) {
    if (c == '.') {
      if (label == 0) return false;
      label = 0;
      continue;
    }
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    has_letter |= letter || c == '-';
    if (!letter && c != '-' && (c < '0' || c > '9')) return false;
    if (++label > 63) return false;
  }
  return label > 0 && has_letter;
}

/// RFC 2782, page 3: by priority; among equals each place is drawn, with chances as the weights are.
void Order(std::vector<SrvRecord>* records) {
  std::stable_sort(records->begin(), records->end(), [](const SrvRecord& a, const SrvRecord& b) {
    return std::pair(a.priority, a.weight) < std::pair(b.priority, b.weight);  // those of weight 0 in front
  });
  Random random(SystemEntropy());
  for (auto first = records->begin(); first != records->end(); ++first) {
    const auto end = std::find_if(first, records->end(),
                                  [&](const SrvRecord& r) { return r.priority != first->priority; });
    uint64_t total = 0;
    for (auto it = first; it != end; ++it) total += it->weight;
    uint64_t drawn = random.Below(total + 1);
    auto chosen = first;
    while (drawn > chosen->weight) drawn -= (chosen++)->weight;
    std::rotate(first, chosen, chosen + 1);
  }
}

struct SrvAnswer {
  int status = ARES_ENODATA;
  std::vector<SrvRecord> records;
};

void TakeSrv(void* argument, int status, int /*timeouts*/, unsigned char* data, int size) {
  auto* answer = static_cast<SrvAnswer*>(argument);
  answer->status = status;
  if (status != ARES_SUCCESS) return;
  ares_srv_reply* reply = nullptr;
  answer->status = ares_parse_srv_reply(data, size, &reply);
  if (answer->status != ARES_SUCCESS) return;
  for (const ares_srv_reply* record = reply; record != nullptr; record = record->next) {
    std::string target = record->host == nullptr ? "" : record->host;
    if (!target.ends_with('.')) target += '.';
    answer->records.push_back({.target = std::move(target),
                               .port = record->port,
                               .priority = record->priority,
                               .weight = record->weight});
  }
  ares_free_data(reply);
}

struct HostAnswer {
  int status = ARES_ENODATA;
  std::vector<std::string> v4;
  std::vector<std::string> v6;
};

void TakeHost(void* argument, int status, int /*timeouts*/, ares_addrinfo* result) {
  auto* answer = static_cast<HostAnswer*>(argument);
  answer->status = status;
  if (status != ARES_SUCCESS) return;
  for (const ares_addrinfo_node* node = result->nodes; node != nullptr; node = node->ai_next) {
    char text[INET6_ADDRSTRLEN] = {};
    const bool is_v4 = node->ai_family == AF_INET;
    const void* address =
        is_v4 ? static_cast<const void*>(&reinterpret_cast<sockaddr_in*>(node->ai_addr)->sin_addr)
              : &reinterpret_cast<sockaddr_in6*>(node->ai_addr)->sin6_addr;
    if (!is_v4 && node->ai_family != AF_INET6) continue;
    inet_ntop(node->ai_family, address, text, sizeof text);
    std::vector<std::string>& list = is_v4 ? answer->v4 : answer->v6;
    if (std::find(list.begin(), list.end(), text) == list.end()) list.emplace_back(text);
  }
  ares_freeaddrinfo(result);
}

struct NamesAnswer {
  int status = ARES_ENODATA;
  std::vector<std::string> names;
};

void TakeNames(void* argument, int status, int /*timeouts*/, hostent* host) {
  auto* answer = static_cast<NamesAnswer*>(argument);
  answer->status = status;
  if (status != ARES_SUCCESS) return;
  const auto add = [answer](std::string name) {
    if (name.ends_with('.')) name.pop_back();
    if (!name.empty() && std::find(answer->names.begin(), answer->names.end(), name) == answer->names.end()) {
      answer->names.push_back(std::move(name));
    }
  };
  if (host->h_name != nullptr) add(host->h_name);
  for (char** alias = host->h_aliases; alias != nullptr && *alias != nullptr; ++alias) add(*alias);
}

bool IsAddress(const std::string& host) {
  const std::string address = host.substr(0, host.find('%'));  // fe80::1%eth0
  in6_addr ignored;
  return inet_pton(AF_INET, host.c_str(), &ignored) == 1 ||
         inet_pton(AF_INET6, address.c_str(), &ignored) == 1;
}

}  // namespace

absl::StatusOr<Resolver> Resolver::Create(ResolverOptions options) {
  static const int initialized = ares_library_init(ARES_LIB_INIT_ALL);
  KVORUM_CHECK(initialized == ARES_SUCCESS, "c-ares: {}", ares_strerror(initialized));
  KVORUM_CHECK(options.tries > 0, "{} tries", options.tries);
  if (!options.server.empty()) KVORUM_RETURN_IF_ERROR(ParseServer(options.server).status());
  return Resolver(std::move(options));
}

absl::StatusOr<std::vector<SrvRecord>> Resolver::LookupSrv(const std::string& service,
                                                           const std::string& protocol,
                                                           const std::string& domain) const {
  const std::string name = fmt::format("_{}._{}.{}", service, protocol, domain);
  Channel channel(options_);
  KVORUM_RETURN_IF_ERROR(channel.Open());
  SrvAnswer answer;
  ares_search(channel.get(), name.c_str(), C_IN, T_SRV, TakeSrv, &answer);
  channel.Run();
  if (answer.status == ARES_SUCCESS && answer.records.empty()) answer.status = ARES_ENODATA;
  if (answer.status != ARES_SUCCESS) return channel.Error(name, answer.status);
  for (const SrvRecord& record : answer.records) {
    if (!IsHostName(record.target)) {
      return absl::FailedPreconditionError(
          fmt::format("lookup {}: DNS response contained records which contain invalid names", domain));
    }
  }
  Order(&answer.records);
  return std::move(answer.records);
}

absl::StatusOr<std::vector<std::string>> Resolver::LookupHost(const std::string& host) const {
  if (IsAddress(host)) return std::vector<std::string>{host};
  if (host.empty()) return absl::NotFoundError("lookup : no such host");
  Channel channel(options_);
  KVORUM_RETURN_IF_ERROR(channel.Open());
  HostAnswer answer;
  ares_addrinfo_hints hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = ARES_AI_NOSORT;
  ares_getaddrinfo(channel.get(), host.c_str(), nullptr, &hints, TakeHost, &answer);
  channel.Run();
  std::vector<std::string> addresses = std::move(answer.v4);
  addresses.insert(addresses.end(), answer.v6.begin(), answer.v6.end());
  if (answer.status == ARES_SUCCESS && addresses.empty()) answer.status = ARES_ENODATA;
  if (answer.status != ARES_SUCCESS) return channel.Error(host, answer.status);
  return addresses;
}

absl::StatusOr<std::vector<std::string>> Resolver::LookupAddress(const std::string& address) const {
  in6_addr bytes;
  const bool is_v4 = inet_pton(AF_INET, address.c_str(), &bytes) == 1;
  if (!is_v4 && inet_pton(AF_INET6, address.c_str(), &bytes) != 1) {
    return absl::InvalidArgumentError(fmt::format("lookup {}: unrecognized address", address));
  }
  Channel channel(options_);
  KVORUM_RETURN_IF_ERROR(channel.Open());
  NamesAnswer answer;
  ares_gethostbyaddr(channel.get(), &bytes, is_v4 ? sizeof(in_addr) : sizeof bytes,
                     is_v4 ? AF_INET : AF_INET6, TakeNames, &answer);
  channel.Run();
  if (answer.status == ARES_SUCCESS && answer.names.empty()) answer.status = ARES_ENODATA;
  if (answer.status != ARES_SUCCESS) return channel.Error(address, answer.status);
  return std::move(answer.names);
}

}  // namespace kvorum::dns
