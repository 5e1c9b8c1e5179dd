#pragma once

#include <string>
#include <vector>

#include "base/check.h"
#include "base/wire.h"
#include "mvcc/record_format.h"
#include "mvcc/watch.h"

namespace kvorum::mvcc::testing {

/// "key=value@mod" of a put, "key-@mod" of a deletion, and " (value)" of what was before, where that was
/// sent.
inline std::string EventText(const Bytes& encoded) {
  wire::Reader outer(encoded.view());
  wire::Field field;
  KVORUM_CHECK(outer.Next(&field) && field.number == 11 && outer.rest().empty());
  bool deletion = false;
  Record kv;
  std::string previous;
  wire::Reader event(field.bytes);
  while (event.Next(&field)) {
    if (field.number == 1) deletion = field.varint == 1;
    if (field.number == 2) kv = ParseRecord(field.bytes).value();
    if (field.number == 3) previous = " (" + std::string(ParseRecord(field.bytes)->value) + ")";
  }
  KVORUM_CHECK(event.ok());
  const std::string what = deletion ? "-" : "=" + std::string(kv.value);
  return std::string(kv.key) + what + "@" + std::to_string(kv.mod_revision) + previous;
}

inline std::vector<std::string> EventTexts(const WatchBatch& batch) {
  KVORUM_CHECK(batch.event_count == batch.events.size());
  size_t bytes = 0;
  std::vector<std::string> texts;
  for (const Bytes& event : batch.events) {
    bytes += event.size();
    texts.push_back(EventText(event));
  }
  KVORUM_CHECK(bytes == batch.bytes);
  return texts;
}

}  // namespace kvorum::mvcc::testing
