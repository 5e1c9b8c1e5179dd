#include "sim/network.h"

#include <algorithm>

#include "base/check.h"
#include "base/version.h"
#include "cluster/cluster.h"

namespace kvorum::sim {

namespace {

/// How long somebody takes to find out that nobody listens.
constexpr Instant kRefused = 1'000'000;
/// What a process that is stopped has been answered waits for it; it is looked after so often.
constexpr Instant kNap = 100'000'000;
/// A snapshot takes this long more for each record of about so many bytes.
constexpr Instant kPerRecord = 200;
constexpr int64_t kRecordBytes = 64;

member::PeerVersions VersionsOf(const member::Member& member) {
  const std::string version = member.cluster().version();
  return {.server = member.options().release,
          .cluster = version.empty() ? "not_decided" : version,
          .kvorum = std::string(kKvorumVersion)};
}

}  // namespace

/// Tells the sender what became of a snapshot, also where the receiver dies with it in its hands.
class Network::Report {
 public:
  Report(Network* network, uint64_t from, uint64_t to)
      : network_(network), from_(from), to_(to), process_(network->ProcessAt(from)) {}
  ~Report() { Tell(false); }
  void Tell(bool finished) {
    if (std::exchange(told_, true)) return;
    network_->WhenAwake(from_, process_, [to = to_, finished](member::Member& member) {
      member.ReportSnapshot(raft::NodeId(to), finished);
    });
  }

 private:
  Network* const network_;
  const uint64_t from_;
  const uint64_t to_;
  const uint64_t process_;
  bool told_ = false;
};

class Network::Transport final : public member::PeerTransport {
 public:
  Transport(Network* network, uint64_t local)
      : process(++network->processes_), network_(network), local_(local) {
    network_->transports_[local_] = this;
  }
  ~Transport() override { network_->transports_.erase(local_); }

  void Send(std::vector<raft::Message> messages) override {
    for (raft::Message& message : messages) {
      const uint64_t to = message.to.value();
      network_->recorder_->Sent(message);
      if (!peers_.contains(to) && !heard_from_.contains(to)) continue;
      ++network_->messages_;
      if (network_->changes_ && !network_->Meet(local_, to)) {
        Unreachable(to);
        continue;
      }
      const Link link{local_, to};
      const std::optional<Instant> arrival = network_->Arrival(link);
      if (!arrival) {
        Unreachable(to);
        continue;
      }
      Network& network = *network_;
      // A forwarded proposal has no number by which a second one would be known: the wire gives it once.
      if (network.manner_.doubled_one_in != 0 && message.type != raft::MessageType::kProp &&
          network.scheduler_->chance().OneIn(1, network.manner_.doubled_one_in)) {
        network.scheduler_->At(*arrival,
                               [&network, copy = message]() mutable { network.Deliver(std::move(copy)); });
      }
      network.scheduler_->At(*arrival, [&network, message = std::move(message)]() mutable {
        network.Deliver(std::move(message));
      });
    }
  }

  void SendSnapshot(member::OutgoingSnapshot snapshot) override {
    network_->recorder_->Sent(snapshot.message);
    ++network_->snapshots_;
    const uint64_t to = snapshot.message.to.value();
    auto report = std::make_shared<Report>(network_, local_, to);
    const std::optional<Instant> arrival = network_->Arrival({local_, to});
    if (!arrival) return report->Tell(false);
    std::shared_ptr<backend::MemoryBackend> copy = backend::MemoryBackend::Create();
    copy->Replace(std::move(snapshot.database), {},
                  [](const absl::Status& status) { KVORUM_CHECK(status.ok()); });
    const auto records = static_cast<size_t>(copy->sizes().in_use_bytes / kRecordBytes);
    Network& network = *network_;
    network.scheduler_->At(
        *arrival + static_cast<Instant>(records) * kPerRecord,
        [&network, local = local_, to, report, copy, message = std::move(snapshot.message)]() mutable {
          member::Member* receiver = network.MemberAt(to);
          if (receiver == nullptr || !network.Passes(MemberId(local), MemberId(to)))
            return report->Tell(false);
          if (const auto transport = network.transports_.find(to); transport != network.transports_.end()) {
            transport->second->heard_from_.insert(local);
          }
          auto own = backend::MemoryBackend::Create();
          own->Replace(copy->NewReadView(), {},
                       [](const absl::Status& status) { KVORUM_CHECK(status.ok()); });
          own->CommitNow();
          if (!network.machines_.at(to)->TakeDatabase(message.snapshot->metadata.index, std::move(own)))
            return report->Tell(false);
          receiver->ReceiveSnapshot(std::move(message),
                                    [report](const absl::Status& status) { report->Tell(status.ok()); });
        });
  }

