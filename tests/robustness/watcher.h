#pragma once

#include <memory>

#include "robustness/scene.h"

namespace kvorum::robustness {

/// A client that watches, one watch after another: each on some member until its connection breaks or the
/// client has enough, the next from where the last one left off or from anywhere. At times it reads nothing,
/// and it asks how far its watch has come.
class Watcher {
 public:
  Watcher(uint64_t id, Scene* scene) : id_(id), scene_(scene) {}

  void Start();
  /// The watch under way is the last one.
  void Stop() { stopped_ = true; }
  /// Whether no watch is under way, or the one that is was told to be at `revision` or begins behind it.
  /// REQUIRES: stopped
  bool At(int64_t revision) {
    return stream_ == nullptr || told_ >= revision || watch().request.start_revision() > revision;
  }
  /// Of the last watch, in the history.
  size_t place() const { return at_; }
  /// After the run: the watch that is open had time for everything.
  void Close();

 private:
  void Open();
  void Take(uint64_t attempt, std::string_view message);
  void Bother(uint64_t attempt);
  void Cancel();
  void End();
  sim::WatchHistory& watch() { return scene_->history().watches[at_]; }

  const uint64_t id_;
  Scene* const scene_;
  bool stopped_ = false;
  uint64_t attempt_ = 0;
  size_t at_ = 0;              // of the history's watches
  int64_t next_revision_ = 0;  // of the events that come
  int64_t told_ = 0;           // every event up to this revision was sent, the server says
  bool created_ = false;
  std::unique_ptr<grpc::ClientConnection::Stream> stream_;  // null: none is open
};

}  // namespace kvorum::robustness
