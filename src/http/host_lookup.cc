#include "http/host_lookup.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <thread>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "base/check.h"
#include "fmt/format.h"

namespace kvorum::http {

namespace {

using Addresses = absl::StatusOr<std::vector<std::string>>;
using Done = absl::AnyInvocable<void(const Addresses&)>;
/// A name, and whether it is an address whose names are wanted.
using Question = std::pair<std::string, bool>;

/// A server that does not answer holds a thread for seconds.
constexpr int kMaxThreads = 8;

Addresses SystemLookup(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (error == EAI_NONAME || error == EAI_NODATA) {
    return absl::NotFoundError(fmt::format("lookup {}: no such host", host));
  }
  if (error != 0) return absl::UnavailableError(fmt::format("lookup {}: {}", host, gai_strerror(error)));
  std::vector<std::string> addresses;
  for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
    char text[NI_MAXHOST];  // with the zone of a link-local address
    if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST) == 0) {
      addresses.emplace_back(text);
    }
  }
  freeaddrinfo(found);
  return addresses;
}

Addresses SystemAddressLookup(const std::string& address) {
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  const bool is_v4 = inet_pton(AF_INET, address.c_str(), &v4.sin_addr) == 1;
  if (!is_v4 && inet_pton(AF_INET6, address.c_str(), &v6.sin6_addr) != 1) {
    return absl::InvalidArgumentError(fmt::format("lookup {}: unrecognized address", address));
  }
  v4.sin_family = AF_INET;
  v6.sin6_family = AF_INET6;
  char name[NI_MAXHOST];
  const int error =
      getnameinfo(is_v4 ? reinterpret_cast<const sockaddr*>(&v4) : reinterpret_cast<const sockaddr*>(&v6),
                  is_v4 ? sizeof v4 : sizeof v6, name, sizeof name, nullptr, 0, NI_NAMEREQD);
  if (error == EAI_NONAME) return absl::NotFoundError(fmt::format("lookup {}: no such host", address));
  if (error != 0) return absl::UnavailableError(fmt::format("lookup {}: {}", address, gai_strerror(error)));
  return std::vector<std::string>{name};
}

/// Lives as long as the process: its threads are never joined.
class LookupThreads {
 public:
  static LookupThreads& Get() {
    static auto* const threads = new LookupThreads;
    return *threads;
  }

  void Run(absl::AnyInvocable<void()> work) {
    absl::MutexLock lock(&mutex_);
    queue_.push_back(std::move(work));
    if (idle_ >= queue_.size() || threads_ == kMaxThreads) return;
    ++threads_;
    std::thread([this] { Work(); }).detach();
  }

  // Constant after the first lookup.
  HostLookup hosts = SystemLookup;
  HostLookup addresses = SystemAddressLookup;

 private:
  [[noreturn]] void Work() {
    for (;;) {
      absl::AnyInvocable<void()> work;
      {
        absl::MutexLock lock(&mutex_);
        ++idle_;
        const auto waiting = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !queue_.empty(); };
        mutex_.Await(absl::Condition(&waiting));
        --idle_;
        work = std::move(queue_.front());
        queue_.pop_front();
      }
      work();
    }
  }

  absl::Mutex mutex_;
  std::deque<absl::AnyInvocable<void()>> queue_ ABSL_GUARDED_BY(mutex_);
  size_t idle_ ABSL_GUARDED_BY(mutex_) = 0;
  int threads_ ABSL_GUARDED_BY(mutex_) = 0;
};

/// Who waits for names on one loop. The thread's own: it lets go of them when it ends, while a lookup under
/// way may take longer.
class Waiting {
 public:
  static Waiting& On(Loop& loop) {
    KVORUM_CHECK(loop.InThread(), "a lookup for another loop");
    thread_local Waiting waiting(&loop);
    return waiting;
  }

  explicit Waiting(Loop* loop) : shared_(std::make_shared<Shared>()) {
    absl::MutexLock lock(&shared_->mutex);
    shared_->loop = loop;
  }
  ~Waiting() {
    absl::flat_hash_map<Question, std::vector<Done>> dropped;  // destroyed after the lock is released
    absl::MutexLock lock(&shared_->mutex);
    shared_->loop = nullptr;
    dropped.swap(shared_->waiting);
  }

  /// `question`: a host's name, or an address whose names are asked for.
  void Add(const Question& question, Done done) {
    {
      absl::MutexLock lock(&shared_->mutex);
      std::vector<Done>& waiting = shared_->waiting[question];
      waiting.push_back(std::move(done));
      if (waiting.size() > 1) return;
    }
    LookupThreads::Get().Run([shared = shared_, question] {
      Answer(shared, question,
             question.second ? LookupThreads::Get().addresses(question.first) : LookupHost(question.first));
    });
  }

 private:
  struct Shared {
    absl::Mutex mutex;
    Loop* loop ABSL_GUARDED_BY(mutex) = nullptr;
    absl::flat_hash_map<Question, std::vector<Done>> waiting ABSL_GUARDED_BY(mutex);
  };

  static void Answer(const std::shared_ptr<Shared>& shared, const Question& question, Addresses addresses) {
    absl::MutexLock lock(&shared->mutex);
    if (shared->loop == nullptr) return;
    // Who waits is touched on the loop alone, also where it ends first.
    shared->loop->Post([shared, question, addresses = std::move(addresses)] {
      for (Done& done : Take(*shared, question)) done(addresses);
    });
  }

  static std::vector<Done> Take(Shared& shared, const Question& question) {
    absl::MutexLock lock(&shared.mutex);
    return std::move(shared.waiting.extract(question).mapped());
  }

  const std::shared_ptr<Shared> shared_;  // with lookups under way
};

bool IsAddress(const std::string& host) {
  const std::string address = host.substr(0, host.find('%'));  // fe80::1%eth0
  in6_addr ignored;
  return inet_pton(AF_INET, host.c_str(), &ignored) == 1 ||
         inet_pton(AF_INET6, address.c_str(), &ignored) == 1;
}

}  // namespace

void SetHostLookup(HostLookup hosts, HostLookup addresses) {
  LookupThreads::Get().hosts = std::move(hosts);
  LookupThreads::Get().addresses = std::move(addresses);
}

Addresses LookupHost(const std::string& host) {
  if (IsAddress(host)) return std::vector<std::string>{host};
  return LookupThreads::Get().hosts(host);
}

void LookupHostOn(Loop& loop, const std::string& host, Done done) {
  Waiting::On(loop).Add({host, false}, std::move(done));
}

void LookupAddressOn(Loop& loop, const std::string& address, Done done) {
  Waiting::On(loop).Add({address, true}, std::move(done));
}

}  // namespace kvorum::http
