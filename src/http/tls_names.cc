#include "http/tls_names.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "fmt/format.h"
#include "fmt/ranges.h"
#include "http/host_lookup.h"

namespace kvorum::http {

namespace {

using Lookup = absl::StatusOr<std::vector<std::string>>;

bool Has(const std::vector<std::string>& list, const std::string& text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

std::string HostOf(const std::string& remote) {
  std::string host = remote.substr(0, remote.rfind(':'));
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return host;
}

/// One check under way; shared with its lookups.
class Check final : public std::enable_shared_from_this<Check> {
 public:
  using Done = absl::AnyInvocable<void(std::string)>;

  Check(Loop& loop, std::vector<std::string> names, std::string host, Done done)
      : loop_(loop), names_(std::move(names)), host_(std::move(host)), done_(std::move(done)) {}

  /// Asks where the next of the names leads, and at last what the address is called.
  void Next() {
    while (next_ < names_.size() && names_[next_].starts_with("*.")) ++next_;
    if (next_ == names_.size()) {
      LookupAddressOn(loop_, host_, [self = shared_from_this()](const Lookup& names) {
        Loop::Turn turn(self->loop_);
        self->OnNames(names);
      });
      return;
    }
    LookupHostOn(loop_, names_[next_++], [self = shared_from_this()](const Lookup& addresses) {
      Loop::Turn turn(self->loop_);
      if (addresses.ok() && Has(*addresses, self->host_)) return self->done_("");
      self->Keep(addresses);
      self->Next();
    });
  }

 private:
  void OnNames(const Lookup& names) {
    const auto is_of = [this](const std::string& name) {
      return std::any_of(names_.begin(), names_.end(), [&](const std::string& allowed) {
        return allowed.starts_with("*.") ? name.ends_with(allowed.substr(1)) : name == allowed;
      });
    };
    if (names.ok() && std::any_of(names->begin(), names->end(), is_of)) return done_("");
    if (error_.empty()) Keep(names);
    done_(fmt::format("tls: \"{}\" does not match any of DNSNames [\"{}\"]{}", host_,
                      fmt::join(names_, "\" \""), error_.empty() ? "" : fmt::format(" ({})", error_)));
  }
  void Keep(const Lookup& failed) {
    if (!failed.ok()) error_ = std::string(failed.status().message());
  }

  Loop& loop_;
  const std::vector<std::string> names_;
  const std::string host_;
  Done done_;
  size_t next_ = 0;
  std::string error_;  // of the last lookup of a name that failed
};

}  // namespace

void CheckCertificateNames(Loop& loop, const TlsPeer& peer, const std::string& remote,
                           absl::AnyInvocable<void(std::string objection)> done) {
  const std::string host = HostOf(remote);
  if (Has(peer.addresses, host) || (peer.addresses.empty() && peer.dns_names.empty())) return done("");
  if (peer.dns_names.empty()) {
    return done(
        fmt::format("x509: certificate is valid for {}, not {}", fmt::join(peer.addresses, ", "), host));
  }
  std::make_shared<Check>(loop, peer.dns_names, host, std::move(done))->Next();
}

}  // namespace kvorum::http
