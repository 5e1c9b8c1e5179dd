#include "member/read_witness.h"

#include "base/planted_bug.h"

#include <algorithm>

namespace kvorum::member {
namespace {

constexpr size_t kMostVoters = 3;

std::vector<raft::NodeId> PartnersOf(raft::NodeId self, const raft::ConfState& conf) {
  std::vector<raft::NodeId> partners = conf.voters;
  const auto own = std::find(partners.begin(), partners.end(), self);
  const bool many = partners.size() > kMostVoters && !IsPlanted(PlantedBug::kWitnessMinority);
  if (own == partners.end() || many || !conf.voters_outgoing.empty()) return {};
  partners.erase(own);
  return partners;
}

}  // namespace

void ReadWitness::Show(uint64_t term_led, const raft::ConfState& conf) {
  if (term_led == shown_term_ && (term_led == 0 || conf == shown_conf_)) return;
  shown_term_ = term_led;
  shown_conf_ = conf;
  std::vector<raft::NodeId> partners;
  if (term_led != 0) partners = PartnersOf(self_, conf);
  absl::MutexLock lock(&mutex_);
  term_ = term_led;
  partners_ = std::move(partners);
}

std::optional<raft::Message> ReadWitness::Answer(const raft::Message& question,
                                                 const SharedState& state) const {
  const raft::Term stamp = question.log_term;
  if (question.type != raft::MessageType::kReadIndex || stamp.value() == 0) return std::nullopt;
  {
    absl::MutexLock lock(&mutex_);
    if (term_ != stamp.value() ||
        std::find(partners_.begin(), partners_.end(), question.from) == partners_.end()) {
      return std::nullopt;
    }
  }
  if (state.applied_leader_term.load(std::memory_order_acquire) != stamp.value()) return std::nullopt;
  return raft::Message{.type = raft::MessageType::kReadIndexResp,
                       .to = question.from,
                       .from = self_,
                       .term = stamp,
                       .index = raft::Index(state.committed.load(std::memory_order_acquire)),
                       .entries = question.entries};
}

}  // namespace kvorum::member
