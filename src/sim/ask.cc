#include <utility>

#include "member/kv.h"
#include "member/request_view.h"
#include "sim/client.h"

namespace kvorum::sim {

namespace {

using Done = absl::AnyInvocable<void(absl::StatusOr<Operation::Response>)>;

template <typename Response>
absl::StatusOr<Operation::Response> Decode(const std::string& body, int64_t revision) {
  Response response;
  if (!response.ParseFromString(body)) return absl::DataLossError("a reply that cannot be read");
  response.mutable_header()->set_revision(revision);
  return Operation::Response(std::move(response));
}

template <typename Response>
void Propose(member::Member& member, member::RequestKind kind, const google::protobuf::MessageLite& request,
             Done done) {
  const member::RequestId id = member.NextRequestId();
  member.Propose(id, member::BuildEntry(kind, request.SerializeAsString(), id, {}), MonotonicTime::max(),
                 [done = std::move(done)](const member::ApplyResult& result) mutable {
                   if (!result.status.ok()) return done(result.status);
                   done(Decode<Response>(result.body, result.revision));
                 });
}

/// Confirms that a read is linearizable, then does it.
void Read(member::Member& member, bool serializable, absl::AnyInvocable<void(absl::Status)> read) {
  if (serializable || member.ConfirmRead(MonotonicTime::max(), &read)) read(absl::OkStatus());
}

struct Asker {
  member::Member& member;
  Done done;

  void operator()(const etcdserverpb::RangeRequest& request) {
    Read(member, request.serializable(),
         [&member = member, encoded = request.SerializeAsString(),
          done = std::move(done)](const absl::Status& status) mutable {
           if (!status.ok()) return done(status);
           absl::StatusOr<member::KvReply> reply =
               member::ReadRange(member.store(), *member::ParseRangeRequest(encoded));
           if (!reply.ok()) return done(reply.status());
           done(Decode<etcdserverpb::RangeResponse>(reply->body, reply->revision));
         });
  }
  void operator()(const etcdserverpb::TxnRequest& request) {
    std::string encoded = request.SerializeAsString();
    if (!member::IsReadOnly(*member::ParseTxnRequest(encoded))) {
      return Propose<etcdserverpb::TxnResponse>(member, member::RequestKind::kTxn, request, std::move(done));
    }
    Read(member, false,
         [&member = member, encoded = std::move(encoded),
          done = std::move(done)](const absl::Status& status) mutable {
           if (!status.ok()) return done(status);
           absl::StatusOr<member::KvReply> reply =
               member::ReadTxn(member.store(), *member::ParseTxnRequest(encoded));
           if (!reply.ok()) return done(reply.status());
           done(Decode<etcdserverpb::TxnResponse>(reply->body, reply->revision));
         });
  }
  void operator()(const etcdserverpb::PutRequest& request) {
    Propose<etcdserverpb::PutResponse>(member, member::RequestKind::kPut, request, std::move(done));
  }
  void operator()(const etcdserverpb::DeleteRangeRequest& request) {
    Propose<etcdserverpb::DeleteRangeResponse>(member, member::RequestKind::kDeleteRange, request,
                                               std::move(done));
  }
  void operator()(const etcdserverpb::CompactionRequest& request) {
    if (!request.physical()) {
      return Propose<etcdserverpb::CompactionResponse>(member, member::RequestKind::kCompaction, request,
                                                       std::move(done));
    }
    Propose<etcdserverpb::CompactionResponse>(
        member, member::RequestKind::kCompaction, request,
        [&member = member, revision = request.revision(),
         done = std::move(done)](absl::StatusOr<Operation::Response> answer) mutable {
          if (!answer.ok()) return done(std::move(answer));
          member.WaitCompacted(
              revision, [answer = *std::move(answer), done = std::move(done)](absl::Status status) mutable {
                if (!status.ok()) return done(std::move(status));
                done(std::move(answer));
              });
        });
  }
};

}  // namespace

void Ask(member::Member& member, const Operation::Request& request, Done done) {
  std::visit(Asker{.member = member, .done = std::move(done)}, request);
}

}  // namespace kvorum::sim
