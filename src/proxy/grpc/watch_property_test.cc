#include <map>
#include <set>

#include "base/random.h"
#include "gtest/gtest.h"
#include "proxy/grpc/testing/fake_client.h"
#include "proxy/grpc/testing/fake_cluster.h"
#include "proxy/grpc/watch_coalescer.h"
#include "rapidcheck/gtest.h"

namespace kvorum::proxy_grpc {
namespace {

using etcdserverpb::WatchRequest;
using etcdserverpb::WatchResponse;
using testing::FakeCluster;
using Client = testing::FakeClient<WatchResponse>;

/// What a watcher was promised, and how far it has come.
struct Promise {
  WatchRequest request;
  int64_t asked_at = 0;  // the store's revision
  int64_t next = 0;
  size_t position = 0;  // in the history
  bool over = false;

  bool Matches(const FakeCluster::Change& change, const std::string& prefix) const {
    const auto& create = request.create_request();
    if (!change.key.starts_with(prefix)) return false;
    const std::string key = change.key.substr(prefix.size());
    const bool inside =
        create.range_end().empty()
            ? key == create.key()
            : key >= create.key() && (create.range_end() == std::string(1, '\0') || key < create.range_end());
    for (const int filter : create.filters()) {
      if (filter == (change.is_delete ? WatchRequest().create_request().NODELETE
                                      : WatchRequest().create_request().NOPUT)) {
        return false;
      }
    }
    return inside && change.revision >= next;
  }
};

/// Clients that do anything, a cluster that does anything: each watcher is told what it was promised.
class World {
 public:
  World(uint32_t seed, const std::string& prefix)
      : random_(seed), prefix_(prefix), coalescer_(&cluster_, &prefix_, &metrics_, &NullLogger()) {}

  void Live(int steps) {
    for (int i = 0; i < steps; ++i) {
      Turn();
      coalescer_.CheckInvariants();
      for (auto& [client, watched] : clients_) Check(client, watched);
    }
    Rest();
    clients_.clear();
    cluster_.Run();
    RC_ASSERT(cluster_.watchers() == 0);
    RC_ASSERT(metrics_.NewGauge("etcd_grpc_proxy_watchers_coalescing_total", "").value() == 0);
  }

 private:
  struct Watched {
    std::unique_ptr<Client> client;
    std::deque<Promise> asked;  // not answered yet, in order
    std::map<int64_t, Promise> promises;
  };

  uint32_t Below(uint32_t n) { return static_cast<uint32_t>(random_.Below(n)); }
  std::string Key() { return std::string(1, static_cast<char>('a' + Below(4))); }
  Watched* Any() {
    if (clients_.empty()) return nullptr;
    return &std::next(clients_.begin(), Below(clients_.size()))->second;
  }

  void Turn() {
    const uint32_t choice = Below(100);
    if (choice < 45) {
      cluster_.Step(Below(1000));
    } else if (choice < 65) {
      Write();
    } else if (choice < 80) {
      if (Watched* watched = Any()) Create(watched);
    } else if (choice < 84) {
      auto client = std::make_unique<Client>(&coalescer_);
      clients_[next_client_++].client = std::move(client);
    } else if (choice < 86) {
      if (!clients_.empty()) clients_.erase(std::next(clients_.begin(), Below(clients_.size())));
    } else if (choice < 88) {
      Cancel(Any());
    } else if (choice < 90) {
      cluster_.BreakStreams(absl::UnavailableError("broken"));
    } else if (choice < 91) {
      if (cluster_.revision() > 3) cluster_.Compact(cluster_.revision() - Below(3));
    } else if (choice < 94) {
      if (Watched* watched = Any()) watched->client->MakeRoom(Below(3) * 2);
    } else if (choice < 96) {
      cluster_.NotifyProgress();
    } else if (choice < 98) {
      WatchRequest request;
      request.mutable_progress_request();
      if (Watched* watched = Any()) watched->client->Ask(request);
    } else {
      cluster_.batch_revisions = 1 + Below(4);
      cluster_.fragment_events = 1 + Below(5);
      cluster_.RunTimers();
    }
  }

  void Write() {
    std::map<std::string, std::string> keys;
    for (uint32_t n = 1 + Below(3); n > 0; --n) {
      keys[(Below(8) == 0 ? "" : prefix_.Key("")) + Key()] = Below(3) == 0 ? "" : std::to_string(++value_);
    }
    cluster_.Write({keys.begin(), keys.end()});
  }

  void Create(Watched* watched) {
    Promise promise;
    auto& create = *promise.request.mutable_create_request();
    create.set_key(Key());
    if (Below(3) == 0) create.set_range_end(Below(4) == 0 ? std::string(1, '\0') : create.key() + "c");
    if (Below(2) == 0) create.set_start_revision(1 + Below(cluster_.revision() + 3));
    create.set_prev_kv(Below(3) == 0);
    create.set_progress_notify(Below(2) == 0);
    create.set_fragment(Below(4) == 0);
    if (Below(5) == 0) create.add_filters(create.NOPUT);
    if (Below(5) == 0) create.add_filters(create.NODELETE);
    if (Below(6) == 0) create.set_watch_id(1 + Below(5));
    promise.asked_at = cluster_.revision();
    watched->client->Ask(promise.request);
    watched->asked.push_back(std::move(promise));
  }

