#pragma once

#include <deque>
#include <memory>
#include <string>

#include "sim/client.h"
#include "sim/history.h"
#include "sim/node.h"
#include "sim/v2_truth.h"
#include "v2store/store.h"

namespace kvorum::sim {

/// A client that watches keys of the v2 API, by long polls and streams, one after another: each on some
/// member until it was told, the process there ends or the client has enough; the next from where the last
/// one left off, from now or from anywhere. As the API does it, a stream that begins in the history goes on
/// with what comes after.
class V2Watcher final : private v2store::WatchSink {
 public:
  V2Watcher(uint64_t id, Scheduler* scheduler, const V2Truth* truth, Client::Nodes nodes, History* history);
  ~V2Watcher() override;

  void Start();
  /// The watch under way is the last one: it stays open to the end.
  void Stop() { stopped_ = true; }
  /// After the run: the watch that is open has had time for everything.
  void Close();
  /// The process at that node ends: before it does.
  void Leave(const Node& node);

 private:
  void OnEvent(const v2store::EventPtr& event, const std::shared_ptr<const std::string>& body) override;
  void OnLost() override;

  void Open();
  v2store::WatchRequest Pick();
  /// What the history has, one event at a time as the client reads them, then what comes.
  void Begin(v2store::WatchRequest request, uint64_t attempt);
  void Put(const v2store::EventPtr& event);
  void Take(uint64_t attempt);
  void End();
  V2WatchHistory& watch() { return history_->v2_watches[at_]; }

  const uint64_t id_;
  Scheduler* const scheduler_;
  const V2Truth* const truth_;
  const Client::Nodes nodes_;
  History* const history_;
  bool stopped_ = false;
  bool open_ = false;
  bool lost_ = false;     // nothing more comes
  uint64_t attempt_ = 0;  // of the watch that is open
  size_t at_ = 0;         // of history_->v2_watches
  uint64_t next_index_ = 0;
  uint64_t recovered_ = 0;  // what the store said of snapshots taken over when the watch began
  Node* node_ = nullptr;
  std::deque<v2store::EventPtr> on_the_way_;
  std::unique_ptr<v2store::Watcher> watcher_;
};

}  // namespace kvorum::sim
