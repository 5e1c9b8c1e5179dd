#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "http/handler.h"

namespace kvorum::grpc {

/// What is known of a call before its first message. The texts live as long as the info.
struct CallInfo {
  std::string_view method;  ///< "/etcdserverpb.KV/Range"
  std::string_view remote;
  /// Without the headers that are the protocol's own (te, content-type, grpc-*). Names are lower case; values
  /// of `-bin` names are still in base64: see FindBinary.
  http::HeaderViews metadata;
  std::optional<MonotonicTime> deadline;
  std::shared_ptr<const http::Request> request;  ///< shared with the connection; holds the texts

  /// The first metadata value of that name, or nullptr.
  const std::string_view* Find(std::string_view name) const;
  /// The first value of a name that ends with `-bin`, decoded; nullopt where there is none or it is no
  /// base64.
  std::optional<std::string> FindBinary(std::string_view name) const;
};

/// A message to send: `head`, then the shared buffers, joined.
struct Payload {
  std::string head;
  std::vector<Bytes> shared;

  size_t size() const;
};

/// A message that is written while it is sent, so that a large one is never whole in memory. On the loop of
/// its call only; destroyed with the call at the latest.
class MessageSource {
 public:
  virtual ~MessageSource() = default;
  /// Of the whole message; at most INT32_MAX.
  virtual size_t size() const = 0;
  /// Writes the next `room` bytes, of which there are as many, at `out`. An error ends the call with it.
  virtual absl::Status Fill(char* out, size_t room) = 0;

  /// A source may keep what others wait for, such as pages of a database: after this long the rest of the
  /// message is taken into memory, however slow the client reads.
  static constexpr auto kPatience = std::chrono::seconds(1);
};

/// One unary call that is being answered. Used and destroyed on its connection's loop only; destroying it
/// unanswered fails the call with Internal. When the client is gone, answers go nowhere.
class UnaryCall {
 public:
  virtual ~UnaryCall() = default;
  virtual const CallInfo& info() const = 0;
  virtual http::Loop& loop() = 0;
  /// The encoded request; lives as long as the call.
  virtual std::string_view request() const = 0;

  // Exactly one of these, once.
  virtual void Reply(Payload response) = 0;
  /// Writes the response in place: `fill` gets `size` bytes to write, at once.
  virtual void Reply(size_t size, absl::FunctionRef<void(char* out)> fill) = 0;
  /// Writes the response as the client takes it. Where the source fails in the middle of it, the call ends
  /// with that error, and what was sent is a message cut short, which no client takes for a whole one.
  virtual void Reply(std::unique_ptr<MessageSource> source) = 0;
  /// REQUIRES: !status.ok()
  virtual void Fail(const absl::Status& status) = 0;

  /// True once the client cancelled, its deadline passed or its connection broke.
  virtual bool cancelled() const = 0;
  /// Called once, on the loop, when that happens; not after an answer.
  virtual void OnCancel(absl::AnyInvocable<void()> callback) = 0;
};

/// The way back to the client of a streaming call. On the connection's loop only.
class StreamWriter {
 public:
  virtual ~StreamWriter() = default;
  virtual const CallInfo& info() const = 0;
  virtual http::Loop& loop() = 0;
  virtual void Send(Payload message) = 0;
  /// Ends the call; OK or an error. Nothing may follow.
  virtual void Finish(const absl::Status& status) = 0;
  /// Bytes queued and not yet given to the system; see http::ResponseWriter::buffered.
  virtual size_t buffered() const = 0;
};

/// Takes the client's side of a streaming call. On the connection's loop only; destroyed after Finish or
/// OnCancel.
class StreamHandler {
 public:
  virtual ~StreamHandler() = default;
  /// One whole message, valid during the call.
  virtual void OnMessage(std::string_view message) = 0;
  /// The client sends no more.
  virtual void OnHalfClose() = 0;
  /// The client cancelled, its deadline passed or its connection broke. Last call.
  virtual void OnCancel() = 0;
  /// Under half of http::ResponseWriter::kHighWater again.
  virtual void OnWritable() {}
};

using UnaryMethod = std::function<void(std::unique_ptr<UnaryCall>)>;
/// The writer outlives the handler.
using StreamMethod = std::function<std::unique_ptr<StreamHandler>(StreamWriter&)>;

enum class MethodKind : uint8_t { kUnary, kServerStream, kClientStream, kBidiStream };

struct ServerOptions {
  size_t max_receive_bytes = 2 << 20;  ///< a message, decompressed; more: ResourceExhausted
  /// Asked before each call begins; an error ends it. Thread-safe.
  std::function<absl::Status(const CallInfo&, MethodKind)> admit;
  /// Told when a call ended, for metrics. Thread-safe.
  struct Finished {
    const CallInfo& info;
    MethodKind kind;
    absl::StatusCode code;
    std::chrono::nanoseconds duration;
    uint64_t messages_received;
    uint64_t messages_sent;
    uint64_t bytes_received;
    uint64_t bytes_sent;
  };
  std::function<void(const Finished&)> finished;
};

/// gRPC over an HTTP/2 exchange: framing, gzip, metadata, deadlines, statuses. Methods are added before the
/// server starts; afterwards thread-safe. An unknown service or method is Unimplemented with gRPC's texts.
class Server final : public http::Handler {
 public:
  explicit Server(ServerOptions options);
  ~Server() override;

  /// `method` is the full path, "/package.Service/Method".
  void AddUnary(std::string method, UnaryMethod implementation);
  void AddStream(std::string method, MethodKind kind, StreamMethod implementation);

  /// Whether `path` was added: for a handler that gives other methods to somebody else.
  bool Has(std::string_view path) const;
  /// Full service names, sorted.
  std::vector<std::string> services() const;

  std::unique_ptr<http::RequestSink> Start(const http::Request& request,
                                           http::ResponseWriter& writer) override;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// Adds grpc.health.v1.Health with the one service "" and reports its state to watchers.
class HealthService {
 public:
  explicit HealthService(Server* server);
  ~HealthService();
  /// Thread-safe.
  void SetServing(bool serving);

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;  // shared with the calls that watch
};

/// Adds server reflection, v1 and v1alpha, over the generated descriptors of every registered service.
void AddReflection(Server* server);

}  // namespace kvorum::grpc
