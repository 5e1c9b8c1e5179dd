#include "proxy/grpc/client_port.h"

#include "absl/synchronization/notification.h"
#include "base/wire.h"
#include "gtest/gtest.h"

namespace kvorum::proxy_grpc {
namespace {

/// A client's connection that takes nothing until it is told to.
class FakeWriter final : public grpc::StreamWriter {
 public:
  explicit FakeWriter(http::Loop* loop) : loop_(*loop) {}
  const grpc::CallInfo& info() const override { return info_; }
  http::Loop& loop() override { return loop_; }
  void Send(grpc::Payload message) override {
    buffered_ += message.size();
    sent.push_back(std::move(message));
  }
  void Finish(const absl::Status& status) override { finished = status; }
  size_t buffered() const override { return buffered_; }
  void TakeAll() { buffered_ = 0; }

  std::vector<grpc::Payload> sent;
  std::optional<absl::Status> finished;

 private:
  http::Loop& loop_;
  const grpc::CallInfo info_;
  size_t buffered_ = 0;
};

class ProxyClientPort : public ::testing::Test {
 protected:
  ProxyClientPort() {
    port_->SetWriter(&writer_);
    OnUpstream([this] { port_->SetOnRoom([this] { ++rooms_; }); });
  }
  ~ProxyClientPort() override {
    OnUpstream([this] { port_->Detach(); });
    OnClient([this] { port_->Forget(); });
  }
  /// Returns when the work is done, and so is what it left to the end of its turn of the loop.
  template <typename Work>
  static void On(http::Loop& loop, Work work) {
    const auto run = [&loop](auto&& task) {
      absl::Notification done;
      loop.Post([&] {
        task();
        done.Notify();
      });
      done.WaitForNotification();
    };
    run(work);
    run([] {});  // in a later turn
  }
  template <typename Work>
  void OnUpstream(Work work) {
    On(upstream_, work);
  }
  template <typename Work>
  void OnClient(Work work) {
    On(client_, work);
  }

  http::Loop upstream_{"upstream"};
  http::Loop client_{"client"};
  FakeWriter writer_{&client_};
  const std::shared_ptr<PortOffice> office_ = std::make_shared<PortOffice>(&upstream_);
  const std::shared_ptr<ClientPort> port_ = std::make_shared<ClientPort>(&client_, &upstream_, office_.get());
  int rooms_ = 0;  // the upstream's loop
};

TEST_F(ProxyClientPort, PutsTheWatchIdInFrontOfSharedBytes) {
  OnUpstream([this] {
    port_->Send(7, Bytes::Copy("body"));
    port_->Send(0, Bytes::Copy("plain"));
  });
  OnClient([] {});
  ASSERT_EQ(writer_.sent.size(), 2);
  std::string id;
  wire::AppendUint(id, 2, 7);
  EXPECT_EQ(writer_.sent[0].head, id);
  EXPECT_EQ(writer_.sent[0].shared[0].view(), "body");
  EXPECT_EQ(writer_.sent[1].head, "");
}

TEST_F(ProxyClientPort, KeepsAClientThatDoesNotReadWithinItsBound) {
  const Bytes piece = Bytes::Copy(std::string(64 << 10, 'x'));
  int sent = 0;
  OnUpstream([&] {
    for (; port_->HasRoom(); ++sent) port_->Send(1, piece);
  });
  EXPECT_LT(sent, 100);
  OnClient([] {});
  EXPECT_LT(writer_.sent.size(), sent) << "the connection was filled";
  EXPECT_EQ(rooms_, 0);
  for (int i = 0; i < 100; ++i) {
    OnClient([this] {
      writer_.TakeAll();
      port_->Pump();
    });
  }
  OnUpstream([this] { EXPECT_EQ(rooms_, 1); });
  EXPECT_EQ(writer_.sent.size(), sent);
}

TEST_F(ProxyClientPort, CutsOffWhoDoesNotReadAnswers) {
  const Bytes piece = Bytes::Copy(std::string(1 << 20, 'x'));
  OnUpstream([&] {
    for (int i = 0; i < 100; ++i) port_->Send(1, piece);
  });
  OnClient([] {});
  ASSERT_TRUE(writer_.finished.has_value());
  EXPECT_EQ(writer_.finished->code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(ProxyClientPort, EndsOnceEverythingIsSent) {
  OnUpstream([this] {
    port_->Send(1, Bytes::Copy(std::string(1 << 20, 'x')));
    port_->Send(2, Bytes::Copy("last"));
    port_->End(absl::OkStatus());
    port_->Send(3, Bytes::Copy("too late"));
  });
  OnClient([this] {
    EXPECT_FALSE(writer_.finished.has_value());
    writer_.TakeAll();
    port_->Pump();
  });
  EXPECT_EQ(writer_.sent.size(), 2);
  EXPECT_EQ(writer_.finished, absl::OkStatus());
}

}  // namespace
}  // namespace kvorum::proxy_grpc
