#include "sim/check/lease_checker.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "sim/check/describe.h"

namespace kvorum::sim {
namespace {

using etcdserverpb::PutRequest;
using etcdserverpb::RequestOp;
using etcdserverpb::TxnRequest;

/// `a + b`, of which the first may be kNever.
Instant After(Instant a, Instant b) { return a >= kNever - b ? kNever : a + b; }

void NamedLeases(const PutRequest& put, std::vector<int64_t>* leases) {
  if (put.lease() != 0) leases->push_back(put.lease());
}
void NamedLeases(const TxnRequest& txn, std::vector<int64_t>* leases) {
  for (const auto* ops : {&txn.success(), &txn.failure()}) {
    for (const RequestOp& op : *ops) {
      if (op.has_request_put()) NamedLeases(op.request_put(), leases);
      if (op.has_request_txn()) NamedLeases(op.request_txn(), leases);
    }
  }
}

/// One lease's life against the rules.
class Life {
 public:
  Life(const LeaseHistory& lease, const History& history, const KvModel& model, const KvVerdict& verdict,
       const LeaseRules& rules, Violations* violations)
      : lease_(lease),
        history_(history),
        model_(model),
        verdict_(verdict),
        rules_(rules),
        violations_(violations),
        ttl_(static_cast<double>(lease.ttl_seconds) * 1e9) {}

  void AddEnd(int64_t revision) { ends_.push_back(revision); }
  void AddAttachment(int64_t revision) { attachments_.push_back(revision); }

  void Check() {
    CheckRenewals();
    CheckRevocation();
    CheckEnds();
    CheckAttachments();
    CheckLeftovers();
  }

  /// Whether the lease can have been over at `when`, or before it was granted.
  bool MayBeMissing(Instant invoked, Instant returned) const {
    return lease_.granted >= invoked || lease_.revoke_invoked <= returned || EarliestEnd() <= returned ||
           (!ends_.empty() && model_.seen(ends_.front()) <= returned);
  }

 private:
  template <typename... Args>
  void Report(fmt::format_string<Args...> format, Args&&... args) {
    violations_->push_back(fmt::format("lease {} ({} s, granted {} to {}): {}", lease_.id, lease_.ttl_seconds,
                                       TimeText(lease_.granted_invoked), TimeText(lease_.granted),
                                       fmt::format(format, std::forward<Args>(args)...)));
  }

  static bool Accepted(const LeaseHistory::Renewal& renewal) {
    return renewal.returned != kNever && renewal.ttl_seconds > 0;
  }
  static bool Denied(const LeaseHistory::Renewal& renewal) {
    return renewal.returned != kNever && renewal.ttl_seconds <= 0;
  }
  static std::string Text(const LeaseHistory::Renewal& renewal) {
    return fmt::format("the renewal of {} to {}", TimeText(renewal.invoked), TimeText(renewal.returned));
  }

  /// The last time at which it surely lived from then on.
  Instant LastStart() const {
    Instant last = lease_.granted_invoked;
    for (const auto& renewal : lease_.renewals) {
      if (Accepted(renewal)) last = std::max(last, renewal.invoked);
    }
    return last;
  }
  /// It cannot end by time before this.
  Instant EarliestEnd() const {
    return After(LastStart(), static_cast<Instant>(std::floor(ttl_ / (1 + rules_.clock_drift))));
  }
  /// By when it has to be over, by what was asked for before `when`.
  Instant LatestEnd(Instant when) const {
    const auto by = [this](Instant invoked, Instant returned) {
      return returned == kNever ? After(invoked, rules_.request_lifetime) : returned;
    };
    Instant last = by(lease_.granted_invoked, lease_.granted);
    for (const auto& renewal : lease_.renewals) {
      if (renewal.invoked < when && !Denied(renewal))
        last = std::max(last, by(renewal.invoked, renewal.returned));
    }
    const auto ttl = static_cast<Instant>(std::ceil(ttl_ * (1 + rules_.clock_drift)));
    Instant latest = After(After(last, ttl), rules_.most_late);
    for (const Interval& disturbance : rules_.disturbances) {
      if (disturbance.begin > latest) break;
      latest = std::max(latest, After(After(disturbance.end, ttl), rules_.most_late));
    }
    return latest;
  }

