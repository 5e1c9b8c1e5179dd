#include "robustness/report.h"

#include <algorithm>
#include <fstream>

#include "fmt/format.h"
#include "fmt/ostream.h"
#include "sim/check/describe.h"

namespace kvorum::robustness {

namespace {

using sim::TimeText;
using Outcome = sim::Operation::Outcome;

void WriteOperations(const sim::History& history, std::ostream& out) {
  for (size_t i = 0; i < history.operations.size(); ++i) {
    const sim::Operation& operation = history.operations[i];
    std::string outcome = "unknown: " + operation.error;
    if (operation.outcome == Outcome::kRefused) outcome = "refused: " + operation.error;
    if (operation.outcome == Outcome::kAnswered) {
      outcome = std::visit([](const auto& response) { return sim::Short(response); }, operation.response);
    }
    fmt::print(out, "{} -> {}\n", sim::Describe(history, i), outcome);
  }
}

void WriteWatches(const sim::History& history, std::ostream& out) {
  for (size_t i = 0; i < history.watches.size(); ++i) {
    const sim::WatchHistory& watch = history.watches[i];
    fmt::print(out, "watch #{} (client {}, member {:x}, created {}, cancelled {}{}): {}\n", i, watch.client,
               watch.member.value(), TimeText(watch.created), TimeText(watch.cancel_invoked),
               watch.open_at_end ? ", open to the end" : "", sim::Short(watch.request));
    for (size_t k = 0; k < watch.responses.size(); ++k) {
      fmt::print(out, "  response {} at {}: {}\n", k, TimeText(watch.received[k]),
                 sim::Short(watch.responses[k]));
    }
  }
}

void WriteLeases(const sim::History& history, std::ostream& out) {
  for (const sim::LeaseHistory& lease : history.leases) {
    fmt::print(out, "lease {} of {} s: granted {} to {}, revoked {} to {} at revision {}\n", lease.id,
               lease.ttl_seconds, TimeText(lease.granted_invoked), TimeText(lease.granted),
               TimeText(lease.revoke_invoked), TimeText(lease.revoked), lease.revoked_revision);
    for (const auto& renewal : lease.renewals) {
      fmt::print(out, "  renewed {} to {}: {} s\n", TimeText(renewal.invoked), TimeText(renewal.returned),
                 renewal.ttl_seconds);
    }
  }
}

}  // namespace

absl::Status WriteHistory(const sim::History& history, const std::string& path) {
  std::ofstream out(path);
  for (const sim::Revision& revision : history.revisions) {
    fmt::print(out, "revision {} seen {}: {}\n", revision.revision, TimeText(revision.seen),
               sim::Describe(revision.events));
  }
  WriteOperations(history, out);
  WriteWatches(history, out);
  WriteLeases(history, out);
  for (const sim::HashAt& hash : history.hashes) {
    fmt::print(out, "hash of member {:x} at revision {}, compacted at {}: {}\n", hash.member.value(),
               hash.revision, hash.compact_revision, hash.hash);
  }
  out.close();
  return out ? absl::OkStatus() : absl::InternalError(fmt::format("write {}", path));
}

std::string Summary(const sim::History& history) {
  const auto count = [&history](Outcome outcome) {
    return std::count_if(history.operations.begin(), history.operations.end(),
                         [outcome](const sim::Operation& operation) { return operation.outcome == outcome; });
  };
  return fmt::format("{} answered, {} refused, {} unknown; {} revisions, {} watches, {} leases",
                     count(Outcome::kAnswered), count(Outcome::kRefused), count(Outcome::kUnknown),
                     history.revisions.size(), history.watches.size(), history.leases.size());
}

}  // namespace kvorum::robustness
