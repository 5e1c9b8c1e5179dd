#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/check/kv_model.h"
#include "sim/history.h"

namespace kvorum::sim {

/// What a request does in one state of the keys (reference: v3-api.md §6.2-§6.5).
struct KvEffect {
  enum class Error : uint8_t { kNone, kKeyNotFound, kFutureRevision };
  Error error = Error::kNone;
  /// Of the revision after; empty: the request changes nothing there.
  std::vector<mvccpb::Event> events;
  /// What is answered, without the header of the whole.
  Operation::Response response;
  /// The oldest revision that a range asked for; 0 where none asked for an old one.
  int64_t oldest_read = 0;
};

/// Runs the request on the state that `before` left; what it changes gets the revision after. Compactions
/// change nothing.
KvEffect Execute(const KvModel& model, const Operation::Request& request, int64_t before);

/// Whether a member answers the request out of what it has, without asking the others.
bool IsSerializable(const Operation::Request& request);

}  // namespace kvorum::sim
