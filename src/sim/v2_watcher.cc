#include "sim/v2_watcher.h"

#include <algorithm>
#include <array>
#include <utility>

#include "fmt/format.h"
#include "sim/check/v2_notes.h"

namespace kvorum::sim {

namespace {

constexpr Instant kMillisecond = 1'000'000;
/// How long a watch is kept, at most.
constexpr Instant kLong = 15'000 * kMillisecond;
/// How long a client that was told of something takes to read it, at most.
constexpr Instant kSlow = 100 * kMillisecond;
/// Between the end of a watch and the next one, at most.
constexpr Instant kPause = 100 * kMillisecond;

}  // namespace

V2Watcher::V2Watcher(uint64_t id, Scheduler* scheduler, const V2Truth* truth, Client::Nodes nodes,
                     History* history)
    : id_(id), scheduler_(scheduler), truth_(truth), nodes_(std::move(nodes)), history_(history) {}

V2Watcher::~V2Watcher() = default;

void V2Watcher::Start() {
  scheduler_->After(scheduler_->Between(0, 1'000 * kMillisecond), [this] { Open(); });
}

v2store::WatchRequest V2Watcher::Pick() {
  static constexpr std::array<const char*, 11> kPaths = {"/1",       "/1",       "/1/d0",  "/1/d0/e",
                                                         "/1/_h",    "/1/d0/_s", "/1/k0",  "/1/d0/k1",
                                                         "/1/_h/k0", "/1/q",     "/1/d1/e"};
  Random& random = scheduler_->chance();
  v2store::WatchRequest request;
  request.path = kPaths[random.Below(kPaths.size())];
  request.recursive = random.OneIn(2, 3);
  request.stream = random.OneIn(1, 3);
  if (next_index_ > 0 && random.OneIn(2, 3)) {
    request.since = next_index_;
  } else if (random.OneIn(1, 2)) {
    const uint64_t far = random.OneIn(1, 4) ? 1'200 : 60;
    const uint64_t around = truth_->last() + 20 + random.Below(2);
    request.since = std::max<uint64_t>(1, around - std::min(around, random.Below(far)));
  }
  return request;
}

void V2Watcher::Open() {
  if (stopped_) return;
  const std::vector<Node*>& nodes = nodes_();
  node_ = nodes[scheduler_->chance().Below(nodes.size())];
  if (!node_->ready()) {
    scheduler_->After(100 * kMillisecond, [this] { Open(); });
    return;
  }
  const uint64_t attempt = ++attempt_;
  open_ = true;
  lost_ = false;
  const v2store::WatchRequest request = Pick();
  recovered_ = node_->member()->v2_store().auth_changes();
  at_ = history_->v2_watches.size();
  history_->v2_watches.push_back({.client = id_,
                                  .member = node_->id(),
                                  .path = request.path,
                                  .recursive = request.recursive,
                                  .stream = request.stream,
                                  .wait_index = request.since,
                                  .events = {}});
  Begin(request, attempt);
  scheduler_->After(scheduler_->Between(0, kLong), [this, attempt] {
    if (attempt == attempt_ && open_ && !stopped_) End();
  });
}

void V2Watcher::Begin(v2store::WatchRequest request, uint64_t attempt) {
  if (attempt != attempt_ || !open_) return;
  if (node_->paused()) {
    scheduler_->After(kSlow, [this, request, attempt] { Begin(request, attempt); });
    return;
  }
  const bool first = watch().events.empty() && on_the_way_.empty();
  auto begun = node_->member()->v2_store().Watch(request, this);
  if (const auto* error = std::get_if<v2store::Error>(&begun)) {
    if (first) {
      watch().error_code = static_cast<int>(error->code);
      watch().start_index = error->index;
      next_index_ = error->index + 1;  // its client reads everything, and goes on from there
    }
    lost_ = true;
    return Take(attempt);
  }
  auto& start = std::get<v2store::Store::WatchStart>(begun);
  if (first) watch().start_index = start.index;
  watcher_ = std::move(start.watcher);
  if (start.event == nullptr) return;
  Put(start.event);
  if (!request.stream) return;
  request.since = start.event->index() + 1;
  // Most of it fits into what the system takes at once; in the end nobody is slow.
  const bool waits = !stopped_ && scheduler_->chance().OneIn(1, 8);
  scheduler_->After(waits ? scheduler_->Between(0, kSlow) : 0,
                    [this, request, attempt] { Begin(request, attempt); });
}

void V2Watcher::OnEvent(const v2store::EventPtr& event, const std::shared_ptr<const std::string>&) {
  // What is counted there no client of a run changes: it rises when a snapshot was taken over.
  if (node_->running()->v2_store().auth_changes() != recovered_) watch().store_replaced = true;
  Put(event);
}

void V2Watcher::OnLost() {
  lost_ = true;
  scheduler_->After(scheduler_->Between(0, kSlow), [this, attempt = attempt_] { Take(attempt); });
}

void V2Watcher::Put(const v2store::EventPtr& event) {
  on_the_way_.push_back(event);
  scheduler_->After(scheduler_->Between(0, kSlow), [this, attempt = attempt_] { Take(attempt); });
}

void V2Watcher::Take(uint64_t attempt) {
  if (attempt != attempt_ || !open_) return;
  if (node_->paused()) {
    scheduler_->After(kSlow, [this, attempt] { Take(attempt); });
    return;
  }
  for (const v2store::EventPtr& event : on_the_way_) {
    watch().events.push_back(NoteOf(*event, scheduler_->now()));
    next_index_ = event->index() + 1;
    scheduler_->Note(event->index());
  }
  on_the_way_.clear();
  if (lost_ || (!watch().stream && !watch().events.empty())) End();
}

void V2Watcher::End() {
  open_ = false;
  watcher_.reset();
  on_the_way_.clear();
  scheduler_->After(scheduler_->Between(0, kPause), [this] { Open(); });
}

void V2Watcher::Leave(const Node& node) {
  if (open_ && node_ == &node) End();
}

void V2Watcher::Close() {
  if (!open_) return;
  watch().open_at_end = true;
  open_ = false;
  watcher_.reset();
}

}  // namespace kvorum::sim
