#include "member/entry_applier.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/check.h"
#include "base/planted_bug.h"
#include "base/status.h"
#include "base/version.h"
#include "base/wire.h"
#include "member/errors.h"
#include "member/v2_tree.h"
#include "proto/membership.pb.h"
#include "proto/rpc.pb.h"

namespace kvorum::member {
namespace {

using cluster::Cluster;

constexpr uint32_t kRange = 3;
constexpr uint32_t kDowngradeVersionTest = 9900;

constexpr uint32_t Kind(RequestKind kind) { return static_cast<uint32_t>(kind); }

bool IsKnown(uint32_t kind) {
  return (kind >= kRange && kind <= Kind(RequestKind::kLeaseCheckpoint)) ||
         (kind >= Kind(RequestKind::kClusterVersionSet) && kind <= Kind(RequestKind::kDowngradeInfoSet)) ||
         kind == kDowngradeVersionTest;
}

/// An entry that no member may go on after.
absl::Status Malformed(const EntryView& entry) {
  return absl::InternalError(fmt::format("a {} request in the log is malformed", KindName(entry.kind)));
}

bool IsFatal(const absl::Status& status) {
  return status.code() == absl::StatusCode::kInternal || status.code() == absl::StatusCode::kDataLoss;
}

template <typename Message>
absl::StatusOr<Message> Decode(const EntryView& entry) {
  Message message;
  if (!message.ParseFromArray(entry.body.data(), static_cast<int>(entry.body.size()))) {
    return Malformed(entry);
  }
  return message;
}

/// Whether a member that tells its attributes says that it is one of Kvorum: a field that etcd passes over.
bool SaysKvorum(std::string_view encoded) {
  wire::Reader reader(encoded);
  for (wire::Field field; reader.Next(&field);) {
    if (field.number == kSaysKvorumField && field.type == wire::Type::kVarint) return field.varint != 0;
  }
  return false;
}

/// Major and minor number as one; 0 where `version` is none.
uint32_t VersionOrder(std::string_view version) {
  uint32_t major = 0;
  uint32_t minor = 0;
  const char* const end = version.data() + version.size();
  const auto first = std::from_chars(version.data(), end, major);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != '.') return 0;
  if (std::from_chars(first.ptr + 1, end, minor).ec != std::errc()) return 0;
  return major << 16 | minor;
}

}  // namespace

absl::Status EntryApplier::CheckAppliable(const raft::Entry& entry) {
  if (entry.type != raft::EntryType::kNormal) return absl::OkStatus();
  if (entry.data.empty()) return absl::OkStatus();
  const std::optional<EntryView> view = ParseEntry(entry.data.view());
  if (!view || view->kind == kV2Kind) {
    if (V2RequestOf(entry.data.view(), view)) return absl::OkStatus();
    return absl::FailedPreconditionError(fmt::format("log entry {} cannot be decoded", entry.index));
  }
  if (view->kind == 0 || IsKnown(view->kind)) return absl::OkStatus();
  return absl::FailedPreconditionError(fmt::format(
      "log entry {} holds a request (field {}) that this release does not apply", entry.index, view->kind));
}

absl::StatusOr<ApplyResult> EntryApplier::Apply(const EntryView& entry, Want want) {
  ApplyResult result;
  result.status = Gate(entry.kind);
  if (result.status.ok()) {
    absl::StatusOr<KvReply> reply = Dispatch(entry, want);
    if (!reply.ok() && IsFatal(reply.status())) return reply.status();
    if (reply.ok()) {
      result.body = std::move(reply->body);
      result.revision = reply->revision;
      return result;
    }
    result.status = reply.status();
  }
  result.revision = parts_.store->current_revision();
  return result;
}

absl::Status EntryApplier::Gate(uint32_t kind) const {
  if (!parts_.alarms->Any(AlarmType::kCorrupt)) return absl::OkStatus();
  const bool gated = kind >= kRange && kind <= Kind(RequestKind::kLeaseRevoke);
  return gated ? CorruptError() : absl::OkStatus();
}

