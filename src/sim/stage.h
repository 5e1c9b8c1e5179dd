#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "fmt/format.h"
#include "sim/client.h"
#include "sim/history.h"
#include "sim/leaser.h"
#include "sim/network.h"
#include "sim/node.h"
#include "sim/plan.h"
#include "sim/scheduler.h"
#include "sim/truth.h"
#include "sim/v2_client.h"
#include "sim/v2_truth.h"
#include "sim/v2_watcher.h"
#include "sim/watcher.h"

namespace kvorum::sim {

/// Told what happens, for `--trace`; null: nobody.
using Observer = std::function<void(Instant now, const std::string& what)>;

/// Everything there is in a run: the machines and the processes on them, the network, the clients and what
/// they noted. It starts processes that are down; what is done to them stands in faults.h, in which order and
/// what is made of it in run.cc. One thread.
class Stage {
 public:
  Stage(uint64_t seed, const Plan& plan, const Observer& observer);
  /// Ends every process.
  ~Stage();

  /// Sets up the plan's machines and clients, and starts them.
  void Build();
  /// No client begins anything new.
  void StopClients();
  /// Ends every process, for good.
  void EndAll();

  /// The process dies, and is started again within seconds.
  void Kill(Node& node, bool power_cut);
  /// A new machine, which joins the cluster as `id`; it is started as soon as it can be.
  Node& Join(MemberId id, std::string url);
  /// The process ends, if one runs, and none starts there any more.
  void Retire(Node& node);
  /// The process dies, and what its disk holds is gone: it can be used again only as a new member.
  void LoseDisk(Node& node);
  /// The process dies by a power cut and `harm` is done to its files: perhaps it does not start from them any
  /// more, which is the end of this member.
  void HarmFiles(Node& node, absl::FunctionRef<void()> harm);
  /// Its disk is gone, or it does not start from what is there.
  bool IsBroken(const Node& node) const { return broken_.contains(node.id()); }
  /// Its files were harmed, and it has not started since.
  bool IsSuspect(const Node& node) const { return suspects_.contains(node.id()); }
  bool has_suspects() const { return !suspects_.empty(); }
  /// What machines that are set up from now on say that they are.
  void SetRelease(std::string release) { release_ = std::move(release); }

  template <typename... Args>
  void Say(fmt::format_string<Args...> format, Args&&... args) {
    if (observer_) observer_(scheduler_.now(), fmt::format(format, std::forward<Args>(args)...));
  }

  const Plan& plan() const { return plan_; }
  Scheduler& scheduler() { return scheduler_; }
  Network& network() { return network_; }
  const Truth& truth() const { return truth_; }
  V2Truth& v2_truth() { return v2_truth_; }
  History& history() { return history_; }
  Recorder& recorder() { return recorder_; }
  /// The machines that are in use.
  const std::vector<Node*>& present() const { return present_; }
  /// One of them, by chance.
  Node& Any() { return *present_[scheduler_.chance().Below(present_.size())]; }
  const std::vector<std::unique_ptr<Client>>& clients() const { return clients_; }
  const std::vector<std::unique_ptr<Watcher>>& watchers() const { return watchers_; }
  const std::vector<std::unique_ptr<Leaser>>& leasers() const { return leasers_; }
  const std::vector<std::unique_ptr<V2Client>>& v2_clients() const { return v2_clients_; }
  const std::vector<std::unique_ptr<V2Watcher>>& v2_watchers() const { return v2_watchers_; }
  /// How far the wall time of any machine ever was ahead of the true one, and how far that of any in use is
  /// behind it now; negative: all are ahead.
  Instant clock_ahead() const;
  Instant clock_behind() const;
  uint64_t kills() const { return kills_; }
  /// Promises that were seen broken while the run went on.
  Violations& violations() { return violations_; }

 private:
  Node& AddMachine(Node::Options options);
  void BuildMachines();
  void BuildClients();
  void BuildV2Clients();
  void Start(Node& node);
  void End(Node& node, bool power_cut);
  void EndRemoved(Node& node);
  /// Ends processes that want to end, and starts those that are down; again and again.
  void Supervise();
  void CommitDatabases();

  const Plan& plan_;
  const Observer& observer_;
  Scheduler scheduler_;
  History history_;
  Recorder recorder_{&history_};
  Network network_;
  Truth truth_;
  V2Truth v2_truth_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<Node*> present_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<std::unique_ptr<Watcher>> watchers_;
  std::vector<std::unique_ptr<Leaser>> leasers_;
  std::vector<std::unique_ptr<V2Client>> v2_clients_;
  std::vector<std::unique_ptr<V2Watcher>> v2_watchers_;
  std::map<Node*, Instant> down_until_;  // looked up only
  std::set<MemberId> broken_;
  std::set<MemberId> suspects_;
  std::string release_;
  uint64_t kills_ = 0;
  Violations violations_;
};

}  // namespace kvorum::sim
