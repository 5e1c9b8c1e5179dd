#include "member/request_view.h"

#include <algorithm>
#include <utility>

#include "base/wire.h"

namespace kvorum::member {
namespace {

using wire::Field;
using wire::Reader;
using wire::Type;

// Takes the value of a known field; false where the wire type is not the field's.
bool Take(const Field& field, std::string_view* out) {
  *out = field.bytes;
  return field.type == Type::kLength;
}
bool Take(const Field& field, int64_t* out) {
  *out = static_cast<int64_t>(field.varint);
  return field.type == Type::kVarint;
}
bool Take(const Field& field, int32_t* out) {
  *out = static_cast<int32_t>(field.varint);
  return field.type == Type::kVarint;
}
bool Take(const Field& field, bool* out) {
  *out = field.varint != 0;
  return field.type == Type::kVarint;
}
bool Take(const Field& field, LeaseId* out) {
  *out = LeaseId(static_cast<int64_t>(field.varint));
  return field.type == Type::kVarint;
}
bool Take(const Field& field, RangeRequestView::Order* out) {
  *out =
      field.varint <= 2 ? static_cast<RangeRequestView::Order>(field.varint) : RangeRequestView::Order::kNone;
  return field.type == Type::kVarint;
}
bool Take(const Field& field, RangeRequestView::Target* out) {
  *out = field.varint <= 4 ? static_cast<RangeRequestView::Target>(field.varint)
                           : RangeRequestView::Target::kKey;
  return field.type == Type::kVarint;
}

/// Walks over `encoded`; `take(field)` is false for a field of the wrong type.
template <typename TakeField>
bool Scan(std::string_view encoded, TakeField take) {
  Reader reader(encoded);
  for (Field field; reader.Next(&field);) {
    if (!take(field)) return false;
  }
  return reader.ok();
}

bool Parse(std::string_view encoded, RangeRequestView* out) {
  return Scan(encoded, [out](const Field& field) {
    switch (field.number) {
      case 1:
        return Take(field, &out->key);
      case 2:
        return Take(field, &out->range_end);
      case 3:
        return Take(field, &out->limit);
      case 4:
        return Take(field, &out->revision);
      case 5:
        return Take(field, &out->sort_order);
      case 6:
        return Take(field, &out->sort_target);
      case 7:
        return Take(field, &out->serializable);
      case 8:
        return Take(field, &out->keys_only);
      case 9:
        return Take(field, &out->count_only);
      case 10:
        return Take(field, &out->min_mod_revision);
      case 11:
        return Take(field, &out->max_mod_revision);
      case 12:
        return Take(field, &out->min_create_revision);
      case 13:
        return Take(field, &out->max_create_revision);
      default:
        return true;
    }
  });
}

bool Parse(std::string_view encoded, PutRequestView* out) {
  return Scan(encoded, [out](const Field& field) {
    switch (field.number) {
      case 1:
        return Take(field, &out->key);
      case 2:
        return Take(field, &out->value);
      case 3:
        return Take(field, &out->lease);
      case 4:
        return Take(field, &out->prev_kv);
      case 5:
        return Take(field, &out->ignore_value);
      case 6:
        return Take(field, &out->ignore_lease);
      default:
        return true;
    }
  });
}

bool Parse(std::string_view encoded, DeleteRangeRequestView* out) {
  return Scan(encoded, [out](const Field& field) {
    switch (field.number) {
      case 1:
        return Take(field, &out->key);
      case 2:
        return Take(field, &out->range_end);
      case 3:
        return Take(field, &out->prev_kv);
      default:
        return true;
    }
  });
}

bool Parse(std::string_view encoded, CompareView* out) {
  return Scan(encoded, [out](const Field& field) {
    switch (field.number) {
      case 1:
        return Take(field, &out->result);
      case 2:
        return Take(field, &out->target);
      case 3:
        return Take(field, &out->key);
      case 4:
      case 5:
      case 6:
      case 8:
        out->given = field.number;
        return Take(field, &out->number);
      case 7:
        out->given = field.number;
        return Take(field, &out->value);
      case 64:
        return Take(field, &out->range_end);
      default:
        return true;
    }
  });
}

bool Parse(std::string_view encoded, TxnRequestView* out, int depth = 1);

bool Parse(std::string_view encoded, RequestOpView* out, int depth) {
  using Kind = RequestOpView::Kind;
  return Scan(encoded, [out, depth](const Field& field) {
    if (field.number < 1 || field.number > 4) return true;
    if (field.type != Type::kLength) return false;
    switch (field.number) {
      case 1:
        out->kind = Kind::kRange;
        return Parse(field.bytes, &(out->range = {}));
      case 2:
        out->kind = Kind::kPut;
        return Parse(field.bytes, &(out->put = {}));
      case 3:
        out->kind = Kind::kDeleteRange;
        return Parse(field.bytes, &(out->delete_range = {}));
      default:
        break;
    }
    out->kind = Kind::kTxn;
    out->txn = std::make_unique<TxnRequestView>();
    return depth < kMaxTxnDepth && Parse(field.bytes, out->txn.get(), depth + 1);
  });
}

bool Parse(std::string_view encoded, TxnRequestView* out, int depth) {
  return Scan(encoded, [out, depth](const Field& field) {
    if (field.number < 1 || field.number > 3) return true;
    if (field.type != Type::kLength) return false;
    switch (field.number) {
      case 1:
        return Parse(field.bytes, &out->compare.emplace_back());
      case 2:
        return Parse(field.bytes, &out->success.emplace_back(), depth);
      default:
        return Parse(field.bytes, &out->failure.emplace_back(), depth);
    }
  });
}

template <typename View>
std::optional<View> ParseAs(std::string_view encoded) {
  View view;
  if (!Parse(encoded, &view)) return std::nullopt;
  return view;
}

bool OnlyRanges(const std::vector<RequestOpView>& ops) {
  return std::all_of(ops.begin(), ops.end(),
                     [](const RequestOpView& op) { return op.kind == RequestOpView::Kind::kRange; });
}

int64_t BranchCost(const std::vector<RequestOpView>& ops) {
  int64_t cost = 0;
  for (const RequestOpView& op : ops) {
    if (op.kind == RequestOpView::Kind::kPut) cost += QuotaCost(op.put);
    if (op.kind == RequestOpView::Kind::kTxn) cost += QuotaCost(*op.txn);
  }
  return cost;
}

/// The numbers of InternalRaftRequest's fields that are messages (reference: apply.md §2.1).
bool IsEntryMessage(uint32_t field) {
  return (field >= 2 && field <= 11) || field == 100 || field == 1000 || (field >= 1011 && field <= 1013) ||
         (field >= 1100 && field <= 1107) || (field >= 1200 && field <= 1204) ||
         (field >= 1300 && field <= 1302) || field == 9900;
}

bool ParseHeader(std::string_view encoded, EntryView* out) {
  return Scan(encoded, [out](const Field& field) {
    switch (field.number) {
      case 1:
        out->id = RequestId(field.varint);
        return field.type == Type::kVarint;
      case 2:
        return Take(field, &out->username);
      case 3:
        out->auth_revision = field.varint;
        return field.type == Type::kVarint;
      default:
        return true;
    }
  });
}

}  // namespace

std::optional<RangeRequestView> ParseRangeRequest(std::string_view encoded) {
  return ParseAs<RangeRequestView>(encoded);
}
std::optional<PutRequestView> ParsePutRequest(std::string_view encoded) {
  return ParseAs<PutRequestView>(encoded);
}
std::optional<DeleteRangeRequestView> ParseDeleteRangeRequest(std::string_view encoded) {
  return ParseAs<DeleteRangeRequestView>(encoded);
}
std::optional<TxnRequestView> ParseTxnRequest(std::string_view encoded) {
  return ParseAs<TxnRequestView>(encoded);
}

bool IsReadOnly(const TxnRequestView& txn) { return OnlyRanges(txn.success) && OnlyRanges(txn.failure); }

int64_t QuotaCost(const PutRequestView& put) {
  constexpr int64_t kOverheadBytes = 256;
  return kOverheadBytes + static_cast<int64_t>(put.key.size() + put.value.size());
}

int64_t QuotaCost(const TxnRequestView& txn) {
  return std::max(BranchCost(txn.success), BranchCost(txn.failure));
}

std::optional<EntryView> ParseEntry(std::string_view data) {
  EntryView view;
  const bool ok = Scan(data, [&view](const Field& field) {
    if (field.number == 1) {
      if (field.varint != 0) view.id = RequestId(field.varint);
      return field.type == Type::kVarint;
    }
    if (!IsEntryMessage(field.number)) return true;
    if (field.type != Type::kLength) return false;
    if (field.number == 100) return ParseHeader(field.bytes, &view);
    // A bare request has its method there.
    if (field.number == kV2Kind && !v2store::ParseRequest(field.bytes)) return false;
    view.kind = field.number;
    view.body = field.bytes;
    return true;
  });
  if (!ok) return std::nullopt;
  return view;
}

std::optional<v2store::RequestView> V2RequestOf(std::string_view data, const std::optional<EntryView>& view) {
  if (!view) return v2store::ParseRequest(data);
  return view->kind == kV2Kind ? v2store::ParseRequest(view->body) : std::nullopt;
}

}  // namespace kvorum::member
