#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/functional/any_invocable.h"
#include "api/v2/access.h"
#include "base/executor.h"
#include "http/loop.h"

namespace kvorum::api_v2 {

// Passwords of the v2 API's users: bcrypt, as etcd's 3.4 writes and reads them ("$2a$10$…"). Both functions
// take some 50 ms.

/// A new salt each time; null for a password that a C string cannot hold.
std::optional<std::string> HashPassword(const std::string& password);
/// False too for a hash that is none.
bool PasswordMatches(const std::string& password, const std::string& hash);

/// Checks and hashes passwords on an executor, never in the caller's time. Equal questions that wait together
/// are one; pairs that were found right are remembered, as digests under a key of this object's own, until
/// others take their place. What waits is bounded, for each user and for all. Thread-safe.
class Passwords {
 public:
  /// `executor` is borrowed, and may run what it was given after the end of this object.
  explicit Passwords(Executor* executor);
  ~Passwords();

  /// Whether `password` belongs to `hash`, the one of `user`. Ticket and `done` as of AccessControl; `done`
  /// runs on `loop`, on which the call is made.
  std::unique_ptr<AccessControl::Ticket> Check(std::string_view user, const std::string& hash,
                                               const std::string& password, http::Loop& loop,
                                               AccessControl::Done done);

  /// `done` runs on `loop` with what HashPassword gives. False: too much waits, and `done` is not called.
  bool Hash(std::string password, http::Loop& loop,
            absl::AnyInvocable<void(std::optional<std::string>)> done);

 private:
  class State;
  const std::shared_ptr<State> state_;  // shared with the tasks on the executor
};

}  // namespace kvorum::api_v2
