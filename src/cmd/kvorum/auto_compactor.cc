#include "cmd/kvorum/auto_compactor.h"

#include <utility>

namespace kvorum::cmd {
namespace {

using std::chrono::nanoseconds;

constexpr nanoseconds kLongestInterval = std::chrono::hours(1);
constexpr nanoseconds kShortestStep = std::chrono::milliseconds(1);
constexpr nanoseconds kByCountInterval = std::chrono::minutes(5);
constexpr int kStepsAnInterval = 10;

nanoseconds IntervalOf(const AutoCompactor::Options& options) {
  return options.period == nanoseconds(0) ? kByCountInterval : std::min(options.period, kLongestInterval);
}

nanoseconds StepOf(const AutoCompactor::Options& options) {
  if (options.period == nanoseconds(0)) return kByCountInterval;
  return std::max(IntervalOf(options) / kStepsAnInterval, kShortestStep);
}

}  // namespace

AutoCompactor::AutoCompactor(const Options& options, Store store, Executor* executor, Logger* logger)
    : options_(options),
      store_(std::move(store)),
      executor_(executor),
      logger_(logger),
      interval_(IntervalOf(options)),
      step_(StepOf(options)),
      samples_kept_(static_cast<size_t>(options.period / step_) + 1) {}

AutoCompactor::~AutoCompactor() {
  *alive_ = false;
  executor_->CancelTimer(timer_);
}

void AutoCompactor::Start() {
  last_time_ = executor_->clock().Now();
  samples_.push_back(store_.current_revision());
  ScheduleNext();
}

void AutoCompactor::ScheduleNext() {
  timer_ = executor_->PostAfter(step_, [this, alive = alive_] {
    if (*alive) OnTimer();
  });
}

void AutoCompactor::OnTimer() {
  samples_.push_back(store_.current_revision());
  if (samples_.size() > samples_kept_) samples_.pop_front();
  if (!running_ && store_.is_leader()) {
    if (const int64_t revision = DueRevision(); revision > 0) Compact(revision);
  }
  ScheduleNext();
}

int64_t AutoCompactor::DueRevision() {
  const MonotonicTime now = executor_->clock().Now();
  int64_t revision = 0;
  if (options_.period > nanoseconds(0)) {
    if (samples_.size() < samples_kept_ || now - last_time_ < interval_) return 0;
    revision = samples_.front();
  } else {
    revision = samples_.back() - options_.revisions;
  }
  return revision == last_revision_ ? 0 : std::max<int64_t>(revision, 0);
}

void AutoCompactor::Compact(int64_t revision) {
  running_ = true;
  if (options_.period > nanoseconds(0)) {
    KVORUM_LOG(*logger_, kInfo, "starting auto periodic compaction", {"revision", revision},
               {"compact-period", options_.period});
  } else {
    KVORUM_LOG(*logger_, kInfo, "starting auto revision compaction", {"revision", revision},
               {"revision-compaction-retention", options_.revisions});
  }
  const MonotonicTime begin = executor_->clock().Now();
  store_.compact(revision,
                 [this, revision, begin, executor = executor_, alive = alive_](absl::Status status) {
                   executor->Post([this, revision, begin, alive, status = std::move(status)] {
                     if (*alive) OnCompacted(revision, begin, status);
                   });
                 });
}

void AutoCompactor::OnCompacted(int64_t revision, MonotonicTime begin, const absl::Status& status) {
  running_ = false;
  const MonotonicTime now = executor_->clock().Now();
  const bool by_age = options_.period > nanoseconds(0);
  if (!status.ok() && !absl::IsOutOfRange(status)) {  // tried again at the next look
    KVORUM_LOG(*logger_, kWarn,
               by_age ? "failed auto periodic compaction" : "failed auto revision compaction",
               {"revision", revision}, {"error", std::string(status.message())});
    return;
  }
  last_revision_ = revision;
  last_time_ = now;
  KVORUM_LOG(*logger_, kInfo,
             by_age ? "completed auto periodic compaction" : "completed auto revision compaction",
             {"revision", revision}, {"took", now - begin});
}

}  // namespace kvorum::cmd
