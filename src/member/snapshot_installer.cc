#include "member/snapshot_installer.h"

#include <algorithm>
#include <utility>

#include "base/planted_bug.h"
#include "base/status.h"

namespace kvorum::member {

void SnapshotInstaller::Run(raft::Snapshot snapshot, absl::AnyInvocable<void(absl::Status)> done) {
  const raft::Index index = snapshot.metadata.index;
  KVORUM_LOG(*ports_.logger, kInfo, "applying snapshot",
             {"current-applied-index", parts_.state->applied.load()},
             {"incoming-leader-snapshot-index", index.value()},
             {"incoming-leader-snapshot-term", snapshot.metadata.term.value()});
  auto job = std::make_shared<Job>(
      Job{.snapshot = std::move(snapshot), .done = std::move(done), .start = ports_.clock->Now()});
  parts_.metrics->snapshot_apply_in_progress.Set(1);
  parts_.compactor->Pause();
  ports_.snapshots->OpenDatabase(
      index, [this, job](absl::StatusOr<std::unique_ptr<backend::ReadView>> database) mutable {
        ports_.apply_executor->Post([this, job, database = std::move(database)]() mutable {
          Replace(std::move(job), std::move(database));
        });
      });
}

void SnapshotInstaller::Replace(std::shared_ptr<Job> job,
                                absl::StatusOr<std::unique_ptr<backend::ReadView>> database) {
  if (!database.ok()) return job->done(database.status());
  const raft::SnapshotMetadata& metadata = job->snapshot.metadata;
  const backend::AppliedPosition position{.index = metadata.index.value(), .term = metadata.term.value()};
  parts_.store->BeginReload();
  ports_.backend->Replace(*std::move(database), position, [this, job](absl::Status status) {
    ports_.apply_executor->Post(
        [this, job, status = std::move(status)]() mutable { TakeOver(job, std::move(status)); });
  });
}

void SnapshotInstaller::TakeOver(const std::shared_ptr<Job>& job, absl::Status status) {
  if (status.ok()) status = Reload(job->snapshot);
  if (status.ok()) {
    const uint64_t index = job->snapshot.metadata.index.value();
    parts_.state->applied_term.store(job->snapshot.metadata.term.value(), std::memory_order_relaxed);
    parts_.state->applied.store(index, std::memory_order_release);
    ports_.snapshots->ReleaseDatabases(job->snapshot.metadata.index);
    parts_.compactor->Resume();
    parts_.metrics->snapshot_apply_in_progress.Set(0);
    KVORUM_LOG(*ports_.logger, kInfo, "applied snapshot", {"snapshot-index", index},
               {"current-revision", parts_.store->current_revision()},
               {"took", ports_.clock->Now() - job->start});
  }
  job->done(std::move(status));
}

absl::Status SnapshotInstaller::Reload(const raft::Snapshot& snapshot) {
  if (!IsPlanted(PlantedBug::kSnapshotKeepsLeases)) KVORUM_RETURN_IF_ERROR(parts_.lessor->Reload());
  KVORUM_RETURN_IF_ERROR(parts_.store->Reload());
  KVORUM_RETURN_IF_ERROR(ReloadAlarms());
  const std::vector<cluster::Member> before = parts_.cluster->members();
  KVORUM_RETURN_IF_ERROR(parts_.cluster->Load());
  ports_.backend->BeginEntry();
  // What the snapshot's data says of the membership goes before what the database says: to members of
  // etcd 3.4 and 3.5 it is all that counts.
  const std::optional<cluster::Roster> roster = parts_.v2->Recover(snapshot, *parts_.cluster, *ports_.logger);
  if (roster) parts_.cluster->Restore(*roster);
  parts_.membership->OnRestored(snapshot, before);
  ports_.backend->EndEntry(ports_.backend->applied());
  return absl::OkStatus();
}

absl::Status SnapshotInstaller::ReloadAlarms() {
  const std::vector<Alarm> before = parts_.alarms->List(AlarmType::kNone);
  KVORUM_RETURN_IF_ERROR(parts_.alarms->Load());
  const std::vector<Alarm> now = parts_.alarms->List(AlarmType::kNone);
  for (const Alarm& alarm : before) {
    if (!std::binary_search(now.begin(), now.end(), alarm)) parts_.metrics->SetAlarm(alarm, false);
  }
  for (const Alarm& alarm : now) parts_.metrics->SetAlarm(alarm, true);
  return absl::OkStatus();
}

}  // namespace kvorum::member
