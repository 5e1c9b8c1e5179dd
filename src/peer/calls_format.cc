#include "peer/calls_format.h"

#include <optional>

#include "base/status.h"
#include "boost/json/parse.hpp"
#include "fmt/format.h"
#include "proto/lease.pb.h"
#include "proto/rpc.pb.h"

namespace kvorum::peer {
namespace {

namespace json = boost::json;

absl::Status Malformed(std::string_view what) {
  return absl::DataLossError(fmt::format("{} that cannot be read", what));
}

std::optional<json::object> ObjectFrom(std::string_view text) {
  boost::system::error_code error;
  json::value value = json::parse(json::string_view(text.data(), text.size()), error);
  if (error || !value.is_object()) return std::nullopt;
  return std::move(value.get_object());
}

/// The number called `name`, 0 where there is none; null where it is something else.
template <typename Number>
std::optional<Number> NumberFrom(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(json::string_view(name.data(), name.size()));
  if (value == nullptr || value->is_null()) return Number{0};
  // A fraction is no number here, as Go has it.
  if (value->is_double()) return std::nullopt;
  boost::system::error_code error;
  const Number number = value->to_number<Number>(error);
  if (error) return std::nullopt;
  return number;
}

std::optional<std::string> TextFrom(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(json::string_view(name.data(), name.size()));
  if (value == nullptr || !value->is_string()) return std::nullopt;
  return std::string(value->get_string().data(), value->get_string().size());
}

template <typename Message>
bool Parse(std::string_view bytes, Message* message) {
  return message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

}  // namespace

// ---- Hashes.

std::string HashRequestToJson(int64_t revision) {
  return revision == 0 ? "{}" : fmt::format("{{\"revision\":{}}}", revision);
}

absl::StatusOr<int64_t> HashRequestFromJson(std::string_view text) {
  const std::optional<json::object> object = ObjectFrom(text);
  if (!object) return Malformed("a request for a hash");
  const std::optional<int64_t> revision = NumberFrom<int64_t>(*object, "revision");
  if (!revision) return Malformed("a request for a hash");
  return *revision;
}

std::string HashResultToJson(const mvcc::HashResult& result) {
  std::string out = fmt::format("{{\"header\":{{\"revision\":{}}}", result.current_revision);
  if (result.hash != 0) out += fmt::format(",\"hash\":{}", result.hash);
  if (result.compact_revision != 0) out += fmt::format(",\"compact_revision\":{}", result.compact_revision);
  if (result.revision != 0) out += fmt::format(",\"hash_revision\":{}", result.revision);
  return out + "}";
}

absl::StatusOr<mvcc::HashResult> HashResultFromJson(std::string_view text, int64_t asked) {
  const std::optional<json::object> object = ObjectFrom(text);
  if (!object) return Malformed("a hash");
  const std::optional<uint32_t> hash = NumberFrom<uint32_t>(*object, "hash");
  const std::optional<int64_t> compacted = NumberFrom<int64_t>(*object, "compact_revision");
  const std::optional<int64_t> revision = NumberFrom<int64_t>(*object, "hash_revision");
  std::optional<int64_t> current = 0;
  if (const json::value* header = object->if_contains("header"); header != nullptr && !header->is_null()) {
    if (!header->is_object()) return Malformed("a hash");
    current = NumberFrom<int64_t>(header->get_object(), "revision");
  }
  if (!hash || !compacted || !revision || !current) return Malformed("a hash");
  mvcc::HashResult result;
  result.hash = *hash;
  result.compact_revision = *compacted;
  result.current_revision = *current;
  result.revision = *revision;
  if (result.revision == 0) result.revision = asked > 0 ? asked : *current;
  return result;
}

// ---- Versions.

absl::StatusOr<member::PeerVersions> VersionsFromJson(std::string_view text) {
  const std::optional<json::object> object = ObjectFrom(text);
  if (!object) return Malformed("a version");
  std::optional<std::string> server = TextFrom(*object, "etcdserver");
  std::optional<std::string> cluster = TextFrom(*object, "etcdcluster");
  if (!server || !cluster) return Malformed("a version");
  return member::PeerVersions{.server = *std::move(server),
                              .cluster = *std::move(cluster),
                              .kvorum = TextFrom(*object, "kvorum").value_or("")};
}

// ---- Leases.

std::string EncodeRenewal(LeaseId id) {
  etcdserverpb::LeaseKeepAliveRequest message;
  message.set_id(id.value());
  return message.SerializeAsString();
}

absl::StatusOr<LeaseId> ParseRenewal(std::string_view bytes) {
  etcdserverpb::LeaseKeepAliveRequest message;
  if (!Parse(bytes, &message)) return Malformed("a renewal of a lease");
  return LeaseId(message.id());
}

std::string EncodeRenewed(const Renewed& renewed) {
  etcdserverpb::LeaseKeepAliveResponse message;
  message.set_id(renewed.id.value());
  message.set_ttl(renewed.ttl_seconds);
  return message.SerializeAsString();
}

absl::StatusOr<Renewed> ParseRenewed(std::string_view bytes) {
  etcdserverpb::LeaseKeepAliveResponse message;
  if (!Parse(bytes, &message)) return Malformed("a renewal of a lease");
  return Renewed{.id = LeaseId(message.id()), .ttl_seconds = message.ttl()};
}

std::string EncodeLeaseQuestion(const LeaseQuestion& question) {
  leasepb::LeaseInternalRequest message;
  message.mutable_leasetimetoliverequest()->set_id(question.id.value());
  message.mutable_leasetimetoliverequest()->set_keys(question.with_keys);
  return message.SerializeAsString();
}

absl::StatusOr<LeaseQuestion> ParseLeaseQuestion(std::string_view bytes) {
  leasepb::LeaseInternalRequest message;
  if (!Parse(bytes, &message)) return Malformed("a question about a lease");
  const etcdserverpb::LeaseTimeToLiveRequest& request = message.leasetimetoliverequest();
  return LeaseQuestion{.id = LeaseId(request.id()), .with_keys = request.keys()};
}

std::string EncodeLeaseView(const lease::LeaseView& view) {
  leasepb::LeaseInternalResponse message;
  etcdserverpb::LeaseTimeToLiveResponse* response = message.mutable_leasetimetoliveresponse();
  response->mutable_header();
  response->set_id(view.id.value());
  response->set_ttl(view.remaining_ttl_seconds);
  response->set_grantedttl(view.granted_ttl_seconds);
  for (const std::string& key : view.keys) response->add_keys(key);
  return message.SerializeAsString();
}

absl::StatusOr<lease::LeaseView> ParseLeaseView(std::string_view bytes) {
  leasepb::LeaseInternalResponse message;
  if (!Parse(bytes, &message)) return Malformed("a lease");
  const etcdserverpb::LeaseTimeToLiveResponse& response = message.leasetimetoliveresponse();
  return lease::LeaseView{.id = LeaseId(response.id()),
                          .granted_ttl_seconds = response.grantedttl(),
                          .remaining_ttl_seconds = response.ttl(),
                          .keys = {response.keys().begin(), response.keys().end()}};
}

}  // namespace kvorum::peer