absl::StatusOr<KvReply> EntryApplier::Dispatch(const EntryView& entry, Want want) {
  switch (entry.kind) {
    case Kind(RequestKind::kPut):
      return Put(entry, want);
    case Kind(RequestKind::kDeleteRange):
      return DeleteRange(entry, want);
    case Kind(RequestKind::kTxn):
      return Txn(entry, want);
    case Kind(RequestKind::kCompaction):
      return Compact(entry);
    case Kind(RequestKind::kLeaseGrant):
      return GrantLease(entry);
    case Kind(RequestKind::kLeaseRevoke):
      return RevokeLease(entry);
    case Kind(RequestKind::kLeaseCheckpoint):
      return CheckpointLeases(entry);
    case Kind(RequestKind::kAlarm):
      return ChangeAlarm(entry);
    case Kind(RequestKind::kClusterVersionSet):
      return SetClusterVersion(entry);
    case Kind(RequestKind::kClusterMemberAttrSet):
      return SetAttributes(entry);
    case Kind(RequestKind::kDowngradeInfoSet):
      return SetDowngrade(entry);
    case kRange: {
      if (want == Want::kEffectOnly) return Reply();
      const std::optional<RangeRequestView> request = ParseRangeRequest(entry.body);
      if (!request) return Malformed(entry);
      return ReadRange(*parts_.store, *request);
    }
    case 0:
    case kDowngradeVersionTest:
      return Reply();
    default:
      return absl::InternalError(fmt::format(
          "a request in the log (field {}) is of a kind that this release does not apply", entry.kind));
  }
}

KvReply EntryApplier::Reply(std::string body) const {
  return {.body = std::move(body), .revision = parts_.store->current_revision()};
}

// ---- Keys.

absl::StatusOr<KvReply> EntryApplier::Put(const EntryView& entry, Want want) {
  const std::optional<PutRequestView> request = ParsePutRequest(entry.body);
  if (!request) return Malformed(entry);
  if (parts_.alarms->Any(AlarmType::kNoSpace)) return NoSpaceError();
  // The write that crosses the quota is applied like any other, for that must not depend on this member's
  // file; it raises the alarm.
  parts_.quota->Fits(QuotaCost(*request));
  return ApplyPut(*parts_.store, *parts_.leases, *request, want);
}

absl::StatusOr<KvReply> EntryApplier::DeleteRange(const EntryView& entry, Want want) {
  const std::optional<DeleteRangeRequestView> request = ParseDeleteRangeRequest(entry.body);
  if (!request) return Malformed(entry);
  return ApplyDeleteRange(*parts_.store, *request, want);
}

absl::StatusOr<KvReply> EntryApplier::Txn(const EntryView& entry, Want want) {
  const std::optional<TxnRequestView> request = ParseTxnRequest(entry.body);
  if (!request) return Malformed(entry);
  const int64_t cost = QuotaCost(*request);
  if (cost > 0 && parts_.alarms->Any(AlarmType::kNoSpace)) return NoSpaceError();
  parts_.quota->Fits(cost);
  return ApplyTxn(*parts_.store, *parts_.leases, *request, want);
}

absl::StatusOr<KvReply> EntryApplier::Compact(const EntryView& entry) {
  KVORUM_ASSIGN_OR_RETURN(const auto request, Decode<etcdserverpb::CompactionRequest>(entry));
  KVORUM_RETURN_IF_ERROR(parts_.store->StartCompaction(request.revision()));
  parts_.on_compaction();
  return Reply();
}

// ---- Leases.

