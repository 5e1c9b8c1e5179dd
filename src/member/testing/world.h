#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/memory_backend.h"
#include "base/random.h"
#include "gtest/gtest.h"
#include "member/kv.h"
#include "member/member.h"
#include "member/testing/fakes.h"
#include "proto/rpc.pb.h"

namespace kvorum::member {

/// A whole member with its surroundings, in one thread. `seed` 0: everything runs in a fixed order; else in a
/// random one.
class World {
 public:
  static constexpr MemberId kId{0x1234};
  static constexpr ClusterId kClusterId{0x5678};

  explicit World(uint64_t seed = 0) : order_(seed), random_order_(seed != 0) {
    options_.name = "m1";
    options_.advertise_client_urls = {"http://127.0.0.1:2379"};
  }
  ~World() { Crash(); }

  MemberOptions& options() { return options_; }
  FakeDisk& disk() { return disk_; }
  FakeClock& clock() { return clock_; }
  backend::MemoryBackend& backend() { return *backend_; }
  Member& member() { return *member_; }
  Ports& ports() { return ports_; }
  const absl::Status& fatal() const { return fatal_; }
  bool ready() const { return ready_; }
  metrics::Registry& registry() { return registry_; }
  bool up() const { return member_ != nullptr; }
  bool removed() const { return removed_; }
  /// It was removed and will not start again.
  void GiveUp() { removed_ = true; }
  /// Before Start: which member of which cluster, a new one or one that exists.
  void Join(MemberId id, std::vector<cluster::Member> members, bool exists, PeerTransport* transport,
            PeerCalls* calls) {
    id_ = id;
    members_ = std::move(members);
    cluster_exists_ = exists;
    transport_ = transport;
    calls_ = calls;
  }
  void set_entries_before_start(std::vector<raft::Entry> entries) { extra_ = std::move(entries); }

  /// Brings the member up from what the disk has, and waits until it is ready.
  absl::Status Start() {
    absl::Status status = Begin();
    if (!status.ok()) return status;
    for (int i = 0; i < 1000 && !ready_; ++i) Advance(std::chrono::milliseconds(10));
    EXPECT_TRUE(ready_);
    return absl::OkStatus();
  }
  /// The same without waiting.
  absl::Status Begin() {
    for (auto& executor : executors_) executor = std::make_unique<ManualExecutor>(&clock_);
    random_ = std::make_unique<Random>(++starts_ + id_.value() * 100);
    ports_ = {.clock = &clock_,
              .raft_executor = executors_[0].get(),
              .apply_executor = executors_[1].get(),
              .background_executor = executors_[2].get(),
              .log = &disk_,
              .snapshots = &disk_,
              .backend = backend_.get(),
              .transport = transport_,
              .calls = calls_,
              .random = random_.get(),
              .logger = &NullLogger(),
              .metrics = &registry_,
              .on_fatal = [this](absl::Status status) { fatal_ = std::move(status); },
              .on_removed = [this] { removed_ = true; }};
    ready_ = false;
    StartState start{.id = id_, .cluster_id = kClusterId, .log = disk_.Recover()};
    if (disk_.empty()) (cluster_exists_ ? start.known_members : start.bootstrap_members) = members_;
    FinishInstall();
    if (!extra_.empty()) start.log->Append(extra_);
    absl::StatusOr<std::unique_ptr<Member>> member = Member::Create(options_, ports_, std::move(start));
    if (!member.ok()) return member.status();
    member_ = *std::move(member);
    member_->Start([this] { ready_ = true; });
    return absl::OkStatus();
  }

  /// The process ends at this instant. The first `kept_writes` that were on their way reach the disk.
  void Crash(size_t kept_writes = 0) {
    for (auto& executor : executors_) executor.reset();
    disk_.Crash(kept_writes);
    member_.reset();
    backend_ = backend_->Crash();
    fatal_ = absl::OkStatus();
  }

  /// One step of somebody; false where nobody has anything to do now.
  bool Step() {
    const size_t first = random_order_ ? order_.Below(4) : 0;
    for (size_t i = 0; i < 4; ++i) {
      const size_t who = (first + i) % 4;
      if (who == 3 ? !hold_disk_ && disk_.RunOne() : executors_[who]->RunOne()) return true;
    }
    return false;
  }
  /// Until nothing is left to do at this time.
  void Settle() {
    for (int i = 0; i < 1'000'000; ++i) {
      if (!Step()) return;
    }
    ADD_FAILURE() << "there is always something left to do";
  }
  /// Lets `time` pass, timer by timer.
  void Advance(std::chrono::nanoseconds time) {
    const MonotonicTime end = clock_.Now() + time;
    for (;;) {
      Settle();
      std::optional<MonotonicTime> next;
      for (const auto& executor : executors_) {
        const std::optional<MonotonicTime> timer = executor->NextTimer();
        if (timer && (!next || *timer < *next)) next = timer;
      }
      if (!next || *next > end) break;
      clock_.Set(std::max(*next, clock_.Now()));
    }
    clock_.Set(end);
    Settle();
  }
  void HoldDisk(bool hold) { hold_disk_ = hold; }

