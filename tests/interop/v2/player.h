#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "support/server.h"
#include "v2/scenario.h"
#include "v2/wire.h"

namespace kvorum::test {

/// Plays scenarios to two servers at once and compares all that a client can see: statuses, headers, bodies,
/// and what watchers get. Of one thread.
///
/// Where the two may differ:
///  - headers of the connection and of the moment (Date, Connection, Keep-Alive), and whether a body has a
///    length or comes in chunks: HTTP leaves them open;
///  - the values of X-Etcd-Cluster-Id, X-Raft-Index and X-Raft-Term: ids are made of the members' own
///    addresses, and raft's index counts entries that are each server's own affair. That they are there is
///    compared;
///  - the order of a listing without sorted=true: etcd's is that of a hash table;
///  - expirations and times to live, by some seconds: each server adds the ttl to its own clock;
///  - the values of what /v2/stats tells: servers read for themselves, too, each as it likes;
///  - a stream that waits for a path is told once that it was removed, where etcd tells it twice;
///  - a stream that begins in the history goes on, where etcd's falls silent after its first event: the
///    generator makes none, tests/e2e/v2_cluster_test.py does;
///  - what the history shows of hidden keys, and to who asks for "/ab" of the end of "/a": etcd forgets there
///    to hide the ones and to look for the slash. The generator does not ask such questions.
class Player {
 public:
  /// `reference`: what is right; `subject`: what is tested. Borrowed. Waits until both have said all that
  /// they say of their own accord.
  Player(const Server* reference, const Server* subject);

  /// Null where the two agree; else the first difference. Afterwards the scenario's directory is gone.
  std::optional<std::string> Play(const Scenario& scenario);

  /// How long the two may take to agree on what watchers got.
  void set_patience(std::chrono::milliseconds patience) { patience_ = patience; }
  /// How often the reference answered with what.
  const std::map<int, uint64_t>& statuses() const { return statuses_; }

 private:
  struct Side {
    const Server* server;
    std::unique_ptr<WireConnection> connection;
    std::map<std::string, std::unique_ptr<WireConnection>> watchers;
  };

  /// The same request to both; the answers are in the connections.
  struct Pair {
    Answer reference;
    Answer subject;
  };
  Pair Ask(const Step& step);
  std::optional<std::string> PlayStep(const Step& step);
  std::optional<std::string> Watch(const Step& step);
  std::optional<std::string> AwaitExpiry(const Step& step, const Answer& answer);
  std::optional<std::string> CompareWatchers();
  /// Brings both stores to one index, by writes to the one that is behind.
  void Align();
  uint64_t IndexOf(Side& side);

  Side reference_;
  Side subject_;
  std::chrono::milliseconds patience_ = kPatience;
  std::string directory_;
  uint64_t base_ = 0;
  uint64_t played_ = 0;
  std::map<int, uint64_t> statuses_;
};

}  // namespace kvorum::test
