#include "api/v2/key_request.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "api/v2/form.h"
#include "fmt/format.h"

namespace kvorum::api_v2 {
namespace {

using v2store::Error;
using v2store::ErrorCode;

constexpr std::string_view kMethodNames[] = {"HEAD", "GET", "PUT", "POST", "DELETE"};

enum Field : size_t {
  kValue,
  kDir,
  kTtl,
  kPrevExist,
  kPrevValue,
  kPrevIndex,
  kRefresh,
  kNoValueOnSuccess,
  kRecursive,
  kSorted,
  kQuorum,
  kWait,
  kWaitIndex,
  kStream,
  kFields
};
constexpr std::string_view kFieldNames[kFields] = {
    "value",     "dir",    "ttl",    "prevExist", "prevValue", "prevIndex", "refresh", "noValueOnSuccess",
    "recursive", "sorted", "quorum", "wait",      "waitIndex", "stream"};

std::optional<bool> ParseBool(std::string_view text) {
  for (const char* yes : {"1", "t", "T", "TRUE", "true", "True"}) {
    if (text == yes) return true;
  }
  for (const char* no : {"0", "f", "F", "FALSE", "false", "False"}) {
    if (text == no) return false;
  }
  return std::nullopt;
}

std::optional<uint64_t> ParseNumber(std::string_view text) {
  uint64_t number = 0;
  if (text.empty() || text[0] < '0' || text[0] > '9') return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

/// `now` and so many seconds in Unix nanoseconds, both of which wrap around as Go's do.
int64_t ExpirationAfter(WallTime now, uint64_t seconds) {
  const auto base = static_cast<uint64_t>(now.time_since_epoch().count());
  return static_cast<int64_t>(base + seconds * 1'000'000'000);
}

/// The parameters, and the checks, each of which remembers the first error of all.
class Parameters {
 public:
  /// A form's parameters come before the query's, and of one name only the first counts.
  void Read(const KeyRequestText& text) {
    std::string form_error = ReadText(text.form);
    if (!text.body_error.empty()) form_error = text.body_error;
    std::string query_error = ReadText(text.query);
    const std::string& trouble = form_error.empty() ? query_error : form_error;
    if (!trouble.empty()) Fail(ErrorCode::kInvalidForm, trouble);
  }

  bool Has(Field field) const { return values_[field].has_value(); }
  std::string_view Text(Field field) const { return values_[field].value_or(std::string_view()); }
  bool IsEmpty(Field field) const { return !Has(field) || values_[field]->empty(); }

  std::optional<uint64_t> Number(Field field, ErrorCode code) {
    if (!Has(field)) return std::nullopt;
    const std::optional<uint64_t> number = ParseNumber(*values_[field]);
    if (!number) Fail(code, fmt::format("invalid value for \"{}\"", kFieldNames[field]));
    return number;
  }
  uint64_t Index(Field field) { return Number(field, ErrorCode::kIndexNotNumber).value_or(0); }

  bool Flag(Field field) { return OptionalFlag(field, true).value_or(false); }
  std::optional<bool> OptionalFlag(Field field, bool quoted_in_error) {
    if (!Has(field)) return std::nullopt;
    const std::optional<bool> flag = ParseBool(*values_[field]);
    if (!flag) {
      const std::string_view quote = quoted_in_error ? "\"" : "";
      Fail(ErrorCode::kInvalidField,
           fmt::format("invalid value for {}{}{}", quote, kFieldNames[field], quote));
    }
    return flag;
  }

  void Fail(ErrorCode code, std::string_view cause) {
    if (!error_) error_ = Error{.code = code, .cause = std::string(cause), .index = 0};
  }
  const std::optional<Error>& error() const { return error_; }

 private:
  std::string ReadText(std::span<char> text) {
    return ParseForm(text, [this](std::string_view name, std::string_view value) {
      for (size_t field = 0; field < kFields; ++field) {
        if (name != kFieldNames[field]) continue;
        if (!values_[field]) values_[field] = value;
        return;
      }
    });
  }

  std::array<std::optional<std::string_view>, kFields> values_;
  std::optional<Error> error_;
};

bool MayMakeKeys(const KeyRequest& key, const Parameters& parameters) {
  if (key.method != KeyMethod::kPut) return key.method == KeyMethod::kPost;
  const bool compares = key.request.prev_index != 0 || parameters.Has(kPrevValue);
  return !compares && !key.request.prev_exist.value_or(false);
}

/// Without the clients' root.
size_t NamesOf(std::string_view store_path) {
  return static_cast<size_t>(std::count(store_path.begin(), store_path.end(), '/')) - 1;
}

}  // namespace

bool ParseKeyMethod(std::string_view text, KeyMethod* method) {
  for (size_t i = 0; i < std::size(kMethodNames); ++i) {
    if (text != kMethodNames[i]) continue;
    *method = static_cast<KeyMethod>(i);
    return true;
  }
  return false;
}

std::variant<KeyRequest, Error> ParseKeyRequest(const KeyRequestText& text) {
  KeyRequest key;
  key.method = text.method;
  v2store::RequestView& request = key.request;
  request.method = kMethodNames[static_cast<size_t>(text.method)];
  request.path = text.path;
  while (request.path.ends_with('/')) request.path.remove_suffix(1);
  Parameters parameters;
  parameters.Read(text);
  if (parameters.error()) return *parameters.error();

  // In the order in which etcd checks: the first error is the one that is told.
  request.prev_index = parameters.Index(kPrevIndex);
  request.since = parameters.Index(kWaitIndex);
  request.recursive = parameters.Flag(kRecursive);
  request.sorted = parameters.Flag(kSorted);
  request.wait = parameters.Flag(kWait);
  request.dir = parameters.Flag(kDir);
  request.quorum = parameters.Flag(kQuorum);
  request.stream = parameters.Flag(kStream);
  if (request.wait && text.method != KeyMethod::kGet) {
    parameters.Fail(ErrorCode::kInvalidField, "\"wait\" can only be used with GET requests");
  }
  if (parameters.Has(kPrevValue) && parameters.IsEmpty(kPrevValue)) {
    parameters.Fail(ErrorCode::kPrevValueRequired, "\"prevValue\" cannot be empty");
  }
  key.no_value_on_success = parameters.Flag(kNoValueOnSuccess);
  std::optional<uint64_t> ttl;
  if (!parameters.IsEmpty(kTtl)) ttl = parameters.Number(kTtl, ErrorCode::kTtlNotNumber);
  request.prev_exist = parameters.OptionalFlag(kPrevExist, /*quoted_in_error=*/false);
  request.refresh = parameters.OptionalFlag(kRefresh, /*quoted_in_error=*/false);
  if (request.refresh.value_or(false)) {
    if (!parameters.IsEmpty(kValue)) {
      parameters.Fail(ErrorCode::kRefreshWithValue, "A value was provided on a refresh");
    }
    if (!ttl) parameters.Fail(ErrorCode::kRefreshTtlRequired, "No TTL value set");
  }
  if (MayMakeKeys(key, parameters) && NamesOf(request.path) > kMaxNewKeyNames) {
    parameters.Fail(ErrorCode::kInvalidField, fmt::format("the key has more than {} names", kMaxNewKeyNames));
  }
  if (parameters.error()) return *parameters.error();
  if (ttl) request.expiration = ExpirationAfter(text.now, *ttl);
  request.value = parameters.Text(kValue);
  request.prev_value = parameters.Text(kPrevValue);
  return key;
}

}  // namespace kvorum::api_v2
