#include <algorithm>
#include <utility>

#include "api/v2/access.h"
#include "api/v2/auth_store.h"
#include "api/v2/auth_table.h"
#include "api/v2/exchange.h"
#include "api/v2/http_status.h"
#include "api/v2/passwords.h"
#include "base/check.h"
#include "fmt/format.h"

namespace kvorum::api_v2 {
namespace {

constexpr std::string_view kAuthPrefix = "/v2/auth/";

/// How often an update is tried that others come before.
constexpr int kTries = 100;

constexpr std::string_view kBadJson = "Invalid JSON in request body.";

AuthError NoSuchUser(std::string_view name) {
  return {kNotFound, fmt::format("auth: User {} does not exist.", name)};
}
AuthError NoSuchRole(std::string_view name) {
  return {kNotFound, fmt::format("auth: Role {} does not exist.", name)};
}
AuthError RootRoleIsFixed() { return {kForbidden, "auth: Cannot modify role root: is root role."}; }

void ReplyError(const ExchangePtr& exchange, const AuthError& error) {
  exchange->ReplyMessage(error.status, error.message);
}

/// Success.
void ReplyNothing(const ExchangePtr& exchange) { exchange->ReplyJson(kOk, ""); }

template <typename Record>
void ReplyRecord(const ExchangePtr& exchange, int status, const Record& record) {
  std::string body;
  AppendJson(body, record);
  exchange->ReplyJson(status, body + "\n");
}

void ReplyUser(const ExchangePtr& exchange, int status, User user) {
  user.password.clear();
  ReplyRecord(exchange, status, user);
}

template <typename Record>
std::string JsonOf(const Record& record) {
  std::string json;
  AppendJson(json, record);
  return json;
}

/// `{"user":…,"roles":[ROLE…]}`, without roles where there are none.
void AppendUserWithRoles(std::string& out, const User& user,
                         const std::vector<std::shared_ptr<const Role>>& roles) {
  AppendJson(out, User{.name = user.name});
  constexpr std::string_view kNoRoles = ",\"roles\":null}";
  KVORUM_CHECK(out.ends_with(kNoRoles));
  out.resize(out.size() - kNoRoles.size());
  for (size_t i = 0; i < roles.size(); ++i) {
    out += i == 0 ? ",\"roles\":[" : ",";
    AppendJson(out, *roles[i]);
  }
  out += roles.empty() ? "}" : "]}";
}

bool IsEmpty(const NameList& list) { return !list || list->empty(); }

/// /v2/auth: who there is, who may do what, and whether that counts (reference: v2-keys.md §12).
class AuthEndpoint final : public Endpoint {
  using Kind = AuthStore::Kind;

 public:
  AuthEndpoint(const HandlerOptions& options, AccessControl* access)
      : member_(*options.member),
        access_(*access),
        table_(&options.member->v2_store()),
        passwords_(options.password_executor),
        store_(options.member, options.logger) {}

  std::unique_ptr<http::RequestSink> Start(const Call& call) override;

 private:
  using Sink = std::unique_ptr<http::RequestSink>;

  Sink StartEnable(const Call& call);
  Sink StartList(const Call& call, bool users);
  Sink StartRecord(const Call& call, bool users, std::string name);
  /// Behind the gate, with the cluster's id in the reply; `needs_root` false: for everybody.
  Sink Gated(const Call& call, bool needs_root, bool reads_body, Serve serve);

  void Enable(ExchangePtr exchange);
  void SetEnabled(const ExchangePtr& exchange, bool enabled);
  void ListUsers(const ExchangePtr& exchange) const;
  void ListRoles(const ExchangePtr& exchange) const;

  void GetUser(const ExchangePtr& exchange, const std::string& name) const;
  void PutUser(const ExchangePtr& exchange, const std::string& name, std::string_view body);
  void CreateUser(ExchangePtr exchange, int status, User user);
  void ChangeUser(const ExchangePtr& exchange, const User& change);
  void UpdateUser(ExchangePtr exchange, const User& change, const std::string& new_hash, int tries);
  void DeleteUser(ExchangePtr exchange, std::string name);
  /// Hashes `password`, and goes on or answers why that cannot be done.
  void WithHash(const ExchangePtr& exchange, const std::string& name, std::string password,
                absl::AnyInvocable<void(std::string hash)> then);

  void GetRole(const ExchangePtr& exchange, const std::string& name) const;
  void PutRole(const ExchangePtr& exchange, const std::string& name, std::string_view body);
  void CreateRole(ExchangePtr exchange, Role role);
  void UpdateRole(ExchangePtr exchange, const Role& change, int tries);
  void DeleteRole(ExchangePtr exchange, std::string name);

