#include "api/v2/auth_records.h"

#include <algorithm>
#include <set>

#include "absl/functional/function_ref.h"
#include "absl/strings/match.h"
#include "api/v2/http_status.h"
#include "base/go_json.h"
#include "base/go_json_reader.h"
#include "fmt/format.h"

namespace kvorum::api_v2 {
namespace {

bool Contains(const NameList& list, std::string_view name) {
  return list && std::find(list->begin(), list->end(), name) != list->end();
}

bool IsEmpty(const NameList& list) { return !list || list->empty(); }

std::set<std::string> SetOf(const NameList& list) {
  return list ? std::set<std::string>(list->begin(), list->end()) : std::set<std::string>();
}

std::vector<std::string> Sorted(const std::set<std::string>& set) { return {set.begin(), set.end()}; }

// ---- Writing.

void AppendList(std::string& out, const NameList& list) {
  if (!list) {
    out += "null";
    return;
  }
  out.push_back('[');
  for (const std::string& name : *list) {
    if (out.back() != '[') out.push_back(',');
    AppendJsonString(out, name);
  }
  out.push_back(']');
}

void AppendPermissions(std::string& out, const Permissions& permissions) {
  out += "{\"kv\":{\"read\":";
  AppendList(out, permissions.read);
  out += ",\"write\":";
  AppendList(out, permissions.write);
  out += "}}";
}

// ---- Reading.

/// Fills records from a text that is well-formed. Null leaves things as they are, but makes lists null.
class RecordReader {
 public:
  explicit RecordReader(std::string_view text) : json_(text) {}

  bool ok() const { return ok_; }

  using OnField = absl::FunctionRef<bool(const std::string& name)>;
  /// `on_field`: whether it took the value.
  void Object(OnField on_field) {
    if (IsNull()) return;
    ok_ &= json_.ReadObject([&](const std::string& name) {
      if (!on_field(name)) json_.Skip();
    });
  }
  bool Text(std::string& value) {
    if (IsNull()) return true;
    std::optional<std::string> read = json_.ReadString();
    ok_ &= read.has_value();
    if (read) value = *std::move(read);
    return true;
  }
  bool List(NameList& list) {
    list.reset();
    if (IsNull()) return true;
    list.emplace();
    ok_ &= json_.ReadArray([&] { Text(list->emplace_back()); });
    return true;
  }
  bool Kv(Permissions& permissions) {
    Object([&](const std::string& name) {
      if (absl::EqualsIgnoreCase(name, "read")) return List(permissions.read);
      if (absl::EqualsIgnoreCase(name, "write")) return List(permissions.write);
      return false;
    });
    return true;
  }
  bool Rights(Permissions& permissions) {
    Object([&](const std::string& name) { return absl::EqualsIgnoreCase(name, "kv") && Kv(permissions); });
    return true;
  }
  bool Change(std::optional<Permissions>& change) {
    if (IsNull()) {
      change.reset();
      return true;
    }
    if (!change) change.emplace();
    return Rights(*change);
  }

 private:
  bool IsNull() {
    if (json_.Peek() != JsonReader::Kind::kNull) return false;
    json_.Skip();
    return true;
  }