  void AddPeer(raft::NodeId id, const std::vector<std::string>& urls) override { peers_[id.value()] = urls; }
  void RemovePeer(raft::NodeId id) override { peers_.erase(id.value()); }
  void UpdatePeer(raft::NodeId id, const std::vector<std::string>& urls) override {
    peers_[id.value()] = urls;
  }
  std::optional<MonotonicTime> ActiveSince(raft::NodeId id) const override {
    const bool reached = peers_.contains(id.value()) && network_->MemberAt(id.value()) != nullptr &&
                         network_->Passes(MemberId(local_), MemberId(id.value()));
    if (!reached) return std::nullopt;
    return MonotonicTime();
  }

  void Unreachable(uint64_t to) {
    network_->scheduler_->After(kRefused, [network = network_, local = local_, to, self = this] {
      const auto transport = network->transports_.find(local);
      if (transport == network->transports_.end() || transport->second != self) return;
      if (member::Member* member = network->MemberAt(local)) member->ReportUnreachable(raft::NodeId(to));
    });
  }

  /// Whether this process knows a URL at which `machine` listens.
  bool Finds(uint64_t id, const Machine& machine) const {
    const auto peer = peers_.find(id);
    if (peer == peers_.end()) return false;
    const std::vector<std::string>& own = machine.peer_urls();
    return std::any_of(peer->second.begin(), peer->second.end(), [&](const std::string& url) {
      return std::find(own.begin(), own.end(), url) != own.end();
    });
  }

  const uint64_t process;          // no other has it
  std::set<uint64_t> heard_from_;  // they say where they are to be answered

 private:
  Network* const network_;
  const uint64_t local_;
  std::map<uint64_t, std::vector<std::string>> peers_;
};

/// Questions go there and answers come back as messages do.
class Network::Calls final : public member::PeerCalls {
 public:
  Calls(Network* network, uint64_t local, const NodeClock* clock)
      : network_(network), local_(local), clock_(clock), alive_(std::make_shared<bool>(true)) {}
  ~Calls() override { *alive_ = false; }

  void RenewLease(Urls urls, LeaseId id, MonotonicTime deadline, Done<int64_t> done) override {
    Ask<int64_t>(urls, deadline, std::move(done), [id](member::Member& member, Done<int64_t> answer) {
      member.RenewLease(id, std::move(answer));
    });
  }
  void LeaseTimeToLive(Urls urls, LeaseId id, bool with_keys, MonotonicTime deadline,
                       Done<lease::LeaseView> done) override {
    Ask<lease::LeaseView>(urls, deadline, std::move(done),
                          [id, with_keys](member::Member& member, Done<lease::LeaseView> answer) {
                            member.LeaseTimeToLive(id, with_keys, std::move(answer));
                          });
  }
  void PromoteMember(Urls urls, MemberId id, MonotonicTime deadline,
                     Done<std::vector<cluster::Member>> done) override {
    Ask<std::vector<cluster::Member>>(
        urls, deadline, std::move(done),
        [id](member::Member& member, Done<std::vector<cluster::Member>> answer) {
          member.PromoteMember(id, MonotonicTime::max(), std::move(answer));
        });
  }
  void HashKv(Urls urls, ClusterId cluster, int64_t revision, MonotonicTime deadline,
              Done<mvcc::HashResult> done) override {
    Ask<mvcc::HashResult>(urls, deadline, std::move(done),
                          [cluster, revision](member::Member& member, Done<mvcc::HashResult> answer) {
                            if (member.cluster_id() != cluster) {
                              return answer(absl::FailedPreconditionError("cluster ID mismatch"));
                            }
                            member.HashKv(revision, std::move(answer));
                          });
  }
  void Members(Urls urls, MonotonicTime deadline, Done<member::PeerMembers> done) override {
    Ask<member::PeerMembers>(
        urls, deadline, std::move(done), [](member::Member& member, Done<member::PeerMembers> answer) {
          answer(
              member::PeerMembers{.cluster_id = member.cluster_id(), .members = member.cluster().members()});
        });
  }
  void Versions(Urls urls, MonotonicTime deadline, Done<member::PeerVersions> done) override {
    Ask<member::PeerVersions>(
        urls, deadline, std::move(done),
        [](member::Member& member, Done<member::PeerVersions> answer) { answer(VersionsOf(member)); });
  }
  void DowngradeEnabled(Urls urls, MonotonicTime deadline, Done<bool> done) override {
    Ask<bool>(urls, deadline, std::move(done), [](member::Member& member, Done<bool> answer) {
      answer(member.cluster().downgrade().enabled);
    });
  }

