#include "proxy/grpc/client_port.h"

#include "absl/container/flat_hash_map.h"
#include "base/wire.h"

namespace kvorum::proxy_grpc {

constexpr uint32_t kWatchIdField = 2;

bool ClientPort::HasRoom() {
  if (on_way_.load() + outgoing_bytes_ < kRoomBytes) return true;
  room_wanted_.store(true);
  // It may have become less before the client's side could see the wish: nobody else takes it back then.
  return on_way_.load() + outgoing_bytes_ < kRoomBytes / 2 && room_wanted_.exchange(false);
}

void ClientPort::Send(int64_t watch_id, Bytes body) {
  if (ended_) return;
  outgoing_.push_back({.watch_id = watch_id, .body = std::move(body)});
  const size_t charge = Charge(outgoing_.back());
  outgoing_bytes_ += charge;
  if (!std::exchange(listed_, true)) office_->List(shared_from_this());
  if (outgoing_bytes_ - charge + on_way_.load(std::memory_order_relaxed) > kMostBytes) {
    End(absl::ResourceExhaustedError("etcdserver: the stream's responses are not being read"));
  }
}

void ClientPort::End(const absl::Status& status) {
  if (std::exchange(ended_, true)) return;
  end_ = status;
  if (!std::exchange(listed_, true)) office_->List(shared_from_this());
}

void ClientPort::Detach() {
  ended_ = true;
  office_ = nullptr;
  on_room_ = nullptr;
  outgoing_.clear();
  outgoing_bytes_ = 0;
}

void ClientPort::Receive(Delivery delivery) {
  if (writer_ == nullptr) return;
  if (delivery.end.has_value()) received_end_ = std::move(delivery.end);
  for (Message& message : delivery.messages) queue_.push_back(std::move(message));
  Pump();
}

void ClientPort::Pump() {
  if (writer_ == nullptr) return;
  size_t sent = 0;
  while (!queue_.empty() && writer_->buffered() < http::ResponseWriter::kHighWater) {
    Message& message = queue_.front();
    sent += Charge(message);
    grpc::Payload payload;
    if (message.watch_id != 0) {
      wire::AppendUint(payload.head, kWatchIdField, static_cast<uint64_t>(message.watch_id));
    }
    payload.shared.push_back(std::move(message.body));
    queue_.pop_front();
    writer_->Send(std::move(payload));
  }
  if (sent > 0) {
    const size_t left = on_way_.fetch_sub(sent) - sent;
    if (left < kRoomBytes / 2 && room_wanted_.load() && room_wanted_.exchange(false)) {
      upstream_loop_->Post([port = shared_from_this()] {
        if (port->on_room_) port->on_room_();
      });
    }
  }
  if (!received_end_.has_value() || (received_end_->ok() && !queue_.empty())) return;
  std::exchange(writer_, nullptr)->Finish(*received_end_);
}

void PortOffice::List(std::shared_ptr<ClientPort> port) {
  if (listed_.empty()) loop_->AtTurnEnd(shared_from_this());
  listed_.push_back(std::move(port));
}

void PortOffice::OnTurnEnd() {
  absl::flat_hash_map<http::Loop*, std::vector<ClientPort::Delivery>> by_loop;
  for (std::shared_ptr<ClientPort>& port : listed_) {
    port->listed_ = false;
    ClientPort* raw = port.get();
    raw->on_way_.fetch_add(std::exchange(raw->outgoing_bytes_, 0));
    by_loop[raw->client_loop_].push_back({.port = std::move(port),
                                          .messages = std::exchange(raw->outgoing_, {}),
                                          .end = std::exchange(raw->end_, std::nullopt)});
  }
  listed_.clear();
  for (auto& [loop, deliveries] : by_loop) {
    loop->Post([deliveries = std::move(deliveries)]() mutable {
      for (ClientPort::Delivery& delivery : deliveries) {
        ClientPort* port = delivery.port.get();
        port->Receive(std::move(delivery));
      }
    });
  }
}

}  // namespace kvorum::proxy_grpc
