#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "member/request_view.h"

namespace kvorum::member {

// From what the store found to what a reply says: filters, order, limit, keys only (reference: v3-api.md
// §6.2). Used for ranges inside transactions and for those that a member answers without the log. Records are
// encoded mvccpb.KeyValue and are copied as they are wherever nothing has to be looked at.

/// The fields of a record. Views into it.
struct RecordView {
  std::string_view key;
  int64_t create_revision = 0;
  int64_t mod_revision = 0;
  int64_t version = 0;
  std::string_view value;
  LeaseId lease;
};
/// REQUIRES: a record of the store, which is well formed.
RecordView ParseRecord(std::string_view record);

/// How many records the store has to give for `request` (its RangeOptions::limit): 0 for all, where they have
/// to be filtered or sorted first; else one more than asked for, to know whether there are more.
int64_t FetchLimit(const RangeRequestView& request);

/// What goes into the reply.
struct RangeSelection {
  std::vector<std::string_view> records;  ///< in the order of the reply
  bool more = false;
  int64_t count = 0;
};
/// `records`: what the store gave for FetchLimit(request) at the wanted revision, in key order; `count`: of
/// all keys in the range. Of a `count_only` request only the count is used.
RangeSelection SelectRecords(const RangeRequestView& request, std::vector<std::string_view> records,
                             int64_t count);

/// The encoded size of one `RangeResponse.kvs` element, tag and length included.
size_t KvFieldSize(std::string_view record, bool keys_only);
/// Appends `field: record`, without its value where `keys_only`. RangeResponse.kvs is field 2.
void AppendKvField(std::string& out, uint32_t field, std::string_view record, bool keys_only);

/// The encoded fields kvs, more and count of a RangeResponse: the reply is a header field (1) and this.
size_t RangeBodySize(const RangeRequestView& request, const RangeSelection& selection);
void AppendRangeBody(std::string& out, const RangeRequestView& request, const RangeSelection& selection);

}  // namespace kvorum::member
