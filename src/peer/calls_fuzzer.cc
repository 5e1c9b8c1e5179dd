#include <cstdint>

#include "base/check.h"
#include "peer/calls_format.h"

using namespace kvorum;  // NOLINT: a program of one function

namespace {

template <typename T>
void Same(const absl::StatusOr<T>& again, const T& first) {
  KVORUM_CHECK(again.ok(), "what was written cannot be read");
  KVORUM_CHECK(*again == first, "what was written is read as something else");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto revision = peer::HashRequestFromJson(text); revision.ok()) {
    Same(peer::HashRequestFromJson(peer::HashRequestToJson(*revision)), *revision);
  }
  if (const auto hash = peer::HashResultFromJson(text, 7); hash.ok()) {
    const auto again = peer::HashResultFromJson(peer::HashResultToJson(*hash), hash->revision);
    KVORUM_CHECK(again.ok() && again->hash == hash->hash && again->revision == hash->revision);
  }
  (void)peer::VersionsFromJson(text);
  if (const auto id = peer::ParseRenewal(text); id.ok())
    Same(peer::ParseRenewal(peer::EncodeRenewal(*id)), *id);
  if (const auto renewed = peer::ParseRenewed(text); renewed.ok()) {
    const auto again = peer::ParseRenewed(peer::EncodeRenewed(*renewed));
    KVORUM_CHECK(again.ok() && again->id == renewed->id && again->ttl_seconds == renewed->ttl_seconds);
  }
  if (const auto question = peer::ParseLeaseQuestion(text); question.ok()) {
    const auto again = peer::ParseLeaseQuestion(peer::EncodeLeaseQuestion(*question));
    KVORUM_CHECK(again.ok() && again->id == question->id && again->with_keys == question->with_keys);
  }
  if (const auto view = peer::ParseLeaseView(text); view.ok()) {
    const auto again = peer::ParseLeaseView(peer::EncodeLeaseView(*view));
    KVORUM_CHECK(again.ok() && again->id == view->id && again->keys == view->keys);
  }
  return 0;
}
