#include "api/v3/range.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "api/v3/errors.h"
#include "api/v3/requests.h"
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

/// A piece of a plain reply, encoded.
Bytes EncodePiece(const PiecewiseRange& range) {
  const std::span<const std::string_view> records = range.LimitedPiece();
  if (range.request().keys_only) {
    std::string fields;
    for (const std::string_view record : records) member::AppendKvField(fields, kKvs, record, true);
    return Bytes::Copy(fields);
  }
  size_t size = 0;
  for (const std::string_view record : records) size += member::KvFieldSize(record, false);
  return Bytes::Build(size, [&](char* out) { PutRecords(out, records); });
}

/// A read that is too long for an I/O loop: on a thread of its own, then back on the loop.
struct LongRead {
  Call call;
  RangeRequestView request;
  uint64_t term;
  std::shared_ptr<std::atomic<bool>> cancelled;  // shared with the call's loop
};

/// The response behind its header, or the error that the store gave.
absl::Status ReadPlain(LongRead& read, PiecewiseRange& range, std::vector<Bytes>* body) {
  while (true) {
    body->push_back(EncodePiece(range));
    if (range.complete() || read.cancelled->load(std::memory_order_relaxed)) break;
    if (absl::Status status = range.Next(kPieceRecords); !status.ok()) return status;
  }
  body->push_back(Bytes::Copy(Tail(range.more(), range.count())));
  return absl::OkStatus();
}

absl::Status ReadSelected(LongRead& read, PiecewiseRange& range, std::vector<Bytes>* body) {
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
  std::string fields;
  member::AppendRangeBody(fields, read.request, selection);
  body->push_back(Bytes::Copy(fields));
  return absl::OkStatus();
}

/// On a bulk thread.
void ReadLong(LongRead read, PiecewiseRange range) {
  absl::Status status;
  int64_t revision = 0;
  std::vector<Bytes> body;
  // A read of the newest revision that is overtaken by a compaction starts again at a newer one.
  constexpr int kAttempts = 5;
  for (int attempt = 1;; ++attempt) {
    body.clear();
    if (attempt > 1) {
      range = PiecewiseRange(&read.call.member().store(), read.request);
      status = range.Next(kPieceRecords);
    }
    if (status.ok())
      status = range.plain() ? ReadPlain(read, range, &body) : ReadSelected(read, range, &body);
    revision = range.revision();
    if (!mvcc::IsCompacted(status) || read.request.revision > 0 || attempt == kAttempts) break;
  }
  const auto elapsed = SystemClock().Now() - read.call.ready();
  read.call.core().range_duration(status.ok()).Observe(elapsed);
  http::Loop& loop = read.call.loop();
  loop.Post([call = std::move(read.call), status = std::move(status), body = std::move(body), revision,
             term = read.term, count = range.count()]() mutable {
    if (!status.ok()) return call.Fail(status);
    grpc::Payload payload;
    call.core().header().Append(payload.head, revision, term);
    payload.shared = std::move(body);
    if (payload.size() > kMaxSendBytes) return call.FailWith(TooLargeToSend(payload.size()));
    call.Reply(std::move(payload), count);
  });
}

/// On the call's loop, when the read may be made.
void Serve(Call call, uint64_t term, const RangeRequestView& request) {
  Core& core = call.core();
  PiecewiseRange range(&call.member().store(), request);
  if (absl::Status status = range.Next(kInlineRecords); !status.ok()) {
    core.range_duration(false).Observe(SystemClock().Now() - call.ready());
    return call.Fail(status);
  }
  if (range.complete()) {
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

PiecewiseRange::PiecewiseRange(mvcc::Store* store, const RangeRequestView& request)
    : store_(store),
      request_(Simplified(request)),
      fetch_(member::FetchLimit(request_)),
      plain_(request_.sort_order == RangeRequestView::Order::kNone &&
             request_.sort_target == RangeRequestView::Target::kKey && !Filtered(request_)) {}

absl::Status PiecewiseRange::Next(int64_t records) {
  const bool first = next_key_.empty();
  const int64_t limit = fetch_ == 0 ? records : std::min(records, fetch_ - taken_);
  mvcc::RangeOptions options = {
      .range = {.key = first ? request_.key : next_key_, .end = request_.range_end},
      .revision = first || request_.revision > 0 ? request_.revision : revision_,
      .limit = limit,
      .count_only = request_.count_only,
      .skip_count = !first,
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
    next_key_ = member::ParseRecord(result_.records.back()).key;
    next_key_.push_back('\0');
  }
  return absl::OkStatus();
}

std::span<const std::string_view> PiecewiseRange::LimitedPiece() const {
  const std::span<const std::string_view> records(result_.records);
  return more() ? records.first(records.size() - 1) : records;
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
