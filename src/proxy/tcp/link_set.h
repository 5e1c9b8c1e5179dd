#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "boost/asio/posix/stream_descriptor.hpp"
#include "http/loop.h"

namespace kvorum::proxy_tcp {

/// Two sockets between which bytes are copied.
struct Link;

/// The links of one loop. Their sockets stand in an epoll set of its own, which the loop waits for as for one
/// descriptor: each socket is registered once, for edges, so that moving bytes costs a receive and a send and
/// nothing else.
///
/// Bytes are read into one buffer that all links share, and sent at once. What the other side does not take
/// is kept with the link, at most a buffer's size, and nothing more is read for it before that is gone. A
/// side that ends has what it sent delivered before the other sees the end; the link is over when both have
/// ended, and soon after the first has where nothing moves any more.
///
/// On the loop only.
class LinkSet : public std::enable_shared_from_this<LinkSet> {
 public:
  /// `closed` is called for each link that is over.
  LinkSet(http::Loop& loop, std::function<void()> closed);
  ~LinkSet();

  /// Takes over two connected sockets that do not block.
  void Add(int client, int server);
  /// Sends on what has come so far, as far as it can be sent at once, and closes all.
  void CloseAll();

 private:
  void WaitForEvents();
  void OnEvents();
  /// Copies what can be copied for a while; puts the link into `again_` where there is more.
  void Pump(Link* link);
  /// One direction. False where it is not done but has had its share.
  bool Move(Link* link, int from);
  bool Flush(Link* link, int to);
  void Finish(Link* link);
  void Sweep();

  http::Loop& loop_;
  const std::function<void()> closed_;
  std::optional<boost::asio::posix::stream_descriptor> epoll_;  // empty once all is closed
  absl::flat_hash_map<Link*, std::unique_ptr<Link>> links_;
  std::vector<std::unique_ptr<Link>> over_;  // until no event can point to them any more
  std::vector<Link*> again_;
  size_t kept_bytes_ = 0;
  size_t ending_ = 0;  // links of which one side has ended
  bool sweeping_ = false;
  bool waiting_ = false;  // OnEvents is on its way
  std::array<char, 64 << 10> buffer_;
};

}  // namespace kvorum::proxy_tcp
