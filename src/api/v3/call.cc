#include "api/v3/call.h"

#include "api/v3/errors.h"
#include "api/v3/request_stats.h"

namespace kvorum::api_v3 {

void Call::Reply(int64_t revision, uint64_t term, std::string_view body) {
  const ResponseHeader& header = core_->header();
  const size_t size = header.Size(revision, term) + body.size();
  call_->Reply(size, [&](char* out) {
    out = header.Put(out, revision, term);
    if (!body.empty()) std::memcpy(out, body.data(), body.size());
  });
  Measure(true, body, size, 0);
}

MonotonicTime Call::ReplyInPlace(size_t size, int64_t count, absl::FunctionRef<void(char* out)> fill) {
  call_->Reply(size, fill);
  return Measure(true, {}, size, count);
}

void Call::Reply(grpc::Payload response, int64_t count) {
  const size_t size = response.size();
  call_->Reply(std::move(response));
  Measure(true, {}, size, count);
}

void Call::Reply(std::unique_ptr<grpc::MessageSource> response, int64_t count) {
  const size_t size = response->size();
  call_->Reply(std::move(response));
  Measure(true, {}, size, count);
}

void Call::Fail(const absl::Status& internal) { FailWith(ToClientError(internal)); }

void Call::FailWith(const absl::Status& status) {
  call_->Fail(status);
  Measure(false, {}, 0, 0);
}

MonotonicTime Call::Measure(bool success, std::string_view body, size_t size, int64_t count) {
  const MonotonicTime now = SystemClock().Now();
  const auto elapsed = now - start_;
  if (metrics::Histogram* histogram = success ? stats_->succeeded : stats_->failed)
    histogram->Observe(elapsed);
  const bool slow = elapsed > core_->options().warning_unary_request_duration;
  if (!slow && !core_->logger().Enabled(LogLevel::kDebug)) return now;
  LogRequestStats(core_->logger(), slow ? LogLevel::kWarn : LogLevel::kDebug,
                  {.method = stats_->path,
                   .remote = call_->info().remote,
                   .duration = elapsed,
                   .request = call_->request(),
                   .body = body,
                   .response_size = size,
                   .response_count = count});
  return now;
}

void Propose(Call call, member::RequestKind kind, std::string_view encoded) {
  Propose(std::move(call), kind, encoded, [](Call answered, member::ApplyResult result) {
    answered.Reply(result.revision, result.term, result.body);
  });
}

void Propose(Call call, member::RequestKind kind, std::string_view encoded,
             absl::AnyInvocable<void(Call, member::ApplyResult)> then) {
  member::Member& member = call.member();
  const MonotonicTime deadline = call.Deadline();
  const member::RequestId id = member.NextRequestId();
  Bytes entry = member::BuildEntry(kind, encoded, id, {});
  member.Propose(
      id, std::move(entry), deadline,
      [call = std::move(call), then = std::move(then)](member::ApplyResult result) mutable {
        http::Loop& loop = call.loop();
        loop.Post([call = std::move(call), then = std::move(then), result = std::move(result)]() mutable {
          if (!result.status.ok()) {
            call.Fail(result.status);
          } else {
            then(std::move(call), std::move(result));
          }
        });
      });
}

}  // namespace kvorum::api_v3