 private:
  template <typename T, typename Question>
  void Ask(const Urls& urls, MonotonicTime deadline, Done<T> done, Question question) {
    Scheduler& scheduler = *network_->scheduler_;
    // Told once, by the answer or by the clock.
    auto asked = std::make_shared<Done<T>>(std::move(done));
    const auto tell = [alive = alive_, asked](absl::StatusOr<T> answer) {
      if (!*alive || !*asked) return;
      Done<T> told = std::exchange(*asked, nullptr);
      told(std::move(answer));
    };
    uint64_t to = 0;
    if (network_->MachineOf(urls, &to) == nullptr) {
      scheduler.After(kRefused, [tell] { tell(absl::UnavailableError("nobody there")); });
      return;
    }
    const Instant latest = deadline == MonotonicTime::max() ? kNever : clock_->InstantOf(deadline);
    if (latest != kNever) {
      scheduler.At(latest, [tell] { tell(absl::DeadlineExceededError("context deadline exceeded")); });
    }
    const std::optional<Instant> arrival = network_->Arrival({local_, to});
    if (!arrival) return;
    scheduler.At(*arrival, [network = network_, local = local_, to, tell,
                            question = std::move(question)]() mutable {
      member::Member* member = network->MemberAt(to);
      if (member == nullptr) {
        network->scheduler_->After(kRefused, [tell] { tell(absl::UnavailableError("connection refused")); });
        return;
      }
      question(*member, [network, local, to, tell](absl::StatusOr<T> answer) {
        const std::optional<Instant> back = network->Arrival({to, local});
        if (!back) return;
        network->scheduler_->At(*back,
                                [tell, answer = std::move(answer)]() mutable { tell(std::move(answer)); });
      });
    });
  }

  Network* const network_;
  const uint64_t local_;
  const NodeClock* const clock_;
  const std::shared_ptr<bool> alive_;  // shared with answers under way
};

class Network::FirstCalls final : public member::PeerCalls {
 public:
  FirstCalls(Network* network, std::string local_url) : network_(network), local_url_(std::move(local_url)) {}

  void Members(Urls urls, MonotonicTime, Done<member::PeerMembers> done) override {
    Answer<member::PeerMembers>(urls, std::move(done), [](const member::Member& member) {
      return member::PeerMembers{.cluster_id = member.cluster_id(), .members = member.cluster().members()};
    });
  }
  void Versions(Urls urls, MonotonicTime, Done<member::PeerVersions> done) override {
    Answer<member::PeerVersions>(urls, std::move(done), VersionsOf);
  }
  void DowngradeEnabled(Urls urls, MonotonicTime, Done<bool> done) override {
    Answer<bool>(urls, std::move(done),
                 [](const member::Member& member) { return member.cluster().downgrade().enabled; });
  }
  // Nobody asks these before a start.
  void RenewLease(Urls, LeaseId, MonotonicTime, Done<int64_t> done) override { done(Nobody()); }
  void LeaseTimeToLive(Urls, LeaseId, bool, MonotonicTime, Done<lease::LeaseView> done) override {
    done(Nobody());
  }
  void PromoteMember(Urls, MemberId, MonotonicTime, Done<std::vector<cluster::Member>> done) override {
    done(Nobody());
  }
  void HashKv(Urls, ClusterId, int64_t, MonotonicTime, Done<mvcc::HashResult> done) override {
    done(Nobody());
  }

 private:
  static absl::Status Nobody() { return absl::UnavailableError("connection refused"); }

  template <typename T, typename Question>
  void Answer(const Urls& urls, Done<T> done, Question question) {
    uint64_t to = 0;
    uint64_t local = 0;
    Machine* const there = network_->MachineOf(urls, &to);
    network_->MachineOf({local_url_}, &local);
    const bool passes =
        network_->Passes(MemberId(local), MemberId(to)) && network_->Passes(MemberId(to), MemberId(local));
    if (there == nullptr || there->member() == nullptr || !passes) return done(Nobody());
    done(question(*there->member()));
  }

