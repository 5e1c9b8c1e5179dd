#pragma once

#include <atomic>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "api/v2/auth_records.h"
#include "base/log.h"
#include "http/loop.h"
#include "member/member.h"

namespace kvorum::api_v2 {

/// Changes auth's part of the v2 store through the log (reference: v2-keys.md §12.1). Thread-safe; every
/// continuation runs once, on the loop that was given, unless that stops before. Outlives its loops.
class AuthStore {
 public:
  /// Borrowed.
  AuthStore(member::Member* member, Logger* logger) : member_(*member), logger_(*logger) {}

  /// From now on this member's store has everything that was acknowledged before the call; or the error to
  /// answer with.
  void Confirm(http::Loop& loop, absl::AnyInvocable<void(std::optional<AuthError>)> then);

  enum class Kind : uint8_t { kCreate, kUpdate, kDelete };
  struct Change {
    Kind kind;
    std::string path;
    std::string value;
    /// Updates only a record that is still this; empty: whatever it is.
    std::string replaces;
  };
  enum class Outcome : uint8_t {
    kDone,
    kExists,   ///< to be created
    kMissing,  ///< to be updated or deleted
    kChanged,  ///< to be updated, and not any more what it was
  };
  using Then = absl::AnyInvocable<void(AuthResult<Outcome>)>;
  /// Makes auth's directories first where they may not be there.
  void Apply(http::Loop& loop, Change change, Then then);

 private:
  using Applied = absl::AnyInvocable<void(AuthResult<v2store::Result>)>;

  MonotonicTime Deadline(http::Loop& loop) const;
  void Propose(http::Loop& loop, v2store::Request request, Applied then);
  /// Creates the directories from the `next`th on.
  void MakeDirectories(http::Loop& loop, size_t next,
                       absl::AnyInvocable<void(std::optional<AuthError>)> then);
  AuthError Unexpected(std::string_view error) const;

  member::Member& member_;
  Logger& logger_;
  std::atomic<bool> directories_made_{false};
};

}  // namespace kvorum::api_v2
