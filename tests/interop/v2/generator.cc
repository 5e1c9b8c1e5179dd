#include "v2/generator.h"

#include <regex>

#include "fmt/format.h"

namespace kvorum::test {
namespace {

using Texts = std::vector<std::string>;

/// A number below `n`, whatever the size; shrinks to 0.
int Below(size_t n) {
  return *rc::gen::resize(rc::kNominalSize, rc::gen::inRange<int>(0, static_cast<int>(n)));
}

bool OneIn(int n) { return Below(n) == n - 1; }

/// The first is the simplest.
const std::string& Pick(const Texts& texts) { return texts[Below(texts.size())]; }

std::string Key() {
  static const Texts plain = {"a", "a", "b", "b", "c", "d", "_h", "a.b"};
  static const Texts odd = {"",    ".",   "..",  "%2e%2e", "%2e",       "%61",         "a%2Fb", "%ff",
                            "_",   "*",   "x+y", "a%20b",  "%e2%80%a8", "%3Cx%3E&amp", "%zz",   "a;b",
                            "%5C", "%22", "%00", "…",      "%D0%B6%C3", "~!$'()",      "a:b",   "aab"};
  std::string path = "/v2/keys/@";
  for (int depth = Below(4); depth > 0; --depth) path += "/" + (OneIn(25) ? Pick(odd) : Pick(plain));
  if (OneIn(25)) path += "/";
  return path;
}

std::string Value() {
  static const Texts values = {
      "v1",        "v1",     "v2",      "v2", "v3",  "",    "%3C%26%3E", "%22%5C%0A%09%01",
      "%E2%80%A9", "%ff%fe", "a+b%20c", "ж",  "%00", "v=1", "10",        "%7B%22a%22:1%7D"};
  return Pick(values);
}

std::string Bool() {
  static const Texts values = {"true", "true", "true", "false", "false", "1", "0", "T", "F", "True", "FALSE"};
  return Pick(values);
}

std::string Index() { return OneIn(8) ? std::to_string(Below(3)) : fmt::format("{{{}}}", Below(40)); }

std::string LongTtl() {
  static const Texts values = {"600", "3600", "100", "100000000", "9999999999"};
  return Pick(values);
}

std::string Ttl() {
  static const Texts soon = {"0", "1", "18446744073709551615", "9223372036", "18446744073709551000"};
  return OneIn(12) ? Pick(soon) : LongTtl();
}

std::string Wrong() {
  static const Texts values = {"",    "yes", "tRUE", "-1", "+1",  "1.5", "18446744073709551616",
                               "0x1", "%20", "t%20", "00", "007", "1e3", "%zz",
                               "%",   "é"};
  return Pick(values);
}

struct Parameter {
  std::string name;
  std::string value;
};
using Parameters = std::vector<Parameter>;

/// A parameter that may have no business here.
Parameter AnyParameter() {
  static const Texts bools = {"dir",  "recursive", "sorted",           "quorum", "prevExist",
                              "wait", "stream",    "noValueOnSuccess", "refresh"};
  switch (Below(7)) {
    case 0:
    case 1:
    case 2:
      return {Pick(bools), OneIn(5) ? Wrong() : Bool()};
    case 3:
      return {OneIn(2) ? "prevIndex" : "waitIndex", OneIn(5) ? Wrong() : Index()};
    case 4:
      return {"ttl", OneIn(5) ? Wrong() : LongTtl()};
    case 5:
      return {OneIn(2) ? "prevValue" : "value", Value()};
    default: {
      static const Texts names = {"unknown", "Value", "TTL", "", "value%3D", "dir;recursive"};
      return {Pick(names), Value()};
    }
  }
}

Parameters PutParameters() {
  Parameters parameters;
  switch (Below(12)) {
    case 0:
    case 1:
    case 2:
      parameters = {{"value", Value()}};
      break;
    case 3:
      parameters = {{"dir", "true"}};
      break;
    case 4:
      parameters = {{"value", Value()}, {"ttl", Ttl()}};
      break;
    case 5:
      parameters = {{"dir", "true"}, {"ttl", Ttl()}};
      break;
    case 6:
      parameters = {{"value", Value()}, {"prevExist", Bool()}};
      break;
    case 7:
      parameters = {{"value", Value()}, {"prevValue", Value()}};
      break;
    case 8:
      parameters = {{"value", Value()}, {"prevIndex", Index()}};
      break;
    case 9:
      parameters = {{"refresh", "true"}, {"ttl", Ttl()}, {"prevExist", "true"}};
      break;
    case 10:
      parameters = {{"value", Value()}, {"noValueOnSuccess", "true"}};
      break;
    default:
      parameters = {{"dir", "true"}, {"prevExist", Bool()}, {"ttl", Ttl()}};
  }
  return parameters;
}

Parameters DeleteParameters() {
  switch (Below(6)) {
    case 0:
    case 1:
      return {};
    case 2:
      return {{"dir", "true"}};
    case 3:
      return {{"recursive", "true"}};
    case 4:
      return {{"prevValue", Value()}};
    default:
      return {{"prevIndex", Index()}};
  }
}

Parameters GetParameters() {
  Parameters parameters;
  if (OneIn(2)) parameters.push_back({"recursive", "true"});
  if (OneIn(2)) parameters.push_back({"sorted", "true"});
  if (OneIn(4)) parameters.push_back({"quorum", "true"});
  return parameters;
}

Parameters WatchParameters() {
  Parameters parameters = {{"wait", "true"}};
  if (OneIn(2)) parameters.push_back({"recursive", "true"});
  if (OneIn(2)) parameters.push_back({"stream", "true"});
  if (OneIn(3)) parameters.push_back({"waitIndex", Index()});
  return parameters;
}

std::string Joined(const Parameters& parameters) {
  std::string text;
  for (const Parameter& parameter : parameters) {
    text += (text.empty() ? "" : "&") + parameter.name + "=" + parameter.value;
  }
  return text;
}

/// Expiries are waited for where the answer tells of them, so a short ttl is not hidden.
void LengthenHiddenTtl(Parameters& parameters) {
  const bool hidden = std::any_of(parameters.begin(), parameters.end(),
                                  [](const Parameter& p) { return p.name == "noValueOnSuccess"; });
  for (Parameter& parameter : parameters) {
    if (hidden && parameter.name == "ttl") parameter.value = LongTtl();
  }
}

/// Parameters of a request that has a body: in the query, in the form, or in both.
void Place(Step& step, const Parameters& parameters) {
  Parameters query;
  Parameters form;
  for (const Parameter& parameter : parameters) (OneIn(3) ? query : form).push_back(parameter);
  if (!query.empty()) step.target += "?" + Joined(query);
  if (form.empty() && !OneIn(10)) return;
  step.body = Joined(form);
  if (OneIn(30)) {
    static const Texts odd = {"&",  "value", "&&value=v1&",       "value=%zz",    "value=v1;ttl=600",
                              "=v", "%zz=1", "value=v1&value=v2", "value=v1\r\n", "\\xff=\\xfe"};
    step.body = Pick(odd);
  }
  if (OneIn(15)) {
    static const Texts types = {"application/x-www-form-urlencoded; charset=utf-8",
                                "",
                                "text/plain",
                                "application/json",
                                "APPLICATION/X-WWW-FORM-URLENCODED",
                                "multipart/form-data",
                                "application/x-www-form-urlencoded; a",
                                "nonsense"};
    step.headers.emplace_back("Content-Type", Pick(types));
  }
  if (OneIn(30)) step.headers.emplace_back("Transfer-Encoding", "chunked");
}

Step OtherRequest() {
  static const Texts methods = {"GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH", "PROPFIND"};
  static const Texts targets = {"/v2/keys",
                                "/v2/keys/",
                                "/v2/keys?recursive=x",
                                "/v2/keysfoo",
                                "/v2",
                                "/v2/",
                                "/v2/keys//@",
                                "/v2//keys/@/a",
                                "/v2/keys/%2e%2e/2/x",
                                "/v2/../v2/keys/@/a",
                                "/v2/machines/",
                                "/v2/leader",
                                "/v2/stats",
                                "/v2/auth/enable",
                                "/v2/keys/@/a?",
                                "/v2/keys/@/a?&",
                                "/v2/keys/@/./a?x=%zz",
                                "/nothing"};
  Step step;
  step.method = Pick(methods);
  step.target = Pick(targets);
  if (OneIn(3)) step.headers.emplace_back("Origin", "http://example.com");
  // Nothing is created outside of the scenario's directory.
  const bool writes = step.method == "PUT" || step.method == "POST";
  if (writes && step.target.find("/@") == std::string::npos) step.method = "GET";
  return step;
}

bool Truthy(const std::string& value) {
  return value == "true" || value == "1" || value == "T" || value == "True" || value == "t" ||
         value == "TRUE";
}

Step AnyStep() {
  const int kind = Below(40);
  if (kind == 39) return OtherRequest();
  Step step;
  step.target = Key();
  Parameters parameters;
  if (kind < 16) {
    step.method = "PUT";
    parameters = PutParameters();
  } else if (kind < 23) {
    step.method = "GET";
    parameters = GetParameters();
  } else if (kind < 29) {
    step.method = "DELETE";
    parameters = DeleteParameters();
  } else if (kind < 32) {
    step.method = "POST";
    parameters = {{"value", Value()}};
    if (OneIn(4)) parameters.push_back({"ttl", Ttl()});
    if (OneIn(6)) parameters.push_back({"dir", "true"});
  } else if (kind < 38) {
    step.method = "GET";
    parameters = WatchParameters();
  } else {
    step.method = "HEAD";
    parameters = GetParameters();
  }
  if (OneIn(8)) parameters.insert(parameters.begin() + Below(parameters.size() + 1), AnyParameter());
  LengthenHiddenTtl(parameters);
  if (step.method == "PUT" || step.method == "POST") {
    Place(step, parameters);
    return step;
  }
  if (!parameters.empty()) step.target += "?" + Joined(parameters);
  const bool waits =
      step.method == "GET" && std::any_of(parameters.begin(), parameters.end(),
                                          [](const auto& p) { return p.name == "wait" && Truthy(p.value); });
  if (waits) step.watcher = "w";
  return step;
}

/// Where the history is asked, it is for one event, no key is hidden and none begins with another's name; see
/// player.h.
void KeepOff(Step& step, bool with_history) {
  static const std::regex wait_index("waitIndex=[^&]*");
  static const std::regex hidden("/_");
  static const std::regex stream("&stream=[^&]*");
  static const std::regex first_stream("[?]stream=[^&]*&");
  static const std::regex longer("/a([.;:a]|%20)");
  if (!with_history) {
    if (!step.watcher.empty()) step.target = std::regex_replace(step.target, wait_index, "waitIndex=0");
    return;
  }
  step.target = std::regex_replace(std::regex_replace(step.target, hidden, "/h"), longer, "/x$1");
  if (step.watcher.empty() || step.target.find("waitIndex") == std::string::npos) return;
  step.target = std::regex_replace(std::regex_replace(step.target, stream, ""), first_stream, "?");
}

}  // namespace

rc::Gen<Scenario> AnyScenario() {
  return rc::gen::map(
      rc::gen::pair(rc::gen::container<Scenario>(rc::gen::exec(AnyStep)), rc::gen::arbitrary<bool>()),
      [](std::pair<Scenario, bool> made) {
        auto& [scenario, with_history] = made;
        int watchers = 0;
        for (Step& step : scenario) {
          if (!step.watcher.empty()) step.watcher = fmt::format("w{}", ++watchers);
          KeepOff(step, with_history);
        }
        return scenario;
      });
}

}  // namespace kvorum::test
