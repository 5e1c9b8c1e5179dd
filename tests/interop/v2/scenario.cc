#include "v2/scenario.h"

#include <cstdlib>
#include <regex>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "base/check.h"
#include "fmt/format.h"

namespace kvorum::test {
namespace {

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += fmt::format("\\{}", c);
    } else if (byte < 0x20 || byte >= 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out + "\"";
}

/// Splits a line at blanks that are not in quotes; quotes are taken off.
std::vector<std::string> Words(const std::string& line) {
  std::vector<std::string> words;
  for (size_t at = 0; at < line.size();) {
    if (line[at] == ' ') {
      ++at;
    } else if (line[at] == '"') {
      std::string word;
      for (++at; line.at(at) != '"'; ++at) {
        if (line[at] != '\\') {
          word += line[at];
          continue;
        }
        switch (line.at(++at)) {
          case 'n':
            word += '\n';
            break;
          case 'r':
            word += '\r';
            break;
          case 't':
            word += '\t';
            break;
          case 'x':
            word += static_cast<char>(std::stoi(line.substr(at + 1, 2), nullptr, 16));
            at += 2;
            break;
          default:
            word += line[at];
        }
      }
      ++at;
      words.push_back(word);
    } else {
      const size_t end = std::min(line.find(' ', at), line.size());
      words.push_back(line.substr(at, end - at));
      at = end;
    }
  }
  return words;
}

Step ParseLine(const std::string& line) {
  Step step;
  std::vector<std::string> words = Words(line);
  size_t at = 0;
  if (words[0].back() == ':') step.watcher = words[at++].substr(0, words[0].size() - 1);
  KVORUM_CHECK(words.size() >= at + 2 && (words.size() - at) % 2 == 0, "no step of a scenario: {}", line);
  step.method = words[at++];
  step.target = words[at++];
  for (; at < words.size(); at += 2) {
    const std::string& value = words[at + 1];
    if (words[at] == "-u") {
      step.credentials = value;
    } else if (words[at] == "-H") {
      const size_t colon = value.find(':');
      KVORUM_CHECK(colon != std::string::npos, "no header: {}", line);
      const size_t begin = value.find_first_not_of(' ', colon + 1);
      step.headers.emplace_back(value.substr(0, colon),
                                begin == std::string::npos ? "" : value.substr(begin));
    } else if (words[at] == "-d") {
      step.body = value;
    } else if (words[at] == "-f") {
      step.fill = std::strtoull(value.c_str(), nullptr, 10);
    } else {
      KVORUM_CHECK(false, "unknown option {}: {}", words[at], line);
    }
  }
  return step;
}

bool Named(const std::pair<std::string, std::string>& header, std::string_view name) {
  return absl::EqualsIgnoreCase(header.first, absl::string_view(name.data(), name.size()));
}

}  // namespace

std::string ToLine(const Step& step) {
  std::string line = step.watcher.empty() ? "" : step.watcher + ": ";
  line += step.method + " " + step.target;
  if (!step.credentials.empty()) line += " -u " + step.credentials;
  for (const auto& [name, value] : step.headers) line += " -H " + Quoted(name + ": " + value);
  if (step.body) line += " -d " + Quoted(*step.body);
  if (step.fill > 0) line += fmt::format(" -f {}", step.fill);
  return line;
}

std::string ToText(const Scenario& scenario) {
  std::string text;
  for (const Step& step : scenario) text += ToLine(step) + "\n";
  return text;
}

Scenario ParseScenario(std::string_view text) {
  Scenario scenario;
  while (!text.empty()) {
    const std::string line(text.substr(0, text.find('\n')));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (!line.empty() && line[0] != '#') scenario.push_back(ParseLine(line));
  }
  return scenario;
}

std::string Expand(std::string_view text, std::string_view directory, uint64_t base) {
  static const std::regex pattern(R"re(/@|\{\d+\})re");
  const std::string given(text);
  std::string out;
  auto at = given.cbegin();
  for (std::sregex_iterator match(given.begin(), given.end(), pattern), end; match != end; ++match) {
    out.append(at, (*match)[0].first);
    at = (*match)[0].second;
    out += match->str() == "/@" ? std::string(directory)
                                : std::to_string(base + std::stoull(match->str().substr(1)));
  }
  return out.append(at, given.cend());
}

std::string ToWire(const Step& step, std::string_view directory, uint64_t base) {
  std::string wire = step.method + " " + Expand(step.target, directory, base) + " HTTP/1.1\r\n";
  bool has_type = false;
  bool chunked = false;
  bool has_host = false;
  for (const auto& header : step.headers) {
    has_type |= Named(header, "content-type");
    has_host |= Named(header, "host");
    chunked |= Named(header, "transfer-encoding");
    if (!header.second.empty()) wire += header.first + ": " + header.second + "\r\n";
  }
  if (!has_host) wire += "Host: 127.0.0.1\r\n";
  if (!step.credentials.empty()) {
    wire += "Authorization: Basic " + absl::Base64Escape(step.credentials) + "\r\n";
  }
  if (step.body || step.fill > 0) {
    const std::string body =
        Expand(step.body.value_or(""), directory, base) + std::string(static_cast<size_t>(step.fill), 'x');
    if (!has_type) wire += "Content-Type: application/x-www-form-urlencoded\r\n";
    if (chunked) return wire + fmt::format("\r\n{:x}\r\n{}\r\n0\r\n\r\n", body.size(), body);
    return wire + fmt::format("Content-Length: {}\r\n\r\n{}", body.size(), body);
  }
  return wire + "\r\n";
}

}  // namespace kvorum::test
