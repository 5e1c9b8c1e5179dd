#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "absl/functional/function_ref.h"
#include "api/v3/core.h"

namespace kvorum::api_v3 {

/// One unary call on its way through a service: its answer in the one form that clients expect, its duration
/// metric, and its "request stats" line. On the call's loop only, except where it says otherwise; it may be
/// carried through other threads meanwhile.
class Call {
 public:
  Call(Core* core, MethodStats* stats, std::unique_ptr<grpc::UnaryCall> call)
      : core_(core), stats_(stats), call_(std::move(call)), start_(SystemClock().Now()) {}

  Core& core() const { return *core_; }
  member::Member& member() const { return core_->member(); }
  std::string_view request() const { return call_->request(); }
  const grpc::CallInfo& info() const { return call_->info(); }
  /// When it came, or when it could go on after the last wait for a read to be confirmed.
  MonotonicTime ready() const { return ready_; }
  void SetReady(MonotonicTime ready) { ready_ = ready; }
  MonotonicTime Deadline() const { return core_->Deadline(call_->info(), start_); }
  /// Thread-safe.
  http::Loop& loop() const { return *loop_; }
  /// As grpc::UnaryCall::OnCancel.
  void OnCancel(absl::AnyInvocable<void()> callback) { call_->OnCancel(std::move(callback)); }

  // Exactly one of these, once.

  /// A response header, then `body`: the response without its field 1.
  void Reply(int64_t revision, uint64_t term, std::string_view body);
  /// `fill` writes the whole response of `size` bytes. `count`: what "request stats" calls the response
  /// count. Gives the time at which it was answered.
  MonotonicTime ReplyInPlace(size_t size, int64_t count, absl::FunctionRef<void(char* out)> fill);
  void Reply(grpc::Payload response, int64_t count);
  void Reply(std::unique_ptr<grpc::MessageSource> response, int64_t count);
  /// An error of the member, the store or the leases.
  void Fail(const absl::Status& internal);
  /// An error in the form that clients get.
  void FailWith(const absl::Status& status);

 private:
  /// Gives the time that it took as the end.
  MonotonicTime Measure(bool success, std::string_view response, size_t size, int64_t count);

  Core* core_;
  MethodStats* stats_;
  std::unique_ptr<grpc::UnaryCall> call_;
  http::Loop* loop_ = &call_->loop();
  MonotonicTime start_;
  MonotonicTime ready_ = start_;
};

/// Adds a unary method that `implementation` answers.
template <typename Implementation>
void AddUnary(Core* core, grpc::Server* server, std::string_view path, Implementation implementation) {
  MethodStats* stats = core->Find(path);
  KVORUM_CHECK(stats != nullptr, "{} is in no service", path);
  server->AddUnary(std::string(path), [core, stats, implementation](std::unique_ptr<grpc::UnaryCall> call) {
    implementation(Call(core, stats, std::move(call)));
  });
}

/// Proposes an encoded request; the reply is a header and the result's body, or its error.
void Propose(Call call, member::RequestKind kind, std::string_view encoded);
/// The same, with what else is to be done on the call's loop with a result that is no error.
void Propose(Call call, member::RequestKind kind, std::string_view encoded,
             absl::AnyInvocable<void(Call, member::ApplyResult)> then);

/// A callback for the member: on the call's loop, `answer(Call, result)` with a result that is no error, else
/// the error. `Result`: an absl::Status or an absl::StatusOr.
template <typename Result, typename Answer>
absl::AnyInvocable<void(Result)> AnswerOnLoop(Call call, Answer answer) {
  return [call = std::move(call), answer = std::move(answer)](Result result) mutable {
    http::Loop& loop = call.loop();
    loop.Post([call = std::move(call), answer = std::move(answer), result = std::move(result)]() mutable {
      if (!result.ok()) {
        if constexpr (std::is_same_v<Result, absl::Status>) {
          call.Fail(result);
        } else {
          call.Fail(result.status());
        }
        return;
      }
      answer(std::move(call), std::move(result));
    });
  };
}

/// Runs `read(Call)` on the call's loop, at once or later, when a linearizable read may be made; answers with
/// the error where that cannot be had.
template <typename Read>
void WhenReadConfirmed(Call call, Read read) {
  struct Waiting {
    Call call;
    Read read;
  };
  member::Member& member = call.member();
  http::Loop& loop = call.loop();
  const MonotonicTime deadline = call.Deadline();
  auto waiting = std::make_unique<Waiting>(Waiting{std::move(call), std::move(read)});
  // What waits belongs to `done` from the moment on that it may be called, on any thread: the task that it
  // posts runs in a later turn of this loop.
  absl::AnyInvocable<void(absl::Status)> done = [raw = waiting.get(), &loop](absl::Status status) {
    loop.Post([owned = std::unique_ptr<Waiting>(raw), status = std::move(status)]() mutable {
      if (!status.ok()) return owned->call.Fail(status);
      owned->call.SetReady(SystemClock().Now());
      owned->read(std::move(owned->call));
    });
  };
  if (member.ConfirmRead(deadline, &done)) {
    waiting->read(std::move(waiting->call));
  } else {
    waiting.release();
  }
}

}  // namespace kvorum::api_v3