absl::StatusOr<KvReply> EntryApplier::GrantLease(const EntryView& entry) {
  KVORUM_ASSIGN_OR_RETURN(const auto request, Decode<etcdserverpb::LeaseGrantRequest>(entry));
  if (parts_.alarms->Any(AlarmType::kNoSpace)) return NoSpaceError();
  parts_.quota->Fits(kLeaseGrantQuotaCost);
  KVORUM_ASSIGN_OR_RETURN(const int64_t ttl, parts_.lessor->Grant(LeaseId(request.id()), request.ttl()));
  std::string body;
  wire::AppendUint(body, 2, static_cast<uint64_t>(request.id()));
  wire::AppendUint(body, 3, static_cast<uint64_t>(ttl));
  return Reply(std::move(body));
}

absl::StatusOr<KvReply> EntryApplier::RevokeLease(const EntryView& entry) {
  KVORUM_ASSIGN_OR_RETURN(const auto request, Decode<etcdserverpb::LeaseRevokeRequest>(entry));
  const LeaseId id(request.id());
  KVORUM_ASSIGN_OR_RETURN(std::vector<std::string> keys, parts_.lessor->KeysOf(id));
  const bool odd = parts_.cluster->local().value() % 2 != 0;
  if (IsPlanted(PlantedBug::kRevokeOrder) && odd) std::reverse(keys.begin(), keys.end());
  if (!keys.empty()) {
    std::unique_ptr<mvcc::WriteTxn> txn = parts_.store->Begin();
    for (const std::string& key : keys) txn->DeleteRange({.key = key, .end = {}});
    txn->End();
  }
  const absl::Status removed = parts_.lessor->Remove(id);
  KVORUM_CHECK(removed.ok(), "{}", removed.ToString());
  return Reply();
}

absl::StatusOr<KvReply> EntryApplier::CheckpointLeases(const EntryView& entry) {
  KVORUM_ASSIGN_OR_RETURN(const auto request, Decode<etcdserverpb::LeaseCheckpointRequest>(entry));
  for (const etcdserverpb::LeaseCheckpoint& item : request.checkpoints()) {
    parts_.lessor->Checkpoint(LeaseId(item.id()), item.remaining_ttl());
  }
  return Reply();
}

// ---- Alarms.

absl::StatusOr<KvReply> EntryApplier::ChangeAlarm(const EntryView& entry) {
  using etcdserverpb::AlarmRequest;
  KVORUM_ASSIGN_OR_RETURN(const auto request, Decode<AlarmRequest>(entry));
  const int type = request.alarm();
  if (type < 0 || type > static_cast<int>(AlarmType::kCorrupt)) return Reply();
  const Alarm alarm{.member = MemberId(request.memberid()), .type = static_cast<AlarmType>(type)};
  std::vector<Alarm> reply;
  switch (request.action()) {
    case AlarmRequest::GET:
      reply = parts_.alarms->List(alarm.type);
      break;
    case AlarmRequest::ACTIVATE:
      if (alarm.type == AlarmType::kNone) break;
      reply.push_back(alarm);
      if (!parts_.alarms->Activate(alarm)) break;
      parts_.metrics->SetAlarm(alarm, true);
      KVORUM_LOG(*parts_.logger, kWarn, "alarm raised",
                 {"alarm", alarm.type == AlarmType::kNoSpace ? "NOSPACE" : "CORRUPT"},
                 LogField::Id("from", alarm.member.value()));
      break;
    case AlarmRequest::DEACTIVATE:
      if (!parts_.alarms->Deactivate(alarm)) break;
      reply.push_back(alarm);
      parts_.metrics->SetAlarm(alarm, false);
      KVORUM_LOG(*parts_.logger, kWarn, "alarm disarmed",
                 {"alarm", alarm.type == AlarmType::kNoSpace ? "NOSPACE" : "CORRUPT"},
                 LogField::Id("from", alarm.member.value()));
      break;
    default:
      break;
  }
  std::string body;
  for (const Alarm& one : reply) wire::AppendBytes(body, 2, EncodeAlarm(one));
  return Reply(std::move(body));
}

// ---- Membership.

