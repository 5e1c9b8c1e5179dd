#include "api/v3/range.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "api/v3/errors.h"
#include "api/v3/requests.h"
#include "base/status.h"
#include "base/wire.h"

namespace kvorum::api_v3 {
namespace {

using member::RangeRequestView;
using member::RangeSelection;

constexpr uint32_t kKvs = 2;
constexpr uint32_t kMore = 3;
constexpr uint32_t kCount = 4;

/// gRPC's limit of a message that is sent (reference: v3-api.md §2.2).
constexpr size_t kMaxSendBytes = INT32_MAX;

/// A response of records up to this size is made at once; a larger one while it is sent.
constexpr size_t kWholeBytes = 64 << 10;

absl::Status TooLargeToSend(size_t size) {
  return absl::ResourceExhaustedError(
      fmt::format("grpc: trying to send message larger than max ({} vs. {})", size, kMaxSendBytes));
}

bool Filtered(const RangeRequestView& request) {
  return request.min_mod_revision != 0 || request.max_mod_revision != 0 || request.min_create_revision != 0 ||
         request.max_create_revision != 0;
}

/// Ascending by key is the store's order, in which the first records are enough.
RangeRequestView Simplified(RangeRequestView request) {
  if (request.sort_order == RangeRequestView::Order::kAscend &&
      request.sort_target == RangeRequestView::Target::kKey) {
    request.sort_order = RangeRequestView::Order::kNone;
  }
  return request;
}

/// Writes the kvs of whole records at `out` and returns the byte after them.
char* PutRecords(char* out, std::span<const std::string_view> records) {
  for (const std::string_view record : records) {
    *out++ = static_cast<char>(wire::Tag(kKvs, wire::Type::kLength));
    out = wire::PutVarint(out, record.size());
    std::memcpy(out, record.data(), record.size());
    out += record.size();
  }
  return out;
}

/// The fields more and count, where they are not at their defaults.
std::string Tail(bool more, int64_t count) {
  std::string tail;
  if (more) wire::AppendUint(tail, kMore, 1);
  if (count != 0) wire::AppendUint(tail, kCount, static_cast<uint64_t>(count));
  return tail;
}

void Reply(Call call, uint64_t term, int64_t revision, const RangeRequestView& request,
           const RangeSelection& selection) {
  Core& core = call.core();
  const ResponseHeader& header = core.header();
  const MonotonicTime begin = call.ready();
  const size_t size = header.Size(revision, term) + member::RangeBodySize(request, selection);
  if (size > kMaxSendBytes) return call.FailWith(TooLargeToSend(size));
  const MonotonicTime end = call.ReplyInPlace(size, selection.count, [&](char* out) {
    out = header.Put(out, revision, term);
    if (request.keys_only) {
      std::string body;
      member::AppendRangeBody(body, request, selection);
      std::memcpy(out, body.data(), body.size());
      return;
    }
    out = PutRecords(out, selection.records);
    const std::string tail = Tail(selection.more, selection.count);
    std::memcpy(out, tail.data(), tail.size());
  });
  core.range_duration(true).Observe(end - begin);
}

/// Answers with whole records as they come, written while they are sent.
void ReplyWhileSending(Call call, uint64_t term, int64_t revision, std::vector<RecordPiece> pieces,
                       std::string tail, int64_t count) {
  std::string head;
  call.core().header().Append(head, revision, term);
  auto source = std::make_unique<RecordSource>(std::move(head), std::move(pieces), std::move(tail));
  if (source->size() > kMaxSendBytes) return call.FailWith(TooLargeToSend(source->size()));
  call.Reply(std::move(source), count);
}

/// The answer of a range that checks later and that one piece was enough for.
void ReplyRecords(Call call, uint64_t term, PiecewiseRange range) {
  Core& core = call.core();
  const ResponseHeader& header = core.header();
  const MonotonicTime begin = call.ready();
  const int64_t revision = range.revision();
  const int64_t count = range.count();
  std::string tail = Tail(range.more(), count);
  RecordPiece piece = range.TakePiece();
  const size_t size = header.Size(revision, term) + piece.EncodedSize() + tail.size();
  if (size > kWholeBytes) {
    std::vector<RecordPiece> pieces;
    pieces.push_back(std::move(piece));
    core.range_duration(true).Observe(SystemClock().Now() - begin);
    return ReplyWhileSending(std::move(call), term, revision, std::move(pieces), std::move(tail), count);
  }
  for (size_t i = 0; i < piece.count; ++i) {
    if (absl::Status status = piece.found.Check(i); !status.ok()) {
      core.range_duration(false).Observe(SystemClock().Now() - begin);
      return call.Fail(status);
    }
  }
  const MonotonicTime end = call.ReplyInPlace(size, count, [&](char* out) {
    out = header.Put(out, revision, term);
    out = PutRecords(out, std::span<const std::string_view>(piece.found.records).first(piece.count));
    std::memcpy(out, tail.data(), tail.size());
  });
  core.range_duration(true).Observe(end - begin);
}

/// A read that is too long for an I/O loop: on a thread of its own, then back on the loop.
struct LongRead {
  Call call;
  RangeRequestView request;
  uint64_t term;
  std::shared_ptr<std::atomic<bool>> cancelled;  // shared with the call's loop
};

/// What a long read gave: the response behind its header.
struct LongReply {
  int64_t revision = 0;
  int64_t count = 0;
  std::vector<RecordPiece> records;  // of a range that checks later; then `body` is what follows them
  std::string body;
};

// These give the error of the store.

absl::Status ReadRecords(const LongRead& read, PiecewiseRange& range, LongReply* reply) {
  while (true) {
    const bool more = range.more();
    reply->records.push_back(range.TakePiece());
    if (range.complete() || read.cancelled->load(std::memory_order_relaxed)) {
      reply->body = Tail(more, range.count());
      return absl::OkStatus();
    }
    if (absl::Status status = range.Next(kPieceRecords); !status.ok()) return status;
  }
}

absl::Status ReadKeys(const LongRead& read, PiecewiseRange& range, LongReply* reply) {
  while (true) {
    for (const std::string_view record : range.LimitedPiece()) {
      member::AppendKvField(reply->body, kKvs, record, /*keys_only=*/true);
    }
    if (range.complete() || read.cancelled->load(std::memory_order_relaxed)) break;
    if (absl::Status status = range.Next(kPieceRecords); !status.ok()) return status;
  }
  reply->body += Tail(range.more(), range.count());
  return absl::OkStatus();
}

absl::Status ReadSelected(const LongRead& read, PiecewiseRange& range, LongReply* reply) {
  std::deque<Bytes> storage;
  std::vector<std::string_view> records;
  while (true) {
    size_t size = 0;
    for (const std::string_view record : range.piece()) size += record.size();
    storage.push_back(Bytes::Build(size, [&](char* out) {
      for (const std::string_view record : range.piece()) {
        std::memcpy(out, record.data(), record.size());
        records.emplace_back(out, record.size());
        out += record.size();
      }
    }));
    if (range.complete() || read.cancelled->load(std::memory_order_relaxed)) break;
    if (absl::Status status = range.Next(kPieceRecords); !status.ok()) return status;
  }
  const RangeSelection selection = member::SelectRecords(read.request, std::move(records), range.count());
  const size_t size = member::RangeBodySize(read.request, selection);
  if (size > kMaxSendBytes) return TooLargeToSend(size);
  member::AppendRangeBody(reply->body, read.request, selection);
  return absl::OkStatus();
}

absl::Status ReadAll(const LongRead& read, PiecewiseRange& range, LongReply* reply) {
  if (range.checks_later()) return ReadRecords(read, range, reply);
  return range.plain() ? ReadKeys(read, range, reply) : ReadSelected(read, range, reply);
}

/// Back on the call's loop.
void ReplyLong(Call call, uint64_t term, LongReply reply) {
  if (!reply.records.empty()) {
    return ReplyWhileSending(std::move(call), term, reply.revision, std::move(reply.records),
                             std::move(reply.body), reply.count);
  }
  grpc::Payload payload;
  call.core().header().Append(payload.head, reply.revision, term);
  const size_t size = payload.head.size() + reply.body.size();
  if (size > kMaxSendBytes) return call.FailWith(TooLargeToSend(size));
  payload.shared.push_back(Bytes::Copy(reply.body));
  call.Reply(std::move(payload), reply.count);
}

/// On a bulk thread.
void ReadLong(LongRead read, PiecewiseRange range) {
  absl::Status status;
  LongReply reply;
  // A read of the newest revision that is overtaken by a compaction starts again at a newer one.
  constexpr int kAttempts = 5;
  for (int attempt = 1;; ++attempt) {
    reply = {};
    if (attempt > 1) {
      range = PiecewiseRange(&read.call.member().store(), read.request, PiecewiseRange::Checks::kLater);
      status = range.Next(kPieceRecords);
    }
    if (status.ok()) status = ReadAll(read, range, &reply);
    if (!mvcc::IsCompacted(status) || read.request.revision > 0 || attempt == kAttempts) break;
  }
  reply.revision = range.revision();
  reply.count = range.count();
  const auto elapsed = SystemClock().Now() - read.call.ready();
  read.call.core().range_duration(status.ok()).Observe(elapsed);
  http::Loop& loop = read.call.loop();
  loop.Post([call = std::move(read.call), term = read.term, status = std::move(status),
             reply = std::move(reply)]() mutable {
    if (!status.ok()) return call.Fail(status);
    ReplyLong(std::move(call), term, std::move(reply));
  });
}

/// On the call's loop, when the read may be made.
void Serve(Call call, uint64_t term, const RangeRequestView& request) {
  Core& core = call.core();
  PiecewiseRange range(&call.member().store(), request, PiecewiseRange::Checks::kLater);
  if (absl::Status status = range.Next(kInlineRecords); !status.ok()) {
    core.range_duration(false).Observe(SystemClock().Now() - call.ready());
    return call.Fail(status);
  }
  if (range.complete()) {
    if (range.checks_later()) return ReplyRecords(std::move(call), term, std::move(range));
    const RangeSelection selection =
        member::SelectRecords(range.request(), std::move(range.piece()), range.count());
    return Reply(std::move(call), term, range.revision(), range.request(), selection);
  }
  auto cancelled = std::make_shared<std::atomic<bool>>(false);
  call.OnCancel([cancelled] { cancelled->store(true, std::memory_order_relaxed); });
  const RangeRequestView simplified = range.request();
  core.bulk_executor().Post(
      [read = LongRead{std::move(call), simplified, term, std::move(cancelled)},
       range = std::move(range)]() mutable { ReadLong(std::move(read), std::move(range)); });
}

}  // namespace

PiecewiseRange::PiecewiseRange(mvcc::Store* store, const RangeRequestView& request, Checks checks)
    : store_(store),
      request_(Simplified(request)),
      fetch_(member::FetchLimit(request_)),
      plain_(request_.sort_order == RangeRequestView::Order::kNone &&
             request_.sort_target == RangeRequestView::Target::kKey && !Filtered(request_)),
      checks_later_(checks == Checks::kLater && plain_ && !request_.keys_only) {}

absl::Status PiecewiseRange::Next(int64_t records) {
  const bool first = next_key_.empty();
  const int64_t limit = fetch_ == 0 ? records : std::min(records, fetch_ - taken_);
  mvcc::RangeOptions options = {
      .range = {.key = first ? request_.key : next_key_, .end = request_.range_end},
      .revision = first || request_.revision > 0 ? request_.revision : revision_,
      .limit = limit,
      .count_only = request_.count_only,
      .skip_count = !first,
      .check_later = checks_later_,
  };
  absl::StatusOr<mvcc::RangeResult> result = store_->Range(options);
  if (!result.ok()) return result.status();
  result_ = *std::move(result);
  if (first) {
    revision_ = result_.revision;
    count_ = result_.count;
  }
  const auto got = static_cast<int64_t>(result_.records.size());
  taken_ += got;
  complete_ = request_.count_only || request_.range_end.empty() || got < limit || taken_ == count_ ||
              (fetch_ != 0 && taken_ >= fetch_);
  if (!complete_) {
    if (checks_later_) KVORUM_RETURN_IF_ERROR(result_.Check(result_.records.size() - 1));
    next_key_ = member::ParseRecord(result_.records.back()).key;
    next_key_.push_back('\0');
  }
  return absl::OkStatus();
}

std::span<const std::string_view> PiecewiseRange::LimitedPiece() const {
  const std::span<const std::string_view> records(result_.records);
  return more() ? records.first(records.size() - 1) : records;
}

RecordPiece PiecewiseRange::TakePiece() {
  const size_t count = LimitedPiece().size();
  return {.found = std::exchange(result_, {}), .count = count};
}

void Range(Call call) {
  const absl::StatusOr<RangeRequestView> request = ParseRange(call.request());
  if (!request.ok()) return call.FailWith(request.status());
  const member::MemberStatus status = call.member().status();
  if (request->serializable) return Serve(std::move(call), status.term, *request);
  if (status.is_learner) return call.FailWith(NotSupportedForLearnerError());
  WhenReadConfirmed(std::move(call), [request = *request, term = status.term](Call confirmed) {
    Serve(std::move(confirmed), term, request);
  });
}

}  // namespace kvorum::api_v3
