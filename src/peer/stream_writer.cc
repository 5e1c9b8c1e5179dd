#include "peer/stream_writer.h"

#include <algorithm>

#include "fmt/format.h"

namespace kvorum::peer {

namespace {

constexpr size_t kMaxQueuedMessages = 4096;
constexpr size_t kMaxQueuedBytes = 64 << 20;
constexpr auto kTimeout = std::chrono::seconds(5);
constexpr auto kBeatInterval = std::chrono::nanoseconds(kTimeout) / 3;
/// What is encoded before it is handed on.
constexpr size_t kBatchBytes = 64 << 10;

/// Of the memory that a message holds on to.
size_t MessageBytes(const raft::Message& message) {
  return sizeof message + message.context.size() + raft::PayloadSize(message.entries) +
         message.entries.size() * sizeof(raft::Entry);
}

bool IsAppend(const raft::Message& message) { return message.type == raft::MessageType::kApp; }

/// What a piece of the body takes on an HTTP/1.1 connection: its length in hex, two line ends, itself.
size_t ChunkBytes(size_t size) { return fmt::formatted_size("{:x}", size) + 4 + size; }

}  // namespace

StreamWriter::StreamWriter(StreamType type, http::ResponseWriter* writer, OnClosed on_closed)
    : type_(type),
      loop_(writer->loop()),
      writer_(writer),
      on_closed_(std::move(on_closed)),
      encoder_(NewStreamEncoder(type)) {}

void StreamWriter::Run(void (StreamWriter::*action)()) {
  loop_.Post([self = shared_from_this(), action] { (*self.*action)(); });
}

void StreamWriter::Open(const http::Headers& headers, metrics::Counter* sent_bytes,
                        std::shared_ptr<FollowerMeter> meter) {
  loop_.Post([self = shared_from_this(), headers, sent_bytes, meter = std::move(meter)] {
    if (self->writer_ == nullptr) return;
    self->writer_->SendHead(200, headers);
    self->sent_bytes_ = sent_bytes;
    self->meter_ = meter;
    self->open_ = true;
    self->put_bytes_ = self->writer_->buffered();
    self->drained_at_ = self->loop_.clock().Now();
    self->BeatLater();
    self->Drain();
  });
}

bool StreamWriter::Send(raft::Message message) {
  const size_t bytes = MessageBytes(message);
  const MonotonicTime since = IsAppend(message) ? loop_.clock().Now() : MonotonicTime();
  {
    absl::MutexLock lock(&mutex_);
    // One message may be as large as it is, but then nothing stands behind it.
    if (closed_ || queued_messages_ >= kMaxQueuedMessages ||
        (queued_messages_ > 0 && queued_bytes_ + bytes > kMaxQueuedBytes)) {
      return false;
    }
    incoming_.push_back({std::move(message), bytes, since});
    ++queued_messages_;
    queued_bytes_ += bytes;
    if (std::exchange(scheduled_, true)) return true;
  }
  if (loop_.InThread()) {
    loop_.AtTurnEnd(shared_from_this());
  } else {
    Run(&StreamWriter::Drain);
  }
  return true;
}

void StreamWriter::Close() { Run(&StreamWriter::CloseOnLoop); }

void StreamWriter::CloseOnLoop() {
  if (writer_ != nullptr) writer_->Abort(/*http2_error_code=*/8);
  Gone();
}

void StreamWriter::Gone() {
  writer_ = nullptr;
  if (timer_ != 0) loop_.CancelTimer(std::exchange(timer_, 0));
  bool lost;
  std::vector<Waiting> incoming;
  {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
    lost = queued_messages_ > 0;
    incoming.swap(incoming_);
  }
  if (meter_ != nullptr) {
    const auto append = [](const Waiting& waiting) { return IsAppend(waiting.message); };
    meter_->Fail(std::count_if(incoming.begin(), incoming.end(), append) +
                 std::count_if(waiting_.begin(), waiting_.end(), append));
  }
  waiting_.clear();
  if (OnClosed told = std::exchange(on_closed_, nullptr)) told(this, lost);
}

void StreamWriter::Drain() {
  std::vector<Waiting> incoming;
  {
    absl::MutexLock lock(&mutex_);
    scheduled_ = false;
    incoming.swap(incoming_);
  }
  if (writer_ == nullptr) return;
  for (Waiting& waiting : incoming) waiting_.push_back(std::move(waiting));
  if (!open_) return;
  size_t messages = 0;
  size_t bytes = 0;
  FollowerMeter::Batch appends;
  while (!waiting_.empty() && writer_->buffered() < http::ResponseWriter::kHighWater) {
    FrameOutput out;
    bytes += EncodeBatch(out, &messages, &appends);
    Put(out);
  }
  if (!appends.empty()) meter_->Succeed(appends);
  absl::MutexLock lock(&mutex_);
  queued_messages_ -= messages;
  queued_bytes_ -= bytes;
}

size_t StreamWriter::EncodeBatch(FrameOutput& out, size_t* messages, FollowerMeter::Batch* appends) {
  const MonotonicTime now = loop_.clock().Now();
  size_t bytes = 0;
  while (!waiting_.empty() && bytes < kBatchBytes) {
    const Waiting& next = waiting_.front();
    encoder_->Encode(next.message, out);
    if (IsAppend(next.message)) appends->Add(now - next.since);
    bytes += next.bytes;
    waiting_.pop_front();
    ++*messages;
  }
  return bytes;
}

void StreamWriter::Put(FrameOutput& out) {
  for (Bytes& piece : out.Take()) {
    put_bytes_ += ChunkBytes(piece.size());
    sent_bytes_->Add(piece.size());
    writer_->Send(std::move(piece));
  }
}

void StreamWriter::BeatLater() {
  timer_ = loop_.PostAfter(kBeatInterval, [weak = weak_from_this()] {
    const std::shared_ptr<StreamWriter> self = weak.lock();
    if (self == nullptr || self->writer_ == nullptr) return;
    self->timer_ = 0;
    self->Beat();
  });
}

void StreamWriter::Beat() {
  const MonotonicTime now = loop_.clock().Now();
  const uint64_t drained = put_bytes_ - std::min<uint64_t>(put_bytes_, writer_->buffered());
  if (writer_->buffered() == 0 || drained != drained_bytes_) {
    drained_bytes_ = drained;
    drained_at_ = now;
  } else if (now - drained_at_ >= kTimeout) {
    return CloseOnLoop();
  }
  // What still waits for the system keeps the link alive as well.
  if (writer_->buffered() == 0) {
    FrameOutput out;
    encoder_->EncodeHeartbeat(out);
    Put(out);
  }
  BeatLater();
}

}  // namespace kvorum::peer
