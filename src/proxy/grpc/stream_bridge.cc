#include "proxy/grpc/stream_bridge.h"

#include <atomic>

#include "absl/cleanup/cleanup.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/notification.h"
#include "proxy/grpc/client_port.h"

namespace kvorum::proxy_grpc {

namespace {

/// Runs `task` on `loop` and waits for its end; right here, where this is the loop or it has stopped.
void RunOn(http::Loop* loop, absl::FunctionRef<void()> task) {
  if (loop->InThread()) return task();
  bool ran = false;
  absl::Notification over;
  loop->Post([&, end = absl::MakeCleanup([&over] { over.Notify(); })] {
    task();
    ran = true;
  });
  over.WaitForNotification();
  if (!ran) task();
}

}  // namespace

/// The side of the upstream's loop.
class StreamBridge::Shared : public std::enable_shared_from_this<Shared> {
 public:
  Shared(const Upstream& upstream, const MakeLogic& make)
      : upstream_(upstream),
        calls_(upstream),
        office_(std::make_shared<PortOffice>(upstream.loop)),
        logic_(make(&calls_)) {}

  http::Loop* loop() const { return upstream_.loop; }
  PortOffice* office() const { return office_.get(); }
  /// Any thread.
  bool closed() const { return closed_.load(); }

  void Begin() {
    lost_id_ = upstream_.leader->OnLost([this] { OnLeaderLost(); });
  }

  void Open(const std::shared_ptr<ClientPort>& port, http::Headers metadata) {
    if (closed()) return;
    bool requires_leader = false;
    std::erase_if(metadata, [&requires_leader](const auto& header) {
      if (header.first != "hasleader") return false;
      requires_leader = requires_leader || header.second == "true";
      return true;
    });
    port->SetOnRoom([this, raw = port.get()] { logic_->OnRoom(raw); });
    ports_[port.get()] = {.port = port, .requires_leader = requires_leader};
    logic_->OnOpen(port.get(), std::move(metadata));
    if (requires_leader && upstream_.leader->lost()) port->End(NoLeaderError());
  }

  void Message(ClientPort* port, std::string_view message) {
    if (!closed()) logic_->OnMessage(port, message);
  }
  void HalfClose(ClientPort* port) {
    if (!closed()) logic_->OnHalfClose(port);
  }
  void Close(ClientPort* port) {
    if (closed()) return;
    port->Detach();
    logic_->OnClose(port);
    ports_.erase(port);
  }

  void Shutdown() {
    upstream_.leader->Forget(lost_id_);
    closed_ = true;
    for (auto& [port, entry] : ports_) {
      port->End(absl::CancelledError("grpc: the client connection is closing"));
      port->Detach();
      logic_->OnClose(port);
    }
    ports_.clear();
    logic_.reset();
    office_->OnTurnEnd();  // the clients' loops may stop before this turn ends
  }

 private:
  struct Entry {
    std::shared_ptr<ClientPort> port;
    bool requires_leader = false;
  };

  void OnLeaderLost() {
    for (auto& [port, entry] : ports_) {
      if (entry.requires_leader) port->End(NoLeaderError());
    }
  }

  const Upstream upstream_;
  ChannelCalls calls_;
  const std::shared_ptr<PortOffice> office_;  // shared with the loop, for the turn's end
  std::unique_ptr<StreamLogic> logic_;
  absl::flat_hash_map<ClientPort*, Entry> ports_;
  uint64_t lost_id_ = 0;
  std::atomic<bool> closed_{false};  // set on the upstream's loop; the streams' loops ask
};

/// One client's stream, on its loop.
class StreamBridge::Handler final : public grpc::StreamHandler {
 public:
  Handler(std::shared_ptr<Shared> shared, grpc::StreamWriter& writer) : shared_(std::move(shared)) {
    if (shared_->closed()) {
      writer.Finish(absl::CancelledError("grpc: the client connection is closing"));
      return;
    }
    port_ = std::make_shared<ClientPort>(&writer.loop(), shared_->loop(), shared_->office());
    port_->SetWriter(&writer);
    shared_->loop()->Post(
        [shared = shared_, port = port_, metadata = ForwardedMetadata(writer.info().metadata)]() mutable {
          shared->Open(port, std::move(metadata));
        });
  }

  ~Handler() override {
    if (port_ == nullptr) return;
    port_->Forget();
    if (shared_->closed()) return;
    shared_->loop()->Post([shared = shared_, port = port_] { shared->Close(port.get()); });
  }

  void OnMessage(std::string_view message) override {
    if (port_ == nullptr || shared_->closed()) return;
    shared_->loop()->Post([shared = shared_, port = port_, message = std::string(message)] {
      shared->Message(port.get(), message);
    });
  }
  void OnHalfClose() override {
    if (port_ == nullptr || shared_->closed()) return;
    shared_->loop()->Post([shared = shared_, port = port_] { shared->HalfClose(port.get()); });
  }
  void OnCancel() override {
    if (port_ != nullptr) port_->Forget();
  }
  void OnWritable() override {
    if (const auto port = port_) port->Pump();
  }

 private:
  const std::shared_ptr<Shared> shared_;
  std::shared_ptr<ClientPort> port_;
};

StreamBridge::StreamBridge(const Upstream& upstream, const MakeLogic& make)
    : shared_(std::make_shared<Shared>(upstream, make)) {
  RunOn(upstream.loop, [this] { shared_->Begin(); });
}

StreamBridge::~StreamBridge() {
  RunOn(shared_->loop(), [this] { shared_->Shutdown(); });
}

void StreamBridge::Register(grpc::Server* server, std::string method) {
  server->AddStream(
      std::move(method), grpc::MethodKind::kBidiStream,
      [shared = shared_](grpc::StreamWriter& writer) { return std::make_unique<Handler>(shared, writer); });
}

}  // namespace kvorum::proxy_grpc