absl::Status EntryApplier::SetVersion(std::string version) {
  const std::string before = parts_.cluster->version();
  if (VersionOrder(version) == 0 || VersionOrder(version) > VersionOrder(kApiVersion)) {
    return absl::InternalError(
        fmt::format("invalid downgrade; server version is lower than determined cluster version: this is {}, "
                    "the cluster is {}",
                    kApiVersion, version));
  }
  parts_.cluster->SetVersion(version, Cluster::Persist::kYes);
  // The storage version follows the cluster's; before 3.6 there was none.
  if (VersionOrder(version) >= VersionOrder("3.6.0")) {
    parts_.backend->Put(backend::Bucket::kMeta, "storageVersion", Bytes::Copy(version));
  } else {
    parts_.backend->Delete(backend::Bucket::kMeta, "storageVersion");
  }
  parts_.metrics->SetClusterVersion(version);
  const std::string shown = version.substr(0, version.rfind('.'));
  KVORUM_LOG(*parts_.logger, kInfo,
             before.empty() ? "set initial cluster version" : "updated cluster version",
             LogField::Id("cluster-id", parts_.cluster->id().value()),
             LogField::Id("local-member-id", parts_.cluster->local().value()), {"cluster-version", shown});
  KVORUM_LOG(*parts_.logger, kInfo, "enabled capabilities for version", {"cluster-version", shown});
  return absl::OkStatus();
}

absl::StatusOr<KvReply> EntryApplier::SetClusterVersion(const EntryView& entry) {
  KVORUM_ASSIGN_OR_RETURN(const auto request, Decode<membershippb::ClusterVersionSetRequest>(entry));
  KVORUM_RETURN_IF_ERROR(SetVersion(request.ver()));
  return Reply();
}

absl::StatusOr<KvReply> EntryApplier::SetAttributes(const EntryView& entry) {
  KVORUM_ASSIGN_OR_RETURN(const auto request, Decode<membershippb::ClusterMemberAttrSetRequest>(entry));
  const membershippb::Attributes& said = request.member_attributes();
  KVORUM_RETURN_IF_ERROR(
      UpdateAttributes({.id = MemberId(request.member_id()),
                        .name = said.name(),
                        .client_urls = {said.client_urls().begin(), said.client_urls().end()},
                        .is_kvorum = SaysKvorum(entry.body)}));
  return Reply();
}

absl::StatusOr<KvReply> EntryApplier::SetDowngrade(const EntryView& entry) {
  KVORUM_ASSIGN_OR_RETURN(const auto request, Decode<membershippb::DowngradeInfoSetRequest>(entry));
  cluster::Downgrade downgrade;
  if (request.enabled()) {
    downgrade = {.target_version = request.ver(), .enabled = true};
    KVORUM_LOG(*parts_.logger, kInfo, "The server is ready to downgrade", {"target-version", request.ver()},
               {"server-version", kApiVersion});
  }
  parts_.cluster->SetDowngrade(std::move(downgrade), Cluster::Persist::kYes);
  return Reply();
}

absl::Status EntryApplier::ApplyMembershipPut(const v2store::RequestView& request) {
  const std::optional<V2MembershipPut> put = MembershipPutOf(request);
  if (!put) return absl::OkStatus();
  if (!put->attributes_of) return SetVersion(std::string(request.value));
  KVORUM_ASSIGN_OR_RETURN(cluster::Member attributes, cluster::AttributesFromJson(request.value));
  attributes.id = *put->attributes_of;
  return UpdateAttributes(std::move(attributes));
}

absl::Status EntryApplier::UpdateAttributes(cluster::Member member) {
  if (parts_.cluster->IsRemoved(member.id)) return absl::OkStatus();
  if (!parts_.cluster->Find(member.id)) {
    return absl::InternalError(fmt::format("attributes of the unknown member {:x}", member.id.value()));
  }
  parts_.cluster->UpdateAttributes(member.id, std::move(member.name), std::move(member.client_urls),
                                   Cluster::Persist::kYes, member.is_kvorum);
  return absl::OkStatus();
}

}  // namespace kvorum::member
