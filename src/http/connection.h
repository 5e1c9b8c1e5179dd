#pragma once

#include <memory>
#include <optional>
#include <string>

#include "http/byte_stream.h"
#include "http/session.h"

namespace kvorum::http {

/// Who owns the connections.
class ConnectionOwner {
 public:
  virtual ~ConnectionOwner() = default;
  /// The connection is closed and told nobody any more. On its loop.
  virtual void OnClosed(class Connection* connection) = 0;
};

/// A client's connection: finds out the protocol, moves bytes between stream and session, and writes once a
/// turn. On its loop only. Shared between its owner and the operations under way.
class Connection final : public SessionHost,
                         public TurnEnd,
                         public ByteStream::User,
                         public std::enable_shared_from_this<Connection> {
 public:
  /// `options` and `owner` outlive it.
  Connection(Loop& loop, std::unique_ptr<ByteStream> stream, const ServerOptions& options,
             std::shared_ptr<ConnectionOwner> owner);
  ~Connection() override;

  void Start();
  /// Closes when the running exchanges are over.
  void Drain();
  void Close();

  Loop& loop() override { return loop_; }
  const std::string& remote() const override { return stream_->remote(); }
  bool secure() const override { return stream_->secure(); }
  void WantFlush() override;

  void OnRead(size_t size, bool broken) override;
  void OnReadable() override;
  void OnWritable() override;
  void OnTurnEnd() override;

 private:
  void Read();
  void ReadIntoBuffer();
  /// Feeds what is in the buffer to the session, for a limited time; the rest has its turn after others.
  void ReceiveBuffered();
  void Receive(std::string_view data, MonotonicTime now);
  /// Keeps what came first until it tells the protocol. False: not yet.
  bool Detect(std::string_view* data, MonotonicTime now);
  void Flush();
  /// True when all output was taken.
  bool WriteOutput();
  void FinishFlush();
  void Arm(std::optional<MonotonicTime> when);
  void OnTimer();
  void AdaptBuffer(size_t size);

  Loop& loop_;
  const std::unique_ptr<ByteStream> stream_;
  const ServerOptions& options_;
  const std::shared_ptr<ConnectionOwner> owner_;  // shared by all its connections
  const MonotonicTime accepted_;

  std::unique_ptr<Session> session_;  // null until the protocol is known
  std::string first_bytes_;           // of a connection whose protocol is not known

  std::unique_ptr<char[]> buffer_;  // null while the session rests
  size_t buffer_size_;
  size_t begin_ = 0;  // of what is in the buffer and not yet fed
  size_t end_ = 0;
  int small_reads_ = 0;  // in a row

  bool reading_ = false;  // or feeding what was read
  bool end_received_ = false;
  bool write_blocked_ = false;
  bool flush_wanted_ = false;  // OnTurnEnd or a posted Flush is to come
  bool flushing_ = false;
  bool draining_ = false;
  bool write_closed_ = false;  // lingering: waits for the other side to close
  bool closed_ = false;

  Executor::TimerId timer_ = 0;
  std::optional<MonotonicTime> timer_at_;
  std::optional<MonotonicTime> linger_until_;  // closed then, whatever the other side does
};

}  // namespace kvorum::http
