#include "backend/lmdb_view.h"

#include <algorithm>
#include <map>
#include <utility>

#include "backend/records.h"
#include "base/status.h"

namespace kvorum::backend {

LmdbView::LmdbView(ViewOwner& owner, std::shared_ptr<const DatabaseState> state, absl::StatusOr<MDB_txn*> txn,
                   uint64_t sequence)
    : owner_(owner),
      state_(std::move(state)),
      txn_(std::move(txn)),
      sequence_(sequence),
      appended_to_last_(state_->buffers.back()->appended()) {}

LmdbView::~LmdbView() {
  key_cursor_.reset();
  if (txn_.ok()) state_->env->EndRead(*txn_);
  const DatabaseState* state = state_.get();
  state_.reset();
  owner_.ViewClosed(state);
}

size_t LmdbView::AppendedTo(size_t i) const {
  return i + 1 == state_->buffers.size() ? appended_to_last_ : state_->buffers[i]->appended();
}

absl::StatusOr<std::optional<std::string_view>> LmdbView::Get(Bucket bucket, std::string_view key) {
  KVORUM_ASSIGN_OR_RETURN(const std::optional<Located> located, Locate(bucket, key));
  if (!located) return std::nullopt;
  if (!located->checked) KVORUM_RETURN_IF_ERROR(Check(bucket, key, located->value));
  return located->value;
}

absl::StatusOr<std::optional<Located>> LmdbView::Locate(Bucket bucket, std::string_view key) {
  if (!txn_.ok()) return txn_.status();
  for (size_t i = state_->buffers.size(); i-- > 0;) {
    const Finding finding = state_->buffers[i]->Find(bucket, key, sequence_, AppendedTo(i));
    if (finding.kind == Finding::Kind::kDeleted) return std::nullopt;
    if (finding.kind == Finding::Kind::kPresent) return Located{.value = finding.value};
  }
  const Table table = state_->env->TableOf(*txn_, bucket);
  // A long range asks for many revisions, most of them written close together.
  if (bucket == Bucket::kKey && std::exchange(reads_keys_, true)) {
    if (!key_cursor_) key_cursor_.emplace(table);
    return key_cursor_->Locate(key);
  }
  KVORUM_ASSIGN_OR_RETURN(const std::optional<std::string_view> value, GetRecord(table, key));
  if (!value) return std::nullopt;
  return Located{.value = *value};
}

absl::Status LmdbView::Check(Bucket bucket, std::string_view key, std::string_view value) {
  return CheckRecord(state_->env->TableOf(*txn_, bucket), key, value);
}

absl::Status LmdbView::Scan(Bucket bucket, std::string_view from, std::string_view to, Visit visit) {
  if (!txn_.ok()) return txn_.status();
  if (!to.empty() && from >= to) return absl::OkStatus();
  const bool only_appended =
      bucket == Bucket::kKey && std::all_of(state_->buffers.begin(), state_->buffers.end(),
                                            [](const auto& b) { return b->ordered(Bucket::kKey).empty(); });
  return only_appended ? ScanAppended(from, to, visit) : ScanMerged(bucket, from, to, visit);
}

absl::Status LmdbView::ScanAppended(std::string_view from, std::string_view to, Visit visit) {
  // Appended records are above everything older. LMDB may have some of them by now: the buffers give them.
  std::string_view stored_end = to;
  for (size_t i = 0; i < state_->buffers.size(); ++i) {
    if (AppendedTo(i) == 0) continue;
    const std::string_view first = state_->buffers[i]->append_log().at(0).key.view();
    stored_end = to.empty() ? first : std::min(to, first);
    break;
  }
  if (stored_end.empty() || from < stored_end) {
    RecordCursor cursor(state_->env->TableOf(*txn_, Bucket::kKey));
    KVORUM_RETURN_IF_ERROR(cursor.Seek(from));
    while (cursor.valid() && (stored_end.empty() || cursor.key() < stored_end)) {
      if (!visit(cursor.key(), cursor.value())) return absl::OkStatus();
      KVORUM_RETURN_IF_ERROR(cursor.Next());
    }
  }
  for (size_t i = 0; i < state_->buffers.size(); ++i) {
    const AppendLog& log = state_->buffers[i]->append_log();
    const size_t count = AppendedTo(i);
    for (size_t r = log.LowerBound(from, count); r < count; ++r) {
      const AppendLog::Record& record = log.at(r);
      if (!to.empty() && record.key.view() >= to) return absl::OkStatus();
      if (!visit(record.key.view(), record.value.view())) return absl::OkStatus();
    }
  }
  return absl::OkStatus();
}

absl::Status LmdbView::ScanMerged(Bucket bucket, std::string_view from, std::string_view to, Visit visit) {
  std::map<std::string_view, Finding> overlay;
  for (size_t i = 0; i < state_->buffers.size(); ++i) {
    const WriteBuffer& buffer = *state_->buffers[i];
    if (bucket == Bucket::kKey) {
      const AppendLog& log = buffer.append_log();
      const size_t count = AppendedTo(i);
      for (size_t r = log.LowerBound(from, count); r < count; ++r) {
        const AppendLog::Record& record = log.at(r);
        if (!to.empty() && record.key.view() >= to) break;
        overlay.insert_or_assign(record.key.view(),
                                 Finding{.kind = Finding::Kind::kPresent, .value = record.value.view()});
      }
    }
    buffer.ordered(bucket).Overlay(from, to, sequence_, overlay);
  }
  RecordCursor cursor(state_->env->TableOf(*txn_, bucket));
  KVORUM_RETURN_IF_ERROR(cursor.Seek(from));
  auto buffered = overlay.begin();
  while (cursor.valid() || buffered != overlay.end()) {
    const bool stored_first = cursor.valid() && (buffered == overlay.end() || cursor.key() < buffered->first);
    if (stored_first) {
      if (!to.empty() && cursor.key() >= to) return absl::OkStatus();
      if (!visit(cursor.key(), cursor.value())) return absl::OkStatus();
      KVORUM_RETURN_IF_ERROR(cursor.Next());
      continue;
    }
    if (cursor.valid() && cursor.key() == buffered->first) KVORUM_RETURN_IF_ERROR(cursor.Next());
    if (buffered->second.kind == Finding::Kind::kPresent && !visit(buffered->first, buffered->second.value)) {
      return absl::OkStatus();
    }
    ++buffered;
  }
  return absl::OkStatus();
}

}  // namespace kvorum::backend
