#include "api/v2/key_reply.h"

#include "base/go_json.h"
#include "fmt/format.h"

namespace kvorum::api_v2 {
namespace {

constexpr std::string_view kClientsRoot = "/1";

/// A number's digits, without a string.
class Digits {
 public:
  explicit Digits(uint64_t number) : text_(number) {}
  std::string_view view() const { return {text_.data(), text_.size()}; }

 private:
  fmt::format_int text_;
};

}  // namespace

KeyReplies::KeyReplies(const member::Member& member)
    : member_(member), cluster_id_(fmt::format("{:x}", member.cluster_id().value())) {}

KeyReplies::Position KeyReplies::PositionNow(uint64_t store_index) const {
  const member::MemberStatus status = member_.status();
  return {.store_index = store_index, .raft_index = status.committed_index, .raft_term = status.applied_term};
}

void KeyReplies::Success(http::ResponseWriter& writer, int status, const Position& position,
                         std::string_view body) const {
  const Digits store_index(position.store_index);
  const Digits raft_index(position.raft_index);
  const Digits raft_term(position.raft_term);
  const http::HeaderView headers[] = {{"content-type", "application/json"},
                                      {"x-etcd-cluster-id", cluster_id_},
                                      {"x-etcd-index", store_index.view()},
                                      {"x-raft-index", raft_index.view()},
                                      {"x-raft-term", raft_term.view()}};
  writer.ReplyWith(status, headers, body);
}

void KeyReplies::Head(http::ResponseWriter& writer, const Position& position) const {
  writer.SendHead(200, {{"content-type", "application/json"},
                        {"x-etcd-cluster-id", cluster_id_},
                        {"x-etcd-index", fmt::format_int(position.store_index).str()},
                        {"x-raft-index", fmt::format_int(position.raft_index).str()},
                        {"x-raft-term", fmt::format_int(position.raft_term).str()}});
}

int KeyReplies::Error(http::ResponseWriter& writer, const v2store::Error& error) const {
  std::string_view cause = error.cause;
  if (cause.starts_with(kClientsRoot)) cause.remove_prefix(kClientsRoot.size());
  std::string body = fmt::format("{{\"errorCode\":{},\"message\":", static_cast<int>(error.code));
  AppendJsonString(body, v2store::Message(error.code));
  if (!cause.empty()) {
    body += ",\"cause\":";
    AppendJsonString(body, cause);
  }
  fmt::format_to(std::back_inserter(body), ",\"index\":{}}}\n", error.index);

  const int status = v2store::HttpStatus(error.code);
  const Digits index(error.index);
  const http::HeaderView headers[] = {{"content-type", "application/json"},
                                      {"x-etcd-cluster-id", cluster_id_},
                                      {"x-etcd-index", index.view()}};
  writer.ReplyWith(status, headers, body);
  return status;
}

}  // namespace kvorum::api_v2
