#include "sim/ledger.h"

#include <utility>

#include "fmt/format.h"
#include "sim/check/describe.h"

namespace kvorum::sim {

namespace {

bool Differs(const Revision& a, const Revision& b) {
  if (a.events.size() != b.events.size()) return true;
  for (size_t i = 0; i < a.events.size(); ++i) {
    if (a.events[i].SerializeAsString() != b.events[i].SerializeAsString()) return true;
  }
  return false;
}

}  // namespace

bool Ledger::Learn(std::string_view member, Revision revision, Instant now) {
  const Revision* known = nullptr;
  if (revision.revision <= last()) {
    known = &revisions_[static_cast<size_t>(revision.revision - 2)];
  } else if (const auto early = early_.find(revision.revision); early != early_.end()) {
    known = &early->second;
  }
  if (known != nullptr) {
    if (Differs(*known, revision)) {
      violations_.push_back(
          fmt::format("revision {} of {} is not what another member has: {}; there it is {}",
                      revision.revision, member, Describe(revision.events), Describe(known->events)));
    }
    return false;
  }
  revision.seen = now;
  early_.emplace(revision.revision, std::move(revision));
  while (!early_.empty() && early_.begin()->first == last() + 1) {
    revisions_.push_back(std::move(early_.begin()->second));
    early_.erase(early_.begin());
  }
  return true;
}

void AddEvent(mvccpb::Event event, std::vector<Revision>* revisions) {
  const int64_t revision = event.kv().mod_revision();
  if (revisions->empty() || revisions->back().revision != revision)
    revisions->emplace_back().revision = revision;
  revisions->back().events.push_back(std::move(event));
}

}  // namespace kvorum::sim
