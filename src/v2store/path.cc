#include "v2store/path.h"

namespace kvorum::v2store {
namespace {

bool IsClean(std::string_view path) {
  if (path.empty() || path.front() != '/') return false;
  if (path.size() == 1) return true;
  if (path.back() == '/') return false;
  for (size_t i = 0; i < path.size(); ++i) {
    if (path[i] != '/') continue;
    const size_t end = std::min(path.find('/', i + 1), path.size());
    const std::string_view name = path.substr(i + 1, end - i - 1);
    if (name.empty() || name == "." || name == "..") return false;
    i = end - 1;
  }
  return true;
}

}  // namespace

CleanPath::CleanPath(std::string_view raw) {
  if (IsClean(raw)) {
    view_ = raw;
    return;
  }
  for (size_t begin = 0; begin < raw.size();) {
    const size_t end = std::min(raw.find('/', begin), raw.size());
    const std::string_view name = raw.substr(begin, end - begin);
    begin = end + 1;
    if (name.empty() || name == ".") continue;
    if (name == "..") {
      if (!owned_.empty()) owned_.resize(owned_.rfind('/'));
      continue;
    }
    owned_ += '/';
    owned_ += name;
  }
  if (owned_.empty()) owned_ = "/";
  view_ = owned_;
}

bool PathNames::Next() {
  begin_ = end_ + 1;
  if (begin_ >= path_.size()) return false;
  end_ = std::min(path_.find('/', begin_), path_.size());
  return true;
}

bool PathLess::operator()(std::string_view a, std::string_view b) const {
  const auto [at, bt] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  if (at == a.end() || bt == b.end()) return at == a.end() && bt != b.end();
  if (*at == '/' || *bt == '/') return *at == '/';
  return static_cast<uint8_t>(*at) < static_cast<uint8_t>(*bt);
}

bool IsBelow(std::string_view path, std::string_view directory) {
  if (directory == "/") return path.size() > 1;
  return path.size() > directory.size() && path.starts_with(directory) && path[directory.size()] == '/';
}

bool IsReadOnly(std::string_view path) { return path == "/" || path == "/0" || path == "/1"; }

bool IsHidden(std::string_view watched, std::string_view path) {
  if (watched.size() > path.size()) return false;
  const std::string_view rest = path.substr(watched == "/" ? 0 : watched.size());
  return rest.find("/_") != std::string_view::npos;
}

}  // namespace kvorum::v2store
