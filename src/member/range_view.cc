#include "member/range_view.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/wire.h"

namespace kvorum::member {
namespace {

using wire::Field;
using wire::Reader;
using wire::Type;

constexpr uint32_t kKvs = 2;
constexpr uint32_t kMore = 3;
constexpr uint32_t kCount = 4;
constexpr uint32_t kRecordValue = 5;

bool HasFilter(const RangeRequestView& request) {
  return request.min_mod_revision != 0 || request.max_mod_revision != 0 || request.min_create_revision != 0 ||
         request.max_create_revision != 0;
}

bool Passes(const RangeRequestView& request, const RecordView& record) {
  return (request.max_mod_revision == 0 || record.mod_revision <= request.max_mod_revision) &&
         (request.min_mod_revision == 0 || record.mod_revision >= request.min_mod_revision) &&
         (request.max_create_revision == 0 || record.create_revision <= request.max_create_revision) &&
         (request.min_create_revision == 0 || record.create_revision >= request.min_create_revision);
}

/// The order in which the reply has to be; none where the records are in it already.
std::optional<bool> SortDescending(const RangeRequestView& request) {
  using Order = RangeRequestView::Order;
  if (request.sort_order == Order::kDescend) return true;
  // Without an order, any target but the key still sorts ascending; by key the records are in order already.
  if (request.sort_target == RangeRequestView::Target::kKey) return std::nullopt;
  return false;
}

void Sort(const RangeRequestView& request, bool descending, std::vector<std::string_view>& records) {
  using Target = RangeRequestView::Target;
  if (request.sort_target == Target::kKey) {
    KVORUM_CHECK(descending);
    std::reverse(records.begin(), records.end());
    return;
  }
  if (request.sort_target == Target::kValue) {
    std::vector<std::pair<std::string_view, std::string_view>> keyed;
    keyed.reserve(records.size());
    for (std::string_view record : records) keyed.emplace_back(ParseRecord(record).value, record);
    std::stable_sort(keyed.begin(), keyed.end(), [descending](const auto& a, const auto& b) {
      return descending ? b.first < a.first : a.first < b.first;
    });
    for (size_t i = 0; i < records.size(); ++i) records[i] = keyed[i].second;
    return;
  }
  std::vector<std::pair<int64_t, std::string_view>> keyed;
  keyed.reserve(records.size());
  for (std::string_view record : records) {
    const RecordView view = ParseRecord(record);
    const int64_t by = request.sort_target == Target::kVersion  ? view.version
                       : request.sort_target == Target::kCreate ? view.create_revision
                                                                : view.mod_revision;
    keyed.emplace_back(by, record);
  }
  std::stable_sort(keyed.begin(), keyed.end(), [descending](const auto& a, const auto& b) {
    return descending ? b.first < a.first : a.first < b.first;
  });
  for (size_t i = 0; i < records.size(); ++i) records[i] = keyed[i].second;
}

/// A record in two pieces, around its value; one piece and an empty one where there is none.
struct Pieces {
  std::string_view before;
  std::string_view after;
  size_t size() const { return before.size() + after.size(); }
};
Pieces WithoutValue(std::string_view record) {
  Reader reader(record);
  for (Field field; reader.Next(&field);) {
    if (field.number != kRecordValue) continue;
    const size_t end = record.size() - reader.rest().size();
    const size_t begin = end - field.bytes.size() - wire::VarintSize(field.bytes.size()) -
                         wire::VarintSize(wire::Tag(kRecordValue, Type::kLength));
    return {record.substr(0, begin), record.substr(end)};
  }
  KVORUM_CHECK(reader.ok(), "a record of {} bytes is malformed", record.size());
  return {record, {}};
}

}  // namespace

RecordView ParseRecord(std::string_view record) {
  RecordView view;
  Reader reader(record);
  for (Field field; reader.Next(&field);) {
    switch (field.number) {
      case 1:
        view.key = field.bytes;
        break;
      case 2:
        view.create_revision = static_cast<int64_t>(field.varint);
        break;
      case 3:
        view.mod_revision = static_cast<int64_t>(field.varint);
        break;
      case 4:
        view.version = static_cast<int64_t>(field.varint);
        break;
      case kRecordValue:
        view.value = field.bytes;
        break;
      case 6:
        view.lease = LeaseId(static_cast<int64_t>(field.varint));
        break;
      default:
        break;
    }
  }
  KVORUM_CHECK(reader.ok(), "a record of {} bytes is malformed", record.size());
  return view;
}

int64_t FetchLimit(const RangeRequestView& request) {
  if (request.limit <= 0 || request.sort_order != RangeRequestView::Order::kNone || HasFilter(request)) {
    return 0;
  }
  return request.limit == INT64_MAX ? 0 : request.limit + 1;
}

RangeSelection SelectRecords(const RangeRequestView& request, std::vector<std::string_view> records,
                             int64_t count) {
  RangeSelection selection;
  selection.count = count;
  if (request.count_only) return selection;
  if (HasFilter(request)) {
    std::erase_if(records,
                  [&request](std::string_view record) { return !Passes(request, ParseRecord(record)); });
  }
  if (const std::optional<bool> descending = SortDescending(request)) Sort(request, *descending, records);
  if (request.limit > 0 && records.size() > static_cast<uint64_t>(request.limit)) {
    records.resize(static_cast<size_t>(request.limit));
    selection.more = true;
  }
  selection.records = std::move(records);
  return selection;
}

size_t KvFieldSize(std::string_view record, bool keys_only) {
  const size_t size = keys_only ? WithoutValue(record).size() : record.size();
  return wire::VarintSize(wire::Tag(kKvs, Type::kLength)) + wire::VarintSize(size) + size;
}

void AppendKvField(std::string& out, uint32_t field, std::string_view record, bool keys_only) {
  if (!keys_only) {
    wire::AppendBytes(out, field, record);
    return;
  }
  const Pieces pieces = WithoutValue(record);
  wire::AppendVarint(out, wire::Tag(field, Type::kLength));
  wire::AppendVarint(out, pieces.size());
  out.append(pieces.before);
  out.append(pieces.after);
}

size_t RangeBodySize(const RangeRequestView& request, const RangeSelection& selection) {
  size_t size = selection.more ? 2 : 0;
  if (selection.count != 0) size += 1 + wire::VarintSize(static_cast<uint64_t>(selection.count));
  for (std::string_view record : selection.records) size += KvFieldSize(record, request.keys_only);
  return size;
}

void AppendRangeBody(std::string& out, const RangeRequestView& request, const RangeSelection& selection) {
  out.reserve(out.size() + RangeBodySize(request, selection));
  for (std::string_view record : selection.records) AppendKvField(out, kKvs, record, request.keys_only);
  if (selection.more) wire::AppendUint(out, kMore, 1);
  if (selection.count != 0) wire::AppendUint(out, kCount, static_cast<uint64_t>(selection.count));
}

}  // namespace kvorum::member
