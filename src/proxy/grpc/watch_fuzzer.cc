// What the cluster and clients send of watches, on arbitrary bytes: never a crash, read as the generated
// classes read it, and what goes on to clients is well formed.

#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "proto/rpc.pb.h"
#include "proxy/grpc/watch_message.h"

namespace {

using namespace kvorum;              // NOLINT: one small program
using namespace kvorum::proxy_grpc;  // NOLINT

void CheckForm(EventBatch& batch, const UpstreamResponse& response, WatchForm form, int64_t start) {
  int wanted = 0;
  for (const UpstreamEvent& event : response.events) {
    const bool filtered = (form & (event.is_delete ? kNoDelete : kNoPut)) != 0;
    if (!filtered && event.revision >= start) ++wanted;
  }
  int events = 0;
  const absl::Span<const Bytes> bodies = batch.For(form, start);
  for (size_t i = 0; i < bodies.size(); ++i) {
    etcdserverpb::WatchResponse sent;
    KVORUM_CHECK(sent.ParseFromArray(bodies[i].data(), static_cast<int>(bodies[i].size())));
    KVORUM_CHECK(sent.fragment() == (i + 1 < bodies.size()) && sent.events_size() > 0);
    events += sent.events_size();
    for (const auto& event : sent.events()) KVORUM_CHECK((form & kPrevKv) != 0 || !event.has_prev_kv());
  }
  KVORUM_CHECK(events == wanted, "{} events of {}", events, wanted);
}

void CheckResponse(std::string_view bytes, std::string_view prefix) {
  UpstreamResponse response;
  if (!ParseUpstreamResponse(bytes, prefix, &response)) return;
  etcdserverpb::WatchResponse generated;
  if (!generated.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
  KVORUM_CHECK(response.watch_id == generated.watch_id() && response.created == generated.created());
  KVORUM_CHECK(response.header.revision == generated.header().revision());
  KVORUM_CHECK(response.canceled == generated.canceled() && response.fragment == generated.fragment());
  KVORUM_CHECK(static_cast<int>(response.events.size()) == generated.events_size());
  if (response.events.empty()) return;
  EventBatch batch(response.header, response.events, prefix.size(), 64);
  for (WatchForm form = 0; form < 16; ++form) {
    CheckForm(batch, response, form, 0);
    CheckForm(batch, response, form, response.events[0].revision + 1);
  }
}

void CheckRequest(std::string_view bytes) {
  WatchRequest request;
  if (!ParseWatchRequest(bytes, &request) || request.kind != WatchRequest::Kind::kCreate) return;
  WatchRequest again;
  KVORUM_CHECK(ParseWatchRequest(EncodeWatchCreate(request), &again));
  KVORUM_CHECK(again.key == request.key && again.range_end == request.range_end);
  KVORUM_CHECK(again.form == request.form && again.watch_id == request.watch_id);
  KVORUM_CHECK(again.start_revision == request.start_revision);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  CheckResponse(bytes, "");
  CheckResponse(bytes, "k");
  CheckRequest(bytes);
  ResponseHeader header;
  ParseResponseHeader(bytes, &header);
  return 0;
}
