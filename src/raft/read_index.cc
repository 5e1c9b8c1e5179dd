#include "raft/read_index.h"

#include <utility>

namespace kvorum::raft {

ReadIndexQueue::Round* ReadIndexQueue::Find(const Bytes& context) {
  const auto number = numbers_.find(context.view());
  return number == numbers_.end() ? nullptr : &rounds_[number->second - first_];
}

bool ReadIndexQueue::Add(Index committed, Message request) {
  if (!numbers_.try_emplace(ContextOf(request).view(), first_ + rounds_.size()).second) return false;
  rounds_.push_back({.read = {.index = committed, .request = std::move(request)}, .acknowledged = {}});
  return true;
}

const Votes* ReadIndexQueue::Acknowledge(NodeId from, const Bytes& context) {
  Round* round = Find(context);
  if (round == nullptr) return nullptr;
  round->acknowledged[from] = true;
  return &round->acknowledged;
}

std::vector<ReadIndexQueue::Read> ReadIndexQueue::Confirm(const Bytes& context) {
  std::vector<Read> confirmed;
  const Round* last = Find(context);
  if (last == nullptr) return confirmed;
  for (bool more = true; more;) {
    Round& round = rounds_.front();
    more = &round != last;
    numbers_.erase(ContextOf(round.read.request).view());
    confirmed.push_back(std::move(round.read));
    rounds_.pop_front();
    ++first_;
  }
  return confirmed;
}

Bytes ReadIndexQueue::LastContext() const {
  return rounds_.empty() ? Bytes() : ContextOf(rounds_.back().read.request);
}

void ReadIndexQueue::Clear() {
  numbers_.clear();
  rounds_.clear();
  first_ = 0;
}

}  // namespace kvorum::raft
