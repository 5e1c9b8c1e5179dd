#include "peer/transport_handler.h"

#include "http/text.h"
#include "peer/snapshot_receiver.h"
#include "raft/codec.h"

namespace kvorum::peer {

namespace {

constexpr size_t kMaxMessageBytes = 64 << 20;
/// A whole request, with its body.
constexpr auto kRequestTimeout = std::chrono::minutes(5);
constexpr uint32_t kHttp2Cancel = 8;

/// Of a request that is answered already.
class IgnoringSink final : public http::RequestSink {
 public:
  void OnData(std::string_view) override {}
  void OnEnd() override {}
  void OnAbort() override {}
};

std::unique_ptr<http::RequestSink> Refused(http::ResponseWriter& writer, int status, http::Headers headers,
                                           std::string_view text) {
  headers.emplace_back("content-type", "text/plain; charset=utf-8");
  headers.emplace_back("x-content-type-options", "nosniff");
  writer.Reply(status, std::move(headers), std::string(text) + "\n");
  return std::make_unique<IgnoringSink>();
}

/// A message that is posted: collects it, and hands it on.
class MessageSink final : public http::RequestSink {
 public:
  MessageSink(std::shared_ptr<TransportCore> core, Sender sender, http::ResponseWriter& writer)
      : core_(std::move(core)),
        answer_(std::make_shared<Answer>(writer)),
        loop_(writer.loop()),
        timer_(loop_.PostAfter(kRequestTimeout,
                               [answer = std::weak_ptr<Answer>(answer_)] {
                                 const std::shared_ptr<Answer> late = answer.lock();
                                 if (late != nullptr)
                                   late->Run([](http::ResponseWriter& w) { w.Abort(kHttp2Cancel); });
                               })),
        body_(http::CollectBody(writer, kMaxMessageBytes,
                                [this, sender = std::move(sender)](const std::string& body) mutable {
                                  OnMessage(std::move(sender), body);
                                })) {}
  ~MessageSink() override {
    loop_.CancelTimer(timer_);
    answer_->Gone();
  }

  void OnData(std::string_view data) override { body_->OnData(data); }
  void OnEnd() override { body_->OnEnd(); }
  void OnAbort() override {
    answer_->Gone();
    body_->OnAbort();
  }

 private:
  void OnMessage(Sender sender, const std::string& body) {
    absl::StatusOr<raft::Message> message = raft::DecodeMessage(body);
    const std::string from = sender.id ? cluster::IdText(*sender.id) : std::string();
    if (!message.ok()) {
      core_->metrics().received_failures.With({from}).Add();
      return ReplyPlain(*answer_, 400, core_->identity().cluster_header(),
                        "error unmarshalling raft message");
    }
    core_->metrics().received_bytes.With({cluster::IdText(message->from.value())}).Add(body.size());
    core_->AnswerMessage(std::move(sender), *std::move(message), answer_);
  }

  const std::shared_ptr<TransportCore> core_;
  const std::shared_ptr<Answer> answer_;
  http::Loop& loop_;
  const Executor::TimerId timer_;
  const std::unique_ptr<http::RequestSink> body_;
};

/// A stream that a peer dialled, as its connection sees it.
class StreamSink final : public http::RequestSink {
 public:
  StreamSink(std::shared_ptr<StreamWriter> stream, std::shared_ptr<Answer> answer)
      : stream_(std::move(stream)), answer_(std::move(answer)) {}
  ~StreamSink() override { OnAbort(); }

  void OnData(std::string_view) override {}
  void OnEnd() override {}
  void OnAbort() override {
    answer_->Gone();
    stream_->Gone();
  }
  void OnWritable() override { stream_->OnWritable(); }

