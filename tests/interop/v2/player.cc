#include "v2/player.h"

#include <poll.h>

#include <algorithm>
#include <cmath>
#include <regex>
#include <set>

#include "absl/time/time.h"
#include "base/check.h"
#include "fmt/format.h"

namespace kvorum::test {
namespace {

// Of the header: by value, or at all. Why is in player.h.
constexpr char kMayDiffer[] =
    "date|connection|keep-alive|content-length|transfer-encoding|"
    "x-etcd-cluster-id|x-raft-index|x-raft-term";
constexpr double kClockSeconds = 10;               // two expirations of one request, on two servers
constexpr int64_t kShortTtlSeconds = 5;            // what is waited for at once
constexpr size_t kLongestReplyWithTtl = 16 << 10;  // std::regex recurses

struct Lifetime {
  double expires = 0;  // Unix seconds
  int64_t ttl = 0;     // 0: not shown
};

/// Takes what depends on the moment out of a body: `"expiration":"…","ttl":5` becomes `"expiration":T`.
std::vector<Lifetime> TakeLifetimes(std::string& body) {
  static const std::regex pattern(R"re("expiration":"([^"]*)"(,"ttl":(-?\d+))?)re");
  std::vector<Lifetime> lifetimes;
  std::string out;
  auto at = body.cbegin();
  for (std::sregex_iterator match(body.begin(), body.end(), pattern), end; match != end; ++match) {
    absl::Time time;
    std::string error;
    KVORUM_CHECK(absl::ParseTime(absl::RFC3339_full, match->str(1), &time, &error), "{}: {}", match->str(1),
                 error);
    lifetimes.push_back({absl::ToDoubleSeconds(time - absl::UnixEpoch()),
                         (*match)[3].matched ? std::stoll(match->str(3)) : 0});
    out.append(at, (*match)[0].first);
    out += "\"expiration\":T";
    at = (*match)[0].second;
  }
  body = out.append(at, body.cend());
  return lifetimes;
}

/// The listing at `at`, just behind its '[', with its nodes in the order of their texts; `at` is moved to its
/// ']'.
std::string SortedNodes(std::string_view body, size_t& at) {
  std::multiset<std::string> nodes;
  std::string node;
  bool quoted = false;
  for (int depth = 0; at < body.size() && (depth > 0 || quoted || body[at] != ']'); ++at) {
    const char c = body[at];
    if (!quoted && depth == 0 && c == ',') {
      nodes.insert(std::exchange(node, ""));
      continue;
    }
    node += c;
    if (quoted && c == '\\') {
      node += body[++at];
    } else if (c == '"') {
      quoted = !quoted;
    } else if (!quoted && c == '[') {
      node += SortedNodes(body, ++at);
      --at;
    } else if (!quoted && (c == '{' || c == '}')) {
      depth += c == '{' ? 1 : -1;
    } else if (!quoted && c == ']') {
      // The end of the inner listing, which SortedNodes has left here.
    }
  }
  nodes.insert(node);
  std::string joined;
  for (const std::string& each : nodes) joined += (joined.empty() ? "" : ",") + each;
  return joined;
}

/// A body whose listings come in the order of a hash table, in an order of ours.
std::string InOrder(const std::string& body) {
  static constexpr std::string_view kNodes = "\"nodes\":[";
  const size_t first = body.find(kNodes);
  if (first == std::string::npos) return body;
  size_t at = first + kNodes.size();
  const std::string sorted = SortedNodes(body, at);
  return body.substr(0, at - sorted.size()) + sorted + body.substr(at);
}

bool AsksForOrder(const Step& step) {
  static const std::regex pattern(R"re([?&]sorted=(1|t|T|TRUE|true|True)(&|$))re");
  return std::regex_search(step.target, pattern);
}

/// Addresses and ids that are each server's own.
std::string WithoutIdentity(std::string body, const Server& server) {
  static const std::regex id(R"re(\b[0-9a-f]{13,16}\b)re");
  static const std::regex time(R"re("(startTime|uptime)":"[^"]*")re");
  for (size_t at; (at = body.find(server.endpoint())) != std::string::npos;) {
    body.replace(at, server.endpoint().size(), "ENDPOINT");
  }
  for (size_t at; (at = body.find(server.peer_endpoint())) != std::string::npos;) {
    body.replace(at, server.peer_endpoint().size(), "PEER");
  }
  return std::regex_replace(std::regex_replace(body, id, "ID"), time, "\"$1\":T");
}

/// The events of a stream with each removal told once.
std::string WithoutRepetitions(const std::string& lines) {
  std::string out;
  std::string_view last;
  for (size_t at = 0; at < lines.size();) {
    const size_t end = std::min(lines.find('\n', at), lines.size() - 1) + 1;
    const std::string_view line = std::string_view(lines).substr(at, end - at);
    if (line != last) out += line;
    last = line;
    at = end;
  }
  return out;
}

std::string Show(const Answer& answer) {
  std::string text = fmt::format("    {}{}\n", answer.status, answer.ended ? "" : " (not ended)");
  for (const auto& [name, value] : answer.headers) text += fmt::format("    {}: {}\n", name, value);
  return text + "    " + answer.body.substr(0, 4000) + "\n";
}

bool SameLifetimes(const std::vector<Lifetime>& a, const std::vector<Lifetime>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Lifetime& x, const Lifetime& y) {
    return std::abs(x.expires - y.expires) <= kClockSeconds &&
           std::abs(static_cast<double>(x.ttl) - static_cast<double>(y.ttl)) <= kClockSeconds;
  });
}

/// What of an answer must agree, as one text.
std::string Essence(const Answer& answer, const Step& step, const Server& server,
                    std::vector<Lifetime>& lifetimes) {
  static const std::regex may_differ(kMayDiffer);
  std::string text = fmt::format("{}\n", answer.status);
  for (const auto& [name, value] : answer.headers) {
    const bool free = std::regex_match(name, may_differ);
    if (!free) text += fmt::format("{}: {}\n", name, value);
    if (free && name.starts_with("x-")) text += fmt::format("{}: …\n", name);
  }
  std::string body = WithoutIdentity(answer.body, server);
  static const std::regex counter(":-?[0-9.e+]+");
  if (step.target.starts_with("/v2/stats")) body = std::regex_replace(body, counter, ":N");
  lifetimes = TakeLifetimes(body);
  return text + (AsksForOrder(step) ? body : InOrder(body));
}

/// Null where they agree.
std::optional<std::string> Compare(const Step& step, const Answer& reference, const Server& reference_server,
                                   const Answer& subject, const Server& subject_server) {
  std::vector<Lifetime> expected_lifetimes;
  std::vector<Lifetime> lifetimes;
  if (Essence(reference, step, reference_server, expected_lifetimes) ==
          Essence(subject, step, subject_server, lifetimes) &&
      expected_lifetimes.size() == lifetimes.size() &&
      (SameLifetimes(expected_lifetimes, lifetimes) ||
       (!AsksForOrder(step) && reference.body.find("\"nodes\":[") != std::string::npos))) {
    return std::nullopt;
  }
  return fmt::format("{}\n  expected:\n{}  got:\n{}", ToLine(step), Show(reference), Show(subject));
}

bool TimedOut(const Answer& answer) {
  return answer.status == 500 && answer.body.find("timed out") != std::string::npos;
}

int PortOf(const std::string& endpoint) { return std::stoi(endpoint.substr(endpoint.find(':') + 1)); }

}  // namespace

Player::Player(const Server* reference, const Server* subject)
    : reference_{reference, nullptr, {}}, subject_{subject, nullptr, {}} {
  KVORUM_CHECK(Eventually([&] {
                 const Step version{"", "GET", "/version", "", {}, {}, 0};
                 const Pair answers = Ask(version);
                 return answers.reference.body.find("not_decided") == std::string::npos &&
                        answers.subject.body.find("not_decided") == std::string::npos;
               }),
               "the version of a cluster is not decided");
}

uint64_t Player::IndexOf(Side& side) {
  const Step list{"", "GET", "/v2/keys", "", {}, {}, 0};
  const Pair answers = Ask(list);
  const Answer& answer = &side == &reference_ ? answers.reference : answers.subject;
  const auto index = answer.headers.find("x-etcd-index");
  KVORUM_CHECK(index != answer.headers.end(), "GET /v2/keys:\n{}", Show(answer));
  return std::stoull(index->second);
}

void Player::Align() {
  for (;;) {
    const uint64_t expected = IndexOf(reference_);
    const uint64_t found = IndexOf(subject_);
    base_ = expected;
    if (expected == found) return;
    Side& behind = expected < found ? reference_ : subject_;
    const Step write{"", "PUT", "/v2/keys/align", "", {}, "value=1", 0};
    behind.connection->Send(ToWire(write, "", 0), false);
    KVORUM_CHECK(behind.connection->AwaitEnd(kPatience), "a write is not answered");
  }
}

Player::Pair Player::Ask(const Step& step) {
  const std::string wire = ToWire(step, directory_, base_);
  for (Side* side : {&reference_, &subject_}) {
    if (!side->connection || !side->connection->reusable()) {
      side->connection = std::make_unique<WireConnection>(PortOf(side->server->endpoint()));
    }
    side->connection->Send(wire, step.method == "HEAD");
  }
  for (Side* side : {&reference_, &subject_}) {
    if (!side->connection->AwaitEnd(kPatience)) side->connection.reset();
  }
  Pair pair;
  if (reference_.connection) pair.reference = reference_.connection->answer();
  if (subject_.connection) pair.subject = subject_.connection->answer();
  ++statuses_[pair.reference.status];
  return pair;
}

std::optional<std::string> Player::Play(const Scenario& scenario) {
  constexpr int kAttempts = 3;
  for (int attempt = 1;; ++attempt) {
    Align();
    // None begins with another's name.
    directory_ = fmt::format("/p{:05}", ++played_);
    std::optional<std::string> difference;
    for (const Step& step : scenario) {
      difference = PlayStep(step);
      if (difference) break;
    }
    const Step end{"", "DELETE", "/v2/keys/@?recursive=true", "", {}, {}, 0};
    if (difference) {
      Ask(end);
    } else {
      difference = PlayStep(end);
      if (!difference) difference = CompareWatchers();
    }
    reference_.watchers.clear();
    subject_.watchers.clear();
    // A disk that stood still makes a request time out, and says nothing of the server.
    const bool stalled = difference && difference->find("request timed out") != std::string::npos;
    if (!stalled || attempt == kAttempts) return difference;
  }
}

std::optional<std::string> Player::PlayStep(const Step& step) {
  if (!step.watcher.empty()) return Watch(step);
  const Pair pair = Ask(step);
  if (auto difference = Compare(step, pair.reference, *reference_.server, pair.subject, *subject_.server)) {
    return difference;
  }
  if (TimedOut(pair.reference)) return "request timed out";
  return AwaitExpiry(step, pair.reference);
}

std::optional<std::string> Player::Watch(const Step& step) {
  const std::string wire = ToWire(step, directory_, base_);
  for (Side* side : {&reference_, &subject_}) {
    auto& watcher = side->watchers[step.watcher];
    watcher = std::make_unique<WireConnection>(PortOf(side->server->endpoint()));
    watcher->Send(wire, false);
  }
  WireConnection& expected = *reference_.watchers[step.watcher];
  WireConnection& found = *subject_.watchers[step.watcher];
  expected.AwaitHead(kPatience);
  found.AwaitHead(kPatience);
  ++statuses_[expected.answer().status];
  // The bodies are compared at the end.
  Answer expected_head = expected.answer();
  Answer found_head = found.answer();
  for (Answer* head : {&expected_head, &found_head}) head->body.clear();
  return Compare(step, expected_head, *reference_.server, found_head, *subject_.server);
}

std::optional<std::string> Player::AwaitExpiry(const Step& step, const Answer& answer) {
  static const std::regex pattern(
      R"re("node":\{"key":"((?:[^"\\]|\\.)*)"(?:,"value":"(?:[^"\\]|\\.)*")?(?:,"dir":true)?,)re"
      R"re("expiration":"[^"]*"(?:,"ttl":(-?\d+))?,"modifiedIndex":(\d+))re");
  std::smatch match;
  if ((step.method != "PUT" && step.method != "POST") || answer.body.size() > kLongestReplyWithTtl ||
      !std::regex_search(answer.body, match, pattern)) {
    return std::nullopt;
  }
  if (match[2].matched && std::stoll(match.str(2)) > kShortTtlSeconds) return std::nullopt;
  // The key as the request wrote it: escapes stay as they are.
  std::string path = step.target.substr(0, step.target.find('?'));
  if (step.method == "POST") path += match.str(1).substr(match.str(1).rfind('/'));
  const Step watch{"",
                   "GET",
                   fmt::format("{}?wait=true&waitIndex={}", path, std::stoull(match.str(3)) + 1),
                   step.credentials,
                   {},
                   {},
                   0};
  const Pair pair = Ask(watch);
  Answer reference = pair.reference;
  Answer subject = pair.subject;
  // Of the index the head says only whether the expiry had come before the watch.
  reference.headers.erase("x-etcd-index");
  subject.headers.erase("x-etcd-index");
  return Compare(watch, reference, *reference_.server, subject, *subject_.server);
}

std::optional<std::string> Player::CompareWatchers() {
  const auto end = std::chrono::steady_clock::now() + patience_;
  for (const auto& [name, expected] : reference_.watchers) {
    WireConnection& found = *subject_.watchers.at(name);
    for (;;) {
      expected->Take();
      found.Take();
      const Step step{"", "watcher", name, "", {}, {}, 0};
      Answer reference = expected->answer();
      Answer subject = found.answer();
      reference.body = WithoutRepetitions(reference.body);
      if (subject_.server->kind() == Server::Kind::kEtcd) subject.body = WithoutRepetitions(subject.body);
      const auto difference = Compare(step, reference, *reference_.server, subject, *subject_.server);
      if (!difference && reference.ended == subject.ended) break;
      if (std::chrono::steady_clock::now() > end) {
        return difference.value_or(fmt::format("watcher {}: {} has ended and the other has not", name,
                                               reference.ended ? "the expected" : "the found"));
      }
      poll(nullptr, 0, 1);
    }
  }
  return std::nullopt;
}

}  // namespace kvorum::test
