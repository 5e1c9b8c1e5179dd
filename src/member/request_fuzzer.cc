#include <cstdint>

#include "base/check.h"
#include "member/request_view.h"
#include "proto/rpc.pb.h"

using namespace kvorum::member;  // NOLINT: a program of one function

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  (void)V2RequestOf(input, ParseEntry(input));
  const std::optional<EntryView> entry = ParseEntry(input);
  const std::string_view body = entry ? entry->body : input;
  (void)ParseRangeRequest(body);
  (void)ParseDeleteRangeRequest(body);
  if (const auto put = ParsePutRequest(body)) {
    // What the strict rule accepts, the generated class reads the same way.
    etcdserverpb::PutRequest message;
    if (message.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
      KVORUM_CHECK(message.key() == put->key && message.value() == put->value);
      KVORUM_CHECK(message.lease() == put->lease.value() && message.prev_kv() == put->prev_kv);
    }
  }
  if (const auto txn = ParseTxnRequest(body)) KVORUM_CHECK(QuotaCost(*txn) >= 0);
  return 0;
}
