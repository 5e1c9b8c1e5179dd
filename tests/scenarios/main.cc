#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include "base/status.h"
#include "datadriven.h"
#include "fmt/format.h"
#include "scenario.h"

// raft_scenario [--rewrite] FILE…: runs scenario files and shows where their output is another than they say.

namespace kvorum::scenarios {

std::unique_ptr<Scenario> MakeScenario(Kind kind) {
  switch (kind) {
    case Kind::kInteraction:
      return MakeInteractionScenario();
    case Kind::kQuorum:
      return MakeQuorumScenario();
    case Kind::kConfChange:
      return MakeConfChangeScenario();
  }
  return nullptr;
}

Kind KindOf(const std::vector<Directive>& directives, std::string_view path) {
  for (const Directive& directive : directives) {
    const std::string& command = directive.command;
    if (command == "committed" || command == "vote") return Kind::kQuorum;
    if (command == "simple" || command == "enter-joint" || command == "leave-joint") return Kind::kConfChange;
    if (command == "add-nodes" || command == "log-level") return Kind::kInteraction;
  }
  for (const std::filesystem::path& part : std::filesystem::path(path)) {
    if (part == "quorum") return Kind::kQuorum;
    if (part == "confchange") return Kind::kConfChange;
  }
  return Kind::kInteraction;
}

namespace {

enum class Mode : uint8_t { kCheck, kRewrite };

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  if (!file || !(content << file.rdbuf())) {
    // An empty file has nothing to read, and is no error.
    std::error_code error;
    if (std::filesystem::is_regular_file(path, error) && std::filesystem::file_size(path, error) == 0)
      return "";
    return absl::NotFoundError(fmt::format("{}: cannot be read", path));
  }
  return content.str();
}

/// True where every directive gave out what the file says, or the file says it now.
absl::StatusOr<bool> RunFile(const std::string& path, Mode mode) {
  KVORUM_ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
  KVORUM_ASSIGN_OR_RETURN(const std::vector<Directive> directives, ParseFile(content));
  const std::unique_ptr<Scenario> scenario = MakeScenario(KindOf(directives, path));
  std::vector<std::string> outputs;
  bool same = true;
  for (const Directive& directive : directives) {
    absl::StatusOr<std::string> output = scenario->Run(directive);
    if (!output.ok()) {
      return Malformed(fmt::format("line {}: {}: {}", directive.line, directive.command,
                                   std::string(output.status().message())));
    }
    outputs.push_back(WithNewline(*std::move(output)));
    if (outputs.back() == directive.expected || mode == Mode::kRewrite) continue;
    same = false;
    fmt::print("{}:{}: {}\n{}\n", path, directive.line, directive.command,
               Diff(directive.expected, outputs.back()));
  }
  if (mode == Mode::kRewrite) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << Rewritten(content, directives, outputs);
  }
  return same;
}

int Main(const std::vector<std::string>& arguments) {
  Mode mode = Mode::kCheck;
  std::vector<std::string> paths;
  for (const std::string& argument : arguments) {
    if (argument == "--rewrite") {
      mode = Mode::kRewrite;
    } else if (argument.starts_with("--")) {
      fmt::print(stderr, "raft_scenario: unknown option {}\n", argument);
      return 1;
    } else {
      paths.push_back(argument);
    }
  }
  if (paths.empty()) {
    fmt::print(stderr, "usage: raft_scenario [--rewrite] FILE...\n");
    return 1;
  }
  size_t failed = 0;
  for (const std::string& path : paths) {
    const absl::StatusOr<bool> same = RunFile(path, mode);
    if (!same.ok()) {
      fmt::print("{}: {}\n", path, std::string(same.status().message()));
    }
    const bool passed = same.ok() && *same;
    failed += !passed;
    fmt::print("{} {}\n", passed ? "ok  " : "FAIL", path);
    std::fflush(stdout);
  }
  if (failed > 0) fmt::print("{} of {} files differ\n", failed, paths.size());
  return failed > 0 ? 1 : 0;
}

}  // namespace
}  // namespace kvorum::scenarios

int main(int argc, char** argv) {
  return kvorum::scenarios::Main(std::vector<std::string>(argv + 1, argv + argc));
}
