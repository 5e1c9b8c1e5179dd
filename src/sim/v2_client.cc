#include "sim/v2_client.h"

#include <array>
#include <iterator>

#include "base/check.h"
#include "fmt/format.h"
#include "sim/check/v2_notes.h"

namespace kvorum::sim {

namespace {

/// Files that a client remembers.
constexpr size_t kMemory = 40;

/// After these errors the request has not happened and will not.
bool NeverHappened(const absl::Status& status) {
  static constexpr std::array<std::string_view, 2> kTexts = {"connection refused",
                                                             "etcdserver: too many requests"};
  if (absl::IsFailedPrecondition(status)) return true;  // a member does not understand the v2 API
  for (const std::string_view text : kTexts) {
    if (std::string_view(status.message().data(), status.message().size()) == text) return true;
  }
  return false;
}

/// What the store shows of a path. The API sends it as a listing, in pieces, which has to say the same.
v2store::Result Read(v2store::Store& store, const v2store::Request& request) {
  v2store::Result result = store.Get(request.path, request.recursive, request.sorted);
  uint64_t index = 0;
  auto listed = store.List(request.path, request.recursive, &index);
  if (const auto* event = std::get_if<v2store::EventPtr>(&result)) {
    std::string expected;
    v2store::AppendJson(expected, **event);
    expected += '\n';
    std::string text;
    auto& listing = std::get<v2store::Listing>(listed);
    while (!listing.done()) listing.Append(&text, 64);
    KVORUM_CHECK(text == expected && index == (*event)->store_index, "{} at {} is not {} at {}", text, index,
                 expected, (*event)->store_index);
  } else {
    KVORUM_CHECK(std::get<v2store::Error>(listed) == std::get<v2store::Error>(result));
  }
  return result;
}

}  // namespace

void AskV2(member::Member& member, const v2store::Request& request, bool quorum,
           absl::AnyInvocable<void(member::Member::V2Outcome)> done) {
  if (request.method != "GET") return member.ProposeV2(request, MonotonicTime::max(), std::move(done));
  absl::AnyInvocable<void(absl::Status)> read = [&member, request,
                                                 done = std::move(done)](absl::Status status) mutable {
    member::Member::V2Outcome outcome;
    outcome.status = std::move(status);
    if (outcome.status.ok()) outcome.result = Read(member.v2_store(), request);
    done(std::move(outcome));
  };
  if (!quorum || member.ConfirmRead(MonotonicTime::max(), &read)) read(absl::OkStatus());
}

void ReadWholeV2Store(Node& node, Instant now, History* history) {
  V2Operation& operation = history->v2_operations.emplace_back();
  operation.member = node.id();
  operation.invoked = operation.returned = now;
  operation.request.method = "GET";
  operation.request.path = "/1";
  operation.request.recursive = true;
  NoteV2Answer(Read(node.member()->v2_store(), operation.request), &operation);
}

V2Client::V2Client(uint64_t id, Scheduler* scheduler, const V2Workload* workload, Client::Nodes nodes,
                   History* history)
    : id_(id),
      scheduler_(scheduler),
      errand_(scheduler),
      workload_(workload),
      nodes_(std::move(nodes)),
      history_(history) {}

void V2Client::Start() {
  scheduler_->After(scheduler_->Between(0, 2 * workload_->think), [this] { Next(); });
}

std::string V2Client::Directory() {
  static constexpr std::array<const char*, 8> kDirectories = {"/1/d0",    "/1/d0/e", "/1/d1",    "/1/d1/e/f",
                                                              "/1/d0/_s", "/1/_h",   "/1/_h/_s", "/1/q"};
  return kDirectories[scheduler_->chance().Below(kDirectories.size())];
}

std::string V2Client::Path() {
  Random& random = scheduler_->chance();
  if (random.OneIn(1, 60)) return "/1";
  if (random.OneIn(1, 12)) return Directory();
  if (!seen_.empty() && random.OneIn(1, 4)) {
    return std::next(seen_.begin(), static_cast<ptrdiff_t>(random.Below(seen_.size())))->first;
  }
  const std::string name = fmt::format("/k{}", random.Below(workload_->keys));
  if (random.OneIn(1, 40)) return "/1/k0" + name;  // through a file, mostly
  return (random.OneIn(1, 2) ? "/1" : Directory()) + name;
}

std::string V2Client::Value() { return fmt::format("v{}.{}", id_, ++values_); }

v2store::Request V2Client::Write() {
  v2store::Request request;
  request.method = "PUT";
  request.path = Path();
  request.value = Value();
  return request;
}

/// A PUT or DELETE on conditions that hold if nobody was faster.
v2store::Request V2Client::Compare(std::string method) {
  Random& random = scheduler_->chance();
  v2store::Request request;
  request.method = std::move(method);
  request.path = Path();
  Seen seen{.value = fmt::format("v{}.{}", id_, random.Below(values_ + 1)), .modified = 1 + random.Below(50)};
  if (!seen_.empty() && !random.OneIn(1, 8)) {
    const auto known = std::next(seen_.begin(), static_cast<ptrdiff_t>(random.Below(seen_.size())));
    request.path = known->first;
    seen = known->second;
  }
  const uint64_t by = random.Below(5);
  if (by != 0 && by != 1) request.prev_value = seen.value;
  if (by != 2 && by != 3) request.prev_index = seen.modified;
  if (request.method == "PUT") {
    if (random.OneIn(1, 6)) request.prev_exist = true;
    if (random.OneIn(1, 10)) {
      request.refresh = true;
    } else {
      request.value = Value();
    }
  } else {
    request.dir = random.OneIn(1, 10);
    request.recursive = random.OneIn(1, 10);
  }
  return request;
}

V2Client::Question V2Client::Read() {
  Random& random = scheduler_->chance();
  Question question;
  question.request.method = "GET";
  question.request.path = random.OneIn(1, 3) ? Directory() : Path();
  question.request.recursive = random.OneIn(1, 6);
  question.request.sorted = random.OneIn(1, 3);
  return question;
}

V2Client::Question V2Client::Pick() {
  Random& random = scheduler_->chance();
  const V2Workload& w = *workload_;
  uint64_t pick =
      random.Below(w.set + w.create + w.update + w.refresh + w.swap + w.compare_and_delete + w.remove +
                   w.remove_recursive + w.in_order + w.directory + w.get + w.get_quorum + w.list);
  const auto is = [&pick](uint64_t part) {
    if (pick < part) return true;
    pick -= part;
    return false;
  };
  Question question;
  v2store::Request& request = question.request;
  const auto with_ttl = [&]() -> Question {
    if (w.ttl_one_in > 0 && random.OneIn(1, w.ttl_one_in)) question.ttl = random.Below(w.longest_ttl + 1);
    return std::move(question);
  };
  if (is(w.set)) {
    request = Write();
    return with_ttl();
  }
  if (is(w.create)) {
    request = Write();
    request.prev_exist = false;
    return with_ttl();
  }
  if (is(w.update)) {
    request = Write();
    request.prev_exist = true;
    if (random.OneIn(1, 4)) {  // a directory's time to live
      request.path = Directory();
      request.value.clear();
      request.dir = true;
    }
    return with_ttl();
  }
  if (is(w.refresh)) {
    request = Write();
    request.value.clear();
    request.refresh = true;
    if (random.OneIn(2, 3)) request.prev_exist = true;
    question.ttl = random.Below(w.longest_ttl + 1);
    return question;
  }
  if (is(w.swap)) {
    request = Compare("PUT");
    if (request.refresh) question.ttl = random.Below(w.longest_ttl + 1);
    return request.refresh ? std::move(question) : with_ttl();
  }
  if (is(w.compare_and_delete)) {
    request = Compare("DELETE");
    return question;
  }
  if (is(w.remove)) {
    request.method = "DELETE";
    request.path = Path();
    request.dir = random.OneIn(1, 5);
    return question;
  }
  if (is(w.remove_recursive)) {
    request.method = "DELETE";
    request.path = random.OneIn(1, 3) ? Path() : Directory();
    request.recursive = true;
    request.dir = random.OneIn(1, 2);
    return question;
  }
  if (is(w.in_order)) {
    request = Write();
    request.method = "POST";
    request.path = random.OneIn(1, 12) ? Path() : Directory();
    request.dir = random.OneIn(1, 20);
    return with_ttl();
  }
  if (is(w.directory)) {
    request.method = "PUT";
    request.path = random.OneIn(1, 4) ? Path() : Directory();
    request.dir = true;
    if (random.OneIn(1, 2)) request.prev_exist = false;
    return with_ttl();
  }
  question = Read();
  if (is(w.get)) return question;
  question.quorum = true;
  if (is(w.get_quorum)) return question;
  question.request.path = random.OneIn(1, 2) ? "/1" : Directory();
  question.request.recursive = random.OneIn(1, 2);
  question.quorum = random.OneIn(1, 2);
  return question;
}

void V2Client::Next() {
  if (stopped_) return;
  Begin(Pick());
}

void V2Client::Begin(Question question) {
  const std::vector<Node*>& nodes = nodes_();
  Node* node = nodes[scheduler_->chance().Below(nodes.size())];
  if (!node->up()) return Finish();  // nobody listens: it was never sent
  const size_t at = history_->v2_operations.size();
  V2Operation& operation = history_->v2_operations.emplace_back();
  operation.client = id_;
  operation.member = node->id();
  operation.invoked = scheduler_->now();
  operation.request = std::move(question.request);
  operation.quorum = question.quorum;
  // Until it arrives, it is no request that anybody could do.
  operation.outcome = Operation::Outcome::kRefused;
  errand_.Begin(
      node, [this, at, ttl = question.ttl](const Errand::Trip& trip) { Arrive(at, trip, ttl); },
      [this] { Finish(); });
}

void V2Client::Arrive(size_t at, const Errand::Trip& trip, std::optional<uint64_t> ttl) {
  if (trip.IsStuck()) return;
  if (!trip.node->ready() || trip.IsCutShort()) {
    member::Member::V2Outcome refused;
    refused.status = absl::UnavailableError("connection refused");
    return Return(at, trip, std::move(refused));
  }
  V2Operation& operation = history_->v2_operations[at];
  operation.outcome = Operation::Outcome::kUnknown;
  if (ttl) {
    const WallTime end = trip.node->clock().WallNow() + std::chrono::seconds(*ttl);
    operation.request.expiration = end.time_since_epoch().count();
  }
  AskV2(*trip.node->member(), operation.request, operation.quorum,
        [this, at, trip](member::Member::V2Outcome outcome) {
          errand_.Return([this, at, trip, outcome = std::move(outcome)]() mutable {
            Return(at, trip, std::move(outcome));
          });
        });
}

void V2Client::Return(size_t at, const Errand::Trip& trip, member::Member::V2Outcome outcome) {
  if (!errand_.IsAwaited(trip)) return;
  V2Operation& operation = history_->v2_operations[at];
  if (outcome.status.ok()) {
    if (trip.IsCutShort()) return Finish();
    NoteV2Answer(outcome.result, &operation);
    operation.returned = scheduler_->now();
    ++answered_;
    scheduler_->Note(operation.etcd_index);
    Remember(operation);
  } else if (NeverHappened(outcome.status)) {
    operation.outcome = Operation::Outcome::kRefused;
    operation.returned = scheduler_->now();
  }
  Finish();
}

void V2Client::Remember(const V2Operation& operation) {
  if (operation.error_code != 0) {
    seen_.erase(operation.request.path);
    return;
  }
  if (operation.request.method == "DELETE") {
    seen_.erase(operation.key);
    return;
  }
  const std::string& path = operation.request.method == "GET" ? operation.request.path : operation.key;
  if (!operation.dir) {
    seen_[path] = {.value = operation.value, .modified = operation.modified_index};
  } else if (operation.children) {
    for (const V2Node& child : *operation.children) {
      if (!child.dir) seen_[child.path] = {.value = child.value, .modified = child.modified_index};
    }
  }
  while (seen_.size() > kMemory) {
    seen_.erase(std::next(seen_.begin(), static_cast<ptrdiff_t>(scheduler_->chance().Below(seen_.size()))));
  }
}

void V2Client::Finish() {
  errand_.End();
  if (stopped_) return;
  scheduler_->After(scheduler_->Between(0, 2 * workload_->think), [this] { Next(); });
}

}  // namespace kvorum::sim
