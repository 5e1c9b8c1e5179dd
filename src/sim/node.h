#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "member/member.h"
#include "sim/disk.h"
#include "sim/executor.h"
#include "sim/network.h"
#include "sim/node_clock.h"
#include "sim/recording_backend.h"

namespace kvorum::sim {

/// One machine: a clock, a disk, and at times a process with a member in it.
class Node final : public Machine {
 public:
  struct Options {
    std::string name;
    std::string peer_url;
    /// As --initial-cluster has them: the first members; or, of one that joins a cluster that runs, all there
    /// are.
    std::map<std::string, std::vector<std::string>> initial_cluster;
    /// Of one that joins: the id it was added under; 0: one of the first.
    MemberId joins_as;

    member::MemberOptions member;
    DiskManner disk;
    /// Stands between the member and its database; null: nothing does. For scripts.
    std::function<std::unique_ptr<backend::Backend>(backend::MemoryBackend*)> wrap_database;
  };

  Node(Scheduler* scheduler, Network* network, Options options);
  /// Kills the process.
  ~Node() override;

  /// Starts a process from what the disk has. Errors: why it does not start; FailedPrecondition also where
  /// the member was removed, and where one that joins finds nobody to ask.
  absl::Status Start();
  /// SIGKILL; or, with `power_cut`, what was not synced is lost as well.
  void Kill(bool power_cut);
  /// SIGSTOP and SIGCONT.
  void Pause();
  void Resume();
  /// A new, empty disk is put in. REQUIRES: !up()
  void Wipe();
  /// The database is this one from the next start on. REQUIRES: !up()
  void PutDatabase(std::unique_ptr<backend::MemoryBackend> database);
  static constexpr size_t kThreads = 3;
  /// One of the process's threads takes up to `lag` longer each time before it gets going.
  void Slow(size_t thread, Instant lag);
  /// The release that the process says it is of, from the next start on.
  void SetRelease(std::string release) { options_.member.release = std::move(release); }
  const std::string& release() const { return options_.member.release; }
  /// Where it is to be found from now on.
  void SetPeerUrls(std::vector<std::string> urls) { peer_urls_ = std::move(urls); }
  /// What --initial-cluster says at the next start.
  void SetInitialCluster(std::map<std::string, std::vector<std::string>> cluster) {
    options_.initial_cluster = std::move(cluster);
  }

  bool up() const { return member_ != nullptr; }
  bool paused() const { return paused_; }
  /// Has published itself.
  bool published() const { return ready_ && up() && !paused_; }
  /// Clients are served: published, and no learner, which gives nothing but serializable reads.
  bool ready() const { return published() && !member_->cluster().IsLocalLearner(); }
  /// The process wants to end: its log failed (`fatal`), or it was removed from the cluster.
  bool ended() const { return !fatal_.ok() || removed_; }
  const absl::Status& fatal() const { return fatal_; }
  bool removed() const { return removed_; }
  uint64_t starts() const { return starts_; }
  /// It was added to a cluster that runs, and has not yet started once.
  bool IsJoining() const { return options_.joins_as != MemberId(0) && !has_run_; }

  MemberId id() const { return id_; }
  const std::string& name() const { return options_.name; }
  NodeClock& clock() { return clock_; }
  Disk& disk() { return disk_; }
  /// Commits the database, as its own thread does ever and again; the end of the process where the disk is
  /// full.
  void CommitDatabase();
  /// What is committed of it.
  std::unique_ptr<backend::MemoryBackend> CopyDatabase() { return backend_->Crash(); }
  SimExecutor& raft_executor() { return *raft_; }
  Executor& apply_executor() { return *apply_; }

  /// The member, also while the process is stopped; null where none is up.
  member::Member* running() { return member_.get(); }

  // Machine
  member::Member* member() override { return paused_ ? nullptr : member_.get(); }
  bool TakeDatabase(raft::Index index, std::unique_ptr<backend::MemoryBackend> database) override {
    return disk_.TakeDatabase(index, std::move(database));
  }
  const std::vector<std::string>& peer_urls() const override { return peer_urls_; }

 private:
  absl::Status Bring();
  absl::StatusOr<member::StartState> StateFromDisk(std::unique_ptr<wal::Wal>* wal);
  absl::Status FinishInstall(const member::StartState& start);

  Scheduler* const scheduler_;
  Network* const network_;
  Options options_;
  std::vector<std::string> peer_urls_;
  MemberId id_;
  NodeClock clock_;
  Disk disk_;
  std::unique_ptr<backend::MemoryBackend> backend_;
  uint64_t starts_ = 0;
  bool has_run_ = false;
  uint64_t durable_ = 0;  // the database had everything up to this index on its disk

  // Of the process.
  std::unique_ptr<SimExecutor> raft_;
  std::unique_ptr<SimExecutor> apply_;
  std::unique_ptr<SimExecutor> background_;
  std::unique_ptr<Random> random_;
  std::unique_ptr<metrics::Registry> metrics_;
  std::unique_ptr<member::PeerTransport> transport_;
  std::unique_ptr<member::PeerCalls> calls_;
  std::unique_ptr<backend::Backend> wrapped_;
  std::unique_ptr<RecordingBackend> database_;  // as the member sees it
  std::unique_ptr<FileLock> lock_;
  bool paused_ = false;
  bool ready_ = false;
  bool removed_ = false;
  absl::Status fatal_;
  std::unique_ptr<member::Member> member_;
};

}  // namespace kvorum::sim
