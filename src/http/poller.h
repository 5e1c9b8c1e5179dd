#pragma once

#include <sys/epoll.h>

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "boost/asio/io_context.hpp"
#include "boost/asio/posix/stream_descriptor.hpp"

namespace kvorum::http {

class Loop;

/// The connected sockets of a loop, in an epoll set that the loop's Asio context waits for as for one
/// descriptor. One system call finds all that are ready, and they are served in one turn of the loop. Each is
/// registered once, for edges: whoever read less than was asked for need not ask whether there is more.
///
/// On the loop only, or when its thread has ended.
class Poller {
 public:
  /// Who is told. It may remove itself, or others, inside each.
  class Socket {
   public:
    /// Something came since this was called last. `ended`: nothing will come behind it, so that no further
    /// call is to be expected.
    virtual void OnSocketReadable(bool ended) = 0;
    virtual void OnSocketWritable() = 0;
    /// See Again.
    virtual void OnAgain() = 0;
    /// The loop is no more; who waits for this socket is to be let go of, and not told.
    virtual void OnLoopEnd() = 0;

   protected:
    ~Socket() = default;
  };

  explicit Poller(Loop* loop) : loop_(*loop) {}
  /// Every socket has been removed.
  ~Poller();

  void Start(boost::asio::io_context& context);
  /// Before the context goes. What is removed later is not looked for any more.
  void End();

  /// `socket` is told what can be read until it is removed. False: the system refused (errno).
  bool Add(int fd, Socket* socket);
  /// Tells also, now and from now on, when more can be written.
  void WatchWritable(int fd, Socket* socket);
  void Remove(int fd, Socket* socket);

  /// Calls OnAgain once, when others had their turn.
  void Again(Socket* socket);

 private:
  static constexpr size_t kEventsPerTurn = 64;

  void Wait();
  void Dispatch();
  void DispatchAgain();

  Loop& loop_;
  int epoll_ = -1;
  std::optional<boost::asio::posix::stream_descriptor> waiting_;  // owns epoll_
  absl::flat_hash_set<Socket*> sockets_;

  // Of a dispatch under way; null in place of what was removed meanwhile.
  std::array<epoll_event, kEventsPerTurn> events_;
  size_t event_count_ = 0;
  std::vector<Socket*> again_;
  std::vector<Socket*> running_again_;
};

}  // namespace kvorum::http
