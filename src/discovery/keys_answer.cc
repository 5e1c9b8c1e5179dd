#include "discovery/keys_answer.h"

#include <charconv>

#include "boost/json/parse.hpp"
#include "fmt/format.h"

namespace kvorum::discovery {
namespace {

namespace json = boost::json;

absl::Status BadEndpointError() { return absl::FailedPreconditionError("discovery: bad discovery endpoint"); }

std::string TextOf(const json::object& object, std::string_view key) {
  const json::value* const value = object.if_contains({key.data(), key.size()});
  if (value == nullptr || !value->is_string()) return "";
  return {value->as_string().data(), value->as_string().size()};
}

uint64_t NumberOf(const json::object& object, std::string_view key) {
  const json::value* const value = object.if_contains({key.data(), key.size()});
  if (value == nullptr) return 0;
  if (value->is_uint64()) return value->as_uint64();
  return value->is_int64() && value->as_int64() > 0 ? static_cast<uint64_t>(value->as_int64()) : 0;
}

KeysNode NodeOf(const json::object& object) {
  KeysNode node;
  node.key = TextOf(object, "key");
  node.value = TextOf(object, "value");
  node.created_index = NumberOf(object, "createdIndex");
  node.modified_index = NumberOf(object, "modifiedIndex");
  return node;
}

}  // namespace

absl::StatusOr<KeysAnswer> ParseKeysAnswer(const http::ClientResponse& response) {
  if (response.status / 100 == 5) {
    return absl::UnavailableError(fmt::format("the server answers with status {}", response.status));
  }
  KeysAnswer answer;
  if (const std::string* index = response.Find("x-etcd-index")) {
    std::from_chars(index->data(), index->data() + index->size(), answer.index);
  }
  const bool good = response.status == 200 || response.status == 201;
  if (good && response.body.empty()) {
    answer.empty = true;
    return answer;
  }
  json::error_code failed;
  const json::value value = json::parse({response.body.data(), response.body.size()}, failed);
  if (failed || !value.is_object()) return BadEndpointError();
  const json::object& object = value.get_object();
  if (!good) {
    KeysError error;
    error.code = static_cast<int>(NumberOf(object, "errorCode"));
    if (error.code == 0) return BadEndpointError();
    error.text = fmt::format("{}: {} ({}) [{}]", error.code, TextOf(object, "message"),
                             TextOf(object, "cause"), NumberOf(object, "index"));
    answer.error = std::move(error);
    return answer;
  }
  const json::value* const node = object.if_contains("node");
  if (node == nullptr || !node->is_object()) return BadEndpointError();
  answer.action = TextOf(object, "action");
  answer.node = NodeOf(node->get_object());
  const json::value* const nodes = node->get_object().if_contains("nodes");
  if (nodes == nullptr || !nodes->is_array()) return answer;
  for (const json::value& child : nodes->get_array()) {
    if (child.is_object()) answer.node.nodes.push_back(NodeOf(child.get_object()));
  }
  return answer;
}

}  // namespace kvorum::discovery
