#include "peer/snapshot_receiver.h"

#include "raft/codec.h"

namespace kvorum::peer {

namespace {

/// What is written at a time.
constexpr size_t kPieceBytes = 256 << 10;
/// The peer is held back while more than this waits for the disk, until less than half of it does.
constexpr size_t kMaxWaitingBytes = 2 << 20;
/// A peer that sends nothing of what it began.
constexpr auto kMaxSilence = std::chrono::seconds(30);
constexpr uint32_t kHttp2Cancel = 8;

std::string Text(const absl::Status& status) { return std::string(status.message()); }

}  // namespace

/// The part of it that outlives the request: message, file, and what waits for the disk. Shared between the
/// sink, which is told through `answer`, and the tasks of the executor that writes.
class SnapshotSink::Upload final : public std::enable_shared_from_this<Upload> {
 public:
  Upload(std::shared_ptr<TransportCore> core, raft::Message message, std::shared_ptr<Answer> answer)
      : core_(std::move(core)),
        from_(cluster::IdText(message.from.value())),
        answer_(std::move(answer)),
        begun_(core_->loop().clock().Now()),
        message_(std::move(message)),
        file_(std::make_unique<SnapshotFile>(core_->options().env, core_->options().snap_dir,
                                             message_.snapshot->metadata.index, core_->NextSerial())) {
    core_->metrics().snapshot_receive_inflights.With({from_}).Add(1);
    KVORUM_LOG(core_->logger(), kInfo, "receiving database snapshot",
               LogField::Id("local-member-id", core_->identity().local().value()),
               LogField::Id("remote-snapshot-sender-id", message_.from.value()),
               {"incoming-snapshot-index", message_.snapshot->metadata.index.value()});
  }
  ~Upload() {
    core_->metrics().snapshot_receive_inflights.With({from_}).Add(-1);
    if (!received_) core_->metrics().snapshot_receive_failures.With({from_}).Add();
  }

  // On the connection's loop.

  bool paused() const { return paused_; }

  /// False: enough waits.
  bool Put(std::string_view data) {
    piece_.append(data);
    if (piece_.size() >= kPieceBytes) WritePiece();
    paused_ = waiting_ > kMaxWaitingBytes;
    return !paused_;
  }

  void End() {
    WritePiece();
    core_->snapshot_writer().Post([self = shared_from_this()] { self->Finish(); });
  }

  /// The request is broken: the file goes, beside the loop.
  void Abandon() {
    core_->snapshot_writer().Post([self = shared_from_this()] { self->file_.reset(); });
  }

 private:
  void WritePiece() {
    if (piece_.empty()) return;
    waiting_ += piece_.size();
    core_->snapshot_writer().Post(
        [self = shared_from_this(), piece = std::exchange(piece_, std::string())] { self->Write(piece); });
  }

  // On the executor.

  void Write(const std::string& piece) {
    if (file_ == nullptr) return;
    if (status_.ok()) status_ = file_->Append(piece);
    if (!status_.ok()) {
      file_.reset();
      return Fail();
    }
    answer_->Run([self = shared_from_this(), size = piece.size()](http::ResponseWriter& writer) {
      self->waiting_ -= size;
      if (self->paused_ && self->waiting_ <= kMaxWaitingBytes / 2) {
        self->paused_ = false;
        writer.ResumeInput();
      }
    });
  }

  void Finish() {
    if (file_ == nullptr) return;
    status_ = file_->Finish();
    const uint64_t size = file_->size();
    file_.reset();
    if (!status_.ok()) return Fail();
    KVORUM_LOG(core_->logger(), kInfo, "received and saved database snapshot",
               LogField::Id("local-member-id", core_->identity().local().value()),
               LogField::Id("remote-snapshot-sender-id", message_.from.value()),
               {"incoming-snapshot-index", message_.snapshot->metadata.index.value()},
               {"incoming-snapshot-size-bytes", size});
    received_ = true;
    core_->metrics().snapshot_receive_success.With({from_}).Add();
    core_->metrics().snapshot_receive_seconds.With({from_}).Observe(core_->loop().clock().Now() - begun_);
    core_->AnswerSnapshot(std::move(message_), answer_);
  }

