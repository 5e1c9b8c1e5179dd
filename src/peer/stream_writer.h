#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "base/metrics.h"
#include "http/handler.h"
#include "http/loop.h"
#include "peer/message_stats.h"
#include "peer/stream_codec.h"

namespace kvorum::peer {

/// The writing end of a stream that a peer dialled. Messages are put in from the transport's loop and leave
/// on the connection's, which may be another; what waits is bounded in messages and bytes, and a peer that
/// takes nothing for 5 s is cut off.
///
/// Thread-safe where nothing else is said; shared between peer, request and tasks under way.
class StreamWriter final : public http::TurnEnd, public std::enable_shared_from_this<StreamWriter> {
 public:
  /// Told once, on the connection's loop, when the stream is no more. `lost_messages`: something that was put
  /// in did not leave.
  using OnClosed = std::function<void(StreamWriter* stream, bool lost_messages)>;

  /// On the connection's loop. `writer` is valid until `Gone`.
  StreamWriter(StreamType type, http::ResponseWriter* writer, OnClosed on_closed);

  /// Answers with the stream's head; messages leave from now on, and `meter` gets to know those that append.
  void Open(const http::Headers& headers, metrics::Counter* sent_bytes, std::shared_ptr<FollowerMeter> meter);
  /// False when too much waits, or the stream is closed: the message was not taken. REQUIRES: as of
  /// StreamEncoder::Encode
  bool Send(raft::Message message);
  /// Breaks the stream off.
  void Close();

  StreamType type() const { return type_; }

  // On the connection's loop.

  /// The connection is gone, or the response ended.
  void Gone();
  /// There is room for more.
  void OnWritable() { Drain(); }
  void OnTurnEnd() override { Drain(); }

 private:
  struct Waiting {
    raft::Message message;
    size_t bytes;
    MonotonicTime since;  // of one that appends
  };

  /// Calls `action` on the connection's loop.
  void Run(void (StreamWriter::*action)());
  void CloseOnLoop();
  void Drain();
  void Put(FrameOutput& out);
  /// Encodes what waits until a batch is full; its bytes, and how long those that append had waited.
  size_t EncodeBatch(FrameOutput& out, size_t* messages, FollowerMeter::Batch* appends);
  /// Once every third of the time-out: keeps the link alive, or finds that the other side does not read.
  void Beat();
  void BeatLater();

  const StreamType type_;
  http::Loop& loop_;  // the connection's

  // Owned by the connection's loop.
  http::ResponseWriter* writer_;  // null once gone
  OnClosed on_closed_;            // empty once told
  metrics::Counter* sent_bytes_ = nullptr;
  std::shared_ptr<FollowerMeter> meter_;  // null before Open
  std::unique_ptr<StreamEncoder> encoder_;
  std::deque<Waiting> waiting_;
  bool open_ = false;
  uint64_t put_bytes_ = 0;      // given to the connection, as it counts them
  uint64_t drained_bytes_ = 0;  // of those, what had left at `drained_at_`
  MonotonicTime drained_at_;    // when something left last
  Executor::TimerId timer_ = 0;

  absl::Mutex mutex_;
  std::vector<Waiting> incoming_ ABSL_GUARDED_BY(mutex_);
  size_t queued_messages_ ABSL_GUARDED_BY(mutex_) = 0;  // in incoming_ and waiting_
  size_t queued_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool scheduled_ ABSL_GUARDED_BY(mutex_) = false;  // a Drain is to come
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace kvorum::peer