  /// Goes on when this member's store is as new as the cluster; answers where that cannot be.
  void WhenConfirmed(ExchangePtr exchange, absl::AnyInvocable<void(const ExchangePtr&)> then);
  /// Changes a record, and goes on with what became of that; answers an error.
  void Apply(ExchangePtr exchange, AuthStore::Change change,
             absl::AnyInvocable<void(const ExchangePtr&, AuthStore::Outcome)> then);

  member::Member& member_;
  AccessControl& access_;
  const AuthTable table_;
  Passwords passwords_;
  AuthStore store_;
};

// ---- Who is asked for what.

std::unique_ptr<http::RequestSink> AuthEndpoint::Start(const Call& call) {
  if (member_.cluster().version().empty()) {
    ReplyMessage(call.writer, kInternalError,
                 "Not capable of accessing auth feature during rolling upgrades.");
    return IgnoreBody();
  }
  std::string_view rest = call.path;
  if (rest.starts_with(kAuthPrefix)) rest.remove_prefix(kAuthPrefix.size());
  if (rest == "enable") return StartEnable(call);
  const size_t slash = std::min(rest.find('/'), rest.size());
  const std::string_view family = rest.substr(0, slash);
  if (family != "users" && family != "roles") {
    call.writer.ReplyError(kNotFound, "404 page not found");
    return IgnoreBody();
  }
  std::string_view name = rest.substr(std::min(slash + 1, rest.size()));
  if (name.ends_with('/')) name.remove_suffix(1);
  if (name.find('/') != std::string_view::npos) {
    ReplyMessage(call.writer, kBadRequest, "Invalid path");
    return IgnoreBody();
  }
  const bool users = family == "users";
  return name.empty() ? StartList(call, users) : StartRecord(call, users, std::string(name));
}

std::unique_ptr<http::RequestSink> AuthEndpoint::Gated(const Call& call, bool needs_root, bool reads_body,
                                                       Serve serve) {
  const Gate gate{.access = needs_root ? &access_ : nullptr,
                  .body_limit = reads_body ? member_.options().max_request_bytes : 0};
  return StartGated(
      call, gate,
      [id = member_.cluster_id(), serve = std::move(serve)](ExchangePtr exchange, std::string body) mutable {
        AddClusterId(*exchange, id);
        serve(std::move(exchange), std::move(body));
      });
}

std::unique_ptr<http::RequestSink> AuthEndpoint::StartEnable(const Call& call) {
  const std::string_view method = call.request.method;
  if (method == "GET") {
    return Gated(call, false, false, [this](const ExchangePtr& exchange, const std::string&) {
      exchange->ReplyJson(kOk, fmt::format("{{\"enabled\":{}}}\n", table_.enabled()));
    });
  }
  if (method == "PUT") {
    return Gated(call, true, false,
                 [this](ExchangePtr exchange, const std::string&) { Enable(std::move(exchange)); });
  }
  if (method == "DELETE") {
    return Gated(call, true, false, [this](const ExchangePtr& exchange, const std::string&) {
      if (table_.enabled()) return SetEnabled(exchange, false);
      ReplyError(exchange, {kConflict, "auth: already disabled"});
    });
  }
  ReplyMethodNotAllowed(call.writer, "GET,PUT,DELETE");
  return IgnoreBody();
}

std::unique_ptr<http::RequestSink> AuthEndpoint::StartList(const Call& call, bool users) {
  if (call.request.method != "GET") {
    ReplyMethodNotAllowed(call.writer, "GET");
    return IgnoreBody();
  }
  return Gated(call, true, false, [this, users](const ExchangePtr& exchange, const std::string&) {
    users ? ListUsers(exchange) : ListRoles(exchange);
  });
}

std::unique_ptr<http::RequestSink> AuthEndpoint::StartRecord(const Call& call, bool users, std::string name) {
  const std::string_view method = call.request.method;
  if (method == "GET") {
    return Gated(call, true, false, [=, this](const ExchangePtr& exchange, const std::string&) {
      users ? GetUser(exchange, name) : GetRole(exchange, name);
    });
  }
  if (method == "PUT") {
    return Gated(call, true, true, [=, this](const ExchangePtr& exchange, const std::string& body) {
      users ? PutUser(exchange, name, body) : PutRole(exchange, name, body);
    });
  }
  if (method == "DELETE") {
    return Gated(call, true, false, [=, this](const ExchangePtr& exchange, const std::string&) {
      users ? DeleteUser(exchange, name) : DeleteRole(exchange, name);
    });
  }
  ReplyMethodNotAllowed(call.writer, "GET,PUT,DELETE");
  return IgnoreBody();
}

// ---- Steps.

void AuthEndpoint::WhenConfirmed(ExchangePtr exchange, absl::AnyInvocable<void(const ExchangePtr&)> then) {
  http::Loop& loop = exchange->loop();
  store_.Confirm(loop, [exchange = std::move(exchange),
                        then = std::move(then)](std::optional<AuthError> failed) mutable {
    if (failed) return ReplyError(exchange, *failed);
    then(exchange);
  });
}

void AuthEndpoint::Apply(ExchangePtr exchange, AuthStore::Change change,
                         absl::AnyInvocable<void(const ExchangePtr&, AuthStore::Outcome)> then) {
  http::Loop& loop = exchange->loop();
  store_.Apply(loop, std::move(change),
               [exchange = std::move(exchange),
                then = std::move(then)](AuthResult<AuthStore::Outcome> result) mutable {
                 if (const auto* failed = std::get_if<AuthError>(&result)) {
                   return ReplyError(exchange, *failed);
                 }
                 then(exchange, std::get<AuthStore::Outcome>(result));
               });
}

void AuthEndpoint::WithHash(const ExchangePtr& exchange, const std::string& name, std::string password,
                            absl::AnyInvocable<void(std::string)> then) {
  const bool taken = passwords_.Hash(
      std::move(password), exchange->loop(),
      [exchange, name, then = std::move(then)](std::optional<std::string> hash) mutable {
        if (hash) return then(*std::move(hash));
        ReplyError(exchange,
                   {kBadRequest, fmt::format("auth: The password of user {} has a NUL character", name)});
      });
  if (!taken) exchange->ReplyMessage(kUnavailable, kBusyText);
}

// ---- Enabling.

void AuthEndpoint::Enable(ExchangePtr exchange) {
  if (table_.enabled()) return ReplyError(exchange, {kConflict, "auth: already enabled"});
  WhenConfirmed(std::move(exchange), [this](const ExchangePtr& confirmed) {
    if (table_.FindUser(kRoot) == nullptr) {
      return ReplyError(confirmed, {kConflict, "auth: No root user available, please create one"});
    }
    if (table_.FindRole(kGuest) != nullptr) return SetEnabled(confirmed, true);
    Apply(confirmed, {Kind::kCreate, RolePath(kGuest), JsonOf(BuiltInRole(kGuest)), ""},
          [this](const ExchangePtr& made, AuthStore::Outcome) { SetEnabled(made, true); });
  });
}

void AuthEndpoint::SetEnabled(const ExchangePtr& exchange, bool enabled) {
  Apply(exchange, {Kind::kUpdate, std::string(kEnabledPath), enabled ? "true" : "false", ""},
        [](const ExchangePtr& done, AuthStore::Outcome outcome) {
          if (outcome == AuthStore::Outcome::kDone) return ReplyNothing(done);
          done->ReplyMessage(kInternalError, "Internal Server Error");
        });
}

// ---- Users.

void AuthEndpoint::ListUsers(const ExchangePtr& exchange) const {
  std::string body;
  for (const auto& [_, value] : ListFiles(member_.v2_store(), kUsersPath)) {
    std::optional<User> user = ParseUser(value);
    if (!user) return exchange->ReplyMessage(kInternalError, "Internal Server Error");
    user->AttachRoot();
    std::vector<std::shared_ptr<const Role>> roles;
    for (const std::string& name : user->roles.value_or(std::vector<std::string>())) {
      if (auto role = table_.FindRole(name)) roles.push_back(std::move(role));
    }
    body += body.empty() ? "{\"users\":[" : ",";
    AppendUserWithRoles(body, *user, roles);
  }
  exchange->ReplyJson(kOk, body.empty() ? "{\"users\":null}\n" : body + "]}\n");
}

void AuthEndpoint::GetUser(const ExchangePtr& exchange, const std::string& name) const {
  const std::shared_ptr<const User> user = table_.FindUser(name);
  if (user == nullptr) return ReplyError(exchange, NoSuchUser(name));
  std::vector<std::shared_ptr<const Role>> roles;
  for (const std::string& role_name : user->roles.value_or(std::vector<std::string>())) {
    roles.push_back(table_.FindRole(role_name));
    if (roles.back() == nullptr) return ReplyError(exchange, NoSuchRole(role_name));
  }
  std::string body;
  AppendUserWithRoles(body, *user, roles);
  exchange->ReplyJson(kOk, body + "\n");
}

void AuthEndpoint::PutUser(const ExchangePtr& exchange, const std::string& name, std::string_view body) {
  std::optional<User> sent = ParseUser(body);
  if (!sent) return ReplyError(exchange, {kBadRequest, std::string(kBadJson)});
  if (sent->name != name) {
    return ReplyError(exchange, {kBadRequest, "User JSON name does not match the name in the URL"});
  }
  const bool changes_roles = !IsEmpty(sent->grant) || !IsEmpty(sent->revoke);
  const bool has_roles = !IsEmpty(sent->roles);
  if (changes_roles && has_roles) {
    return ReplyError(exchange, {kBadRequest, "User JSON contains both roles and grant/revoke"});
  }
  if (has_roles) return CreateUser(exchange, kOk, *std::move(sent));
  WhenConfirmed(exchange, [this, changes_roles, sent = *std::move(sent)](const ExchangePtr& confirmed) {
    if (table_.FindUser(sent.name) != nullptr) return ChangeUser(confirmed, sent);
    if (changes_roles) return ReplyError(confirmed, NoSuchUser(sent.name));
    CreateUser(confirmed, kCreated, sent);
  });
}

void AuthEndpoint::CreateUser(ExchangePtr exchange, int status, User user) {
  user.AttachRoot();
  if (user.password.empty()) {
    return ReplyError(
        exchange,
        {kBadRequest, fmt::format("auth: Cannot create user {} with an empty password", user.name)});
  }
  WithHash(exchange, user.name, user.password, [this, exchange, status, user](std::string hash) mutable {
    user.password = std::move(hash);
    Apply(exchange, {Kind::kCreate, UserPath(user.name), JsonOf(user), ""},
          [status, user](const ExchangePtr& done, AuthStore::Outcome outcome) {
            if (outcome == AuthStore::Outcome::kDone) return ReplyUser(done, status, user);
            ReplyError(done, {kConflict, fmt::format("auth: User {} already exists.", user.name)});
          });
  });
}

void AuthEndpoint::ChangeUser(const ExchangePtr& exchange, const User& change) {
  if (change.password.empty()) return UpdateUser(exchange, change, "", kTries);
  WithHash(exchange, change.name, change.password,
           [this, exchange, change](const std::string& hash) { UpdateUser(exchange, change, hash, kTries); });
}

void AuthEndpoint::UpdateUser(ExchangePtr exchange, const User& change, const std::string& new_hash,
                              int tries) {
  const std::string path = UserPath(change.name);
  const std::string stored = ReadFile(member_.v2_store(), path).value_or("");
  std::optional<User> old = ParseUser(stored);
  if (!old) return ReplyError(exchange, NoSuchUser(change.name));
  old->AttachRoot();
  const AuthResult<User> merged = old->Merge(change, new_hash);
  if (const auto* refused = std::get_if<AuthError>(&merged)) return ReplyError(exchange, *refused);
  const User& user = std::get<User>(merged);
  if (user == *old) {
    return ReplyError(exchange,
                      {kBadRequest, "auth: User not updated. Use grant/revoke/password to update the user."});
  }
  Apply(std::move(exchange), {Kind::kUpdate, path, JsonOf(user), stored},
        [this, user, change, new_hash, tries](const ExchangePtr& done, AuthStore::Outcome outcome) {
          if (outcome == AuthStore::Outcome::kDone) return ReplyUser(done, kOk, user);
          if (outcome == AuthStore::Outcome::kMissing) return ReplyError(done, NoSuchUser(user.name));
          if (tries > 1) return UpdateUser(done, change, new_hash, tries - 1);
          done->ReplyMessage(kInternalError, "Internal Server Error");
        });
}

void AuthEndpoint::DeleteUser(ExchangePtr exchange, std::string name) {
  if (name == kRoot && table_.enabled()) {
    return ReplyError(exchange, {kForbidden, "auth: Cannot delete root user while auth is enabled."});
  }
  Apply(std::move(exchange), {Kind::kDelete, UserPath(name), "", ""},
        [name](const ExchangePtr& done, AuthStore::Outcome outcome) {
          if (outcome == AuthStore::Outcome::kDone) return ReplyNothing(done);
          ReplyError(done, {kNotFound, fmt::format("auth: User {} does not exist", name)});
        });
}

// ---- Roles.

void AuthEndpoint::ListRoles(const ExchangePtr& exchange) const {
  std::map<std::string, std::string> roles = ListFiles(member_.v2_store(), kRolesPath);
  roles.insert_or_assign(std::string(kRoot), JsonOf(BuiltInRole(kRoot)));
  std::string body = "{\"roles\":[";
  for (const auto& [name, value] : roles) {
    const std::optional<Role> role = ParseRole(value);
    if (!role) return exchange->ReplyMessage(kInternalError, "Internal Server Error");
    if (body.back() != '[') body.push_back(',');
    AppendJson(body, *role);
  }
  exchange->ReplyJson(kOk, body + "]}\n");
}

void AuthEndpoint::GetRole(const ExchangePtr& exchange, const std::string& name) const {
  const std::shared_ptr<const Role> role = table_.FindRole(name);
  if (role == nullptr) return ReplyError(exchange, NoSuchRole(name));
  ReplyRecord(exchange, kOk, *role);
}

void AuthEndpoint::PutRole(const ExchangePtr& exchange, const std::string& name, std::string_view body) {
  std::optional<Role> sent = ParseRole(body);
  if (!sent) return ReplyError(exchange, {kBadRequest, std::string(kBadJson)});
  if (sent->name != name) {
    return ReplyError(exchange, {kBadRequest, "Role JSON name does not match the name in the URL"});
  }
  const auto changes = [](const std::optional<Permissions>& change) { return change && !change->empty(); };
  const bool update = changes(sent->grant) || changes(sent->revoke);
  if (update && !sent->permissions.empty()) {
    return ReplyError(exchange, {kBadRequest, "Role JSON contains both permissions and grant/revoke"});
  }
  if (name == kRoot) return ReplyError(exchange, RootRoleIsFixed());
  if (sent->HasEmptyPattern()) {
    return ReplyError(exchange, {kBadRequest, fmt::format("auth: Role {} has an empty pattern.", name)});
  }
  if (!update) return CreateRole(exchange, *std::move(sent));
  WhenConfirmed(exchange, [this, sent = *std::move(sent)](const ExchangePtr& confirmed) {
    UpdateRole(confirmed, sent, kTries);
  });
}

void AuthEndpoint::CreateRole(ExchangePtr exchange, Role role) {
  Apply(std::move(exchange), {Kind::kCreate, RolePath(role.name), JsonOf(role), ""},
        [role](const ExchangePtr& done, AuthStore::Outcome outcome) {
          if (outcome == AuthStore::Outcome::kDone) return ReplyRecord(done, kCreated, role);
          ReplyError(done, {kConflict, fmt::format("auth: Role {} already exists.", role.name)});
        });
}

void AuthEndpoint::UpdateRole(ExchangePtr exchange, const Role& change, int tries) {
  const std::string path = RolePath(change.name);
  const std::string stored = ReadFile(member_.v2_store(), path).value_or("");
  const std::optional<Role> old = ParseRole(stored);
  if (!old) return ReplyError(exchange, NoSuchRole(change.name));
  const AuthResult<Role> merged = old->Merge(change);
  if (const auto* refused = std::get_if<AuthError>(&merged)) return ReplyError(exchange, *refused);
  const Role& role = std::get<Role>(merged);
  if (role == *old) {
    return ReplyError(exchange,
                      {kBadRequest, "auth: Role not updated. Use grant/revoke to update the role."});
  }
  Apply(std::move(exchange), {Kind::kUpdate, path, JsonOf(role), stored},
        [this, role, change, tries](const ExchangePtr& done, AuthStore::Outcome outcome) {
          if (outcome == AuthStore::Outcome::kDone) return ReplyRecord(done, kOk, role);
          if (outcome == AuthStore::Outcome::kMissing) return ReplyError(done, NoSuchRole(role.name));
          if (tries > 1) return UpdateRole(done, change, tries - 1);
          done->ReplyMessage(kInternalError, "Internal Server Error");
        });
}

void AuthEndpoint::DeleteRole(ExchangePtr exchange, std::string name) {
  if (name == kRoot) return ReplyError(exchange, RootRoleIsFixed());
  Apply(std::move(exchange), {Kind::kDelete, RolePath(name), "", ""},
        [name](const ExchangePtr& done, AuthStore::Outcome outcome) {
          if (outcome == AuthStore::Outcome::kDone) return ReplyNothing(done);
          ReplyError(done, {kNotFound, fmt::format("auth: Role {} doesn't exist.", name)});
        });
}

}  // namespace

std::unique_ptr<Endpoint> NewAuthEndpoint(const HandlerOptions& options, AccessControl* access) {
  KVORUM_CHECK(options.member != nullptr && options.password_executor != nullptr && access != nullptr);
  return std::make_unique<AuthEndpoint>(options, access);
}

}  // namespace kvorum::api_v2