  void CheckRenewals() {
    for (const auto& renewal : lease_.renewals) {
      if (Denied(renewal) && !MayBeMissing(renewal.invoked, renewal.returned)) {
        Report("{} was told that it is over, at {} at the earliest", Text(renewal), TimeText(EarliestEnd()));
      }
      if (!Accepted(renewal)) continue;
      if (renewal.ttl_seconds != lease_.ttl_seconds) {
        Report("{} was given {} s", Text(renewal), renewal.ttl_seconds);
      }
      if (renewal.returned < lease_.granted_invoked)
        Report("{} was accepted before it was granted", Text(renewal));
      if (lease_.revoked < renewal.invoked) {
        Report("{} was accepted after it was revoked, by {}", Text(renewal), TimeText(lease_.revoked));
      }
      for (const auto& denied : lease_.renewals) {
        if (!Denied(denied) || denied.returned >= renewal.invoked || denied.invoked <= lease_.granted)
          continue;
        Report("{} was accepted after {} was told that it is over", Text(renewal), Text(denied));
        break;
      }
      if (const Instant latest = LatestEnd(renewal.invoked); latest < renewal.invoked) {
        Report("{} was accepted, although it had to be over by {}", Text(renewal), TimeText(latest));
      }
    }
  }

  void CheckRevocation() {
    const int64_t revision = lease_.revoked_revision;
    if (revision == 0) return;
    if (revision > model_.last_revision()) {
      return Report("it was revoked at revision {}, the last one is {}", revision, model_.last_revision());
    }
    const std::vector<std::string> keys = model_.KeysOf(lease_.id, revision);
    if (!keys.empty())
      Report("it was revoked by revision {}, but {} is still attached", revision, Quote(keys[0]));
  }

  void CheckEnds() {
    for (size_t i = 1; i < ends_.size(); ++i) {
      Report("it ended at revision {}, and again at revision {}", ends_[0], ends_[i]);
    }
    if (ends_.empty() || model_.seen(ends_[0]) == kNever) return;
    const int64_t revision = ends_[0];
    const Instant seen = model_.seen(revision);
    for (const auto& renewal : lease_.renewals) {
      if (Accepted(renewal) && renewal.invoked > seen) {
        return Report("{} was accepted after its end at revision {}, seen at {}", Text(renewal), revision,
                      TimeText(seen));
      }
    }
    if (seen < lease_.revoke_invoked && seen < EarliestEnd()) {
      Report("it ended at revision {}, seen at {}; alive at {}, it had to live until {}", revision,
             TimeText(seen), TimeText(LastStart()), TimeText(EarliestEnd()));
    }
    if (const Instant latest = LatestEnd(seen); latest < seen) {
      Report("it ended at revision {}, seen at {}; it had to be over by {}", revision, TimeText(seen),
             TimeText(latest));
    }
  }

  /// Puts that attach keys to what is over.
  void CheckAttachments() {
    for (int64_t revision : attachments_) {
      if (!ends_.empty() && revision > ends_[0]) {
        Report("revision {} attaches a key to it after its end at revision {}", revision, ends_[0]);
      } else if (lease_.revoked_revision != 0 && revision > lease_.revoked_revision) {
        Report("revision {} attaches a key to it after it was revoked by revision {}", revision,
               lease_.revoked_revision);
      }
      if (model_.seen(revision) < lease_.granted_invoked) {
        Report("revision {}, seen at {}, attaches a key to it before it was granted", revision,
               TimeText(model_.seen(revision)));
      }
      const size_t maker = verdict_.maker(revision);
      if (maker != kNobody) CheckAttaching(revision, maker);
    }
  }

