#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "datadriven.h"

namespace kvorum::scenarios {

/// Runs the directives of one file, in order, on a state that starts anew with each file.
class Scenario {
 public:
  virtual ~Scenario() = default;
  /// Everything that the directive gives out. Error: Malformed.
  virtual absl::StatusOr<std::string> Run(const Directive& directive) = 0;
};

enum class Kind : uint8_t {
  kInteraction,  ///< nodes that exchange messages
  kQuorum,       ///< majorities
  kConfChange,   ///< changes of a group's membership
};

/// By the commands that the file uses; where it uses none that tells, by the names of its folders.
Kind KindOf(const std::vector<Directive>& directives, std::string_view path);

std::unique_ptr<Scenario> MakeInteractionScenario();
std::unique_ptr<Scenario> MakeQuorumScenario();
std::unique_ptr<Scenario> MakeConfChangeScenario();
std::unique_ptr<Scenario> MakeScenario(Kind kind);

}  // namespace kvorum::scenarios
