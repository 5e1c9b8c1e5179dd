#include <memory>
#include <utility>

#include "api/v3/call.h"
#include "api/v3/core.h"
#include "api/v3/errors.h"
#include "api/v3/range.h"
#include "api/v3/requests.h"
#include "member/kv.h"

namespace kvorum::api_v3 {
namespace {

void Put(Call call) {
  const auto put = ParsePut(call.request());
  if (!put.ok()) return call.FailWith(put.status());
  if (absl::Status quota = call.member().CheckQuota(member::QuotaCost(put->view)); !quota.ok()) {
    return call.Fail(quota);
  }
  const std::string_view encoded = put->encoded(call.request());
  Propose(std::move(call), member::RequestKind::kPut, encoded);
}

void DeleteRange(Call call) {
  const auto del = ParseDeleteRange(call.request());
  if (!del.ok()) return call.FailWith(del.status());
  const std::string_view encoded = del->encoded(call.request());
  Propose(std::move(call), member::RequestKind::kDeleteRange, encoded);
}

bool AllSerializable(const member::TxnRequestView& txn) {
  for (const auto* ops : {&txn.success, &txn.failure}) {
    for (const member::RequestOpView& op : *ops) {
      if (op.kind == member::RequestOpView::Kind::kRange && !op.range.serializable) return false;
    }
  }
  return true;
}

void AnswerReadTxn(Call call, const member::TxnRequestView& txn) {
  absl::StatusOr<member::KvReply> reply = member::ReadTxn(call.member().store(), txn);
  if (!reply.ok()) return call.Fail(reply.status());
  call.Reply(reply->revision, call.member().status().term, reply->body);
}

void Txn(Call call) {
  absl::StatusOr<std::unique_ptr<ParsedTxn>> parsed =
      ParseTxn(call.request(), call.core().options().max_txn_ops);
  if (!parsed.ok()) return call.FailWith(parsed.status());
  const ParsedTxn& txn = **parsed;
  if (member::IsReadOnly(txn.view)) {
    if (AllSerializable(txn.view)) return AnswerReadTxn(std::move(call), txn.view);
    return WhenReadConfirmed(std::move(call), [txn = *std::move(parsed)](Call confirmed) {
      AnswerReadTxn(std::move(confirmed), txn->view);
    });
  }
  if (absl::Status quota = call.member().CheckQuota(member::QuotaCost(txn.view)); !quota.ok()) {
    return call.Fail(quota);
  }
  Propose(std::move(call), member::RequestKind::kTxn, txn.encoded);
}

/// Answers when the removal is finished and on disk here.
void AnswerWhenRemoved(Call call, int64_t revision, member::ApplyResult result) {
  member::Member& member = call.member();
  member.WaitCompacted(
      revision, [call = std::move(call), result = std::move(result)](absl::Status status) mutable {
        http::Loop& loop = call.loop();
        loop.Post([call = std::move(call), result = std::move(result), status = std::move(status)]() mutable {
          if (!status.ok()) return call.Fail(status);
          call.Reply(result.revision, result.term, result.body);
        });
      });
}

void Compact(Call call) {
  etcdserverpb::CompactionRequest request;
  if (!request.ParseFromArray(call.request().data(), static_cast<int>(call.request().size()))) {
    return call.FailWith(MalformedRequestError());
  }
  request.DiscardUnknownFields();
  const std::string encoded = request.SerializeAsString();
  if (!request.physical()) return Propose(std::move(call), member::RequestKind::kCompaction, encoded);
  Propose(std::move(call), member::RequestKind::kCompaction, encoded,
          [revision = request.revision()](Call compacted, member::ApplyResult result) {
            AnswerWhenRemoved(std::move(compacted), revision, std::move(result));
          });
}

}  // namespace

void RegisterKv(Core* core, grpc::Server* server) {
  AddUnary(core, server, "/etcdserverpb.KV/Range", &Range);
  AddUnary(core, server, "/etcdserverpb.KV/Put", &Put);
  AddUnary(core, server, "/etcdserverpb.KV/DeleteRange", &DeleteRange);
  AddUnary(core, server, "/etcdserverpb.KV/Txn", &Txn);
  AddUnary(core, server, "/etcdserverpb.KV/Compact", &Compact);
  RegisterRangeStream(core, server);
}

}  // namespace kvorum::api_v3
