#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "grpc/server.h"
#include "proxy/grpc/cluster_calls.h"

namespace kvorum::proxy_grpc {

class PortOffice;

/// The way of answers from the shared logic, on the upstream's loop, to a client's stream on its own loop.
/// What one turn of the upstream's loop sends to all clients of a loop crosses in one post. Bounded: see
/// HasRoom. Shared by both sides and what is on its way between them.
class ClientPort final : public ClientSink, public std::enable_shared_from_this<ClientPort> {
 public:
  /// A message on its way.
  struct Message {
    int64_t watch_id;
    Bytes body;
  };

  /// Everything is borrowed; `Detach` is called before the office goes.
  ClientPort(http::Loop* client_loop, http::Loop* upstream_loop, PortOffice* office)
      : client_loop_(client_loop), upstream_loop_(upstream_loop), office_(office) {}

  // The upstream's loop.
  void SetOnRoom(std::function<void()> on_room) { on_room_ = std::move(on_room); }
  bool HasRoom() override;
  void Send(int64_t watch_id, Bytes body) override;
  void End(const absl::Status& status) override;
  /// Nothing is sent any more, `the room asked for not told.
  void Detach();

  // The client's loop.
  void SetWriter(grpc::StreamWriter* writer) { writer_ = writer; }
  /// Sends what came, as far as the client takes it.
  void Pump();
  /// The client is gone.
  void Forget() { writer_ = nullptr; }

 private:
  friend class PortOffice;
  struct Delivery {
    std::shared_ptr<ClientPort> port;
    std::vector<Message> messages;
    std::optional<absl::Status> end;
  };

  void Receive(Delivery delivery);

  static size_t Charge(const Message& message) { return message.body.size() + kOverheadBytes; }
  static constexpr size_t kOverheadBytes = 64;
  static constexpr size_t kRoomBytes = 2 << 20;
  static constexpr size_t kMostBytes = 64 << 20;  // of answers that nobody reads

  http::Loop* const client_loop_;
  http::Loop* const upstream_loop_;

  std::atomic<size_t> on_way_{0};         // bytes; added to on one loop, taken from on the other
  std::atomic<bool> room_wanted_{false};  // set on one loop, cleared on either

  // The upstream's loop.
  PortOffice* office_;
  std::function<void()> on_room_;
  bool ended_ = false;
  bool listed_ = false;
  std::vector<Message> outgoing_;
  size_t outgoing_bytes_ = 0;
  std::optional<absl::Status> end_;

  // The client's loop.
  grpc::StreamWriter* writer_ = nullptr;
  std::deque<Message> queue_;
  std::optional<absl::Status> received_end_;
};

/// Collects what ports send in a turn of the upstream's loop. On that loop only.
class PortOffice final : public http::TurnEnd, public std::enable_shared_from_this<PortOffice> {
 public:
  explicit PortOffice(http::Loop* upstream_loop) : loop_(upstream_loop) {}
  void List(std::shared_ptr<ClientPort> port);
  void OnTurnEnd() override;

 private:
  http::Loop* const loop_;
  std::vector<std::shared_ptr<ClientPort>> listed_;
};

}  // namespace kvorum::proxy_grpc
