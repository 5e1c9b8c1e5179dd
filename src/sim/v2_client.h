#pragma once

#include <map>
#include <optional>
#include <string>

#include "sim/client.h"
#include "sim/history.h"
#include "sim/node.h"
#include "sim/v2_truth.h"

namespace kvorum::sim {

/// What clients of the v2 API do, in parts of their sum.
struct V2Workload {
  Instant think = 10'000'000;  ///< between an answer and the next request, at most twice this
  uint64_t keys = 6;           ///< names in each directory
  uint64_t longest_ttl = 6;    ///< seconds
  uint64_t ttl_one_in = 4;     ///< of the writes that can have one; 0: none
  uint64_t set = 24;
  uint64_t create = 8;
  uint64_t update = 8;
  uint64_t refresh = 6;
  uint64_t swap = 16;
  uint64_t compare_and_delete = 5;
  uint64_t remove = 6;
  uint64_t remove_recursive = 2;
  uint64_t in_order = 6;
  uint64_t directory = 4;
  uint64_t get = 12;
  uint64_t get_quorum = 10;
  uint64_t list = 5;
};

/// One client of the v2 API, as `Client` is one of the v3 API. Times at which nodes end are reckoned by the
/// member that is asked, as the API does it.
class V2Client {
 public:
  /// Everything is borrowed.
  V2Client(uint64_t id, Scheduler* scheduler, const V2Workload* workload, Client::Nodes nodes,
           History* history);

  void Start();
  /// No new request is begun.
  void Stop() { stopped_ = true; }
  uint64_t answered() const { return answered_; }

 private:
  /// What is to be asked. A time to live becomes the time of the end where the request arrives.
  struct Question {
    v2store::Request request;
    std::optional<uint64_t> ttl;
    bool quorum = false;
  };
  /// What the client saw of a file.
  struct Seen {
    std::string value;
    uint64_t modified = 0;
  };

  void Next();
  void Begin(Question question);
  void Arrive(size_t at, const Errand::Trip& trip, std::optional<uint64_t> ttl);
  void Return(size_t at, const Errand::Trip& trip, member::Member::V2Outcome outcome);
  void Finish();

  Question Pick();
  v2store::Request Write();
  v2store::Request Compare(std::string method);
  Question Read();
  void Remember(const V2Operation& operation);
  std::string Directory();
  std::string Path();
  std::string Value();

  const uint64_t id_;
  Scheduler* const scheduler_;
  Errand errand_;
  const V2Workload* const workload_;
  const Client::Nodes nodes_;
  History* const history_;
  bool stopped_ = false;
  uint64_t values_ = 0;
  uint64_t answered_ = 0;
  std::map<std::string, Seen> seen_;
};

/// Sends `request` to the member, as the v2 API does behind its checks; `done` runs once, at any time, while
/// the process lives. A GET with `quorum` sees everything that was acknowledged.
void AskV2(member::Member& member, const v2store::Request& request, bool quorum,
           absl::AnyInvocable<void(member::Member::V2Outcome)> done);

/// Reads everything at that member now, into the history.
void ReadWholeV2Store(Node& node, Instant now, History* history);

}  // namespace kvorum::sim
