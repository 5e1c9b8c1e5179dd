#include "mvcc/types.h"

namespace kvorum::mvcc {

absl::Status CompactedError() { return absl::OutOfRangeError("mvcc: required revision has been compacted"); }

absl::Status FutureRevisionError() {
  return absl::OutOfRangeError("mvcc: required revision is a future revision");
}

bool IsCompacted(const absl::Status& status) {
  return absl::IsOutOfRange(status) && status.message() == CompactedError().message();
}

}  // namespace kvorum::mvcc
