#include <utility>

#include "api/v3/call.h"
#include "api/v3/core.h"
#include "api/v3/errors.h"
#include "proto/rpc.pb.h"

namespace kvorum::api_v3 {
namespace {

void AnswerMembers(Call call) {
  etcdserverpb::MemberListResponse response;
  for (const cluster::Member& member : call.member().cluster().members()) {
    etcdserverpb::Member* out = response.add_members();
    out->set_id(member.id.value());
    out->set_name(member.name);
    for (const std::string& url : member.peer_urls) out->add_peerurls(url);
    for (const std::string& url : member.client_urls) out->add_clienturls(url);
    out->set_islearner(member.is_learner);
  }
  // Cluster.* answers have no revision (reference: v3-api.md §4).
  call.Reply(0, call.member().status().term, response.SerializeAsString());
}

void MemberList(Call call) {
  etcdserverpb::MemberListRequest request;
  if (!request.ParseFromArray(call.request().data(), static_cast<int>(call.request().size()))) {
    return call.FailWith(MalformedRequestError());
  }
  if (!request.linearizable()) return AnswerMembers(std::move(call));
  WhenReadConfirmed(std::move(call), &AnswerMembers);
}

}  // namespace

void RegisterCluster(Core* core, grpc::Server* server) {
  AddUnary(core, server, "/etcdserverpb.Cluster/MemberList", &MemberList);
}

}  // namespace kvorum::api_v3
