#include "bbolt/database.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "base/status.h"
#include "bbolt/bbolt_format.h"
#include "fmt/format.h"

namespace kvorum::bbolt {
namespace {

constexpr uint64_t kMinPageBytes = 1024;
constexpr uint64_t kMaxPageBytes = kMinPageBytes << 14;
/// A tree of two children a branch and this many levels would not fit on any disk.
constexpr int kMaxDepth = 64;

/// The elements of a branch or leaf page. The page may stand anywhere, so nothing is read by pointer.
struct Elements {
  std::string_view page;

  size_t count() const { return Load<uint16_t>(page.data() + 10); }
  bool leaf() const { return Load<uint16_t>(page.data() + 8) == static_cast<uint16_t>(PageType::kLeaf); }
  size_t At(size_t i) const { return kPageHeaderBytes + i * kElementBytes; }
  const char* Pointer(size_t i) const { return page.data() + At(i); }

  uint32_t position(size_t i) const { return Load<uint32_t>(Pointer(i) + (leaf() ? 4 : 0)); }
  uint32_t key_size(size_t i) const { return Load<uint32_t>(Pointer(i) + (leaf() ? 8 : 4)); }
  // Of a leaf.
  uint32_t flags(size_t i) const { return Load<uint32_t>(Pointer(i)); }
  uint32_t value_size(size_t i) const { return leaf() ? Load<uint32_t>(Pointer(i) + 12) : 0; }
  // Of a branch.
  uint64_t child(size_t i) const { return Load<uint64_t>(Pointer(i) + 8); }

  // Once it is known that they are inside of the page.
  std::string_view key(size_t i) const { return {Pointer(i) + position(i), key_size(i)}; }
  std::string_view value(size_t i) const { return {Pointer(i) + position(i) + key_size(i), value_size(i)}; }

  /// The first element whose key is not below `key`.
  size_t LowerBound(std::string_view wanted) const {
    size_t low = 0;
    size_t high = count();
    while (low < high) {
      const size_t middle = low + (high - low) / 2;
      if (key(middle) < wanted) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }
};

}  // namespace

/// Walks over everything once, before any of it is believed.
class Checker {
 public:
  Checker(const Database& database, std::string name)
      : database_(database), name_(std::move(name)), used_(database.end_) {}

  /// A page of the file and all below it: keys in [low, high), where an empty one is no bound.
  absl::Status CheckTree(uint64_t id, std::string_view low, std::string_view high, uint32_t leaf_flags,
                         int depth) {
    if (depth > kMaxDepth) return Bad(id, "a tree too deep");
    KVORUM_ASSIGN_OR_RETURN(const std::string_view page, TakePage(id));
    KVORUM_RETURN_IF_ERROR(CheckElements(page, id, low, high, leaf_flags));
    const Elements elements{page};
    if (elements.leaf()) return absl::OkStatus();
    if (elements.count() == 0) return Bad(id, "a branch without children");
    for (size_t i = 0; i < elements.count(); ++i) {
      const std::string_view end = i + 1 < elements.count() ? elements.key(i + 1) : high;
      KVORUM_RETURN_IF_ERROR(CheckTree(elements.child(i), elements.key(i), end, leaf_flags, depth + 1));
    }
    return absl::OkStatus();
  }

  /// A leaf page that is the value of a bucket's element.
  absl::Status CheckInlinePage(std::string_view page, std::string_view bucket) {
    if (page.size() < kPageHeaderBytes || !Elements{page}.leaf()) {
      return Bad(0, fmt::format("no leaf page in bucket {}", bucket));
    }
    return CheckElements(page, 0, {}, {}, 0);
  }

  absl::Status Bad(uint64_t id, std::string_view what) const {
    return absl::DataLossError(fmt::format("{}: page {}: {}", name_, id, what));
  }

 private:
  /// The bytes of a branch or leaf page with its overflow, none of which is used twice.
  absl::StatusOr<std::string_view> TakePage(uint64_t id) {
    if (id < kFirstDataPage || id >= database_.end_) return Bad(id, "out of bounds");
    const PageHeader header = LoadPageHeader(database_.content_.data() + id * database_.page_bytes_);
    if (header.id != id) return Bad(id, fmt::format("identifies as {}", header.id));
    if (header.flags != static_cast<uint16_t>(PageType::kBranch) &&
        header.flags != static_cast<uint16_t>(PageType::kLeaf)) {
      return Bad(id, fmt::format("invalid type {:#x}", header.flags));
    }
    if (header.overflow >= database_.end_ - id) return Bad(id, "overflows the file");
    for (uint64_t i = id; i <= id + header.overflow; ++i) {
      if (used_[i]) return Bad(i, "multiple references");
      used_[i] = true;
    }
    return database_.PageAt(id);
  }

