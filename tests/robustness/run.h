#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "robustness/kv_client.h"
#include "robustness/leaser.h"
#include "robustness/scene.h"
#include "robustness/watcher.h"
#include "robustness/witness.h"

namespace kvorum::robustness {

/// Who uses the cluster, and how long it may take to be well again once the faults are over.
struct Options {
  uint64_t seed = 0;
  std::vector<std::pair<std::string, std::string>> endpoints;  ///< name, "127.0.0.1:2379"
  uint64_t clients = 8;
  uint64_t watchers = 4;
  uint64_t leasers = 2;
  sim::Workload workload;
  Instant patience = 60 * kSecond;
};

/// What a run came to.
struct Verdict {
  enum class Kind : uint8_t { kGood, kSafety, kLiveness };
  Kind kind = Kind::kGood;
  sim::Violations violations;
};

/// One run on a cluster that runs already: clients use it while others break it; then, from EndOfFaults on,
/// nobody does, every member has to be well again within the patience, and what clients saw is checked.
/// On the loop only, the destructor too.
class Run {
 public:
  using Done = std::function<void(Verdict)>;

  Run(http::Loop* loop, Options options, Done done);
  ~Run();

  void Start();
  /// No further fault comes. `done` is called some time later.
  void EndOfFaults();

  Scene& scene() { return scene_; }

 private:
  void AwaitHealth();
  void LookForLeaders();
  void Drain();
  void AwaitEndOfLeases();
  void AwaitSameRevision(int64_t before);
  void AwaitSameHash();
  void AwaitWatches();
  void Check();
  /// `ask` every member by one call; `done` gets the answers of those that gave one in time.
  template <typename Response, typename Request>
  void AskAll(std::string_view method, const Request& request,
              absl::AnyInvocable<void(std::vector<std::pair<MemberId, Response>>)> done);
  /// Tries `step` again soon; where the patience is over by then, says `what` was not well.
  void Again(const std::string& what, absl::AnyInvocable<void()> step);
  void Finish(Verdict::Kind kind, const sim::Violations& violations);

  const Options options_;
  const Done done_;
  Scene scene_;
  std::vector<std::unique_ptr<Witness>> witnesses_;
  std::vector<std::unique_ptr<KvClient>> clients_;
  std::vector<std::unique_ptr<Watcher>> watchers_;
  std::vector<std::unique_ptr<Leaser>> leasers_;
  bool checked_ = false;
  sim::Violations lost_;          // what was told and is no more
  sim::Violations late_;          // watches that did not come to the end in time
  Instant latest_ = sim::kNever;  // by then the step under way has to be done
  Instant disturbed_ = 0;         // there was no leader, or another one, up to then
  uint64_t term_ = 0;
};

}  // namespace kvorum::robustness
