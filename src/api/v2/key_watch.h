#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "api/v2/key_reply.h"
#include "http/handler.h"
#include "v2store/store.h"

namespace kvorum::api_v2 {

class KeyWatch;

/// Carries events from the writer's thread to the watches of one loop: one post for all that came since the
/// last. Shared with the posted task, which may outlive the handler.
class Mailroom final : public http::TurnEnd, public std::enable_shared_from_this<Mailroom> {
 public:
  explicit Mailroom(http::Loop* loop) : loop_(*loop) {}

  /// On the writer's thread. `body`: null: no more comes.
  void Put(KeyWatch* watch, const std::shared_ptr<const std::string>& body);
  /// Nothing is delivered to `watch` any more. On the loop. REQUIRES: nothing is put for it any more
  void Forget(KeyWatch* watch);
  /// Differs between turns of the loop. What was delivered in an earlier one was offered to the system since.
  uint32_t turn() const { return turn_; }

  void OnTurnEnd() override;

 private:
  /// Deliveries in their order: `watches`, cut into runs that get the same body.
  struct Batch {
    struct Run {
      std::shared_ptr<const std::string> body;
      size_t end;  // in `watches`
    };
    std::vector<Run> runs;
    std::vector<KeyWatch*> watches;  // null: forgotten

    void Remove(KeyWatch* watch);
  };

  void Post();
  /// A part of what waits; the rest has its turn after others.
  void Deliver();

  http::Loop& loop_;
  absl::Mutex mutex_;
  Batch waiting_ ABSL_GUARDED_BY(mutex_);
  // The loop's: the batch under way.
  Batch delivering_;
  size_t next_watch_ = 0;
  size_t next_run_ = 0;
  uint32_t turn_ = 0;
  bool turn_begun_ = false;
};

/// What watches need of their surroundings. Thread-safe.
class WatchOffice {
 public:
  WatchOffice(v2store::Store* store, const KeyReplies* replies) : store_(*store), replies_(*replies) {}

  v2store::Store& store() { return store_; }
  const KeyReplies& replies() const { return replies_; }
  std::shared_ptr<Mailroom> RoomOf(http::Loop& loop);

 private:
  v2store::Store& store_;
  const KeyReplies& replies_;
  absl::Mutex mutex_;
  absl::flat_hash_map<http::Loop*, std::shared_ptr<Mailroom>> rooms_ ABSL_GUARDED_BY(mutex_);
};

/// One long poll or stream (reference: v2-keys.md §8). Lives on its connection's loop and is small: thousands
/// of them wait.
///
/// A stream that begins in the history gets the history's events first, and then goes on; etcd's falls silent
/// after the first. A stream whose client does not read is broken off where etcd's falls silent.
class KeyWatch final : public http::RequestSink, public v2store::WatchSink {
 public:
  KeyWatch(WatchOffice* office, http::ResponseWriter* writer);
  ~KeyWatch() override;

  /// Answers with the head and what the history has, or with an error, whose HTTP status it gives; else 0.
  int Begin(v2store::WatchRequest request);

  void OnData(std::string_view) override {}
  void OnEnd() override {}
  void OnAbort() override;
  void OnWritable() override { CatchUp(); }
  void OnDrain() override { End(); }

  void OnEvent(const v2store::EventPtr& event, const std::shared_ptr<const std::string>& body) override;
  void OnLost() override;

 private:
  friend class Mailroom;

  /// Undelivered events that a stream may have, and bytes of them, while its client takes nothing.
  static constexpr size_t kMaxUndelivered = 100;
  static constexpr size_t kMaxUndeliveredBytes = 16 << 20;

  /// The next event; null: no more comes. On the loop.
  void Deliver(const Bytes& body);
  /// What the history has, on its way to the client. Shared with others to whom the same goes.
  struct Past {
    v2store::WatchRequest request;            // for what comes after `body`
    std::shared_ptr<const std::string> body;  // null: wholly sent
    size_t sent = 0;
  };
  void TakePast(v2store::Store::WatchStart& start);
  /// Sends what the history has, as fast as the client takes it; then a stream waits for what comes after.
  void CatchUp();
  void End();

  WatchOffice& office_;
  http::ResponseWriter& writer_;
  const std::shared_ptr<Mailroom> room_;
  std::unique_ptr<v2store::Watcher> watcher_;
  std::unique_ptr<Past> past_;        // null where it waits for what comes next
  std::atomic<uint32_t> in_mail_{0};  // put and not yet delivered
  uint32_t undelivered_ = 0;          // events since the client had taken everything
  uint32_t turn_;                     // of the room, at the last event
  bool stream_ = false;
  bool ended_ = false;
};

}  // namespace kvorum::api_v2