  absl::Status CheckElements(std::string_view page, uint64_t id, std::string_view low, std::string_view high,
                             uint32_t leaf_flags) const {
    const Elements elements{page};
    if (elements.At(elements.count()) > page.size()) return Bad(id, "more elements than fit");
    std::string_view last;
    for (size_t i = 0; i < elements.count(); ++i) {
      const uint64_t end =
          uint64_t{elements.At(i)} + elements.position(i) + elements.key_size(i) + elements.value_size(i);
      if (end > page.size()) return Bad(id, fmt::format("element {} is beyond the page", i));
      const std::string_view key = elements.key(i);
      if (key.empty()) return Bad(id, fmt::format("element {} has an empty key", i));
      if (i > 0 && key <= last) return Bad(id, fmt::format("key {} is out of order", i));
      last = key;
      if (key < low || (!high.empty() && key >= high)) {
        return Bad(id, fmt::format("key {} is out of its branch's bounds", i));
      }
      if (elements.leaf() && elements.flags(i) != leaf_flags) {
        return Bad(id, fmt::format("element {} has flags {:#x}", i, elements.flags(i)));
      }
    }
    return absl::OkStatus();
  }

  const Database& database_;
  const std::string name_;
  std::vector<bool> used_;  ///< pages
};

namespace {

/// The newer of the two metas that are whole.
bool ChooseMeta(std::string_view content, Meta* meta) {
  std::optional<Meta> first;
  const auto try_at = [&](uint64_t offset, Meta* out) {
    return offset + kPageHeaderBytes + kMetaBytes <= content.size() &&
           LoadMeta(content.data() + offset + kPageHeaderBytes, out);
  };
  Meta found;
  if (try_at(0, &found)) first = found;
  std::optional<Meta> second;
  if (first) {
    if (try_at(first->page_bytes, &found) && found.page_bytes == first->page_bytes) second = found;
  } else {
    for (uint64_t size = kMinPageBytes; size <= kMaxPageBytes && !second; size <<= 1) {
      if (try_at(size, &found) && found.page_bytes == size) second = found;
    }
  }
  if (!first && !second) return false;
  *meta = !second || (first && first->txid > second->txid) ? *first : *second;
  return true;
}

class MappedDatabase final : public Database {
 public:
  ~MappedDatabase() override {
    if (memory_ != nullptr) munmap(memory_, size_);
    if (fd_ >= 0) close(fd_);
  }

  absl::Status Map(const std::string& path) {
    const auto failed = [&](std::string_view call) {
      const int code = errno;
      const std::string text = fmt::format("{} {}: {}", call, path, std::generic_category().message(code));
      if (code == ENOENT) return absl::NotFoundError(text);
      if (code == EWOULDBLOCK) return absl::UnavailableError(text + " (another process has it open)");
      if (code == EACCES || code == EPERM) return absl::PermissionDeniedError(text);
      return absl::InternalError(text);
    };
    fd_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd_ < 0) return failed("open");
    if (flock(fd_, LOCK_SH | LOCK_NB) != 0) return failed("lock");
    struct stat attributes;
    if (fstat(fd_, &attributes) != 0) return failed("stat");
    size_ = static_cast<size_t>(attributes.st_size);
    if (size_ == 0) return absl::DataLossError(fmt::format("{}: empty file", path));
    void* memory = mmap(nullptr, size_, PROT_READ, MAP_SHARED, fd_, 0);
    if (memory == MAP_FAILED) return failed("map");
    memory_ = memory;
    return Load({static_cast<const char*>(memory), size_}, path);
  }

