#include <cstdint>

#include "base/check.h"
#include "cluster/cluster.h"
#include "cluster/members_json.h"
#include "cluster/v2_store_json.h"

using namespace kvorum::cluster;  // NOLINT: a program of one function

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const absl::StatusOr<std::vector<Member>> members = MembersFromJson(text); members.ok()) {
    const absl::StatusOr<std::vector<Member>> again = MembersFromJson(MembersToJson(*members));
    KVORUM_CHECK(again.ok() && *again == *members, "what was written is read as something else");
  }
  RosterFromV2StoreJson(text).status().IgnoreError();
  if (const absl::StatusOr<kvorum::raft::ConfState> state = ConfStateFromJson(text); state.ok()) {
    KVORUM_CHECK(*ConfStateFromJson(ToJson(*state)) == *state, "a configuration is read as another one");
  }
  const absl::StatusOr<ChangeContext> context = ChangeContextFromJson(text);
  if (!context.ok()) return 0;
  const absl::StatusOr<ChangeContext> again = ChangeContextFromJson(ToJson(*context));
  KVORUM_CHECK(again.ok(), "what was written cannot be read");
  KVORUM_CHECK(again->member == context->member && again->is_promote == context->is_promote);
  return 0;
}
