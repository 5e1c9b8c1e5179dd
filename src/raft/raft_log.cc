#include "raft/raft_log.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/planted_bug.h"
#include "raft/errors.h"

namespace kvorum::raft {

RaftLog::RaftLog(const Storage& storage, Logger& logger, uint64_t max_applying_bytes,
                 ApplyUnstable apply_unstable)
    : storage_(storage),
      logger_(logger),
      unstable_(storage.LastIndex() + 1, logger),
      committed_(storage.FirstIndex() - 1),
      applying_(committed_),
      applied_(committed_),
      max_applying_bytes_(max_applying_bytes),
      apply_unstable_(apply_unstable) {}

Index RaftLog::FirstIndex() const {
  if (const auto index = unstable_.FirstIndex()) return *index;
  return storage_.FirstIndex();
}

Index RaftLog::LastIndex() const {
  if (const auto index = unstable_.LastIndex()) return *index;
  return storage_.LastIndex();
}

EntryId RaftLog::LastEntryId() const {
  const Index index = LastIndex();
  const std::optional<Term> term = TermAt(index);
  KVORUM_CHECK(term.has_value(), "unexpected error when getting the last term at {}", index);
  return {.term = *term, .index = index};
}

std::optional<Term> RaftLog::TermAt(Index index) const {
  if (const auto term = unstable_.TermAt(index)) return term;
  if (index + 1 < FirstIndex() || index > LastIndex()) return std::nullopt;
  absl::StatusOr<Term> term = storage_.GetTerm(index);
  if (term.ok()) return *term;
  const Error error = ErrorCode(term.status());
  KVORUM_CHECK(error == Error::kCompacted || error == Error::kUnavailable, "term of {}: {}", index,
               term.status().ToString());
  return std::nullopt;
}

bool RaftLog::IsUpToDate(EntryId last) const {
  const EntryId own = LastEntryId();
  return last.term > own.term || (last.term == own.term && last.index >= own.index);
}

EntryId RaftLog::FindConflictByTerm(Index index, Term term) const {
  for (; index > Index(0); index = index - 1) {
    const std::optional<Term> own = TermAt(index);
    if (!own) return {.term = Term(0), .index = index};
    if (*own <= term) return {.term = *own, .index = index};
  }
  return {};
}

absl::StatusOr<std::vector<Entry>> RaftLog::EntriesFrom(Index low, uint64_t max_bytes) const {
  const Index last = LastIndex();
  if (low > last) return std::vector<Entry>();
  return Slice(low, last + 1, max_bytes);
}

bool RaftLog::AnyEntry(Index low, Index high, uint64_t page_bytes,
                       absl::FunctionRef<bool(const Entry&)> matches) const {
  while (low < high) {
    absl::StatusOr<std::vector<Entry>> page = Slice(low, high, page_bytes);
    KVORUM_CHECK(page.ok() && !page->empty(), "error scanning unapplied entries [{}, {}): {}", low, high,
                 page.status().ToString());
    if (std::any_of(page->begin(), page->end(), matches)) return true;
    low = page->back().index + 1;
  }
  return false;
}

absl::StatusOr<Snapshot> RaftLog::GetSnapshot() const {
  if (unstable_.snapshot() != nullptr) return *unstable_.snapshot();
  return storage_.GetSnapshot();
}

void RaftLog::CheckBounds(Index low, Index high) const {
  KVORUM_CHECK(low <= high, "invalid slice {} > {}", low, high);
  KVORUM_CHECK(high <= LastIndex() + 1, "slice[{},{}) out of bound [{},{}]", low, high, FirstIndex(),
               LastIndex());
}

absl::StatusOr<std::vector<Entry>> RaftLog::Slice(Index low, Index high, uint64_t max_bytes) const {
  CheckBounds(low, high);
  if (low < FirstIndex()) return MakeError(Error::kCompacted);
  if (low == high) return std::vector<Entry>();
  const auto append_unstable = [this](Index from, Index to, uint64_t bytes, std::vector<Entry>& out) {
    const auto wanted = unstable_.Slice(from, to);
    const auto given = wanted.first(CountWithinSize(wanted, bytes));
    out.insert(out.end(), given.begin(), given.end());
  };

  if (low >= unstable_.offset()) {
    std::vector<Entry> entries;
    append_unstable(low, high, max_bytes, entries);
    return entries;
  }
  const Index stable_end = std::min(high, unstable_.offset());
  absl::StatusOr<std::vector<Entry>> entries = storage_.Entries(low, stable_end, max_bytes);
  if (!entries.ok()) {
    KVORUM_CHECK(ErrorCode(entries.status()) == Error::kCompacted,
                 "entries[{}:{}) is unavailable from storage: {}", low, stable_end,
                 entries.status().ToString());
    return entries.status();
  }
  if (high <= unstable_.offset() || entries->size() < stable_end - low) return entries;
  const uint64_t size = EncodedSize(*entries);
  if (size >= max_bytes) return entries;
  const uint64_t first_unstable = EncodedSize(unstable_.Slice(stable_end, stable_end + 1)[0]);
  if (size + first_unstable > max_bytes) return entries;
  append_unstable(stable_end, high, max_bytes - size, *entries);
  return entries;
}

size_t RaftLog::FindConflict(std::span<const Entry> entries) const {
  for (size_t i = 0; i < entries.size(); ++i) {
    const Entry& entry = entries[i];
    const std::optional<Term> own = TermAt(entry.index);
    if (own == entry.term) continue;
    if (entry.index <= LastIndex()) {
      KVORUM_LOG(logger_, kInfo,
                 fmt::format("found conflict at index {} [existing term: {}, conflicting term: {}]",
                             entry.index, own.value_or(Term(0)), entry.term));
    }
    return i;
  }
  return entries.size();
}

std::optional<Index> RaftLog::MaybeAppend(EntryId previous, Index leader_commit, std::vector<Entry> entries) {
  if (!Matches(previous)) return std::nullopt;
  const Index last_new = previous.index + entries.size();
  // An append that is all known, perhaps late, must not shorten the log: there may be later ones behind it.
  if (const size_t conflict = FindConflict(entries); conflict < entries.size()) {
    KVORUM_CHECK(entries[conflict].index > committed_,
                 "entry {} conflict with committed entry [committed({})]", entries[conflict].index,
                 committed_);
    entries.erase(entries.begin(), entries.begin() + static_cast<ptrdiff_t>(conflict));
    Append(std::move(entries));
  }
  CommitTo(IsPlanted(PlantedBug::kFollowerCommitsAll) ? last_new : std::min(leader_commit, last_new));
  return last_new;
}

Index RaftLog::Append(std::vector<Entry> entries) {
  if (entries.empty()) return LastIndex();
  const Index after = entries.front().index - 1;
  KVORUM_CHECK(after >= committed_, "after({}) is out of range [committed({})]", after, committed_);
  unstable_.TruncateAndAppend(std::move(entries));
  return LastIndex();
}

void RaftLog::CommitTo(Index index) {
  if (index <= committed_) return;
  KVORUM_CHECK(
      index <= LastIndex(),
      "tocommit({}) is out of range [lastIndex({})]. Was the raft log corrupted, truncated, or lost?", index,
      LastIndex());
  committed_ = index;
}

void RaftLog::Restore(Snapshot snapshot) {
  KVORUM_LOG(logger_, kInfo,
             fmt::format("log [{}] starts to restore snapshot [index: {}, term: {}]", ToString(),
                         snapshot.metadata.index, snapshot.metadata.term));
  committed_ = snapshot.metadata.index;
  unstable_.Restore(std::move(snapshot));
}

Index RaftLog::MaxAppliable() const {
  if (apply_unstable_ == ApplyUnstable::kYes) return committed_;
  return std::min(committed_, unstable_.offset() - 1);
}

bool RaftLog::HasNextCommittedEntries() const {
  // A snapshot that is not durable yet comes before every entry behind it.
  return !applying_paused_ && !HasUnstableSnapshot() && applying_ < MaxAppliable();
}

std::vector<Entry> RaftLog::NextCommittedEntries() const {
  if (!HasNextCommittedEntries()) return {};
  KVORUM_CHECK(applying_bytes_ < max_applying_bytes_, "applying entry size ({}-{}) not positive",
               max_applying_bytes_, applying_bytes_);
  absl::StatusOr<std::vector<Entry>> entries =
      Slice(applying_ + 1, MaxAppliable() + 1, max_applying_bytes_ - applying_bytes_);
  KVORUM_CHECK(entries.ok(), "unexpected error when getting unapplied entries: {}",
               entries.status().ToString());
  return *std::move(entries);
}

void RaftLog::AcceptApplying(Index index, uint64_t bytes) {
  KVORUM_CHECK(applying_ <= index && index <= committed_,
               "applying({}) is out of range [prevApplying({}), committed({})]", index, applying_,
               committed_);
  applying_ = index;
  applying_bytes_ += bytes;
  // Also paused where not all fitted: the rest is handed out when some of this was applied.
  applying_paused_ = applying_bytes_ >= max_applying_bytes_ || index < MaxAppliable();
}

void RaftLog::AppliedTo(Index index, uint64_t bytes) {
  KVORUM_CHECK(applied_ <= index && index <= committed_,
               "applied({}) is out of range [prevApplied({}), committed({})]", index, applied_, committed_);
  applied_ = index;
  applying_ = std::max(applying_, index);
  applying_bytes_ -= std::min(applying_bytes_, bytes);
  applying_paused_ = applying_bytes_ >= max_applying_bytes_;
}

std::string RaftLog::ToString() const {
  return fmt::format(
      "committed={}, applied={}, applying={}, unstable.offset={}, unstable.offsetInProgress={}, "
      "len(unstable.Entries)={}",
      committed_, applied_, applying_, unstable_.offset(), unstable_.offset_in_progress(),
      unstable_.entry_count());
}

void RaftLog::CheckInvariants() const {
  KVORUM_CHECK(applied_ <= applying_ && applying_ <= committed_ && committed_ <= LastIndex(),
               "applied {}, applying {}, committed {}, last {}", applied_, applying_, committed_,
               LastIndex());
  unstable_.CheckInvariants();
}

}  // namespace kvorum::raft
