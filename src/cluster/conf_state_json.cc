#include "base/status.h"
#include "boost/json/parse.hpp"
#include "cluster/cluster.h"
#include "fmt/format.h"

namespace kvorum::cluster {
namespace {

namespace json = boost::json;

absl::Status Malformed() {
  return absl::DataLossError("the record of the raft configuration cannot be read");
}

absl::StatusOr<std::vector<raft::NodeId>> Ids(const json::object& object, const char* name) {
  std::vector<raft::NodeId> ids;
  const json::value* list = object.if_contains(name);
  if (list == nullptr || list->is_null()) return ids;
  if (!list->is_array()) return Malformed();
  for (const json::value& element : list->get_array()) {
    boost::system::error_code error;
    const uint64_t id = element.to_number<uint64_t>(error);
    if (error) return Malformed();
    ids.emplace_back(id);
  }
  return ids;
}

}  // namespace

std::string ToJson(const raft::ConfState& state) {
  std::string out = "{";
  const auto append = [&out](std::string_view name, const std::vector<raft::NodeId>& ids) {
    if (ids.empty()) return;
    out += fmt::format("\"{}\":[", name);
    for (size_t i = 0; i < ids.size(); ++i) out += fmt::format("{}{}", i == 0 ? "" : ",", ids[i].value());
    out += "],";
  };
  append("voters", state.voters);
  append("learners", state.learners);
  append("voters_outgoing", state.voters_outgoing);
  append("learners_next", state.learners_next);
  return out + fmt::format("\"auto_leave\":{}}}", state.auto_leave);
}

absl::StatusOr<raft::ConfState> ConfStateFromJson(std::string_view text) {
  boost::system::error_code error;
  const json::value value = json::parse(json::string_view(text.data(), text.size()), error);
  if (error || !value.is_object()) return Malformed();
  const json::object& object = value.get_object();
  raft::ConfState state;
  KVORUM_ASSIGN_OR_RETURN(state.voters, Ids(object, "voters"));
  KVORUM_ASSIGN_OR_RETURN(state.learners, Ids(object, "learners"));
  KVORUM_ASSIGN_OR_RETURN(state.voters_outgoing, Ids(object, "voters_outgoing"));
  KVORUM_ASSIGN_OR_RETURN(state.learners_next, Ids(object, "learners_next"));
  if (const json::value* leave = object.if_contains("auto_leave"); leave != nullptr && leave->is_bool()) {
    state.auto_leave = leave->get_bool();
  }
  return state;
}

}  // namespace kvorum::cluster
