#include "base/status.h"
#include "describe.h"
#include "fmt/format.h"
#include "raft/membership.h"
#include "scenario.h"

// Changes of the membership: commands `simple`, `enter-joint` and `leave-joint`. Source: reference raft.md
// §19.

namespace kvorum::scenarios {
namespace {

class ConfChangeScenario : public Scenario {
 public:
  absl::StatusOr<std::string> Run(const Directive& directive) override {
    absl::StatusOr<raft::Membership> next = Change(directive);
    last_index_ = last_index_ + 1;
    if (!next.ok()) {
      if (IsMalformed(next.status())) return next.status();
      return fmt::format("{}\n", std::string(next.status().message()));
    }
    membership_ = *std::move(next);
    return fmt::format("{}\n{}", membership_.ConfigToString(), raft::ToString(membership_.progress));
  }

 private:
  absl::StatusOr<raft::Membership> Change(const Directive& directive) const {
    KVORUM_ASSIGN_OR_RETURN(const auto changes, ParseChanges(directive.input));
    const raft::MembershipChanger changer(membership_, last_index_, window_);
    if (directive.command == "simple") return changer.Simple(changes);
    if (directive.command == "enter-joint") {
      bool auto_leave = false;
      for (const Arg& arg : directive.args) {
        if (arg.key != "autoleave" || arg.values.size() != 1) {
          return Malformed(fmt::format("no autoleave=true or autoleave=false: {}", arg.key));
        }
        KVORUM_ASSIGN_OR_RETURN(auto_leave, ToBool(arg.values[0]));
      }
      return changer.EnterJoint(auto_leave, changes);
    }
    if (directive.command == "leave-joint") {
      if (!changes.empty()) return absl::InvalidArgumentError("this command takes no input");
      return changer.LeaveJoint();
    }
    return absl::InvalidArgumentError("unknown command");
  }

  raft::Membership membership_;
  /// Grows with each directive, so that a progress shows in which one it was made.
  raft::Index last_index_;
  const raft::Inflights window_{10, 0};
};

}  // namespace

std::unique_ptr<Scenario> MakeConfChangeScenario() { return std::make_unique<ConfChangeScenario>(); }

}  // namespace kvorum::scenarios
