#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "base/clock.h"

namespace kvorum::proxy_tcp {

/// Two sockets between which bytes are copied.
struct Link;

/// Links, and a thread that does nothing but wait for their sockets and copy. Each socket is registered once,
/// for edges, so that moving bytes costs a receive and a send, and a turn one wait.
///
/// Bytes are read into one buffer that all links share, and sent at once. What the other side does not take
/// is kept with the link, at most a buffer's size, and nothing more is read for it before that is gone. A
/// side that ends has what it sent delivered before the other sees the end; the link is over when both have
/// ended, and soon after the first has where nothing moves any more.
///
/// Thread-safe.
class LinkSet {
 public:
  /// `name` is the thread's name, at most 15 characters. `closed` is called for each link that is over, on
  /// that thread or inside Add or CloseAll.
  LinkSet(std::string name, std::function<void()> closed);
  /// As CloseAll.
  ~LinkSet();

  /// Takes over two connected sockets that do not block. Closes them where CloseAll was called.
  void Add(int client, int server);
  /// Sends on what has come so far, as far as it can be sent at once, closes all, and ends the thread. Not
  /// inside `closed`.
  void CloseAll();

 private:
  void Run();
  void Wake() const;
  /// Takes over what was added. False: it is time to end.
  bool TakeAdded();
  void Register(int client, int server);
  /// Milliseconds, as epoll_wait takes them; -1: for ever.
  int PatienceMs() const;
  /// Copies what can be copied for a while; puts the link into `again_` where there is more.
  void Pump(Link* link);
  /// One direction. False where it is not done but has had its share.
  bool Move(Link* link, int from);
  bool Flush(Link* link, int to);
  void Finish(Link* link);
  void SweepIfDue();

  const std::function<void()> closed_;
  const int epoll_;
  const int wake_;  // an eventfd

  absl::Mutex mutex_;
  std::vector<std::pair<int, int>> added_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  // Of the thread.
  absl::flat_hash_map<Link*, std::unique_ptr<Link>> links_;
  std::vector<std::unique_ptr<Link>> over_;  // until no event can point to them any more
  std::vector<Link*> again_;
  size_t kept_bytes_ = 0;
  size_t ending_ = 0;         // links of which one side has ended
  MonotonicTime next_sweep_;  // while there are some
  std::array<char, 64 << 10> buffer_;

  std::thread thread_;  // last: it uses the rest
};

}  // namespace kvorum::proxy_tcp
