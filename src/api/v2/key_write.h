#pragma once

#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "http/loop.h"
#include "member/member.h"

namespace kvorum::api_v2 {

/// Takes the writes of one loop to the member and their outcomes back. Writes leave together when the input
/// that waits has been read, outcomes come with one post for all since the last: threads that hand over one
/// request at a time spend more on waking each other than on the requests. Shared with what is under way.
class WriteDesk final : public std::enable_shared_from_this<WriteDesk> {
 public:
  using Outcome = member::Member::V2Outcome;

  /// Who waits for an outcome; on the loop.
  class Writer {
   public:
    virtual ~Writer() = default;
    /// `now` is the same for all outcomes that come together.
    virtual void OnWritten(const Outcome& outcome, MonotonicTime now) = 0;
  };

  /// One write, from Propose to OnWritten.
  class Write {
   public:
    Write(std::shared_ptr<WriteDesk> desk, Writer* writer) : desk_(std::move(desk)), writer_(writer) {}
    /// Whoever waits does so no more. On the loop.
    void Forget() { writer_ = nullptr; }

   private:
    friend class WriteDesk;
    const std::shared_ptr<WriteDesk> desk_;
    Writer* writer_;  // the loop's
    Outcome outcome_;
  };

  WriteDesk(member::Member* member, http::Loop* loop) : member_(*member), loop_(*loop) {}

  /// See Member::ProposeV2; gives the request its id. The caller forgets the write before `writer` goes. On
  /// the loop.
  std::shared_ptr<Write> Propose(v2store::RequestView request, MonotonicTime deadline, Writer* writer);

 private:
  using Writes = std::vector<std::shared_ptr<Write>>;

  void ProposeAll();
  void Finish(std::shared_ptr<Write> write);
  static void Deliver(std::shared_ptr<WriteDesk> desk);
  void DeliverSome();

  member::Member& member_;
  http::Loop& loop_;
  std::vector<member::Member::V2Write> proposed_;  // the loop's
  absl::Mutex mutex_;
  Writes finished_ ABSL_GUARDED_BY(mutex_);
  // The loop's: outcomes under way.
  Writes delivering_;
  size_t next_ = 0;
};

/// The desks of all loops. Thread-safe.
class WriteDesks {
 public:
  explicit WriteDesks(member::Member* member) : member_(*member) {}

  std::shared_ptr<WriteDesk> Of(http::Loop& loop);

 private:
  member::Member& member_;
  absl::Mutex mutex_;
  absl::flat_hash_map<http::Loop*, std::shared_ptr<WriteDesk>> desks_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace kvorum::api_v2