  JsonReader json_;
  bool ok_ = true;
};

// ---- Merging.

AuthResult<std::vector<std::string>> Granted(const NameList& held, const NameList& granted,
                                             std::string_view what) {
  std::set<std::string> all = SetOf(held);
  for (const std::string& pattern : granted.value_or(std::vector<std::string>())) {
    if (!all.insert(pattern).second) {
      return AuthError{kConflict, fmt::format("auth: Granting duplicate {} permission {}", what, pattern)};
    }
  }
  return Sorted(all);
}

NameList Without(const NameList& held, const NameList& revoked) {
  std::set<std::string> rest = SetOf(held);
  for (const std::string& pattern : revoked.value_or(std::vector<std::string>())) rest.erase(pattern);
  return Sorted(rest);
}

}  // namespace

bool Permissions::empty() const { return IsEmpty(read) && IsEmpty(write); }

bool Permissions::Allows(std::string_view key, bool write_access, bool recursive) const {
  const NameList& patterns = write_access ? write : read;
  if (!patterns) return false;
  return std::any_of(patterns->begin(), patterns->end(), [&](std::string_view pattern) {
    if (pattern.ends_with('*')) return key.starts_with(pattern.substr(0, pattern.size() - 1));
    return !recursive && !pattern.empty() && key == pattern;
  });
}

bool User::HasRole(std::string_view role) const { return Contains(roles, role); }

void User::AttachRoot() {
  if (name != kRoot || HasRole(kRoot)) return;
  if (!roles) roles.emplace();
  roles->emplace_back(kRoot);
}

AuthResult<User> User::Merge(const User& change, std::string new_hash) const {
  User merged{.name = name, .password = new_hash.empty() ? password : std::move(new_hash)};
  std::set<std::string> held = SetOf(roles);
  for (const std::string& role : change.grant.value_or(std::vector<std::string>())) {
    if (!held.insert(role).second) {
      return AuthError{kConflict, fmt::format("auth: Granting duplicate role {} for user {}", role, name)};
    }
  }
  for (const std::string& role : change.revoke.value_or(std::vector<std::string>())) {
    if (held.erase(role) == 0) {
      return AuthError{kConflict, fmt::format("auth: Revoking ungranted role {} for user {}", role, name)};
    }
  }
  merged.roles = Sorted(held);
  return merged;
}

AuthResult<Role> Role::Merge(const Role& change) const {
  Role merged{.name = name, .permissions = permissions};
  if (change.grant) {
    auto read = Granted(permissions.read, change.grant->read, "read");
    if (const auto* error = std::get_if<AuthError>(&read)) return *error;
    auto write = Granted(permissions.write, change.grant->write, "write");
    if (const auto* error = std::get_if<AuthError>(&write)) return *error;
    merged.permissions = {.read = std::get<0>(std::move(read)), .write = std::get<0>(std::move(write))};
  }
  if (change.revoke) {
    merged.permissions = {.read = Without(merged.permissions.read, change.revoke->read),
                          .write = Without(merged.permissions.write, change.revoke->write)};
  }
  return merged;
}

bool Role::HasEmptyPattern() const {
  const auto has = [](const Permissions& some) {
    return Contains(some.read, "") || Contains(some.write, "");
  };
  return has(permissions) || (grant && has(*grant));
}

Role BuiltInRole(std::string_view name) {
  return {.name = std::string(name),
          .permissions = {.read = std::vector<std::string>{"/*"}, .write = std::vector<std::string>{"/*"}}};
}

void AppendJson(std::string& out, const User& user) {
  out += "{\"user\":";
  AppendJsonString(out, user.name);
  if (!user.password.empty()) {
    out += ",\"password\":";
    AppendJsonString(out, user.password);
  }
  out += ",\"roles\":";
  AppendList(out, user.roles);
  if (!IsEmpty(user.grant)) {
    out += ",\"grant\":";
    AppendList(out, user.grant);
  }
  if (!IsEmpty(user.revoke)) {
    out += ",\"revoke\":";
    AppendList(out, user.revoke);
  }
  out.push_back('}');
}

void AppendJson(std::string& out, const Role& role) {
  out += "{\"role\":";
  AppendJsonString(out, role.name);
  out += ",\"permissions\":";
  AppendPermissions(out, role.permissions);
  if (role.grant) {
    out += ",\"grant\":";
    AppendPermissions(out, *role.grant);
  }
  if (role.revoke) {
    out += ",\"revoke\":";
    AppendPermissions(out, *role.revoke);
  }
  out.push_back('}');
}

std::optional<User> ParseUser(std::string_view json) {
  if (!JsonValueLength(json).ok()) return std::nullopt;
  RecordReader reader(json);
  User user;
  reader.Object([&](const std::string& name) {
    if (absl::EqualsIgnoreCase(name, "user")) return reader.Text(user.name);
    if (absl::EqualsIgnoreCase(name, "password")) return reader.Text(user.password);
    if (absl::EqualsIgnoreCase(name, "roles")) return reader.List(user.roles);
    if (absl::EqualsIgnoreCase(name, "grant")) return reader.List(user.grant);
    if (absl::EqualsIgnoreCase(name, "revoke")) return reader.List(user.revoke);
    return false;
  });
  return reader.ok() ? std::optional(std::move(user)) : std::nullopt;
}

std::optional<Role> ParseRole(std::string_view json) {
  if (!JsonValueLength(json).ok()) return std::nullopt;
  RecordReader reader(json);
  Role role;
  reader.Object([&](const std::string& name) {
    if (absl::EqualsIgnoreCase(name, "role")) return reader.Text(role.name);
    if (absl::EqualsIgnoreCase(name, "permissions")) return reader.Rights(role.permissions);
    if (absl::EqualsIgnoreCase(name, "grant")) return reader.Change(role.grant);
    if (absl::EqualsIgnoreCase(name, "revoke")) return reader.Change(role.revoke);
    return false;
  });
  return reader.ok() ? std::optional(std::move(role)) : std::nullopt;
}

}  // namespace kvorum::api_v2
