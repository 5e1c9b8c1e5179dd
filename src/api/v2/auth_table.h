#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/synchronization/mutex.h"
#include "api/v2/auth_records.h"
#include "v2store/store.h"

namespace kvorum::api_v2 {

// Where the v2 store has auth's records (reference: v2-keys.md §12.1).
inline constexpr std::string_view kAuthPath = "/2";
inline constexpr std::string_view kEnabledPath = "/2/enabled";
inline constexpr std::string_view kUsersPath = "/2/users";
inline constexpr std::string_view kRolesPath = "/2/roles";
std::string UserPath(std::string_view name);
std::string RolePath(std::string_view name);

/// The value of a file of the store; null where there is none.
std::optional<std::string> ReadFile(const v2store::Store& store, std::string_view path);

/// The values of a directory's files, by name.
std::map<std::string, std::string> ListFiles(const v2store::Store& store, std::string_view path);

/// What auth's part of the store says, parsed once and read again when that part has changed. Thread-safe.
class AuthTable {
 public:
  /// `store` is borrowed.
  explicit AuthTable(const v2store::Store* store) : store_(*store) {}

  /// Without a lock where nothing changed since the last call.
  bool enabled() const;
  /// Null where there is none.
  std::shared_ptr<const User> FindUser(std::string_view name) const;
  std::shared_ptr<const Role> FindRole(std::string_view name) const;

 private:
  template <typename Record>
  using Records = std::map<std::string, std::shared_ptr<const Record>, std::less<>>;

  void ForgetOld() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const v2store::Store& store_;
  /// The store's auth_changes when it was looked at last, times two, and whether auth was on then.
  mutable std::atomic<uint64_t> enabled_{0};

  mutable absl::Mutex mutex_;
  mutable uint64_t state_ ABSL_GUARDED_BY(mutex_) = 0;  // of what is below
  mutable Records<User> users_ ABSL_GUARDED_BY(mutex_);
  mutable Records<Role> roles_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace kvorum::api_v2
