#include <algorithm>
#include <memory>
#include <utility>

#include "api/v3/errors.h"
#include "api/v3/range.h"
#include "api/v3/requests.h"
#include "api/v3/stream.h"
#include "base/wire.h"

namespace kvorum::api_v3 {
namespace {

using member::RangeRequestView;

constexpr int64_t kFirstChunkRecords = 10;
constexpr uint32_t kRangeResponse = 1;  // the one field of RangeStreamResponse

/// One KV.RangeStream: chunks of records, all of the revision that the first one saw, sent as fast as the
/// client takes them.
class RangeStreamHandler final : public grpc::StreamHandler {
 public:
  RangeStreamHandler(Core* core, MethodStats* stats, grpc::StreamWriter& writer)
      : core_(core), writer_(writer), counter_(core, stats), alive_(this), guard_(core, &writer, [this] {
          End(NoLeaderError());
        }) {}

  void OnMessage(std::string_view message) override {
    counter_.Received(message.size());
    if (!encoded_.empty()) return End(absl::InternalError("grpc: more than one request message"));
    encoded_ = message;
    const absl::StatusOr<RangeRequestView> request = ParseRange(encoded_);
    if (!request.ok()) return End(request.status());
    if (request->sort_order == RangeRequestView::Order::kDescend ||
        request->sort_target != RangeRequestView::Target::kKey) {
      return End(absl::UnimplementedError("RangeStream does not support custom sort orders"));
    }
    if (request->min_mod_revision != 0 || request->max_mod_revision != 0 ||
        request->min_create_revision != 0 || request->max_create_revision != 0) {
      return End(absl::UnimplementedError("RangeStream does not support revision filters"));
    }
    range_ =
        std::make_unique<PiecewiseRange>(&core_->member().store(), *request, PiecewiseRange::Checks::kAtOnce);
    if (request->serializable) return Begin();
    http::Loop& loop = writer_.loop();
    absl::AnyInvocable<void(absl::Status)> done = [&loop, handle = alive_.handle()](absl::Status status) {
      loop.Post([handle, status = std::move(status)] {
        if (*handle == nullptr || (*handle)->ended_) return;
        if (!status.ok()) return (*handle)->End(ToClientError(status));
        (*handle)->Begin();
      });
    };
    if (core_->member().ConfirmRead(core_->Deadline(writer_.info(), SystemClock().Now()), &done)) Begin();
  }

  void OnHalfClose() override {}
  void OnCancel() override { ended_ = true; }
  void OnWritable() override {
    if (begun_ && !ended_) Pump();
  }

 private:
  void Begin() {
    begun_ = true;
    Pump();
  }

  void Pump() {
    while (writer_.buffered() < http::ResponseWriter::kHighWater) {
      if (absl::Status status = range_->Next(chunk_records_); !status.ok()) return End(ToClientError(status));
      const size_t sent = SendChunk();
      if (range_->complete()) return End(absl::OkStatus());
      Adapt(sent);
    }
  }

  size_t SendChunk() {
    const RangeRequestView& request = range_->request();
    std::string fields;
    const bool last = range_->complete();
    if (last) core_->header().Append(fields, range_->revision(), core_->member().status().term);
    for (const std::string_view record : range_->LimitedPiece()) {
      member::AppendKvField(fields, 2, record, request.keys_only);
    }
    if (last && range_->more()) wire::AppendUint(fields, 3, 1);
    if (last && range_->count() != 0) wire::AppendUint(fields, 4, static_cast<uint64_t>(range_->count()));
    grpc::Payload payload;
    wire::AppendVarint(payload.head, wire::Tag(kRangeResponse, wire::Type::kLength));
    wire::AppendVarint(payload.head, fields.size());
    payload.head += fields;
    const size_t size = payload.size();
    counter_.Sent(size);
    writer_.Send(std::move(payload));
    return size;
  }

  /// Keeps chunks near the request limit in bytes.
  void Adapt(size_t sent) {
    const size_t target = core_->member().options().max_request_bytes;
    if (sent < target / 2) {
      chunk_records_ = std::min(chunk_records_ * 2, kPieceRecords);
    } else if (sent > target) {
      chunk_records_ = std::max<int64_t>(chunk_records_ / 2, 1);
    }
  }

  /// REQUIRES: the caller touches nothing of this afterwards.
  void End(const absl::Status& status) {
    ended_ = true;
    writer_.Finish(status);
  }

  Core* const core_;
  grpc::StreamWriter& writer_;
  StreamCounter counter_;
  std::string encoded_;  // what range_'s request points into
  std::unique_ptr<PiecewiseRange> range_;
  int64_t chunk_records_ = kFirstChunkRecords;
  bool begun_ = false;
  bool ended_ = false;
  AliveFlag<RangeStreamHandler> alive_;
  LeaderGuard guard_;
};

}  // namespace

void RegisterRangeStream(Core* core, grpc::Server* server) {
  AddStream(core, server, "/etcdserverpb.KV/RangeStream", grpc::MethodKind::kServerStream,
            &MakeStream<RangeStreamHandler>);
}

}  // namespace kvorum::api_v3
