#include "api/v2/auth_table.h"

namespace kvorum::api_v2 {

std::string UserPath(std::string_view name) { return std::string(kUsersPath).append("/").append(name); }
std::string RolePath(std::string_view name) { return std::string(kRolesPath).append("/").append(name); }

std::optional<std::string> ReadFile(const v2store::Store& store, std::string_view path) {
  const v2store::Result result = store.Get(path, /*recursive=*/false, /*sorted=*/false);
  const auto* event = std::get_if<v2store::EventPtr>(&result);
  if (event == nullptr || (*event)->node.dir) return std::nullopt;
  return std::string((*event)->node.value.view());
}

std::map<std::string, std::string> ListFiles(const v2store::Store& store, std::string_view path) {
  std::map<std::string, std::string> files;
  const v2store::Result result = store.Get(path, /*recursive=*/false, /*sorted=*/false);
  const auto* event = std::get_if<v2store::EventPtr>(&result);
  if (event == nullptr) return files;
  for (const v2store::NodeImage& node : (*event)->node.nodes) {
    files[node.path.substr(node.path.rfind('/') + 1)] = node.value.view();
  }
  return files;
}

bool AuthTable::enabled() const {
  const uint64_t state = store_.auth_changes();
  const uint64_t known = enabled_.load(std::memory_order_acquire);
  if (known >> 1 == state) return (known & 1) != 0;
  const bool enabled = ReadFile(store_, kEnabledPath) == "true";
  // What was read may be newer than `state`: then the next call reads it again.
  enabled_.store(state << 1 | (enabled ? 1 : 0), std::memory_order_release);
  return enabled;
}

void AuthTable::ForgetOld() const {
  const uint64_t state = store_.auth_changes();
  if (state_ == state) return;
  state_ = state;
  users_.clear();
  roles_.clear();
}

std::shared_ptr<const User> AuthTable::FindUser(std::string_view name) const {
  absl::MutexLock lock(&mutex_);
  ForgetOld();
  if (const auto found = users_.find(name); found != users_.end()) return found->second;
  const std::optional<std::string> text = ReadFile(store_, UserPath(name));
  std::optional<User> user = text ? ParseUser(*text) : std::nullopt;
  if (!user) return nullptr;
  user->AttachRoot();
  return users_[std::string(name)] = std::make_shared<const User>(*std::move(user));
}

std::shared_ptr<const Role> AuthTable::FindRole(std::string_view name) const {
  absl::MutexLock lock(&mutex_);
  ForgetOld();
  if (const auto found = roles_.find(name); found != roles_.end()) return found->second;
  std::optional<Role> role;
  if (name == kRoot) {
    role = BuiltInRole(kRoot);
  } else if (const std::optional<std::string> text = ReadFile(store_, RolePath(name))) {
    role = ParseRole(*text);
  }
  if (!role) return nullptr;
  return roles_[std::string(name)] = std::make_shared<const Role>(*std::move(role));
}

}  // namespace kvorum::api_v2
