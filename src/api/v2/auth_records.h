#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace kvorum::api_v2 {

// Users and roles of the v2 API's auth, in the JSON that the store keeps, clients send and replies show
// (reference: v2-keys.md §12.1-§12.4). A list may be null, which shows.

inline constexpr std::string_view kRoot = "root";
inline constexpr std::string_view kGuest = "guest";

using NameList = std::optional<std::vector<std::string>>;

/// What an auth request is answered with where it fails: `{"message":…}`.
struct AuthError {
  int status = 0;
  std::string message;
};
template <typename T>
using AuthResult = std::variant<T, AuthError>;

/// The patterns that a role may read and write: exact keys, or with '*' at the end all that begin with it.
struct Permissions {
  NameList read;
  NameList write;

  bool empty() const;
  /// Whether one of the patterns covers `key`, or everything below it.
  bool Allows(std::string_view key, bool write_access, bool recursive) const;
  bool operator==(const Permissions&) const = default;
};

struct User {
  std::string name;
  std::string password;  ///< a hash, or what a client sent; not shown where empty
  NameList roles;
  NameList grant;
  NameList revoke;

  bool HasRole(std::string_view role) const;
  /// Gives the user root its role.
  void AttachRoot();
  /// With another hash where `new_hash` is not empty, and what `change` grants and revokes.
  AuthResult<User> Merge(const User& change, std::string new_hash) const;
  bool operator==(const User&) const = default;
};

struct Role {
  std::string name;
  Permissions permissions;
  std::optional<Permissions> grant;
  std::optional<Permissions> revoke;

  bool Allows(std::string_view key, bool write_access, bool recursive) const {
    return name == kRoot || permissions.Allows(key, write_access, recursive);
  }
  AuthResult<Role> Merge(const Role& change) const;
  /// Whether a list has the pattern "", which covers nothing and breaks other members.
  bool HasEmptyPattern() const;
  bool operator==(const Role&) const = default;
};

/// The role root, which is never stored; and guest, as it is made.
Role BuiltInRole(std::string_view name);

void AppendJson(std::string& out, const User& user);
void AppendJson(std::string& out, const Role& role);
/// Null where the text does not begin with such a record.
std::optional<User> ParseUser(std::string_view json);
std::optional<Role> ParseRole(std::string_view json);

}  // namespace kvorum::api_v2
