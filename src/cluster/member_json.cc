#include <algorithm>

#include "base/go_json.h"
#include "base/status.h"
#include "boost/json/parse.hpp"
#include "cluster/cluster.h"
#include "cluster/members_json.h"
#include "fmt/format.h"

namespace kvorum::cluster {
namespace {

namespace json = boost::json;

void AppendList(std::string& out, const std::vector<std::string>& list) {
  out += '[';
  for (size_t i = 0; i < list.size(); ++i) {
    if (i != 0) out += ',';
    AppendJsonString(out, list[i]);
  }
  out += ']';
}

/// The fields of a member, in Go's order, without the closing brace.
std::string Fields(const Member& member) {
  std::string out = "{\"id\":" + std::to_string(member.id.value()) + ",\"peerURLs\":";
  if (member.peer_urls.empty()) {
    out += "null";
  } else {
    AppendList(out, member.peer_urls);
  }
  if (member.is_learner) out += ",\"isLearner\":true";
  if (!member.name.empty()) {
    out += ",\"name\":";
    AppendJsonString(out, member.name);
  }
  if (!member.client_urls.empty()) {
    out += ",\"clientURLs\":";
    AppendList(out, member.client_urls);
  }
  if (member.is_kvorum) out += ",\"kvorum\":true";
  return out;
}

absl::Status Malformed(std::string_view what) {
  return absl::DataLossError(fmt::format("the JSON of a member has a bad {}", what));
}

absl::StatusOr<std::vector<std::string>> ListFrom(const json::object& object, std::string_view name) {
  std::vector<std::string> list;
  const json::value* value = object.if_contains(json::string_view(name.data(), name.size()));
  if (value == nullptr || value->is_null()) return list;
  if (!value->is_array()) return Malformed(name);
  for (const json::value& element : value->get_array()) {
    if (!element.is_string()) return Malformed(name);
    list.emplace_back(element.get_string().data(), element.get_string().size());
  }
  return list;
}

absl::StatusOr<bool> BoolFrom(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(json::string_view(name.data(), name.size()));
  if (value == nullptr || value->is_null()) return false;
  if (!value->is_bool()) return Malformed(name);
  return value->get_bool();
}

absl::StatusOr<json::object> ObjectFrom(std::string_view text) {
  boost::system::error_code error;
  json::value value = json::parse(json::string_view(text.data(), text.size()), error);
  if (error || !value.is_object()) return Malformed("form");
  return std::move(value.get_object());
}

absl::StatusOr<Member> MemberFrom(const json::object& object) {
  Member member;
  if (const json::value* id = object.if_contains("id"); id != nullptr) {
    boost::system::error_code error;
    const uint64_t number = id->to_number<uint64_t>(error);
    if (error) return Malformed("id");
    member.id = MemberId(number);
  }
  KVORUM_ASSIGN_OR_RETURN(member.peer_urls, ListFrom(object, "peerURLs"));
  std::sort(member.peer_urls.begin(), member.peer_urls.end());
  KVORUM_ASSIGN_OR_RETURN(member.is_learner, BoolFrom(object, "isLearner"));
  if (const json::value* name = object.if_contains("name"); name != nullptr) {
    if (!name->is_string()) return Malformed("name");
    member.name.assign(name->get_string().data(), name->get_string().size());
  }
  KVORUM_ASSIGN_OR_RETURN(member.client_urls, ListFrom(object, "clientURLs"));
  KVORUM_ASSIGN_OR_RETURN(member.is_kvorum, BoolFrom(object, "kvorum"));
  return member;
}

}  // namespace

std::string ToJson(const Member& member) { return Fields(member) + "}"; }

absl::StatusOr<Member> MemberFromJson(std::string_view text) {
  KVORUM_ASSIGN_OR_RETURN(const json::object object, ObjectFrom(text));
  return MemberFrom(object);
}

std::string ToJson(const ChangeContext& context) {
  return Fields(context.member) + (context.is_promote ? ",\"isPromote\":true}" : "}");
}

absl::StatusOr<ChangeContext> ChangeContextFromJson(std::string_view text) {
  KVORUM_ASSIGN_OR_RETURN(const json::object object, ObjectFrom(text));
  ChangeContext context;
  KVORUM_ASSIGN_OR_RETURN(context.member, MemberFrom(object));
  KVORUM_ASSIGN_OR_RETURN(context.is_promote, BoolFrom(object, "isPromote"));
  return context;
}

std::string MembersToJson(const std::vector<Member>& members) {
  std::string out = "[";
  for (const Member& member : members) {
    if (out.size() > 1) out += ',';
    out += ToJson(member);
  }
  return out + "]\n";
}

absl::StatusOr<std::vector<Member>> MembersFromJson(std::string_view text) {
  boost::system::error_code error;
  const json::value value = json::parse(json::string_view(text.data(), text.size()), error);
  std::vector<Member> members;
  if (!error && value.is_null()) return members;
  if (error || !value.is_array()) return Malformed("form");
  for (const json::value& element : value.get_array()) {
    if (!element.is_object()) return Malformed("form");
    KVORUM_ASSIGN_OR_RETURN(members.emplace_back(), MemberFrom(element.get_object()));
  }
  return members;
}

std::string AttributesToJson(const Member& member) {
  std::string out = "{";
  if (!member.name.empty()) {
    out += "\"name\":";
    AppendJsonString(out, member.name);
  }
  if (!member.client_urls.empty()) {
    out += out.size() > 1 ? ",\"clientURLs\":" : "\"clientURLs\":";
    AppendList(out, member.client_urls);
  }
  if (member.is_kvorum) out += out.size() > 1 ? ",\"kvorum\":true" : "\"kvorum\":true";
  return out + "}";
}

std::string RaftAttributesToJson(const Member& member) {
  // A member's JSON without its id, the first field.
  const std::string json = ToJson(Member{.peer_urls = member.peer_urls, .is_learner = member.is_learner});
  return "{" + json.substr(json.find("\"peerURLs\""));
}

absl::StatusOr<Member> AttributesFromJson(std::string_view text) { return MemberFromJson(text); }

}  // namespace kvorum::cluster
