#include "base/testing/fault_env.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "fmt/format.h"

namespace kvorum::testing {
namespace {

constexpr uint64_t kSectorBytes = 512;

absl::Status NoSuchFile(std::string_view call, const std::string& path) {
  return absl::NotFoundError(fmt::format("{} {}: No such file or directory", call, path));
}

absl::Status NoSpace(std::string_view call, const std::string& path) {
  return absl::ResourceExhaustedError(fmt::format("{} {}: No space left on device", call, path));
}

}  // namespace

/// A file or a directory, by whatever names.
struct FaultEnv::Node {
  /// A change of a file that is not synced: bytes at `at`, or, without bytes, the new size `at`.
  struct Change {
    uint64_t at;
    std::optional<std::string> bytes;
  };

  bool is_directory = false;
  bool locked = false;

  std::string content;
  std::string synced;
  std::vector<Change> unsynced;

  using Names = std::map<std::string, std::shared_ptr<Node>, std::less<>>;
  Names names;
  Names synced_names;
  bool names_synced = true;  // they are the same

  void Write(uint64_t at, std::string data) {
    if (content.size() < at + data.size()) content.resize(at + data.size(), '\0');
    content.replace(at, data.size(), data);
    unsynced.push_back({at, std::move(data)});
  }
  void Resize(uint64_t size) {
    content.resize(size, '\0');
    unsynced.push_back({size, std::nullopt});
  }
  void Sync() {
    for (const Change& change : unsynced) {
      if (!change.bytes) {
        synced.resize(change.at, '\0');
        continue;
      }
      if (synced.size() < change.at + change.bytes->size()) {
        synced.resize(change.at + change.bytes->size(), '\0');
      }
      synced.replace(change.at, change.bytes->size(), *change.bytes);
    }
    unsynced.clear();
  }

  void Crash(const Keep& keep) {
    locked = false;
    if (is_directory) {
      if (keep.directories) {
        synced_names = names;
      } else {
        names = synced_names;
      }
      names_synced = true;
      for (auto& [name, node] : names) node->Crash(keep);
      return;
    }
    uint64_t budget = keep.first_bytes;
    for (const Change& change : unsynced) {
      if (budget == 0) break;
      if (!change.bytes) {
        synced.resize(change.at, '\0');
        continue;
      }
      for (uint64_t i = 0; i < change.bytes->size() && budget > 0; --budget, ++i) {
        const uint64_t at = change.at + i;
        if (keep.sector && !keep.sector(at / kSectorBytes)) continue;
        if (synced.size() <= at) synced.resize(at + 1, '\0');
        synced[at] = (*change.bytes)[i];
      }
    }
    unsynced.clear();
    content = synced;
  }
};

class FaultFile final : public WritableFile {
 public:
  FaultFile(FaultEnv* env, uint64_t boot, std::shared_ptr<FaultEnv::Node> node, std::string path)
      : env_(env), boot_(boot), node_(std::move(node)), path_(std::move(path)) {}

  absl::Status Append(std::span<const std::string_view> pieces) override {
    std::string data;
    for (std::string_view piece : pieces) data.append(piece);
    absl::MutexLock lock(&env_->mutex_);
    KVORUM_RETURN_IF_ERROR(CheckAlive());
    bool stopped = false;
    if (absl::Status status = env_->Begin(FaultEnv::Op::kWrite, &stopped); !status.ok()) {
      if (!stopped) data.resize(WholeSectors(data.size() / 2));
      node_->Write(position_, std::move(data));
      return status;
    }
    const uint64_t room = node_->content.size() - std::min<uint64_t>(position_, node_->content.size());
    if (env_->full_ && data.size() > room) {
      data.resize(room);
      node_->Write(position_, std::move(data));
      return NoSpace("write", path_);
    }
    const uint64_t end = position_ + data.size();
    node_->Write(std::exchange(position_, end), std::move(data));
    return absl::OkStatus();
  }

  absl::Status Sync() override {
    absl::MutexLock lock(&env_->mutex_);
    KVORUM_RETURN_IF_ERROR(CheckAlive());
    KVORUM_RETURN_IF_ERROR(env_->Begin(FaultEnv::Op::kSync));
    node_->Sync();
    return absl::OkStatus();
  }

