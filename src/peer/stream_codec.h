#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/bytes.h"
#include "raft/types.h"

namespace kvorum::peer {

// The two ways in which raft messages stand in a long-lived stream between members (reference:
// peer-protocol.md §3.4, §3.5). Both sides of a connection keep state for its life.

enum class StreamType : uint8_t { kMessage, kMsgApp };

/// "stream Message", "stream MsgApp v2": as logs name them.
std::string_view StreamName(StreamType type);
/// "message", "msgapp": as the stream's path has it.
std::string_view StreamPath(StreamType type);

/// What an encoder writes: small things gathered, large shared bytes referred to.
class FrameOutput {
 public:
  /// Where small things are appended.
  std::string& text() { return text_; }
  void AppendUint64(uint64_t value);
  void Append(const Bytes& data);

  /// Everything since the last call, in order.
  std::vector<Bytes> Take();

 private:
  void Cut();

  std::string text_;
  std::vector<Bytes> pieces_;
};

/// Writes one direction of one connection. Not thread-safe.
class StreamEncoder {
 public:
  virtual ~StreamEncoder() = default;
  /// REQUIRES: a kApp for a kMsgApp stream
  virtual void Encode(const raft::Message& message, FrameOutput& out) = 0;
  /// What keeps a connection alive that has nothing to say.
  virtual void EncodeHeartbeat(FrameOutput& out) = 0;
};

/// Reads one direction of one connection. Not thread-safe.
class StreamDecoder {
 public:
  using OnMessage = absl::FunctionRef<void(raft::Message message)>;
  virtual ~StreamDecoder() = default;
  /// Takes the next bytes and tells each message that is complete; heartbeats of the link are not told.
  /// Errors: InvalidArgument, after which the connection is of no use.
  virtual absl::Status Feed(std::string_view data, OnMessage on_message) = 0;
};

std::unique_ptr<StreamEncoder> NewStreamEncoder(StreamType type);
/// `remote` sends to `local`: the kMsgApp stream does not say who.
std::unique_ptr<StreamDecoder> NewStreamDecoder(StreamType type, raft::NodeId local, raft::NodeId remote);

/// The most that one message may be long in a stream, and before a database.
inline constexpr uint64_t kMaxStreamMessageBytes = uint64_t{512} << 20;
inline constexpr uint64_t kMaxSnapshotMessageBytes = uint64_t{1} << 30;

/// A message as the message stream and the snapshot post have it: its length and its bytes.
std::string EncodeFrame(const raft::Message& message);

void AppendBigEndian(std::string& out, uint64_t value);

/// Collects input until a wanted number of bytes is there.
class ByteCollector {
 public:
  /// Takes the next `size` bytes off `*input`: they, valid until the next call, or nothing when they have not
  /// all come, and then what there is was taken.
  std::optional<std::string_view> Take(std::string_view* input, size_t size);
  std::optional<uint64_t> TakeUint64(std::string_view* input);

 private:
  std::string kept_;
  bool complete_ = false;  // kept_ was handed out
};

/// Reads one frame, of at most `limit` bytes.
class FrameReader {
 public:
  explicit FrameReader(uint64_t limit) : limit_(limit) {}
  /// The message's bytes once they are there, valid until the next call. Errors: InvalidArgument "rafthttp:
  /// error limit exceeded".
  absl::StatusOr<std::optional<std::string_view>> Take(std::string_view* input);

 private:
  const uint64_t limit_;
  ByteCollector bytes_;
  std::optional<uint64_t> length_;  // once it is known
};

}  // namespace kvorum::peer
