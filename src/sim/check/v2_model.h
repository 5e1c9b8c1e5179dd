#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "sim/history.h"
#include "v2store/request.h"

namespace kvorum::sim {

/// The tree of the v2 API in the simplest way, one map of paths, written from the API's tables (reference:
/// v2-keys.md §3) and not from the store that it is compared with.
class V2Model {
 public:
  struct Node {
    bool dir = false;
    std::string value = {};
    uint64_t created = 0;
    uint64_t modified = 0;
    int64_t expires = 0;  ///< Unix nanoseconds; 0: never
  };

  /// What a request does at the index after this one, or why it does nothing.
  struct Effect {
    int error_code = 0;
    std::string action;
    std::string path;
    Node node;  ///< as it is shown: after a removal without its value
    bool has_prev = false;
    Node prev;
    bool removes = false;
    bool keeps_modified = false;  ///< the node stays at its old modified index: an update of a directory
    bool refresh = false;
  };

  uint64_t index() const { return index_; }
  const std::map<std::string, Node>& nodes() const { return nodes_; }

  Effect Evaluate(const v2store::Request& request) const;
  /// The end of a node by time.
  Effect Expire(const std::string& path) const;
  /// Takes the next index. The paths that were removed, if any, are returned.
  std::vector<std::string> Commit(const Effect& effect);
  /// Takes the next index for what is done elsewhere in the store.
  void Skip() { ++index_; }

  /// 0, or the error of a lookup: 100 or 104.
  int Lookup(const std::string& path) const;
  /// Paths of what a listing of the directory shows, in order.
  std::vector<std::string> Children(const std::string& directory) const;
  /// The same of all below it, each directory before what it has.
  std::vector<std::string> Descendants(const std::string& directory) const;

 private:
  Effect Write(std::string action, const std::string& path, Node node) const;
  Effect Remove(std::string action, const std::string& path) const;
  Effect Create(const std::string& path, const v2store::Request& request) const;
  Effect Set(const v2store::Request& request) const;
  Effect Update(const v2store::Request& request) const;
  /// The error of a comparison, or 0.
  int Compare(const v2store::Request& request) const;
  Effect CompareAndSwap(const v2store::Request& request) const;
  Effect Delete(const v2store::Request& request) const;

  uint64_t index_ = 0;
  std::map<std::string, Node> nodes_{{"/1", {.dir = true}}};
};

/// Whether `path` is somewhere under `directory`.
bool IsUnder(const std::string& path, const std::string& directory);
/// Whether a name between the two, `path`'s own included, begins with "_". REQUIRES: IsUnder(path, directory)
bool IsHiddenUnder(const std::string& path, const std::string& directory);

}  // namespace kvorum::sim
