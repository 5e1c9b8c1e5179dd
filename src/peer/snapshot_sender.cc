#include "peer/snapshot_sender.h"

#include "bbolt/bbolt.h"
#include "cluster/cluster.h"
#include "peer/stream_codec.h"

namespace kvorum::peer {

namespace {

constexpr size_t kPieceBytes = 512 << 10;
constexpr size_t kAnswerBytes = 1 << 10;

/// The peer may hold us back while its disk is busy.
constexpr auto kWriteTimeout = std::chrono::minutes(1);
/// Until the peer has it durably, once all is sent: what etcd gives the whole upload.
constexpr auto kResponseTimeout = std::chrono::minutes(5);
/// Of the rest of the answer.
constexpr auto kReadTimeout = std::chrono::seconds(5);

constexpr int kNoContent = 204;
constexpr int kForbidden = 403;

}  // namespace

/// The body: the message's frame, then the database. Made on the executor.
class SnapshotSender::Source final : public http::BodySource, public std::enable_shared_from_this<Source> {
 public:
  Source(ThreadExecutor* executor, std::string frame, std::unique_ptr<bbolt::FileStream> database)
      : executor_(executor), frame_(std::move(frame)), database_(std::move(database)) {}
  ~Source() override {
    // It ends a read transaction.
    executor_->Post([database = std::move(database_)] {});
  }

  uint64_t size_bytes() const { return database_->size_bytes(); }

  void Pull(Piece piece) override {
    executor_->Post([self = shared_from_this(), piece = std::move(piece)]() mutable {
      if (std::string frame = std::exchange(self->frame_, {}); !frame.empty())
        return piece(Bytes::Copy(frame));
      piece(self->database_->Next(kPieceBytes));
    });
  }

 private:
  ThreadExecutor* const executor_;
  std::string frame_;  // empty once given
  std::unique_ptr<bbolt::FileStream> database_;
};

SnapshotSender::SnapshotSender(Hub* hub, member::OutgoingSnapshot snapshot, UrlPicker* urls,
                               PeerStatus* status, Done done)
    : hub_(hub),
      remote_(snapshot.message.to),
      remote_text_(cluster::IdText(remote_.value())),
      index_(snapshot.message.snapshot->metadata.index),
      urls_(urls),
      status_(status),
      snapshot_(std::move(snapshot)),
      done_(std::move(done)) {}

void SnapshotSender::Start() {
  begun_ = hub_->loop().clock().Now();
  hub_->metrics().snapshot_send_inflights.With({remote_text_}).Add(1);
  KVORUM_LOG(hub_->logger(), kInfo, "sending database snapshot", {"snapshot-index", index_.value()},
             LogField::Id("remote-peer-id", remote_.value()));
  ThreadExecutor* executor = &hub_->snapshot_reader();
  executor->Post([self = shared_from_this(), executor, &loop = hub_->loop(),
                  message = std::move(snapshot_.message),
                  database = std::move(snapshot_.database)]() mutable {
    const raft::SnapshotMetadata& metadata = message.snapshot->metadata;
    auto file = bbolt::FileStream::Create(std::move(database),
                                          {.index = metadata.index.value(), .term = metadata.term.value()});
    if (!file.ok()) {
      loop.Post(
          [self = std::move(self), error = std::string(file.status().message())] { self->Fail(error); });
      return;
    }
    auto source = std::make_shared<Source>(executor, EncodeFrame(message), *std::move(file));
    loop.Post(
        [self = std::move(self), source = std::move(source)]() mutable { self->Post(std::move(source)); });
  });
}

void SnapshotSender::Cancel() {
  if (!std::exchange(done_, nullptr)) return;
  hub_->metrics().snapshot_send_inflights.With({remote_text_}).Add(-1);
  if (const auto exchange = std::move(exchange_)) exchange->Cancel();
}

void SnapshotSender::Post(std::shared_ptr<Source> source) {
  if (!done_) return;
  url_ = urls_->Pick();
  http::Headers headers = hub_->identity().request_headers();
  headers.emplace_back("content-type", "application/octet-stream");
  exchange_ = hub_->client().Open(
      {.method = "POST", .url = url_ + "/raft/snapshot", .headers = std::move(headers)},
      {.write_timeout = kWriteTimeout, .response_timeout = kResponseTimeout, .read_timeout = kReadTimeout},
      shared_from_this(), std::move(source));
}

void SnapshotSender::OnHead(http::ClientResponse head) { http_status_ = head.status; }

void SnapshotSender::OnData(std::string_view data) {
  answer_.append(data.substr(0, kAnswerBytes - std::min(kAnswerBytes, answer_.size())));
}

void SnapshotSender::OnEnd(absl::Status status) {
  if (!done_) return;
  if (!status.ok()) return Fail(std::string(status.message()));
  if (http_status_ != kNoContent) {
    while (answer_.ends_with('\n')) answer_.pop_back();
    Fail(fmt::format("unexpected http status {} while posting to \"{}/raft/snapshot\": {}", http_status_,
                     url_, answer_));
    if (http_status_ == kForbidden) hub_->OnRemoved();
    return;
  }
  KVORUM_LOG(hub_->logger(), kInfo, "sent database snapshot", {"snapshot-index", index_.value()},
             LogField::Id("remote-peer-id", remote_.value()), {"took", hub_->loop().clock().Now() - begun_});
  hub_->metrics().snapshot_send_success.With({remote_text_}).Add();
  hub_->metrics().snapshot_send_seconds.With({remote_text_}).Observe(hub_->loop().clock().Now() - begun_);
  status_->Activate();
  Finish(true);
}

void SnapshotSender::Fail(std::string_view error) {
  if (!done_) return;
  KVORUM_LOG(hub_->logger(), kWarn, "failed to send database snapshot", {"snapshot-index", index_.value()},
             LogField::Id("remote-peer-id", remote_.value()), {"error", error});
  hub_->metrics().snapshot_send_failures.With({remote_text_}).Add();
  hub_->metrics().sent_failures.With({remote_text_}).Add();
  status_->Deactivate(fmt::format("failed to write {} on pipeline", remote_text_), error);
  urls_->Rotate(url_);
  Finish(false);
}

void SnapshotSender::Finish(bool finished) {
  hub_->metrics().snapshot_send_inflights.With({remote_text_}).Add(-1);
  exchange_.reset();
  std::exchange(done_, nullptr)(finished);
}

}  // namespace kvorum::peer
