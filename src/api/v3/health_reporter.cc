#include "api/v3/health_reporter.h"

namespace kvorum::api_v3 {

void HealthReporter::Start() {
  last_leader_ = parts_.executor->clock().Now();
  Look();
}

void HealthReporter::Stop() {
  stopped_ = true;
  parts_.executor->CancelTimer(timer_);
  Report(false);
}

void HealthReporter::Look() {
  if (stopped_) return;
  timer_ = parts_.executor->PostAfter(parts_.member->options().election_timeout / 4, [this] { Look(); });
  const std::string_view trouble = Trouble();
  if (trouble.empty() == serving_) return;
  if (serving_) {
    KVORUM_LOG(*parts_.logger, kWarn, "gRPC health is NOT_SERVING", {"reason", trouble});
  } else {
    KVORUM_LOG(*parts_.logger, kInfo, "gRPC health is SERVING");
  }
  Report(!serving_);
}

std::string_view HealthReporter::Trouble() {
  const member::MemberStatus status = parts_.member->status();
  const MonotonicTime now = parts_.executor->clock().Now();
  if (status.leader != MemberId(0)) last_leader_ = now;
  if (status.disk_stalled) return "the disk is stuck";
  return now - last_leader_ < parts_.member->options().election_timeout ? "" : "no leader";
}

void HealthReporter::Report(bool serving) {
  if (serving == serving_) return;
  serving_ = serving;
  parts_.report(serving);
}

}  // namespace kvorum::api_v3