  void CheckAttaching(int64_t revision, size_t maker) {
    const Instant invoked = history_.operations[maker].invoked;
    const auto report = [&](const std::string& why) {
      Report("revision {} attaches a key to it, by {}, {}", revision, Describe(history_, maker), why);
    };
    if (lease_.revoked < invoked) report(fmt::format("revoked by {}", TimeText(lease_.revoked)));
    for (const auto& denied : lease_.renewals) {
      if (!Denied(denied) || denied.returned >= invoked || denied.invoked <= lease_.granted) continue;
      report(fmt::format("although {} was told that it is over", Text(denied)));
      break;
    }
    if (const Instant latest = LatestEnd(invoked); latest < invoked) {
      report(fmt::format("although it had to be over by {}", TimeText(latest)));
    }
  }

  void CheckLeftovers() {
    const std::vector<std::string> keys = model_.KeysOf(lease_.id, model_.last_revision());
    if (keys.empty()) return;
    if (const Instant latest = LatestEnd(rules_.end_of_run); latest < rules_.end_of_run) {
      Report("it had to be over by {}, but {} is there to the end", TimeText(latest), Quote(keys[0]));
    }
  }

  const LeaseHistory& lease_;
  const History& history_;
  const KvModel& model_;
  const KvVerdict& verdict_;
  const LeaseRules& rules_;
  Violations* const violations_;
  const double ttl_;  // nanoseconds
  std::vector<int64_t> ends_;
  std::vector<int64_t> attachments_;  // revisions with puts that name it
};

/// A request that was refused because there is no such lease.
void CheckRefusal(const History& history, size_t i, const absl::flat_hash_map<int64_t, size_t>& places,
                  const std::vector<Life>& lives, Violations* violations) {
  const Operation& op = history.operations[i];
  std::vector<int64_t> leases;
  if (const auto* put = std::get_if<PutRequest>(&op.request)) NamedLeases(*put, &leases);
  if (const auto* txn = std::get_if<TxnRequest>(&op.request)) NamedLeases(*txn, &leases);
  const bool justified = std::any_of(leases.begin(), leases.end(), [&](int64_t lease) {
    const auto place = places.find(lease);
    return place == places.end() || lives[place->second].MayBeMissing(op.invoked, op.returned);
  });
  if (!justified) {
    violations->push_back(
        fmt::format("{} was refused ({}), although its leases were there", Describe(history, i), op.error));
  }
}

}  // namespace

Violations CheckLeases(const History& history, const KvModel& model, const KvVerdict& verdict,
                       const LeaseRules& rules) {
  Violations violations;
  std::vector<Life> lives;
  absl::flat_hash_map<int64_t, size_t> places;
  for (const LeaseHistory& lease : history.leases) {
    places[lease.id] = lives.size();
    lives.emplace_back(lease, history, model, verdict, rules, &violations);
  }
  for (const LeaseEnd& end : verdict.lease_ends) {
    const auto place = places.find(end.lease);
    if (place != places.end()) {
      lives[place->second].AddEnd(end.revision);
    } else {
      violations.push_back(
          fmt::format("revision {} ends lease {}, which nobody granted", end.revision, end.lease));
    }
  }
  for (const Revision& revision : history.revisions) {
    for (const mvccpb::Event& event : revision.events) {
      if (event.type() != mvccpb::Event::PUT || event.kv().lease() == 0) continue;
      const auto place = places.find(event.kv().lease());
      if (place != places.end()) {
        lives[place->second].AddAttachment(revision.revision);
      } else {
        violations.push_back(fmt::format("revision {} attaches {} to lease {}, which nobody granted",
                                         revision.revision, Quote(event.kv().key()), event.kv().lease()));
      }
    }
  }
  for (Life& life : lives) life.Check();
  for (size_t i = 0; i < history.operations.size(); ++i) {
    if (history.operations[i].outcome == Operation::Outcome::kRefused &&
        history.operations[i].error.find("lease not found") != std::string::npos) {
      CheckRefusal(history, i, places, lives, &violations);
    }
  }
  return violations;
}

}  // namespace kvorum::sim