  absl::Status Truncate(uint64_t size) override {
    absl::MutexLock lock(&env_->mutex_);
    KVORUM_RETURN_IF_ERROR(CheckAlive());
    KVORUM_RETURN_IF_ERROR(env_->Begin(FaultEnv::Op::kTruncate));
    node_->Resize(size);
    return absl::OkStatus();
  }

  absl::Status Allocate(uint64_t size) override {
    absl::MutexLock lock(&env_->mutex_);
    KVORUM_RETURN_IF_ERROR(CheckAlive());
    KVORUM_RETURN_IF_ERROR(env_->Begin(FaultEnv::Op::kAllocate));
    if (env_->full_ && node_->content.size() < size) return NoSpace("fallocate", path_);
    if (node_->content.size() < size) node_->Resize(size);
    return absl::OkStatus();
  }

  uint64_t position() const override { return position_; }
  absl::Status Seek(uint64_t position) override {
    position_ = position;
    return absl::OkStatus();
  }
  absl::StatusOr<uint64_t> Size() const override {
    absl::MutexLock lock(&env_->mutex_);
    return node_->content.size();
  }
  absl::Status Close() override { return absl::OkStatus(); }

 private:
  absl::Status CheckAlive() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(env_->mutex_) {
    if (boot_ == env_->boot_) return absl::OkStatus();
    return absl::InternalError(fmt::format("{}: opened before the crash", path_));
  }

  /// At most `size`, so that a write of it ends with a sector, or 0.
  size_t WholeSectors(size_t size) const {
    const size_t past_sector = (position_ + size) % kSectorBytes;
    return size < past_sector ? 0 : size - past_sector;
  }

  FaultEnv* const env_;
  const uint64_t boot_;
  const std::shared_ptr<FaultEnv::Node> node_;  // shared with the directory
  const std::string path_;
  uint64_t position_ = 0;
};

class FaultLock final : public FileLock {
 public:
  FaultLock(FaultEnv* env, uint64_t boot, std::shared_ptr<FaultEnv::Node> node)
      : env_(env), boot_(boot), node_(std::move(node)) {}
  ~FaultLock() override {
    absl::MutexLock lock(&env_->mutex_);
    if (boot_ == env_->boot_) node_->locked = false;
  }

