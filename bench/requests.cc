#include "requests.h"

#include "base/check.h"
#include "base/wire.h"

namespace kvorum::bench {
namespace {

// Fields of the v3 API's messages.
constexpr uint32_t kKey = 1;
constexpr uint32_t kValue = 2;
constexpr uint32_t kRangeEnd = 2;
constexpr uint32_t kSerializable = 7;

std::string RangeRequest(const std::string& key, bool serializable) {
  std::string request;
  wire::AppendBytes(request, kKey, key);
  if (serializable) wire::AppendUint(request, kSerializable, 1);
  return request;
}

std::string PutRequest(const std::string& key, const std::string& value) {
  std::string request;
  wire::AppendBytes(request, kKey, key);
  wire::AppendBytes(request, kValue, value);
  return request;
}

/// If the key exists, put it and read it; else put it.
std::string TxnRequest(const std::string& key, const std::string& value) {
  std::string compare;  // version(key) > 0
  wire::AppendUint(compare, 1, 1);
  wire::AppendBytes(compare, 3, key);
  wire::AppendUint(compare, 4, 0);
  std::string put;
  wire::AppendBytes(put, 2, PutRequest(key, value));
  std::string get;
  wire::AppendBytes(get, 1, RangeRequest(key, false));
  std::string txn;
  wire::AppendBytes(txn, 1, compare);
  wire::AppendBytes(txn, 2, put);
  wire::AppendBytes(txn, 2, get);
  wire::AppendBytes(txn, 3, put);
  return txn;
}

constexpr char kRange[] = "/etcdserverpb.KV/Range";

}  // namespace

std::string KeyOf(const Options& options, uint64_t n) {
  std::string digits = std::to_string(n);
  const std::string prefix = "bench/";
  const size_t used = prefix.size() + digits.size();
  return prefix + std::string(options.key_bytes > used ? options.key_bytes - used : 0, '0') + digits;
}

std::string ValueOf(const Options& options, uint64_t n) {
  Random random(n);
  std::string value(options.value_bytes, '\0');
  for (char& c : value) c = static_cast<char>('!' + random.Below(94));
  return value;
}

Call PutCall(const std::string& key, const std::string& value) {
  return {"/etcdserverpb.KV/Put", PutRequest(key, value)};
}

Call NextCall(const Options& options, Random& random) {
  // The same value for every put: making one is no part of what is measured.
  static const std::string value = ValueOf(options, 1);
  const std::string key = KeyOf(options, random.Below(options.keys));
  if (options.workload == "get") return {kRange, RangeRequest(key, true)};
  if (options.workload == "get-linearizable") return {kRange, RangeRequest(key, false)};
  if (options.workload == "put") return PutCall(key, value);
  if (options.workload == "txn") return {"/etcdserverpb.KV/Txn", TxnRequest(key, value)};
  if (options.workload == "mix") {
    return random.OneIn(9, 10) ? Call{kRange, RangeRequest(key, false)} : PutCall(key, value);
  }
  KVORUM_CHECK(options.workload == "list", "unknown workload {}", options.workload);
  std::string request;
  wire::AppendBytes(request, kKey, "bench/");
  wire::AppendBytes(request, kRangeEnd, "bench0");
  wire::AppendUint(request, kSerializable, 1);
  return {kRange, std::move(request)};
}

}  // namespace kvorum::bench
