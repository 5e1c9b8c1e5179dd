#include "api/v3/stream.h"

namespace kvorum::api_v3 {

constexpr int kMaxTicksWithoutLeader = 3;

LeaderGuard::LeaderGuard(Core* core, grpc::StreamWriter* writer, absl::AnyInvocable<void()> lost)
    : core_(core), loop_(writer->loop()), lost_(std::move(lost)) {
  const std::string_view* wanted = writer->info().Find("hasleader");
  if (wanted != nullptr && *wanted == "true") Arm();
}

LeaderGuard::~LeaderGuard() {
  if (armed_) loop_.CancelTimer(timer_);
}

void LeaderGuard::Arm() {
  armed_ = true;
  timer_ = loop_.PostAfter(core_->member().options().election_timeout, [this] { Tick(); });
}

void LeaderGuard::Tick() {
  armed_ = false;
  const bool has_leader = core_->member().status().leader != MemberId(0);
  ticks_without_leader_ = has_leader ? 0 : ticks_without_leader_ + 1;
  if (ticks_without_leader_ >= kMaxTicksWithoutLeader) {
    auto lost = std::move(lost_);
    lost();
    return;
  }
  Arm();
}

}  // namespace kvorum::api_v3
