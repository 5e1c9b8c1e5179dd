#include "discovery/registration.h"

#include <algorithm>
#include <charconv>

#include "absl/strings/str_join.h"
#include "config/config.h"
#include "fmt/format.h"

namespace kvorum::discovery {
namespace {

constexpr std::string_view kPayload = "kvorum.discovery.failure";
constexpr uint64_t kMaxBackOffExponent = 8;

absl::Status Named(Failure failure, std::string_view name, std::string_view text) {
  absl::Status status = absl::FailedPreconditionError({text.data(), text.size()});
  if (failure != Failure::kOther) {
    status.SetPayload({kPayload.data(), kPayload.size()}, absl::Cord({name.data(), name.size()}));
  }
  return status;
}

}  // namespace

std::string Registration::Text() const {
  std::vector<std::string> parts;
  for (const std::string& url : peer_urls) parts.push_back(fmt::format("{}={}", name, url));
  std::sort(parts.begin(), parts.end());
  return absl::StrJoin(parts, ",");
}

absl::Status FullError() { return Named(Failure::kFull, "full", "discovery: cluster is full"); }
absl::Status DuplicateIdError() {
  return Named(Failure::kDuplicateId, "id", "discovery: found duplicate id");
}
absl::Status DuplicateNameError() {
  return Named(Failure::kDuplicateName, "name", "discovery: found duplicate name");
}
absl::Status BadSizeError() { return Named(Failure::kOther, "", "discovery: size key is bad"); }
absl::Status TooManyRetriesError() { return Named(Failure::kOther, "", "discovery: too many retries"); }

Failure FailureOf(const absl::Status& status) {
  const auto name = status.GetPayload({kPayload.data(), kPayload.size()});
  if (!name) return Failure::kOther;
  if (*name == "full") return Failure::kFull;
  return *name == "id" ? Failure::kDuplicateId : Failure::kDuplicateName;
}

absl::Status Annotated(const absl::Status& status, std::string text) {
  absl::Status annotated(status.code(), text);
  status.ForEachPayload(
      [&](absl::string_view type, const absl::Cord& payload) { annotated.SetPayload(type, payload); });
  return annotated;
}

absl::StatusOr<ClusterText> JoinTexts(const std::vector<std::string>& values, std::string_view invalid) {
  ClusterText joined;
  joined.text = absl::StrJoin(values, ",");
  const auto cluster = config::ParseCluster(joined.text);
  if (!cluster.ok() || cluster->empty())
    return absl::FailedPreconditionError({invalid.data(), invalid.size()});
  joined.names = cluster->size();
  return joined;
}

absl::StatusOr<size_t> ParseSize(std::string_view text) {
  size_t size = 0;
  const char* const end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, size);
  if (error != std::errc() || at != end || size == 0) return BadSizeError();
  return size;
}

std::chrono::seconds BackOff(uint64_t n) {
  return std::chrono::seconds(uint64_t{1} << std::min(n, kMaxBackOffExponent));
}

}  // namespace kvorum::discovery
