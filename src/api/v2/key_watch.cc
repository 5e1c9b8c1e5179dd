#include "api/v2/key_watch.h"

#include <algorithm>
#include <utility>
#include <variant>

namespace kvorum::api_v2 {
namespace {

/// Watches that are served before others have their turn. What is written for them is in as many blocks of
/// memory, which a loop keeps for the next turn when they are not more.
constexpr size_t kDeliveriesPerTurn = 32;

/// What is sent of the history at a time.
constexpr size_t kPieceBytes = 64 << 10;

constexpr uint32_t kHttp2Cancel = 8;

}  // namespace

// ---- The mailroom.

void Mailroom::Put(KeyWatch* watch, const std::shared_ptr<const std::string>& body) {
  watch->in_mail_.fetch_add(1, std::memory_order_relaxed);
  bool first = false;
  {
    absl::MutexLock lock(&mutex_);
    first = waiting_.watches.empty();
    if (first || waiting_.runs.back().body != body) waiting_.runs.push_back({body, 0});
    waiting_.watches.push_back(watch);
    waiting_.runs.back().end = waiting_.watches.size();
  }
  if (first) Post();
}

void Mailroom::Post() {
  loop_.Post([self = shared_from_this()] { self->Deliver(); });
}

void Mailroom::Batch::Remove(KeyWatch* watch) { std::replace(watches.begin(), watches.end(), watch, {}); }

void Mailroom::Forget(KeyWatch* watch) {
  if (watch->in_mail_.load(std::memory_order_relaxed) == 0) return;
  delivering_.Remove(watch);
  absl::MutexLock lock(&mutex_);
  waiting_.Remove(watch);
}

void Mailroom::Deliver() {
  // Each of the two batches that is not empty has a call of this posted.
  if (!std::exchange(turn_begun_, true)) loop_.AtTurnEnd(shared_from_this());
  if (delivering_.watches.empty()) {
    absl::MutexLock lock(&mutex_);
    std::swap(delivering_, waiting_);
  }
  Bytes body;
  for (size_t served = 0; served < kDeliveriesPerTurn && next_watch_ < delivering_.watches.size(); ++served) {
    const Batch::Run& run = delivering_.runs[next_run_];
    if (body.is_null() && run.body != nullptr) body = Bytes::Copy(*run.body);
    KeyWatch* const watch = delivering_.watches[next_watch_++];
    if (next_watch_ == run.end) ++next_run_;
    if (watch != nullptr) {
      watch->in_mail_.fetch_sub(1, std::memory_order_relaxed);
      watch->Deliver(body);
    }
    if (next_watch_ == run.end) body = Bytes();
  }
  if (next_watch_ < delivering_.watches.size()) return Post();
  next_watch_ = next_run_ = 0;
  if (delivering_.watches.size() > kDeliveriesPerTurn) {
    delivering_ = Batch();
  } else {
    delivering_.watches.clear();
    delivering_.runs.clear();
  }
}

void Mailroom::OnTurnEnd() {
  turn_begun_ = false;
  ++turn_;
}

std::shared_ptr<Mailroom> WatchOffice::RoomOf(http::Loop& loop) {
  absl::MutexLock lock(&mutex_);
  std::shared_ptr<Mailroom>& room = rooms_[&loop];
  if (room == nullptr) room = std::make_shared<Mailroom>(&loop);
  return room;
}

// ---- A watch.

KeyWatch::KeyWatch(WatchOffice* office, http::ResponseWriter* writer)
    : office_(*office), writer_(*writer), room_(office->RoomOf(writer->loop())), turn_(room_->turn() - 1) {}

KeyWatch::~KeyWatch() {
  watcher_.reset();  // nothing is put any more
  room_->Forget(this);
}

int KeyWatch::Begin(v2store::WatchRequest request) {
  stream_ = request.stream;
  auto begun = office_.store().Watch(request, this);
  if (const auto* error = std::get_if<v2store::Error>(&begun)) {
    ended_ = true;
    return office_.replies().Error(writer_, *error);
  }
  auto& start = std::get<v2store::Store::WatchStart>(begun);
  office_.replies().Head(writer_, office_.replies().PositionNow(start.index));
  watcher_ = std::move(start.watcher);
  if (watcher_ != nullptr) return 0;
  past_ = std::make_unique<Past>(Past{.request = std::move(request), .body = nullptr});
  TakePast(start);
  CatchUp();
  return 0;
}

void KeyWatch::TakePast(v2store::Store::WatchStart& start) {
  past_->request.since = start.event->index() + 1;
  past_->body = std::move(start.body);
  past_->sent = 0;
}

void KeyWatch::CatchUp() {
  while (past_ != nullptr && !ended_ && writer_.buffered() < http::ResponseWriter::kHighWater) {
    if (past_->body != nullptr) {
      const std::string_view piece = std::string_view(*past_->body).substr(past_->sent, kPieceBytes);
      writer_.Send(piece);
      past_->sent += piece.size();
      if (past_->sent == past_->body->size()) past_->body = nullptr;
      continue;
    }
    if (!stream_) return End();
    auto begun = office_.store().Watch(past_->request, this);
    if (std::holds_alternative<v2store::Error>(begun)) return End();  // what comes next is forgotten already
    auto& start = std::get<v2store::Store::WatchStart>(begun);
    if (start.watcher != nullptr) {
      watcher_ = std::move(start.watcher);
      past_.reset();
      return;
    }
    TakePast(start);
  }
}

void KeyWatch::OnEvent(const v2store::EventPtr&, const std::shared_ptr<const std::string>& body) {
  room_->Put(this, body);
}

void KeyWatch::OnLost() { room_->Put(this, nullptr); }

void KeyWatch::Deliver(const Bytes& body) {
  if (ended_) return;
  if (body.is_null()) return End();
  if (!stream_) {
    writer_.Send(body);
    return End();
  }
  if (std::exchange(turn_, room_->turn()) != room_->turn()) {
    const size_t stuck = writer_.buffered();
    if (stuck == 0) undelivered_ = 0;
    if (undelivered_ >= kMaxUndelivered || stuck > kMaxUndeliveredBytes) {
      ended_ = true;
      watcher_.reset();
      return writer_.Abort(kHttp2Cancel);
    }
  }
  ++undelivered_;
  writer_.Send(body);
}

void KeyWatch::OnAbort() {
  ended_ = true;
  past_.reset();
}

void KeyWatch::End() {
  if (std::exchange(ended_, true)) return;
  writer_.End();
}

}  // namespace kvorum::api_v2
