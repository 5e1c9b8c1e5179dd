#pragma once

#include <cstdint>
#include <string>

#include "sim/client.h"
#include "sim/disk.h"
#include "sim/history.h"
#include "sim/network.h"
#include "sim/v2_client.h"

namespace kvorum::sim {

// The fault model: what may happen to a cluster, and what it owes in spite of it.
//
// - Messages between members may be lost, delayed, reordered and, but for proposals that are forwarded,
//   repeated; links may be cut one way or both ways, for any time. Nothing acknowledged is lost, and no
//   read goes back, whatever the network does.
// - Processes may be killed at any instant and stopped for any time. What was written to the file system
//   before a kill is there after it.
// - Machines may lose power: what was not synced is lost, in whole or in parts, sector by sector, and so
//   are names that were not synced with their directory. On any number of machines at once, for what was
//   synced stays.
// - A write or sync of a log may fail. The process ends then; its disk is good again afterwards. Disks may
//   stall.
// - Clocks run up to `clock_drift` too fast or too slow. Elections may come early or late by that much;
//   what is read and written does not depend on any clock.
// - Members are added, as voters or as learners that are promoted once they have caught up, removed,
//   replaced, moved to other URLs, and told to give the leadership away, while clients work: one change at
//   a time, each asked for again until it is to be seen, for nobody knows what became of a call that was
//   not answered. Who is removed may be the leader, or down; but of two voters it is the one that does not
//   lead, for the other could never hear that it is alone. There are 1 to 7 voters at any time. A removed
//   member answers nobody for long: it ends when it hears of its removal or is taken away, and where it is
//   started once more it ends again.
// - Single threads of a process may be slow, by up to seconds a turn, for a while.
// - Disks may be full for a while: nothing gets longer there. The process ends as after any failed write,
//   and its snapshots from others are refused; it comes back when there is room.
// - Bits may flip in a sector of a log or snapshot file at rest, the database may be set back to an older
//   state while the log stays, and the log may be gone while the database stays. A member that starts from
//   such files has all that it promised, as from a log that reaches back to where the database is, or from
//   segments that are not needed any more; every other one has to refuse to start, and is replaced. As many
//   at once as lost disks, which they are counted with. A whole sector at the end of the log that turns to
//   zeros is not owed anything: it is what a write that never ended looks like.
// - Wall clocks may jump by seconds or a day, forwards and backwards. Leases, elections and what is
//   acknowledged do not depend on them; new members' ids are made with them, and stay unique.
// - Members are taken to another release by restarts, one by one, up a minor release at a time, and down
//   again after the cluster was told to downgrade, which may be called off in the middle. In the end the
//   cluster's version is that of the release all members have.
// - Snapshots of the database are taken at any time, and read while the member goes on: each has the hash
//   that the members have at its revision. Members are defragmented at any time. The database of the
//   simulation has no pages to be free in, so that this does nothing but run; backend/ tests it on the real
//   one, where readers and the writer go on meanwhile and a crash leaves the old file or the new one.
// - Disks may be lost: as many at once as leave most voters theirs, and no further one before the machines
//   that lost theirs have been replaced. Such a machine comes back only as a new member, after the old one
//   was removed: what a voter promised it cannot keep without its disk. A disk that is set back to an older
//   state (a copy that is put back, a virtual machine's snapshot) is lost in this sense: the promises since
//   then are gone, Raft cannot bear that, and nothing is owed where it is used again under the old name.
// - What ends by time in the v2 API does so by the clock of whoever leads, which the log tells to all: not
//   before that clock shows the time, and soon after it did while there is a leader. The time itself is
//   reckoned by the clock of the member that was asked.
// - Messages and files are not forged: whoever can write a correct checksum is no fault but an attack.
//
// When the faults end, every member must answer within `patience`, and all come to the same revision.

/// One run: everything but the seed. Drawn from the seed by `Draw`.
struct Plan {
  uint64_t members = 3;
  uint64_t clients = 8;
  uint64_t watchers = 3;
  uint64_t leasers = 2;
  Workload workload;
  uint64_t v2_clients = 0;
  uint64_t v2_watchers = 0;
  V2Workload v2_workload;
  DiskManner disk;
  NetworkManner network;
  uint64_t snapshot_count = 100;
  uint64_t snapshot_catchup_entries = 20;
  uint64_t max_request_bytes = 1'572'864;
  uint64_t compaction_batch = 1000;  ///< records
  bool pre_vote = true;
  double clock_drift = 0.01;
  Instant faulty = 30'000'000'000;    ///< how long faults go on
  Instant patience = 30'000'000'000;  ///< how long the cluster may take to be well again
  // Mean time between faults of each kind; 0: none.
  Instant kill_every = 0;
  Instant power_cut_every = 0;
  Instant pause_every = 0;
  Instant cut_every = 0;
  Instant write_error_every = 0;
  Instant all_down_every = 0;
  Instant transfer_every = 0;  ///< of the leadership
  Instant change_every = 0;    ///< of the membership
  Instant disk_loss_every = 0;
  Instant full_every = 0;      ///< disks
  Instant flip_every = 0;      ///< bits of files at rest
  Instant set_back_every = 0;  ///< databases
  Instant log_loss_every = 0;
  Instant clock_jump_every = 0;  ///< wall clocks
  Instant slow_every = 0;        ///< threads
  Instant snapshot_every = 0;    ///< of the database, for an operator
  Instant defragment_every = 0;
  Instant upgrade_every = 0;           ///< of a member, or towards the next release
  size_t first_release = 3;            ///< of Upgrades
  Instant commit_every = 100'000'000;  ///< of the databases
  /// A process is killed at one in so many rare moments (Recorder::OnRare); 0: at none.
  uint64_t kill_at_one_in = 0;

  /// A swarm: each seed has its own mixture of faults, sizes and manners.
  static Plan Draw(uint64_t seed);
  std::string Text() const;
};

}  // namespace kvorum::sim
