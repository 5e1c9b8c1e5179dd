#include "raft/read_index.h"

#include <utility>

namespace kvorum::raft {

namespace {

constexpr size_t kNumberBytes = 8;

Bytes ContextOfRound(uint64_t number) {
  return Bytes::Build(kNumberBytes, [number](char* out) {
    for (size_t i = 0; i < kNumberBytes; ++i) out[i] = static_cast<char>(number >> (56 - 8 * i));
  });
}

uint64_t RoundOfContext(const Bytes& context) {
  if (context.size() != kNumberBytes) return 0;
  uint64_t number = 0;
  for (const char c : context.view()) number = number << 8 | static_cast<unsigned char>(c);
  return number;
}

}  // namespace

ReadIndexQueue::Round* ReadIndexQueue::Find(const Bytes& context) {
  const uint64_t number = RoundOfContext(context);
  return number < first_ || number - first_ >= rounds_.size() ? nullptr : &rounds_[number - first_];
}

bool ReadIndexQueue::Add(Index committed, Message request) {
  if (!contexts_.insert(ContextOf(request)).second) return false;
  last_context_ = ContextOfRound(first_ + rounds_.size());
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
    contexts_.erase(ContextOf(round.read.request));
    confirmed.push_back(std::move(round.read));
    rounds_.pop_front();
    ++first_;
  }
  if (rounds_.empty()) last_context_ = Bytes();
  return confirmed;
}

void ReadIndexQueue::Clear() {
  contexts_.clear();
  first_ += rounds_.size();
  rounds_.clear();
  last_context_ = Bytes();
}

}  // namespace kvorum::raft