  void Fail() {
    KVORUM_LOG(core_->logger(), kWarn, "failed to save incoming database snapshot",
               LogField::Id("local-member-id", core_->identity().local().value()),
               LogField::Id("remote-snapshot-sender-id", message_.from.value()),
               {"incoming-snapshot-index", message_.snapshot->metadata.index.value()},
               {"error", Text(status_)});
    ReplyPlain(*answer_, 500, core_->identity().cluster_header(),
               fmt::format("failed to save KV snapshot ({})", Text(status_)));
  }

  const std::shared_ptr<TransportCore> core_;
  const std::string from_;
  const std::shared_ptr<Answer> answer_;
  const MonotonicTime begun_;

  // Owned by the connection's loop.
  std::string piece_;
  size_t waiting_ = 0;  // bytes that the executor has not written
  bool paused_ = false;

  // Owned by the executor once the first piece was posted.
  raft::Message message_;
  std::unique_ptr<SnapshotFile> file_;  // null once finished, failed or abandoned
  absl::Status status_;
  bool received_ = false;
};

SnapshotSink::SnapshotSink(std::shared_ptr<TransportCore> core, Sender sender, http::ResponseWriter& writer)
    : core_(std::move(core)),
      sender_(std::move(sender)),
      from_(sender_.id ? cluster::IdText(*sender_.id) : std::string()),
      answer_(std::make_shared<Answer>(writer)),
      loop_(writer.loop()),
      has_slot_(core_->TakeUploadSlot()),
      heard_at_(loop_.clock().Now()) {
  if (has_slot_) {
    WatchForSilence();
  } else {
    Refuse(503, "too many snapshots are being received");
  }
}

SnapshotSink::~SnapshotSink() {
  OnAbort();
  if (timer_ != 0) loop_.CancelTimer(timer_);
  if (has_slot_) core_->GiveUploadSlot();
}

void SnapshotSink::OnAbort() {
  answer_->Gone();
  if (!std::exchange(over_, true) && upload_ != nullptr) upload_->Abandon();
}

void SnapshotSink::OnData(std::string_view data) {
  heard_at_ = loop_.clock().Now();
  if (over_ || (upload_ == nullptr && !TakeMessage(&data)) || data.empty()) return;
  if (upload_->Put(data)) return;
  answer_->writer()->PauseInput();
}

void SnapshotSink::OnEnd() {
  if (over_) return;
  if (upload_ == nullptr) return Refuse(400, "failed to decode raft message (unexpected EOF)");
  over_ = true;
  upload_->End();
}

bool SnapshotSink::TakeMessage(std::string_view* data) {
  const absl::StatusOr<std::optional<std::string_view>> bytes = frame_.Take(data);
  if (!bytes.ok()) {
    Refuse(400, fmt::format("failed to decode raft message ({})", Text(bytes.status())));
    return false;
  }
  if (!bytes->has_value()) return false;
  absl::StatusOr<raft::Message> message = raft::DecodeMessage(**bytes);
  if (!message.ok()) {
    Refuse(400, fmt::format("failed to decode raft message ({})", Text(message.status())));
    return false;
  }
  if (message->type != raft::MessageType::kSnap || !message->snapshot) {
    Refuse(400, "wrong raft message type");
    return false;
  }
  core_->metrics().received_bytes.With({cluster::IdText(message->from.value())}).Add((*bytes)->size());
  core_->CheckSnapshot(sender_, message->from, message->to, answer_);
  upload_ = std::make_shared<Upload>(core_, *std::move(message), answer_);
  return true;
}

void SnapshotSink::Refuse(int status, std::string_view text) {
  over_ = true;
  core_->metrics().snapshot_receive_failures.With({from_}).Add();
  ReplyPlain(*answer_, status, core_->identity().cluster_header(), text);
}

void SnapshotSink::WatchForSilence() {
  timer_ = loop_.PostAt(heard_at_ + kMaxSilence, [this] {
    timer_ = 0;
    const MonotonicTime now = loop_.clock().Now();
    // A peer that is held back, or has sent all, has nothing to say.
    if (over_) return;
    if (upload_ != nullptr && upload_->paused()) heard_at_ = now;
    if (now - heard_at_ < kMaxSilence) return WatchForSilence();
    http::ResponseWriter* writer = answer_->writer();
    OnAbort();
    if (writer != nullptr) writer->Abort(kHttp2Cancel);
  });
}

}  // namespace kvorum::peer
