#pragma once

#include <sys/epoll.h>

#include <array>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_set.h"

namespace kvorum::http {

/// What a loop waits for: an epoll set of descriptors. Whoever is in it stays there for edges, so that one
/// who read less than was asked for need not ask whether there is more.
///
/// On the loop only, or when its thread has ended, but for Wake.
class Poller {
 public:
  /// Who is told. It may remove itself, or others, inside each call.
  class Descriptor {
   public:
    /// Something came since this was called last. `ended`: nothing will come behind it, so that no further
    /// call is to be expected.
    virtual void OnReadable(bool ended) = 0;
    virtual void OnWritable() = 0;
    /// See Again.
    virtual void OnAgain() {}
    /// The loop is no more; who waits is to be let go of, and not told.
    virtual void OnLoopEnd() = 0;

   protected:
    ~Descriptor() = default;
  };

  static constexpr uint32_t kInput = EPOLLIN | EPOLLRDHUP | EPOLLET;
  static constexpr uint32_t kInputAndOutput = kInput | EPOLLOUT;
  static constexpr uint32_t kInputOnce = EPOLLIN | EPOLLONESHOT;
  static constexpr uint32_t kOutputOnce = EPOLLOUT | EPOLLONESHOT;

  Poller();
  /// REQUIRES: all descriptors were removed, or End was called.
  ~Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  /// Waits until something is ready, somebody calls Wake, or the time is over (-1: never), and tells those
  /// who are ready.
  void Poll(int timeout_ms);
  /// Ends a Poll under way, or else the next. Thread-safe.
  void Wake() const;
  /// Lets go of all; what is removed later is not looked for any more.
  void End();

  /// `descriptor` is told of `events` until it is removed, or once. False: the system refused (errno).
  bool Add(int fd, uint32_t events, Descriptor* descriptor);
  /// Tells of these from now on, also where they came before. REQUIRES: it was added.
  void Change(int fd, uint32_t events, Descriptor* descriptor);
  void Remove(int fd, Descriptor* descriptor);

  /// Calls OnAgain once, behind those who are ready at the next Poll, which does not wait then.
  void Again(Descriptor* descriptor) { again_.push_back(descriptor); }

 private:
  /// How many others may come between a client and the answers to all that were ready with it.
  static constexpr size_t kEventsPerTurn = 64;

  bool Register(int operation, int fd, uint32_t events, Descriptor* descriptor) const;

  const int epoll_;
  const int wake_;  // an eventfd, never read: each write is an edge
  bool ended_ = false;
  absl::flat_hash_set<Descriptor*> descriptors_;

  // Of a Poll under way; null in place of who was removed meanwhile.
  std::array<epoll_event, kEventsPerTurn> events_;
  size_t event_count_ = 0;
  std::vector<Descriptor*> again_;
  std::vector<Descriptor*> running_again_;
};

}  // namespace kvorum::http