 private:
  FaultEnv* const env_;
  const uint64_t boot_;
  const std::shared_ptr<FaultEnv::Node> node_;  // shared with the directory
};

FaultEnv::FaultEnv() : root_(std::make_shared<Node>()) { root_->is_directory = true; }
FaultEnv::~FaultEnv() = default;

absl::Status FaultEnv::Begin(Op op, bool* stopped) {
  const auto kind = static_cast<size_t>(op);
  const uint64_t number = counts_[kind]++;
  if (total_++ >= stop_at_) {
    if (stopped != nullptr) *stopped = true;
    return absl::InternalError("the machine has stopped");
  }
  if (faults_[kind] && faults_[kind]->at == number) return faults_[kind]->error;
  return absl::OkStatus();
}

void FaultEnv::FailNth(Op op, uint64_t nth, absl::Status error) {
  absl::MutexLock lock(&mutex_);
  const auto kind = static_cast<size_t>(op);
  faults_[kind] = Fault{counts_[kind] + nth, std::move(error)};
}

void FaultEnv::StopAfter(uint64_t count) {
  absl::MutexLock lock(&mutex_);
  stop_at_ = total_ + count;
}

void FaultEnv::SetFull(bool full) {
  absl::MutexLock lock(&mutex_);
  full_ = full;
}

bool FaultEnv::full() const {
  absl::MutexLock lock(&mutex_);
  return full_;
}

void FaultEnv::ClearFaults() {
  absl::MutexLock lock(&mutex_);
  faults_ = {};
  stop_at_ = std::numeric_limits<uint64_t>::max();
}

uint64_t FaultEnv::count(Op op) const {
  absl::MutexLock lock(&mutex_);
  return counts_[static_cast<size_t>(op)];
}

uint64_t FaultEnv::total_count() const {
  absl::MutexLock lock(&mutex_);
  return total_;
}

void FaultEnv::Crash(const Keep& keep) {
  absl::MutexLock lock(&mutex_);
  ++boot_;
  root_->Crash(keep);
  faults_ = {};
  stop_at_ = std::numeric_limits<uint64_t>::max();
}

void FaultEnv::Flip(const std::string& path, uint64_t offset, uint8_t mask) {
  absl::MutexLock lock(&mutex_);
  const std::shared_ptr<Node> node = Find(path);
  KVORUM_CHECK(node != nullptr && offset < node->content.size(), "{} has no byte {}", path, offset);
  node->content[offset] = static_cast<char>(node->content[offset] ^ mask);
  node->synced = node->content;
  node->unsynced.clear();
}

void FaultEnv::Put(const std::string& path, std::string content) {
  absl::MutexLock lock(&mutex_);
  auto parent = Parent(path);
  KVORUM_CHECK(parent.ok(), "{}", parent.status().ToString());
  std::shared_ptr<Node>& node = parent->first->names[parent->second];
  if (node == nullptr) node = std::make_shared<Node>();
  node->content = std::move(content);
  node->synced = node->content;
  node->unsynced.clear();
  parent->first->synced_names[parent->second] = node;
}

bool FaultEnv::AreDurable(std::string_view directory, std::string_view suffix) {
  absl::MutexLock lock(&mutex_);
  const std::shared_ptr<Node> node = Find(directory);
  if (node == nullptr || !node->is_directory) return false;
  for (const auto& [name, child] : node->names) {
    if (child->unsynced.empty() && node->names_synced) continue;
    if (child->is_directory || !name.ends_with(suffix)) continue;
    if (!child->unsynced.empty()) return false;
    const auto synced = node->synced_names.find(name);
    if (synced == node->synced_names.end() || synced->second != child) return false;
  }
  return true;
}

std::string FaultEnv::Get(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  const std::shared_ptr<Node> node = Find(path);
  KVORUM_CHECK(node != nullptr && !node->is_directory, "no file {}", path);
  return node->content;
}

std::shared_ptr<FaultEnv::Node> FaultEnv::Find(std::string_view path) {
  std::shared_ptr<Node> node = root_;
  for (size_t begin = 0; begin < path.size() && node != nullptr;) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view name = path.substr(begin, end - begin);
    if (!name.empty() && name != ".") {
      const auto it = node->names.find(name);
      node = it == node->names.end() ? nullptr : it->second;
    }
    begin = end + 1;
  }
  return node;
}

absl::StatusOr<std::pair<std::shared_ptr<FaultEnv::Node>, std::string>> FaultEnv::Parent(
    const std::string& path) {
  const size_t slash = path.rfind('/');
  const bool top = slash == std::string::npos;
  std::shared_ptr<Node> directory = top ? root_ : Find(path.substr(0, slash));
  if (directory == nullptr || !directory->is_directory) return NoSuchFile("open", path);
  return std::pair(std::move(directory), top ? path : path.substr(slash + 1));
}

absl::StatusOr<std::shared_ptr<FaultEnv::Node>> FaultEnv::FindFile(const std::string& path) {
  std::shared_ptr<Node> node = Find(path);
  if (node == nullptr || node->is_directory) return NoSuchFile("open", path);
  return node;
}

absl::StatusOr<std::unique_ptr<WritableFile>> FaultEnv::OpenForWriting(const std::string& path, Create create,
                                                                       mode_t) {
  absl::MutexLock lock(&mutex_);
  KVORUM_RETURN_IF_ERROR(Begin(Op::kOpen));
  KVORUM_ASSIGN_OR_RETURN(auto parent, Parent(path));
  auto it = parent.first->names.find(parent.second);
  if (it == parent.first->names.end()) {
    if (create == Create::kNever) return NoSuchFile("open", path);
    if (full_) return NoSpace("open", path);
    it = parent.first->names.emplace(parent.second, std::make_shared<Node>()).first;
    parent.first->names_synced = false;
  } else if (create == Create::kMustBeNew) {
    return absl::AlreadyExistsError(fmt::format("open {}: File exists", path));
  } else if (create == Create::kTruncate) {
    it->second->Resize(0);
  }
  return std::make_unique<FaultFile>(this, boot_, it->second, path);
}

