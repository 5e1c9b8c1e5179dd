#pragma once

#include <memory>
#include <string>

#include "mvcc/watch.h"
#include "sim/client.h"
#include "sim/history.h"
#include "sim/node.h"

namespace kvorum::sim {

/// A client that watches, one watch after another: each on some member until the process there ends or the
/// client has enough, the next from where the last one left off or from anywhere.
class Watcher {
 public:
  Watcher(uint64_t id, Scheduler* scheduler, const Truth* truth, Client::Nodes nodes, History* history);
  ~Watcher();

  void Start();
  /// The watch under way is the last one: it stays open to the end.
  void Stop() { stopped_ = true; }
  /// After the run: the watch that is open has had time for everything.
  void Close();
  /// The process at that node ends: before it does.
  void Leave(const Node& node);

 private:
  void Open();
  void End();
  void Take(uint64_t attempt);
  WatchHistory& watch() { return history_->watches[at_]; }
  void Note(etcdserverpb::WatchResponse response);

  const uint64_t id_;
  Scheduler* const scheduler_;
  const Truth* const truth_;
  const Client::Nodes nodes_;
  History* const history_;
  bool stopped_ = false;
  uint64_t attempt_ = 0;
  size_t at_ = 0;              // of history_->watches
  int64_t next_revision_ = 0;  // of the events that come
  Node* node_ = nullptr;
  std::unique_ptr<mvcc::WatchStream> stream_;  // null: none is open
};

}  // namespace kvorum::sim
