#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kvorum::test {

/// One request of a scenario.
///
/// As a line: `[WATCHER: ]METHOD TARGET[ -u USER:PASSWORD][ -H "Name: value"]…[ -d "BODY"][ -f COUNT]`. Text
/// in quotes knows \n \r \t \" \\ and \x41. `-f` makes the body COUNT bytes longer. A body is a form unless a
/// Content-Type is named; an empty one takes the header away. In target and body `/@` stands for the
/// scenario's directory and `{5}` for the store's index when the scenario began, plus 5.
struct Step {
  std::string watcher;  ///< its answer is left open under this name
  std::string method;
  std::string target;
  std::string credentials;
  std::vector<std::pair<std::string, std::string>> headers;
  std::optional<std::string> body;
  uint64_t fill = 0;
};
using Scenario = std::vector<Step>;

std::string ToLine(const Step& step);
std::string ToText(const Scenario& scenario);
/// Lines that are empty or begin with '#' say nothing. Fails the test at a line that is none.
Scenario ParseScenario(std::string_view text);

/// The bytes to send: `directory` stands for "/@", `base` is what `{0}` is.
std::string ToWire(const Step& step, std::string_view directory, uint64_t base);
/// `text` with what stands for something replaced.
std::string Expand(std::string_view text, std::string_view directory, uint64_t base);

}  // namespace kvorum::test