absl::StatusOr<std::string> FaultEnv::ReadFile(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  KVORUM_ASSIGN_OR_RETURN(const std::shared_ptr<Node> node, FindFile(path));
  return node->content;
}

absl::Status FaultEnv::ReadRange(const std::string& path, uint64_t offset, size_t size, std::string* out) {
  absl::MutexLock lock(&mutex_);
  KVORUM_ASSIGN_OR_RETURN(const std::shared_ptr<Node> node, FindFile(path));
  const std::string_view content = node->content;
  if (offset < content.size()) out->append(content.substr(offset, size));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> FaultEnv::ListDirectory(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  const std::shared_ptr<Node> node = Find(path);
  if (node == nullptr || !node->is_directory) return NoSuchFile("opendir", path);
  std::vector<std::string> names;
  for (const auto& [name, child] : node->names) names.push_back(name);
  return names;
}

bool FaultEnv::Exists(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  return Find(path) != nullptr;
}

absl::StatusOr<uint64_t> FaultEnv::FileSize(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  KVORUM_ASSIGN_OR_RETURN(const std::shared_ptr<Node> node, FindFile(path));
  return node->content.size();
}

absl::Status FaultEnv::CreateDirectories(const std::string& path, mode_t) {
  absl::MutexLock lock(&mutex_);
  std::shared_ptr<Node> node = root_;
  for (size_t begin = 0; begin < path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    if (end > begin) {
      std::shared_ptr<Node>& child = node->names[path.substr(begin, end - begin)];
      if (child == nullptr) {
        child = std::make_shared<Node>();
        child->is_directory = true;
        node->synced_names[path.substr(begin, end - begin)] = child;
      }
      if (!child->is_directory) return absl::InternalError(fmt::format("mkdir {}: Not a directory", path));
      node = child;
    }
    begin = end + 1;
  }
  return absl::OkStatus();
}

absl::Status FaultEnv::SyncDirectory(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  KVORUM_RETURN_IF_ERROR(Begin(Op::kSyncDirectory));
  const std::shared_ptr<Node> node = Find(path);
  if (node == nullptr || !node->is_directory) return NoSuchFile("open", path);
  node->synced_names = node->names;
  node->names_synced = true;
  return absl::OkStatus();
}

absl::Status FaultEnv::Rename(const std::string& from, const std::string& to) {
  absl::MutexLock lock(&mutex_);
  KVORUM_RETURN_IF_ERROR(Begin(Op::kRename));
  KVORUM_ASSIGN_OR_RETURN(auto source, Parent(from));
  KVORUM_ASSIGN_OR_RETURN(auto target, Parent(to));
  auto it = source.first->names.find(source.second);
  if (it == source.first->names.end()) return NoSuchFile("rename", from);
  std::shared_ptr<Node> node = it->second;
  source.first->names.erase(it);
  target.first->names[target.second] = std::move(node);
  source.first->names_synced = target.first->names_synced = false;
  return absl::OkStatus();
}

absl::Status FaultEnv::RemoveFile(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  KVORUM_RETURN_IF_ERROR(Begin(Op::kRemove));
  KVORUM_RETURN_IF_ERROR(FindFile(path).status());
  KVORUM_ASSIGN_OR_RETURN(auto parent, Parent(path));
  parent.first->names.erase(parent.second);
  parent.first->names_synced = false;
  return absl::OkStatus();
}

absl::Status FaultEnv::RemoveTree(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  if (Find(path) == nullptr) return absl::OkStatus();
  KVORUM_RETURN_IF_ERROR(Begin(Op::kRemove));
  KVORUM_ASSIGN_OR_RETURN(auto parent, Parent(path));
  parent.first->names.erase(parent.second);
  parent.first->names_synced = false;
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<FileLock>> FaultEnv::LockFile(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  KVORUM_ASSIGN_OR_RETURN(auto parent, Parent(path));
  std::shared_ptr<Node>& node = parent.first->names[parent.second];
  if (node == nullptr) {
    node = std::make_shared<Node>();
    parent.first->names_synced = false;
  }
  if (node->locked) return absl::UnavailableError(fmt::format("lock {}: file already locked", path));
  node->locked = true;
  return std::make_unique<FaultLock>(this, boot_, node);
}

}  // namespace kvorum::testing
