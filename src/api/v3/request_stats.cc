#include "api/v3/request_stats.h"

#include <algorithm>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "proto/rpc.pb.h"

namespace kvorum::api_v3 {
namespace {

constexpr size_t kMaxContentBytes = 1024;

struct Described {
  int64_t count = -1;
  int64_t size = -1;
  std::string content;
  bool with_response = false;
  int64_t response_count = -1;
};

std::string Quoted(std::string_view bytes) {
  return fmt::format("\"{}\"", absl::CEscape(absl::string_view(bytes.data(), bytes.size())));
}

std::string PutText(const etcdserverpb::PutRequest& put) {
  return absl::StrCat("key:", Quoted(put.key()), " value_size:", put.value().size(),
                      put.lease() == 0 ? "" : absl::StrCat(" lease:", put.lease()),
                      put.prev_kv() ? " prev_kv:true" : "", put.ignore_value() ? " ignore_value:true" : "",
                      put.ignore_lease() ? " ignore_lease:true" : "");
}

/// A txn with the values of its puts left out.
void RemoveValues(etcdserverpb::TxnRequest* txn) {
  auto redact = [](auto* ops) {
    for (auto& op : *ops) {
      if (op.has_request_put()) {
        const size_t size = op.request_put().value().size();
        op.mutable_request_put()->set_value(absl::StrCat("<value_size:", size, ">"));
      } else if (op.has_request_txn()) {
        RemoveValues(op.mutable_request_txn());
      }
    }
  };
  for (auto& compare : *txn->mutable_compare()) {
    if (compare.target_union_case() == etcdserverpb::Compare::kValue) {
      compare.set_value(absl::StrCat("<value_size:", compare.value().size(), ">"));
    }
  }
  redact(txn->mutable_success());
  redact(txn->mutable_failure());
}

Described Describe(const RequestStats& stats) {
  Described d;
  auto parse = [&](auto* message) {
    return message->ParseFromArray(stats.request.data(), static_cast<int>(stats.request.size()));
  };
  if (etcdserverpb::RangeRequest range; stats.method == "/etcdserverpb.KV/Range" && parse(&range)) {
    d = {.count = 0, .content = range.ShortDebugString(), .response_count = stats.response_count};
  } else if (etcdserverpb::PutRequest put; stats.method == "/etcdserverpb.KV/Put" && parse(&put)) {
    d = {.count = 1, .content = PutText(put), .response_count = 0};
  } else if (etcdserverpb::DeleteRangeRequest del;
             stats.method == "/etcdserverpb.KV/DeleteRange" && parse(&del)) {
    etcdserverpb::DeleteRangeResponse response;
    response.ParseFromArray(stats.body.data(), static_cast<int>(stats.body.size()));
    d = {.count = 0, .content = del.ShortDebugString(), .response_count = response.deleted()};
  } else if (etcdserverpb::TxnRequest txn; stats.method == "/etcdserverpb.KV/Txn" && parse(&txn)) {
    etcdserverpb::TxnResponse response;
    response.ParseFromArray(stats.body.data(), static_cast<int>(stats.body.size()));
    RemoveValues(&txn);
    d = {.count = response.succeeded() ? txn.success_size() : txn.failure_size(),
         .content = txn.ShortDebugString(),
         .response_count = 0};
  } else {
    return d;
  }
  d.size = static_cast<int64_t>(stats.request.size());
  d.with_response = true;
  if (d.content.size() > kMaxContentBytes) {
    d.content.resize(kMaxContentBytes);
    d.content += "…";
  }
  return d;
}

}  // namespace

void LogRequestStats(Logger& logger, LogLevel level, const RequestStats& stats) {
  if (!logger.Enabled(level)) return;
  const Described d = Describe(stats);
  const absl::Time start = absl::Now() - absl::FromChrono(stats.duration);
  logger.Write(level, __FILE__, __LINE__, "request stats",
               {{"start time", absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", start, absl::UTCTimeZone())},
                {"time spent", stats.duration},
                {"remote", stats.remote},
                {"response type", stats.method},
                {"request count", d.count},
                {"request size", d.size},
                {"response count", d.response_count},
                {"response size", d.with_response ? static_cast<int64_t>(stats.response_size) : int64_t{-1}},
                {"request content", d.content}});
}

}  // namespace kvorum::api_v3
