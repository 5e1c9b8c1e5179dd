#include "api/v2/key_write.h"

#include <algorithm>
#include <utility>

#include "base/recycled.h"

namespace kvorum::api_v2 {
namespace {

/// Answers that are given before they are sent and others have their turn: as many blocks of memory as a loop
/// keeps for the next turn.
constexpr size_t kAnswersPerTurn = 32;
/// So many writes may leave together without taking memory for it anew.
constexpr size_t kKeptCapacity = 256;

}  // namespace

std::shared_ptr<WriteDesk::Write> WriteDesk::Propose(v2store::RequestView request, MonotonicTime deadline,
                                                     Writer* writer) {
  auto write = std::allocate_shared<Write>(RecyclingAllocator<Write>(), shared_from_this(), writer);
  const member::RequestId id = member_.NextRequestId();
  request.id = id.value();
  proposed_.push_back({.id = id,
                       .entry = v2store::Encode(request),
                       .deadline = deadline,
                       .done = [write](member::ApplyResult result) mutable {
                         write->outcome_ = member::Member::OutcomeOf(std::move(result));
                         WriteDesk& desk = *write->desk_;
                         desk.Finish(std::move(write));
                       }});
  if (proposed_.size() == 1) {
    loop_.Post([self = shared_from_this()] { self->ProposeAll(); });  // behind the input that waits
  }
  return write;
}

void WriteDesk::ProposeAll() {
  member_.ProposeV2(proposed_);
  proposed_.clear();
  if (proposed_.capacity() > kKeptCapacity) proposed_.shrink_to_fit();
}

void WriteDesk::Finish(std::shared_ptr<Write> write) {
  std::shared_ptr<WriteDesk> self;
  {
    absl::MutexLock lock(&mutex_);
    // Once the loop may take the write, only a share of one's own keeps this.
    if (finished_.empty()) self = shared_from_this();
    finished_.push_back(std::move(write));
  }
  if (self != nullptr) Deliver(std::move(self));
}

void WriteDesk::DeliverSome() {
  if (next_ == delivering_.size()) {
    next_ = 0;
    delivering_.clear();
    absl::MutexLock lock(&mutex_);
    delivering_.swap(finished_);
  }
  const size_t end = std::min(next_ + kAnswersPerTurn, delivering_.size());
  const MonotonicTime now = loop_.clock().Now();
  while (next_ < end) {
    const std::shared_ptr<Write> write = std::move(delivering_[next_++]);
    if (Writer* const writer = std::exchange(write->writer_, nullptr)) {
      writer->OnWritten(write->outcome_, now);
    }
  }
  if (end < delivering_.size()) Deliver(shared_from_this());
}

void WriteDesk::Deliver(std::shared_ptr<WriteDesk> desk) {
  http::Loop& loop = desk->loop_;
  loop.Post([desk = std::move(desk)] { desk->DeliverSome(); });
}

std::shared_ptr<WriteDesk> WriteDesks::Of(http::Loop& loop) {
  absl::MutexLock lock(&mutex_);
  std::shared_ptr<WriteDesk>& desk = desks_[&loop];
  if (desk == nullptr) desk = std::make_shared<WriteDesk>(&member_, &loop);
  return desk;
}

}  // namespace kvorum::api_v2
