#include <algorithm>
#include <utility>

#include "api/v3/call.h"
#include "api/v3/core.h"
#include "api/v3/errors.h"
#include "base/status.h"
#include "config/url.h"
#include "proto/rpc.pb.h"

namespace kvorum::api_v3 {
namespace {

using Members = std::vector<cluster::Member>;
using UrlTexts = google::protobuf::RepeatedPtrField<std::string>;

template <typename Request>
bool Parse(std::string_view bytes, Request* request) {
  return request->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

/// The peer URLs of a request, in its order, in the form in which members keep them.
absl::StatusOr<std::vector<std::string>> PeerUrls(const UrlTexts& texts) {
  std::vector<std::string> urls;
  for (const std::string& text : texts) {
    // ParseUrls takes a list: one that is more than a URL is none.
    const absl::StatusOr<std::vector<config::Url>> parsed = config::ParseUrls(text);
    if (!parsed.ok() || text.find(',') != std::string::npos) return InvalidMemberUrlsError();
    urls.push_back(parsed->front().Text());
  }
  if (urls.empty()) return InvalidMemberUrlsError();
  return urls;
}

void Fill(const cluster::Member& member, etcdserverpb::Member* out) {
  out->set_id(member.id.value());
  out->set_name(member.name);
  for (const std::string& url : member.peer_urls) out->add_peerurls(url);
  for (const std::string& url : member.client_urls) out->add_clienturls(url);
  out->set_islearner(member.is_learner);
}

/// Cluster.* answers have no revision (reference: v3-api.md §4).
template <typename Response>
void AnswerWith(Call call, const Members& members, Response response) {
  for (const cluster::Member& member : members) Fill(member, response.add_members());
  call.Reply(0, call.member().status().term, response.SerializeAsString());
}

void AnswerList(Call call) {
  const Members members = call.member().cluster().members();
  AnswerWith(std::move(call), members, etcdserverpb::MemberListResponse());
}

void MemberList(Call call) {
  etcdserverpb::MemberListRequest request;
  if (!Parse(call.request(), &request)) return call.FailWith(MalformedRequestError());
  if (!request.linearizable()) return AnswerList(std::move(call));
  WhenReadConfirmed(std::move(call), &AnswerList);
}

/// Answers with the members after a change.
template <typename Response>
member::Member::MembersDone AnswerChange(Call call) {
  return AnswerOnLoop<absl::StatusOr<Members>>(std::move(call),
                                               [](Call answered, const absl::StatusOr<Members>& members) {
                                                 AnswerWith(std::move(answered), *members, Response());
                                               });
}

void MemberAdd(Call call) {
  etcdserverpb::MemberAddRequest request;
  if (!Parse(call.request(), &request)) return call.FailWith(MalformedRequestError());
  absl::StatusOr<std::vector<std::string>> urls = PeerUrls(request.peerurls());
  if (!urls.ok()) return call.FailWith(urls.status());
  std::sort(urls->begin(), urls->end());
  member::Member& member = call.member();
  const MonotonicTime deadline = call.Deadline();
  auto done = AnswerOnLoop<absl::StatusOr<Members>>(
      std::move(call), [urls = *urls](Call answered, const absl::StatusOr<Members>& members) {
        etcdserverpb::MemberAddResponse response;
        for (const cluster::Member& each : *members) {
          if (each.peer_urls == urls) Fill(each, response.mutable_member());
        }
        AnswerWith(std::move(answered), *members, std::move(response));
      });
  member.AddMember({.peer_urls = *std::move(urls), .is_learner = request.islearner()}, deadline,
                   std::move(done));
}

void MemberRemove(Call call) {
  etcdserverpb::MemberRemoveRequest request;
  if (!Parse(call.request(), &request)) return call.FailWith(MalformedRequestError());
  member::Member& member = call.member();
  const MonotonicTime deadline = call.Deadline();
  member.RemoveMember(MemberId(request.id()), deadline,
                      AnswerChange<etcdserverpb::MemberRemoveResponse>(std::move(call)));
}

void MemberUpdate(Call call) {
  etcdserverpb::MemberUpdateRequest request;
  if (!Parse(call.request(), &request)) return call.FailWith(MalformedRequestError());
  absl::StatusOr<std::vector<std::string>> urls = PeerUrls(request.peerurls());
  if (!urls.ok()) return call.FailWith(urls.status());
  member::Member& member = call.member();
  const MonotonicTime deadline = call.Deadline();
  member.UpdateMember(MemberId(request.id()), *std::move(urls), deadline,
                      AnswerChange<etcdserverpb::MemberUpdateResponse>(std::move(call)));
}

void MemberPromote(Call call) {
  etcdserverpb::MemberPromoteRequest request;
  if (!Parse(call.request(), &request)) return call.FailWith(MalformedRequestError());
  member::Member& member = call.member();
  const MonotonicTime deadline = call.Deadline();
  member.PromoteMember(MemberId(request.id()), deadline,
                       AnswerChange<etcdserverpb::MemberPromoteResponse>(std::move(call)));
}

}  // namespace

void RegisterCluster(Core* core, grpc::Server* server) {
  AddUnary(core, server, "/etcdserverpb.Cluster/MemberAdd", &MemberAdd);
  AddUnary(core, server, "/etcdserverpb.Cluster/MemberRemove", &MemberRemove);
  AddUnary(core, server, "/etcdserverpb.Cluster/MemberUpdate", &MemberUpdate);
  AddUnary(core, server, "/etcdserverpb.Cluster/MemberList", &MemberList);
  AddUnary(core, server, "/etcdserverpb.Cluster/MemberPromote", &MemberPromote);
}

}  // namespace kvorum::api_v3