 private:
  int fd_ = -1;
  size_t size_ = 0;
  void* memory_ = nullptr;
};

class BorrowedDatabase final : public Database {
 public:
  absl::Status Take(std::string_view content, const std::string& name) { return Load(content, name); }
};

}  // namespace

absl::StatusOr<std::unique_ptr<Database>> Database::Open(const std::string& path) {
  auto database = std::make_unique<MappedDatabase>();
  KVORUM_RETURN_IF_ERROR(database->Map(path));
  return database;
}

absl::StatusOr<std::unique_ptr<Database>> Database::FromBytes(std::string_view content,
                                                              const std::string& name) {
  auto database = std::make_unique<BorrowedDatabase>();
  KVORUM_RETURN_IF_ERROR(database->Take(content, name));
  return database;
}

absl::Status Database::Load(std::string_view content, const std::string& name) {
  content_ = content;
  Meta meta;
  if (!ChooseMeta(content, &meta)) return absl::DataLossError(fmt::format("{}: invalid database", name));
  if (meta.page_bytes < kMinPageBytes || meta.page_bytes > kMaxPageBytes ||
      !std::has_single_bit(meta.page_bytes)) {
    return absl::DataLossError(fmt::format("{}: pages of {} bytes", name, meta.page_bytes));
  }
  page_bytes_ = meta.page_bytes;
  if (meta.end > content.size() / page_bytes_) {
    return absl::DataLossError(
        fmt::format("{}: cut off at {} bytes of {} pages", name, content.size(), meta.end));
  }
  end_ = meta.end;

  Checker checker(*this, name);
  KVORUM_RETURN_IF_ERROR(checker.CheckTree(meta.root, {}, {}, kBucketElement, 0));
  absl::Status status;
  ScanPage(PageAt(meta.root), {}, {}, [&](std::string_view key, std::string_view value) {
    if (value.size() < kBucketHeaderBytes) {
      status = checker.Bad(meta.root, fmt::format("no header of bucket {}", key));
      return false;
    }
    Bucket bucket = {.name = std::string(key), .tree = {.root = bbolt::Load<uint64_t>(value.data())}};
    if (bucket.tree.root == 0) {
      bucket.tree.inline_page = value.substr(kBucketHeaderBytes);
      status = checker.CheckInlinePage(bucket.tree.inline_page, key);
    } else {
      status = checker.CheckTree(bucket.tree.root, {}, {}, 0, 0);
    }
    buckets_.push_back(std::move(bucket));
    return status.ok();
  });
  return status;
}

std::string_view Database::PageAt(uint64_t id) const {
  const char* start = content_.data() + id * page_bytes_;
  return {start, (uint64_t{LoadPageHeader(start).overflow} + 1) * page_bytes_};
}

std::string_view Database::RootOf(const Tree& tree) const {
  return tree.root == 0 ? tree.inline_page : PageAt(tree.root);
}

const Database::Bucket* Database::FindBucket(std::string_view name) const {
  const auto it = std::lower_bound(buckets_.begin(), buckets_.end(), name,
                                   [](const Bucket& bucket, std::string_view n) { return bucket.name < n; });
  return it == buckets_.end() || it->name != name ? nullptr : &*it;
}

bool Database::ScanPage(std::string_view page, std::string_view from, std::string_view to,
                        Visit visit) const {
  const Elements elements{page};
  size_t i = elements.LowerBound(from);
  if (elements.leaf()) {
    for (; i < elements.count(); ++i) {
      const std::string_view key = elements.key(i);
      if (!to.empty() && key >= to) return false;
      if (!visit(key, elements.value(i))) return false;
    }
    return true;
  }
  // The child before may have keys from `from` on too.
  if (i > 0) --i;
  for (; i < elements.count(); ++i) {
    if (!to.empty() && elements.key(i) >= to) return false;
    if (!ScanPage(PageAt(elements.child(i)), from, to, visit)) return false;
  }
  return true;
}

void Database::Scan(const Bucket& bucket, std::string_view from, std::string_view to, Visit visit) const {
  ScanPage(RootOf(bucket.tree), from, to, visit);
}

std::optional<std::string_view> Database::Get(const Bucket& bucket, std::string_view key) const {
  std::string_view page = RootOf(bucket.tree);
  for (;;) {
    const Elements elements{page};
    const size_t i = elements.LowerBound(key);
    const bool found = i < elements.count() && elements.key(i) == key;
    if (elements.leaf()) return found ? std::optional(elements.value(i)) : std::nullopt;
    if (!found && i == 0) return std::nullopt;
    page = PageAt(elements.child(found ? i : i - 1));
  }
}

}  // namespace kvorum::bbolt