  static void Cancel(Watched* watched) {
    if (watched == nullptr || watched->promises.empty()) return;
    WatchRequest request;
    request.mutable_cancel_request()->set_watch_id(watched->promises.begin()->first);
    watched->client->Ask(request);
  }

  void Check(int, Watched& watched) {
    RC_ASSERT(!watched.client->ended.has_value());
    while (!watched.client->received.empty()) {
      const WatchResponse response = watched.client->Take();
      if (response.created()) {
        Created(watched, response);
      } else if (response.watch_id() == -1) {
        for (auto& [id, promise] : watched.promises) {
          if (!promise.over) RC_ASSERT(!Owed(promise, response.header().revision()));
        }
      } else {
        Told(watched, response);
      }
    }
    watched.client->MakeRoom(watched.client->room);
  }

  void Created(Watched& watched, const WatchResponse& response) {
    RC_ASSERT(!watched.asked.empty());
    Promise promise = std::move(watched.asked.front());
    watched.asked.pop_front();
    const auto& create = promise.request.create_request();
    if (response.canceled()) {
      RC_ASSERT(create.watch_id() != 0 && watched.promises.contains(create.watch_id()));
      return;
    }
    RC_ASSERT(create.watch_id() == 0 || create.watch_id() == response.watch_id());
    RC_ASSERT(!watched.promises.contains(response.watch_id()));
    RC_ASSERT(response.header().revision() >= promise.asked_at);
    promise.next = create.start_revision() != 0 ? create.start_revision() : response.header().revision() + 1;
    watched.promises[response.watch_id()] = std::move(promise);
  }

  void Told(Watched& watched, const WatchResponse& response) {
    const auto found = watched.promises.find(response.watch_id());
    RC_ASSERT(found != watched.promises.end());
    Promise& promise = found->second;
    if (response.canceled()) {
      if (response.compact_revision() == 0) {
        watched.promises.erase(found);
        return;
      }
      RC_ASSERT(!promise.over);
      const int64_t had = promise.position == 0 ? 0 : cluster_.history()[promise.position - 1].revision;
      RC_ASSERT(had < response.compact_revision());
      promise.over = true;  // its id stays
      return;
    }
    RC_ASSERT(!promise.over);
    for (const auto& event : response.events()) Expect(promise, event);
    if (!response.fragment()) RC_ASSERT(!Owed(promise, LastRevision(response)));
  }

  /// A response without events is a notification; with events, none of the last revision is missing.
  static int64_t LastRevision(const WatchResponse& response) {
    if (response.events_size() == 0) return response.header().revision();
    return response.events(response.events_size() - 1).kv().mod_revision();
  }

  void Expect(Promise& promise, const mvccpb::Event& event) {
    const auto& history = cluster_.history();
    while (promise.position < history.size() &&
           !promise.Matches(history[promise.position], prefix_.Key(""))) {
      ++promise.position;
    }
    RC_ASSERT(promise.position < history.size());
    const FakeCluster::Change& change = history[promise.position++];
    RC_ASSERT(event.kv().mod_revision() == change.revision);
    RC_ASSERT(prefix_.Key(event.kv().key()) == change.key);
    RC_ASSERT(event.kv().value() == (change.is_delete ? "" : change.value));
    RC_ASSERT((event.type() == mvccpb::Event::DELETE) == change.is_delete);
    RC_ASSERT(event.has_prev_kv() == (promise.request.create_request().prev_kv() && !change.creates));
    if (event.has_prev_kv()) RC_ASSERT(event.prev_kv().value() == change.previous);
  }

  /// Whether some event up to `revision` was not told of yet.
  bool Owed(const Promise& promise, int64_t revision) {
    const auto& history = cluster_.history();
    for (size_t i = promise.position; i < history.size() && history[i].revision <= revision; ++i) {
      if (promise.Matches(history[i], prefix_.Key(""))) return true;
    }
    return false;
  }

  /// Nothing breaks any more: everybody has everything.
  void Rest() {
    for (int i = 0; i < 20; ++i) {
      cluster_.Run();
      for (auto& [number, watched] : clients_) {
        Check(number, watched);
        watched.client->MakeRoom(1000);
      }
    }
    std::set<std::pair<std::string, std::string>> ranges;
    for (auto& [number, watched] : clients_) {
      RC_ASSERT(watched.asked.empty());
      for (const auto& [id, promise] : watched.promises) {
        if (!promise.over) RC_ASSERT(!Owed(promise, cluster_.revision()));
      }
    }
  }

  Random random_;
  FakeCluster cluster_;
  const KeyPrefix prefix_;
  metrics::Registry metrics_;
  WatchCoalescer coalescer_;
  std::map<int, Watched> clients_;
  int next_client_ = 0;
  int value_ = 0;
};

RC_GTEST_PROP(ProxyWatchProperty, EveryWatcherIsToldWhatItWasPromised, (uint32_t seed, bool prefixed)) {
  World(seed, prefixed ? "ns/" : "").Live(*rc::gen::inRange(10, 600));
}

}  // namespace
}  // namespace kvorum::proxy_grpc
