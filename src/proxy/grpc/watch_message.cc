#include "proxy/grpc/watch_message.h"

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "base/wire.h"

namespace kvorum::proxy_grpc {
namespace {

using wire::Type;

// Field numbers.
constexpr uint32_t kHeader = 1;
constexpr uint32_t kWatchId = 2;
constexpr uint32_t kCreated = 3;
constexpr uint32_t kCanceled = 4;
constexpr uint32_t kCompactRevision = 5;
constexpr uint32_t kCancelReason = 6;
constexpr uint32_t kFragmentFlag = 7;
constexpr uint32_t kEvents = 11;
constexpr uint32_t kEventType = 1;
constexpr uint32_t kEventKv = 2;
constexpr uint32_t kEventPrevKv = 3;
constexpr uint32_t kKvKey = 1;
constexpr uint32_t kKvModRevision = 3;
constexpr uint64_t kDeleteEvent = 1;

bool Is(const wire::Field& field, uint32_t number, Type type) {
  return field.number == number && field.type == type;
}

/// The last that has a next one: watchers go on behind what they were told.
constexpr int64_t kLastRevision = std::numeric_limits<int64_t>::max() - 1;

bool ParseHeader(std::string_view bytes, ResponseHeader* header) {
  wire::Reader reader(bytes);
  for (wire::Field field; reader.Next(&field);) {
    if (field.type != Type::kVarint) continue;
    if (field.number == 1) header->cluster_id = field.varint;
    if (field.number == 2) header->member_id = field.varint;
    if (field.number == 3) header->revision = static_cast<int64_t>(field.varint);
    if (field.number == 4) header->raft_term = field.varint;
  }
  return reader.ok();
}

void AppendHeader(std::string& out, const ResponseHeader& header) {
  std::string bytes;
  if (header.cluster_id != 0) wire::AppendUint(bytes, 1, header.cluster_id);
  if (header.member_id != 0) wire::AppendUint(bytes, 2, header.member_id);
  if (header.revision != 0) wire::AppendUint(bytes, 3, static_cast<uint64_t>(header.revision));
  if (header.raft_term != 0) wire::AppendUint(bytes, 4, header.raft_term);
  wire::AppendBytes(out, kHeader, bytes);
}

void ReadFilter(uint64_t filter, WatchForm* form) {
  if (filter == 0) *form |= kNoPut;
  if (filter == 1) *form |= kNoDelete;
}

bool ParseCreate(std::string_view bytes, WatchRequest* request) {
  wire::Reader reader(bytes);
  for (wire::Field field; reader.Next(&field);) {
    if (Is(field, 1, Type::kLength)) request->key = field.bytes;
    if (Is(field, 2, Type::kLength)) request->range_end = field.bytes;
    if (Is(field, 3, Type::kVarint)) request->start_revision = static_cast<int64_t>(field.varint);
    if (Is(field, 4, Type::kVarint)) request->progress_notify = field.varint != 0;
    if (Is(field, 5, Type::kVarint)) ReadFilter(field.varint, &request->form);
    if (Is(field, 5, Type::kLength)) {
      uint64_t filter = 0;
      while (!field.bytes.empty()) {
        if (!wire::TakeVarint(&field.bytes, &filter)) return false;
        ReadFilter(filter, &request->form);
      }
    }
    if (Is(field, 6, Type::kVarint)) {
      request->form = (request->form & ~kPrevKv) | (field.varint != 0 ? kPrevKv : 0);
    }
    if (Is(field, 7, Type::kVarint)) request->watch_id = static_cast<int64_t>(field.varint);
    if (Is(field, 8, Type::kVarint)) {
      request->form = (request->form & ~kFragment) | (field.varint != 0 ? kFragment : 0);
    }
  }
  return reader.ok();
}

bool ParseCancel(std::string_view bytes, WatchRequest* request) {
  wire::Reader reader(bytes);
  for (wire::Field field; reader.Next(&field);) {
    if (Is(field, 1, Type::kVarint)) request->watch_id = static_cast<int64_t>(field.varint);
  }
  return reader.ok();
}

/// Reads a KeyValue's revision; false where it is malformed or its key is not behind the prefix.
bool ParseKeyValue(std::string_view bytes, std::string_view prefix, int64_t* revision) {
  std::string_view key;
  wire::Reader reader(bytes);
  for (wire::Field field; reader.Next(&field);) {
    if (Is(field, kKvKey, Type::kLength)) key = field.bytes;
    if (Is(field, kKvModRevision, Type::kVarint)) *revision = static_cast<int64_t>(field.varint);
  }
  return reader.ok() && key.starts_with(prefix);
}

bool ParseEvent(std::string_view prefix, UpstreamEvent* event) {
  bool has_kv = false;
  wire::Reader reader(event->event);
  for (wire::Field field; reader.Next(&field);) {
    if (Is(field, kEventType, Type::kVarint)) event->is_delete = field.varint == kDeleteEvent;
    if (Is(field, kEventKv, Type::kLength)) {
      if (!ParseKeyValue(field.bytes, prefix, &event->revision)) return false;
      has_kv = true;
    }
    if (Is(field, kEventPrevKv, Type::kLength)) {
      int64_t ignored = 0;
      if (!ParseKeyValue(field.bytes, prefix, &ignored)) return false;
      event->has_previous = true;
    }
  }
  return reader.ok() && has_kv && event->revision > 0 && event->revision <= kLastRevision;
}

/// Reads what stands at `rest` as one field of a message, and gives its bytes.
bool NextRaw(wire::Reader& reader, wire::Field* field, std::string_view* raw) {
  const std::string_view before = reader.rest();
  if (!reader.Next(field)) return false;
  *raw = before.substr(0, before.size() - reader.rest().size());
  return true;
}

void AppendStrippedKeyValue(std::string& out, uint32_t number, std::string_view kv, size_t prefix_bytes) {
  std::string stripped;
  stripped.reserve(kv.size());
  std::string_view raw;
  wire::Reader reader(kv);
  for (wire::Field field; NextRaw(reader, &field, &raw);) {
    if (Is(field, kKvKey, Type::kLength)) {
      wire::AppendBytes(stripped, kKvKey, field.bytes.substr(prefix_bytes));
    } else {
      stripped.append(raw);
    }
  }
  wire::AppendBytes(out, number, stripped);
}

void AppendEvent(std::string& out, const UpstreamEvent& event, size_t prefix_bytes, bool previous) {
  if (prefix_bytes == 0 && (previous || !event.has_previous)) {
    out.append(event.field);
    return;
  }
  std::string changed;
  changed.reserve(event.event.size());
  std::string_view raw;
  wire::Reader reader(event.event);
  for (wire::Field field; NextRaw(reader, &field, &raw);) {
    const bool is_previous = Is(field, kEventPrevKv, Type::kLength);
    if (is_previous && !previous) continue;
    if (prefix_bytes > 0 && (is_previous || Is(field, kEventKv, Type::kLength))) {
      AppendStrippedKeyValue(changed, field.number, field.bytes, prefix_bytes);
    } else {
      changed.append(raw);
    }
  }
  wire::AppendBytes(out, kEvents, changed);
}

}  // namespace

bool ParseResponseHeader(std::string_view response, ResponseHeader* header) {
  wire::Reader reader(response);
  for (wire::Field field; reader.Next(&field);) {
    if (Is(field, kHeader, Type::kLength) && !ParseHeader(field.bytes, header)) return false;
  }
  return reader.ok();
}

bool ParseWatchRequest(std::string_view message, WatchRequest* request) {
  wire::Reader reader(message);
  for (wire::Field field; reader.Next(&field);) {
    if (field.type != Type::kLength || field.number < 1 || field.number > 3) continue;
    *request = WatchRequest();
    if (field.number == 1) {
      request->kind = WatchRequest::Kind::kCreate;
      if (!ParseCreate(field.bytes, request)) return false;
    } else if (field.number == 2) {
      request->kind = WatchRequest::Kind::kCancel;
      if (!ParseCancel(field.bytes, request)) return false;
    } else {
      request->kind = WatchRequest::Kind::kProgress;
    }
  }
  return reader.ok();
}

std::string EncodeWatchCreate(const WatchRequest& create) {
  std::string bytes;
  wire::AppendBytes(bytes, 1, create.key);
  if (!create.range_end.empty()) wire::AppendBytes(bytes, 2, create.range_end);
  if (create.start_revision != 0) wire::AppendUint(bytes, 3, static_cast<uint64_t>(create.start_revision));
  if (create.progress_notify) wire::AppendUint(bytes, 4, 1);
  if ((create.form & kNoPut) != 0) wire::AppendUint(bytes, 5, 0);
  if ((create.form & kNoDelete) != 0) wire::AppendUint(bytes, 5, 1);
  if ((create.form & kPrevKv) != 0) wire::AppendUint(bytes, 6, 1);
  if (create.watch_id != 0) wire::AppendUint(bytes, 7, static_cast<uint64_t>(create.watch_id));
  if ((create.form & kFragment) != 0) wire::AppendUint(bytes, 8, 1);
  std::string request;
  wire::AppendBytes(request, 1, bytes);
  return request;
}

std::string EncodeWatchCancel(int64_t watch_id) {
  std::string bytes;
  wire::AppendUint(bytes, 1, static_cast<uint64_t>(watch_id));
  std::string request;
  wire::AppendBytes(request, 2, bytes);
  return request;
}

std::string EncodeWatchProgress() {
  std::string request;
  wire::AppendBytes(request, 3, "");
  return request;
}

std::string EncodeRangeCheck(std::string_view key, std::string_view range_end) {
  std::string request;
  wire::AppendBytes(request, 1, key);
  if (!range_end.empty()) wire::AppendBytes(request, 2, range_end);
  wire::AppendUint(request, 7, 1);  // serializable
  wire::AppendUint(request, 9, 1);  // count_only
  return request;
}

bool ParseUpstreamResponse(std::string_view message, std::string_view prefix, UpstreamResponse* response) {
  *response = UpstreamResponse();
  std::string_view raw;
  wire::Reader reader(message);
  for (wire::Field field; NextRaw(reader, &field, &raw);) {
    if (Is(field, kHeader, Type::kLength) && !ParseHeader(field.bytes, &response->header)) return false;
    if (Is(field, kWatchId, Type::kVarint)) response->watch_id = static_cast<int64_t>(field.varint);
    if (Is(field, kCreated, Type::kVarint)) response->created = field.varint != 0;
    if (Is(field, kCanceled, Type::kVarint)) response->canceled = field.varint != 0;
    if (Is(field, kCompactRevision, Type::kVarint)) {
      response->compact_revision = static_cast<int64_t>(field.varint);
    }
    if (Is(field, kCancelReason, Type::kLength)) response->cancel_reason = field.bytes;
    if (Is(field, kFragmentFlag, Type::kVarint)) response->fragment = field.varint != 0;
    if (!Is(field, kEvents, Type::kLength)) continue;
    UpstreamEvent event;
    event.field = raw;
    event.event = field.bytes;
    if (!ParseEvent(prefix, &event)) return false;
    if (!response->events.empty() && event.revision < response->events.back().revision) return false;
    response->events.push_back(event);
  }
  return reader.ok() && response->header.revision >= 0 && response->header.revision <= kLastRevision;
}

Bytes EncodeWatchNotice(const WatchNotice& notice) {
  std::string out;
  AppendHeader(out, notice.header);
  if (notice.created) wire::AppendUint(out, kCreated, 1);
  if (notice.canceled) wire::AppendUint(out, kCanceled, 1);
  if (notice.compact_revision != 0) {
    wire::AppendUint(out, kCompactRevision, static_cast<uint64_t>(notice.compact_revision));
  }
  if (!notice.cancel_reason.empty()) wire::AppendBytes(out, kCancelReason, notice.cancel_reason);
  return Bytes::Copy(out);
}

EventBatch::EventBatch(const ResponseHeader& header, absl::Span<const UpstreamEvent> events,
                       size_t prefix_bytes, size_t fragment_bytes)
    : header_(header), events_(events), prefix_bytes_(prefix_bytes), fragment_bytes_(fragment_bytes) {
  KVORUM_CHECK(!events.empty(), "a batch of nothing");
  size_t bytes = 0;
  for (const UpstreamEvent& event : events) {
    matters_ |= event.is_delete ? kNoDelete : kNoPut;
    if (event.has_previous) matters_ |= kPrevKv;
    bytes += event.field.size();
  }
  if (bytes >= fragment_bytes / 2) matters_ |= kFragment;
}

absl::Span<const Bytes> EventBatch::For(WatchForm form, int64_t start_revision) {
  form &= matters_;
  size_t first = 0;
  if (events_[0].revision < start_revision) {
    first = std::lower_bound(
                events_.begin(), events_.end(), start_revision,
                [](const UpstreamEvent& event, int64_t revision) { return event.revision < revision; }) -
            events_.begin();
    if (first == events_.size()) return {};
  }
  for (const Made& made : made_) {
    if (made.form == form && made.first == first) return made.bodies;
  }
  made_.push_back({.form = form, .first = static_cast<uint32_t>(first), .bodies = Make(form, first)});
  return made_.back().bodies;
}

std::vector<Bytes> EventBatch::Make(WatchForm form, size_t first) const {
  std::vector<Bytes> bodies;
  std::string head;
  AppendHeader(head, header_);
  std::string body = head;
  std::string event;
  for (size_t i = first; i < events_.size(); ++i) {
    if ((form & (events_[i].is_delete ? kNoDelete : kNoPut)) != 0) continue;
    if ((form & kFragment) == 0) {
      AppendEvent(body, events_[i], prefix_bytes_, (form & kPrevKv) != 0);
      continue;
    }
    event.clear();
    AppendEvent(event, events_[i], prefix_bytes_, (form & kPrevKv) != 0);
    if (body.size() > head.size() && body.size() + event.size() >= fragment_bytes_) {
      wire::AppendUint(body, kFragmentFlag, 1);
      bodies.push_back(Bytes::Copy(body));
      body = head;
    }
    body.append(event);
  }
  if (body.size() > head.size()) bodies.push_back(Bytes::Copy(body));
  return bodies;
}

}  // namespace kvorum::proxy_grpc
