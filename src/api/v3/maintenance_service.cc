#include <utility>

#include "api/v3/call.h"
#include "api/v3/core.h"
#include "api/v3/errors.h"
#include "base/version.h"
#include "cluster/version.h"
#include "proto/rpc.pb.h"

namespace kvorum::api_v3 {
namespace {

constexpr int64_t kDefaultQuotaBytes = int64_t{2} << 30;

template <typename Request>
bool Parse(std::string_view bytes, Request* request) {
  return request->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

void ReplyNow(Call call, uint64_t term, const google::protobuf::MessageLite& body) {
  const int64_t revision = call.member().store().current_revision();
  call.Reply(revision, term, body.SerializeAsString());
}

/// An alarm as Status lists it among the errors (reference: v3-api.md §6.11).
std::string AlarmText(const member::Alarm& alarm) {
  std::string text;
  if (alarm.member != MemberId(0)) text += fmt::format("memberID:{} ", alarm.member);
  if (alarm.type != member::AlarmType::kNone) {
    text += fmt::format("alarm:{} ",
                        etcdserverpb::AlarmType_Name(static_cast<etcdserverpb::AlarmType>(alarm.type)));
  }
  return text;
}

void Status(Call call) {
  member::Member& member = call.member();
  const member::MemberStatus status = member.status();
  const backend::Sizes sizes = member.backend().sizes();
  const int64_t quota = member.options().quota_bytes;
  etcdserverpb::StatusResponse response;
  response.set_version(std::string(kApiVersion));
  response.set_dbsize(sizes.total_bytes);
  response.set_leader(status.leader.value());
  response.set_raftindex(status.committed_index);
  response.set_raftterm(status.term);
  response.set_raftappliedindex(status.applied_index);
  if (status.leader == MemberId(0)) response.add_errors("etcdserver: no leader");
  for (const member::Alarm& alarm : member.alarms()) response.add_errors(AlarmText(alarm));
  response.set_dbsizeinuse(sizes.in_use_bytes);
  response.set_islearner(status.is_learner);
  response.set_storageversion(cluster::StorageVersionOf(member.cluster().version()));
  response.set_dbsizequota(quota == 0 ? kDefaultQuotaBytes : quota);
  const cluster::Downgrade downgrade = member.cluster().downgrade();
  response.mutable_downgradeinfo()->set_enabled(downgrade.enabled);
  response.mutable_downgradeinfo()->set_targetversion(downgrade.target_version);
  ReplyNow(std::move(call), status.term, response);
}

void Alarm(Call call) {
  etcdserverpb::AlarmRequest request;
  if (!Parse(call.request(), &request)) return call.FailWith(MalformedRequestError());
  request.DiscardUnknownFields();
  const std::string encoded = request.SerializeAsString();
  Propose(std::move(call), member::RequestKind::kAlarm, encoded);
}

void Defragment(Call call) {
  member::Member& member = call.member();
  member.Defragment(AnswerOnLoop<absl::Status>(std::move(call), [](Call answered, const absl::Status&) {
    answered.Reply(grpc::Payload(), 0);  // without a header
  }));
}

void Hash(Call call) {
  member::Member& member = call.member();
  member.HashDatabase(AnswerOnLoop<absl::StatusOr<uint32_t>>(
      std::move(call), [](Call answered, const absl::StatusOr<uint32_t>& hash) {
        etcdserverpb::HashResponse response;
        response.set_hash(*hash);
        const uint64_t term = answered.member().status().term;
        ReplyNow(std::move(answered), term, response);
      }));
}

void HashKv(Call call) {
  etcdserverpb::HashKVRequest request;
  if (!Parse(call.request(), &request)) return call.FailWith(MalformedRequestError());
  member::Member& member = call.member();
  member.HashKv(request.revision(),
                AnswerOnLoop<absl::StatusOr<mvcc::HashResult>>(
                    std::move(call), [](Call answered, const absl::StatusOr<mvcc::HashResult>& hash) {
                      etcdserverpb::HashKVResponse response;
                      response.set_hash(hash->hash);
                      response.set_compact_revision(hash->compact_revision);
                      response.set_hash_revision(hash->revision);
                      const uint64_t term = answered.member().status().term;
                      answered.Reply(hash->current_revision, term, response.SerializeAsString());
                    }));
}

void MoveLeader(Call call) {
  etcdserverpb::MoveLeaderRequest request;
  if (!Parse(call.request(), &request)) return call.FailWith(MalformedRequestError());
  member::Member& member = call.member();
  const MonotonicTime deadline = call.Deadline();
  member.MoveLeader(MemberId(request.targetid()), deadline,
                    AnswerOnLoop<absl::Status>(std::move(call), [](Call answered, const absl::Status&) {
                      answered.Reply(grpc::Payload(), 0);  // without a header
                    }));
}

/// "3.7.0" to "3.7".
std::string MajorMinor(const std::string& version) { return version.substr(0, version.rfind('.')); }

void Downgrade(Call call) {
  using etcdserverpb::DowngradeRequest;
  using Action = member::Member::DowngradeAction;
  DowngradeRequest request;
  if (!Parse(call.request(), &request)) return call.FailWith(MalformedRequestError());
  Action action = Action::kValidate;
  switch (request.action()) {
    case DowngradeRequest::VALIDATE:
      break;
    case DowngradeRequest::ENABLE:
      action = Action::kEnable;
      break;
    case DowngradeRequest::CANCEL:
      action = Action::kCancel;
      break;
    default:
      return call.FailWith(absl::UnknownError("etcdserver: unknown method"));
  }
  member::Member& member = call.member();
  const MonotonicTime deadline = call.Deadline();
  member.ChangeDowngrade(action, request.version(), deadline,
                         AnswerOnLoop<absl::StatusOr<std::string>>(
                             std::move(call), [](Call answered, const absl::StatusOr<std::string>& version) {
                               etcdserverpb::DowngradeResponse response;
                               response.set_version(MajorMinor(*version));
                               const uint64_t term = answered.member().status().term;
                               ReplyNow(std::move(answered), term, response);
                             }));
}

/// Authentication cannot be enabled, so it is off, at its first revision.
void AuthStatus(Call call) {
  etcdserverpb::AuthStatusResponse response;
  response.set_authrevision(1);
  const uint64_t term = call.member().status().term;
  ReplyNow(std::move(call), term, response);
}

}  // namespace

void RegisterMaintenance(Core* core, grpc::Server* server) {
  AddUnary(core, server, "/etcdserverpb.Maintenance/Status", &Status);
  AddUnary(core, server, "/etcdserverpb.Maintenance/Alarm", &Alarm);
  AddUnary(core, server, "/etcdserverpb.Maintenance/Defragment", &Defragment);
  AddUnary(core, server, "/etcdserverpb.Maintenance/Hash", &Hash);
  AddUnary(core, server, "/etcdserverpb.Maintenance/HashKV", &HashKv);
  AddUnary(core, server, "/etcdserverpb.Maintenance/MoveLeader", &MoveLeader);
  AddUnary(core, server, "/etcdserverpb.Maintenance/Downgrade", &Downgrade);
  AddUnary(core, server, "/etcdserverpb.Auth/AuthStatus", &AuthStatus);
}

}  // namespace kvorum::api_v3
