#pragma once

#include <string>
#include <string_view>

namespace kvorum::v2store {

// Paths of the store: "/" and names between slashes. Names are bytes; they need not be text.

/// A path as Go's path.Clean("/" + p) writes it: one slash in front and between, none at the end, "." and
/// ".." resolved and never above the root. Borrows `raw` where that is clean already.
class CleanPath {
 public:
  explicit CleanPath(std::string_view raw);
  CleanPath(const CleanPath&) = delete;
  CleanPath& operator=(const CleanPath&) = delete;

  std::string_view view() const { return view_; }
  operator std::string_view() const { return view_; }

 private:
  std::string owned_;
  std::string_view view_;
};

/// The names of a clean path, one after another.
///
///     for (PathNames names(path); names.Next();) … names.name() … names.prefix() …
class PathNames {
 public:
  explicit PathNames(std::string_view path) : path_(path) {}
  bool Next();
  std::string_view name() const { return path_.substr(begin_, end_ - begin_); }
  /// The path up to and with this name.
  std::string_view prefix() const { return path_.substr(0, end_); }
  /// Whether it is the last one.
  bool last() const { return end_ == path_.size(); }

 private:
  std::string_view path_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

/// Orders paths so that what is below a directory follows it without a gap: the slash is the least of bytes.
struct PathLess {
  using is_transparent = void;
  bool operator()(std::string_view a, std::string_view b) const;
};

/// Whether `path` is below `directory`, both clean.
bool IsBelow(std::string_view path, std::string_view directory);
/// "/", "/0" and "/1": no write may touch them.
bool IsReadOnly(std::string_view path);
/// Whether a watch of `watched` must not see `path` for a name in between that begins with '_' (reference:
/// v2-keys.md §8.5).
bool IsHidden(std::string_view watched, std::string_view path);

}  // namespace kvorum::v2store