 private:
  const std::shared_ptr<StreamWriter> stream_;
  const std::shared_ptr<Answer> answer_;
};

}  // namespace

std::unique_ptr<http::RequestSink> TransportHandler::Start(const http::Request& request,
                                                           http::ResponseWriter& writer) {
  if (!core_->running()) return Refused(writer, 503, {}, "the member is not running");
  if (request.path == "/raft") return StartMessage(request, writer);
  if (request.path == "/raft/snapshot") return StartSnapshot(request, writer);
  if (request.path.starts_with("/raft/stream/")) return StartStream(request, writer);
  if (request.path == "/raft/probing") {
    writer.Reply(200, {{"content-type", "text/plain; charset=utf-8"}},
                 ProbeBody(core_->loop().clock().WallNow()));
    return std::make_unique<IgnoringSink>();
  }
  return Refused(writer, 404, {}, "404 page not found");
}

bool TransportHandler::Refuse(const http::Request& request, http::ResponseWriter& writer,
                              std::string_view method) {
  if (request.method != method) {
    Refused(writer, 405, {{"allow", std::string(method)}}, "Method Not Allowed");
    return true;
  }
  const absl::Status status = core_->identity().Check(request);
  if (status.ok()) return false;
  if (absl::IsInvalidArgument(status)) {
    writer.Abort(kHttp2Cancel);
    return true;
  }
  if (core_->MayLogRefusal()) {
    KVORUM_LOG(core_->logger(), kWarn,
               std::string(status.message()) == kClusterIdMismatch
                   ? "request cluster ID mismatch"
                   : "failed to check version compatibility with remote peer",
               LogField::Id("local-member-id", core_->identity().local().value()),
               LogField::Id("local-member-cluster-id", core_->options().cluster.value()),
               LogField::Id("remote-peer-id", SenderOf(request).id.value_or(0)),
               {"remote-peer-address", request.remote}, {"path", request.path});
  }
  Refused(writer, 412, core_->identity().cluster_header(), std::string(status.message()));
  return true;
}

std::unique_ptr<http::RequestSink> TransportHandler::StartMessage(const http::Request& request,
                                                                  http::ResponseWriter& writer) {
  if (Refuse(request, writer, "POST")) return std::make_unique<IgnoringSink>();
  return std::make_unique<MessageSink>(core_, SenderOf(request), writer);
}

std::unique_ptr<http::RequestSink> TransportHandler::StartSnapshot(const http::Request& request,
                                                                   http::ResponseWriter& writer) {
  if (Refuse(request, writer, "POST")) return std::make_unique<IgnoringSink>();
  return std::make_unique<SnapshotSink>(core_, SenderOf(request), writer);
}

std::unique_ptr<http::RequestSink> TransportHandler::StartStream(const http::Request& request,
                                                                 http::ResponseWriter& writer) {
  if (Refuse(request, writer, "GET")) return std::make_unique<IgnoringSink>();
  const http::Headers& headers = core_->identity().stream_headers();
  std::string_view path = request.path;
  http::ConsumePrefix(&path, "/raft/stream/");
  const size_t slash = path.find('/');
  const std::string_view type_name = path.substr(0, slash);
  StreamType type;
  if (type_name == StreamPath(StreamType::kMsgApp)) {
    type = StreamType::kMsgApp;
  } else if (type_name == StreamPath(StreamType::kMessage)) {
    type = StreamType::kMessage;
  } else {
    return Refused(writer, 404, headers, "invalid path");
  }
  const std::optional<uint64_t> from =
      slash == std::string_view::npos ? std::nullopt : ParseId(path.substr(slash + 1));
  if (!from) return Refused(writer, 404, headers, "invalid from");

  const raft::NodeId id(*from);
  const std::string_view* to = request.Find("x-raft-to");
  auto answer = std::make_shared<Answer>(writer);
  auto stream = std::make_shared<StreamWriter>(
      type, &writer, [core = core_, id](StreamWriter* closed, bool lost_messages) {
        core->OnStreamClosed(id, closed->shared_from_this(), lost_messages);
      });
  core_->AnswerStream(
      {.from = id, .to = std::string(to == nullptr ? std::string_view() : *to), .sender = SenderOf(request)},
      stream, answer);
  return std::make_unique<StreamSink>(std::move(stream), std::move(answer));
}

}  // namespace kvorum::peer
