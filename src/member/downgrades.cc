#include "member/downgrades.h"

#include <utility>

#include "base/wire.h"

namespace kvorum::member {
namespace {

absl::Status WrongFormatError() {
  return absl::InvalidArgumentError("etcdserver: wrong downgrade target version format");
}
absl::Status InvalidTargetError() {
  return absl::InvalidArgumentError("etcdserver: invalid downgrade target version");
}
absl::Status NoVersionError() {
  return absl::FailedPreconditionError("etcdserver: cluster version not found during downgrade");
}
absl::Status InProgressError() {
  return absl::FailedPreconditionError("etcdserver: cluster has a downgrade job in progress");
}
absl::Status NoneInProgressError() {
  return absl::FailedPreconditionError("etcdserver: no inflight downgrade job");
}

/// The oldest cluster version whose members all know the entry that begins a downgrade (reference: apply.md
/// §2.3).
constexpr cluster::Version kFirstWithDowngrades{.major = 3, .minor = 5};

/// "3.6" or "3.6.4"; the patch is left out.
std::optional<cluster::Version> ParseTarget(const std::string& text) {
  std::optional<cluster::Version> version = cluster::ParseVersion(text);
  if (!version) version = cluster::ParseVersion(text + ".0");
  if (!version) return std::nullopt;
  return version->Cluster();
}

}  // namespace

void Downgrades::Change(Action action, std::string target_version, MonotonicTime deadline, Done done) {
  if (action == Action::kCancel) return Cancel(deadline, std::move(done));
  const std::optional<cluster::Version> target = ParseTarget(target_version);
  if (!target) return Refuse(WrongFormatError(), std::move(done));
  if (action == Action::kEnable) return Enable(*target, deadline, std::move(done));
  if (member_.cluster().version().empty()) return Refuse(NoVersionError(), std::move(done));
  Validate(*target, deadline, [this, done = std::move(done)](absl::Status status) mutable {
    if (!status.ok()) return done(std::move(status));
    done(member_.cluster().version());
  });
}

void Downgrades::Refuse(absl::Status status, Done done) {
  ports_.apply_executor->Post(
      [status = std::move(status), done = std::move(done)]() mutable { done(std::move(status)); });
}

void Downgrades::AfterRead(MonotonicTime deadline, absl::AnyInvocable<void(absl::Status)> then) {
  if (!member_.ConfirmRead(deadline, &then)) return;
  ports_.apply_executor->Post([then = std::move(then)]() mutable { then(absl::OkStatus()); });
}

void Downgrades::Validate(const cluster::Version& target, MonotonicTime deadline,
                          absl::AnyInvocable<void(absl::Status)> done) {
  AfterRead(deadline, [this, target, done = std::move(done)](absl::Status status) mutable {
    if (status.ok()) status = Check(target);
    done(std::move(status));
  });
}

absl::Status Downgrades::Check(const cluster::Version& target) const {
  const std::optional<cluster::Version> current = cluster::ParseVersion(member_.cluster().version());
  if (!current) return NoVersionError();
  const bool one_down = current->major == target.major && current->minor == target.minor + 1;
  if (!one_down || *current < kFirstWithDowngrades) return InvalidTargetError();
  if (member_.cluster().downgrade().enabled) return InProgressError();
  return absl::OkStatus();
}

void Downgrades::Enable(const cluster::Version& target, MonotonicTime deadline, Done done) {
  Validate(target, deadline, [this, target, deadline, done = std::move(done)](absl::Status status) mutable {
    if (!status.ok()) {
      KVORUM_LOG(*ports_.logger, kWarn, "reject downgrade request", {"error", std::string(status.message())});
      return done(std::move(status));
    }
    std::string request;
    wire::AppendUint(request, 1, 1);
    wire::AppendBytes(request, 2, target.Text());
    Propose(request, deadline, [this, done = std::move(done)](ApplyResult result) mutable {
      if (!result.status.ok()) return done(std::move(result.status));
      done(member_.cluster().version());
    });
  });
}

void Downgrades::Cancel(MonotonicTime deadline, Done done) {
  // Whatever becomes of it, who asked is told that all is well, as etcd does.
  auto finish = [this, done = std::move(done)](absl::StatusOr<std::string> status) mutable {
    if (!status.ok()) {
      KVORUM_LOG(*ports_.logger, kError, "failed to cancel downgrade",
                 {"error", std::string(status.status().message())});
    }
    done(member_.cluster().version());
  };
  AfterRead(deadline, [this, deadline, finish = Done(std::move(finish))](absl::Status status) mutable {
    if (!status.ok()) return finish(std::move(status));
    if (!member_.cluster().downgrade().enabled) return finish(NoneInProgressError());
    Propose("", deadline, [finish = std::move(finish)](ApplyResult result) mutable {
      if (result.status.ok()) return finish("");
      finish(std::move(result.status));
    });
  });
}

void Downgrades::Propose(std::string_view request, MonotonicTime deadline, ApplyDone done) {
  const RequestId id = member_.NextRequestId();
  member_.Propose(id, BuildEntry(RequestKind::kDowngradeInfoSet, request, id, {}), deadline, std::move(done));
}

}  // namespace kvorum::member
