#include "api/v2/key_write.h"

#include <algorithm>
#include <utility>

namespace kvorum::api_v2 {
namespace {

/// Answers that are given before they are sent and others have their turn: as many blocks of memory as a loop
/// keeps for the next turn.
constexpr size_t kAnswersPerTurn = 32;

}  // namespace

std::shared_ptr<WriteDesk::Write> WriteDesk::Propose(v2store::Request request, MonotonicTime deadline,
                                                     Writer* writer) {
  auto write = std::make_shared<Write>();
  write->writer_ = writer;
  proposed_.push_back({.request = std::move(request),
                       .deadline = deadline,
                       .done = [self = shared_from_this(), write](Outcome outcome) {
                         write->outcome_ = std::move(outcome);
                         self->Finish(write);
                       }});
  if (proposed_.size() == 1) {
    loop_.Post([self = shared_from_this()] { self->ProposeAll(); });  // behind the input that waits
  }
  return write;
}

void WriteDesk::ProposeAll() { member_.ProposeV2(std::exchange(proposed_, {})); }

void WriteDesk::Finish(std::shared_ptr<Write> write) {
  bool first = false;
  {
    absl::MutexLock lock(&mutex_);
    first = finished_.empty();
    finished_.push_back(std::move(write));
  }
  if (first) Deliver();
}

void WriteDesk::DeliverSome() {
  if (next_ == delivering_.size()) {
    next_ = 0;
    delivering_.clear();
    absl::MutexLock lock(&mutex_);
    delivering_.swap(finished_);
  }
  const size_t end = std::min(next_ + kAnswersPerTurn, delivering_.size());
  while (next_ < end) {
    const std::shared_ptr<Write> write = std::move(delivering_[next_++]);
    if (Writer* const writer = std::exchange(write->writer_, nullptr)) writer->OnWritten(write->outcome_);
  }
  if (end < delivering_.size()) Deliver();
}

void WriteDesk::Deliver() {
  loop_.Post([self = shared_from_this()] { self->DeliverSome(); });
}

std::shared_ptr<WriteDesk> WriteDesks::Of(http::Loop& loop) {
  absl::MutexLock lock(&mutex_);
  std::shared_ptr<WriteDesk>& desk = desks_[&loop];
  if (desk == nullptr) desk = std::make_shared<WriteDesk>(&member_, &loop);
  return desk;
}

}  // namespace kvorum::api_v2