  Network* const network_;
  const std::string local_url_;
};

std::unique_ptr<member::PeerTransport> Network::NewTransport(MemberId local) {
  return std::make_unique<Transport>(this, local.value());
}
std::unique_ptr<member::PeerCalls> Network::NewCalls(MemberId local, const NodeClock* clock) {
  return std::make_unique<Calls>(this, local.value(), clock);
}

std::unique_ptr<member::PeerCalls> Network::NewFirstCalls(std::string local_url) {
  return std::make_unique<FirstCalls>(this, std::move(local_url));
}

bool Network::Meet(uint64_t a, uint64_t b) {
  const auto finds = [this](uint64_t from, uint64_t to) {
    const auto transport = transports_.find(from);
    const auto machine = machines_.find(to);
    return transport != transports_.end() && machine != machines_.end() &&
           transport->second->Finds(to, *machine->second);
  };
  return finds(a, b) || finds(b, a);
}

void Network::TellRemoved(uint64_t id, uint64_t by) {
  if (cut_.contains({by, id})) return;
  WhenAwake(id, ProcessAt(id), [](member::Member& member) { member.OnRemoved(); });
}

uint64_t Network::ProcessAt(uint64_t id) {
  const auto transport = transports_.find(id);
  return transport == transports_.end() ? 0 : transport->second->process;
}

void Network::WhenAwake(uint64_t id, uint64_t process, std::function<void(member::Member&)> tell) {
  scheduler_->After(kRefused, [this, id, process, tell = std::move(tell)]() mutable {
    if (process == 0 || ProcessAt(id) != process) return;
    if (member::Member* member = MemberAt(id)) return tell(*member);
    scheduler_->After(kNap, [this, id, process, tell = std::move(tell)]() mutable {
      WhenAwake(id, process, std::move(tell));
    });
  });
}

member::Member* Network::MemberAt(uint64_t id) {
  const auto found = machines_.find(id);
  return found == machines_.end() ? nullptr : found->second->member();
}

Machine* Network::MachineOf(const std::vector<std::string>& urls, uint64_t* id) {
  for (const auto& [machine_id, there] : machines_) {
    Machine* const machine = there;
    const bool here = std::any_of(urls.begin(), urls.end(), [&](const std::string& url) {
      const std::vector<std::string>& own = machine->peer_urls();
      return std::find(own.begin(), own.end(), url) != own.end();
    });
    if (!here) continue;
    *id = machine_id;
    return machine;
  }
  return nullptr;
}

std::optional<Instant> Network::Arrival(Link link) {
  Random& random = scheduler_->chance();
  if (cut_.contains(link)) return std::nullopt;
  if (manner_.lost_one_in != 0 && random.OneIn(1, manner_.lost_one_in)) return std::nullopt;
  const Instant arrival = scheduler_->now() + scheduler_->Between(manner_.min_delay, manner_.max_delay);
  if (manner_.late_one_in != 0 && random.OneIn(1, manner_.late_one_in)) {
    return arrival + scheduler_->Between(0, manner_.late);
  }
  // As over one connection: nothing overtakes.
  Instant& last = last_arrival_[link];
  last = std::max(last, arrival);
  return last;
}

void Network::Deliver(raft::Message&& message) {
  const uint64_t from = message.from.value();
  const uint64_t to = message.to.value();
  member::Member* receiver = MemberAt(to);
  if (receiver == nullptr || cut_.contains({from, to})) {
    if (const auto sender = transports_.find(from); sender != transports_.end())
      sender->second->Unreachable(to);
    return;
  }
  if (filter_ && !filter_(message)) return;
  if (const auto transport = transports_.find(to); transport != transports_.end()) {
    transport->second->heard_from_.insert(from);
  }
  if (changes_ && receiver->cluster().IsRemoved(MemberId(from))) TellRemoved(from, to);
  scheduler_->Note(from << 32 ^ to << 16 ^ static_cast<uint64_t>(message.type) ^ message.index.value() << 20);
  receiver->Receive(std::move(message));
}

void Network::Inject(raft::Message message) {
  member::Member* receiver = MemberAt(message.to.value());
  KVORUM_CHECK(receiver != nullptr);
  receiver->Receive(std::move(message));
}

}  // namespace kvorum::sim