  /// Proposes; the result comes into `*result` when there is one.
  template <typename Request>
  void Propose(RequestKind kind, const Request& request, std::optional<ApplyResult>* result) {
    const RequestId id = member_->NextRequestId();
    member_->Propose(id, BuildEntry(kind, request.SerializeAsString(), id, {}), MonotonicTime::max(),
                     [result](ApplyResult got) {
                       EXPECT_FALSE(result->has_value());
                       *result = std::move(got);
                     });
  }
  /// Proposes and waits.
  template <typename Request>
  ApplyResult Do(RequestKind kind, const Request& request) {
    std::optional<ApplyResult> result;
    Propose(kind, request, &result);
    for (int i = 0; i < 1000 && !result; ++i) {
      Settle();
      if (!result) Advance(std::chrono::milliseconds(50));
    }
    EXPECT_TRUE(result);
    return result ? *std::move(result) : ApplyResult{.status = absl::UnknownError("no result")};
  }

  ApplyResult Put(const std::string& key, const std::string& value, int64_t lease = 0) {
    etcdserverpb::PutRequest request;
    request.set_key(key);
    request.set_value(value);
    request.set_lease(lease);
    return Do(RequestKind::kPut, request);
  }
  /// The same for the v2 API.
  void ProposeV2(v2store::Request request, std::optional<Member::V2Outcome>* outcome) {
    member_->ProposeV2(std::move(request), MonotonicTime::max(), [outcome](Member::V2Outcome got) {
      EXPECT_FALSE(outcome->has_value());
      *outcome = std::move(got);
    });
  }
  Member::V2Outcome DoV2(v2store::Request request) {
    std::optional<Member::V2Outcome> outcome;
    ProposeV2(std::move(request), &outcome);
    for (int i = 0; i < 1000 && !outcome; ++i) {
      Settle();
      if (!outcome) Advance(std::chrono::milliseconds(50));
    }
    EXPECT_TRUE(outcome);
    return outcome ? *std::move(outcome) : Member::V2Outcome{.status = absl::UnknownError("no outcome")};
  }
  /// The v2 store as a snapshot has it, but for what is this member's own: the counters of what it was asked,
  /// and how long keys had to live when it applied an event.
  std::string V2Json() {
    std::string json = member_->v2_store().SaveView()->ToJson();
    json.resize(json.find("\"Stats\":{"));
    const std::string ttl = "\"ttl\":";
    std::string out;
    size_t from = 0;
    for (size_t at = 0; (at = json.find(ttl, from)) != std::string::npos;) {
      out += json.substr(from, at - from);
      from = json.find(',', at) + 1;
    }
    return out + json.substr(from);
  }

  /// The newest value; nothing where there is no such key.
  std::optional<std::string> Get(const std::string& key) {
    const auto reply = ReadRangeOf(key, "");
    if (reply.kvs_size() == 0) return std::nullopt;
    return reply.kvs(0).value();
  }
  etcdserverpb::RangeResponse ReadRangeOf(const std::string& key, const std::string& end) {
    etcdserverpb::RangeResponse response;
    const absl::StatusOr<KvReply> reply = ReadRange(member_->store(), {.key = key, .range_end = end});
    EXPECT_TRUE(reply.ok()) << reply.status();
    if (reply.ok()) {
      EXPECT_TRUE(response.ParseFromString(reply->body));
    }
    return response;
  }

 private:
  /// As a start does where the log knows of a snapshot that the database has not.
  void FinishInstall() {
    const raft::Index noted = disk_.noted();
    if (noted.value() <= backend_->applied().index) return;
    backend::MemoryBackend* database = disk_.database(noted);
    ASSERT_NE(database, nullptr) << noted.value();
    const backend::AppliedPosition position{.index = noted.value(),
                                            .term = disk_.files().at(noted).metadata.term.value()};
    backend_->Replace(database->NewReadView(), position,
                      [](absl::Status status) { EXPECT_TRUE(status.ok()) << status; });
  }

  MemberOptions options_;
  MemberId id_ = kId;
  std::vector<cluster::Member> members_{{.id = kId, .peer_urls = {"http://127.0.0.1:2380"}, .name = "m1"}};
  bool cluster_exists_ = false;
  PeerTransport* transport_ = nullptr;
  PeerCalls* calls_ = nullptr;
  FakeClock clock_;
  FakeDisk disk_;
  metrics::Registry registry_;
  std::unique_ptr<backend::MemoryBackend> backend_ = backend::MemoryBackend::Create();
  std::unique_ptr<ManualExecutor> executors_[3];
  std::unique_ptr<Random> random_;
  Ports ports_;
  Random order_;
  const bool random_order_;
  uint64_t starts_ = 0;
  bool hold_disk_ = false;
  bool ready_ = false;
  bool removed_ = false;
  absl::Status fatal_;
  std::vector<raft::Entry> extra_;
  std::unique_ptr<Member> member_;  // last: goes before what it borrows
};

/// The reply that a result stands for.
template <typename Response>
Response Decode(const ApplyResult& result) {
  EXPECT_TRUE(result.status.ok()) << result.status;
  Response response;
  EXPECT_TRUE(response.ParseFromString(result.body));
  return response;
}

inline std::string Error(const ApplyResult& result) { return std::string(result.status.message()); }

}  // namespace kvorum::member
