#pragma once

#include <deque>
#include <optional>
#include <string>

#include "base/check.h"
#include "base/wire.h"
#include "proto/rpc.pb.h"
#include "proxy/grpc/cluster_calls.h"

namespace kvorum::proxy_grpc::testing {

/// A client's stream that keeps what it is sent.
template <typename Response>
class FakeClient final : public ClientSink {
 public:
  FakeClient(StreamLogic* logic, http::Headers metadata = {}) : logic_(logic) {
    logic->OnOpen(this, std::move(metadata));
  }
  ~FakeClient() override { Close(); }

  void Close() {
    if (StreamLogic* logic = std::exchange(logic_, nullptr)) logic->OnClose(this);
  }

  void Ask(const google::protobuf::MessageLite& request) {
    logic_->OnMessage(this, request.SerializeAsString());
  }
  void HalfClose() { logic_->OnHalfClose(this); }

  /// What came first and was not taken yet; an empty message where there is nothing.
  Response Take() {
    if (received.empty()) return {};
    Response response = std::move(received.front());
    received.pop_front();
    return response;
  }

  /// Events are taken while `received` is shorter.
  size_t room = SIZE_MAX;
  /// Makes room, and tells it where it was asked for.
  void MakeRoom(size_t size) {
    room = size;
    if (received.size() < room && std::exchange(room_wanted_, false)) logic_->OnRoom(this);
  }

  std::deque<Response> received;
  std::optional<absl::Status> ended;

  // ClientSink
  bool HasRoom() override {
    if (received.size() < room) return true;
    room_wanted_ = true;
    return false;
  }
  void Send(int64_t watch_id, Bytes body) override {
    if (ended.has_value()) return;
    std::string message;
    if (watch_id != 0) wire::AppendUint(message, 2, static_cast<uint64_t>(watch_id));
    message.append(body.view());
    Response response;
    KVORUM_CHECK(response.ParseFromString(message), "a malformed response");
    received.push_back(std::move(response));
  }
  void End(const absl::Status& status) override {
    if (!ended.has_value()) ended = status;
  }

 private:
  StreamLogic* logic_;
  bool room_wanted_ = false;
};

}  // namespace kvorum::proxy_grpc::testing
