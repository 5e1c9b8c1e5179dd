#pragma once

#include <memory>
#include <string_view>

#include "absl/functional/any_invocable.h"
#include "api/v2/endpoint.h"
#include "api/v2/handler.h"
#include "http/handler.h"

namespace kvorum::api_v2 {

enum class Verdict : uint8_t {
  kAllowed,
  kDenied,
  kBusy,  ///< too many passwords wait to be checked: 503 with kBusyText
};
inline constexpr std::string_view kDeniedText = "Insufficient credentials";
inline constexpr std::string_view kBusyText = "too many passwords are being checked, try again";

/// Who may do what while v2 auth is on (reference: v2-keys.md §12.5). Reads users and roles from this
/// member's v2 store. Thread-safe.
class AccessControl {
 public:
  virtual ~AccessControl() = default;

  /// Whether v2 auth is on; no lock while it never was.
  virtual bool enabled() const = 0;

  /// A check under way; null where it is over. Destroyed on the request's loop, it ends the check.
  class Ticket {
   public:
    virtual ~Ticket() = default;
  };
  /// Runs once: inside the call where no password has to be checked, else later on the request's loop, unless
  /// the ticket was destroyed before. It may destroy the ticket.
  using Done = absl::AnyInvocable<void(Verdict)>;
  /// `key`: the decoded, uncleaned path after "/v2/keys".
  virtual std::unique_ptr<Ticket> CheckKey(const http::Request& request, http::ResponseWriter& writer,
                                           std::string_view key, bool write, bool recursive, Done done) = 0;
  /// Whether the caller has the root role.
  virtual std::unique_ptr<Ticket> CheckRoot(const http::Request& request, http::ResponseWriter& writer,
                                            Done done) = 0;
};

std::unique_ptr<AccessControl> NewAccessControl(const HandlerOptions& options);

// The endpoints beside the keys. `access` is borrowed.
std::unique_ptr<Endpoint> NewAuthEndpoint(const HandlerOptions& options, AccessControl* access);
std::unique_ptr<Endpoint> NewMembersEndpoint(const HandlerOptions& options, AccessControl* access);
std::unique_ptr<Endpoint> NewMachinesEndpoint(const HandlerOptions& options);
std::unique_ptr<Endpoint> NewStatsEndpoint(const HandlerOptions& options);

}  // namespace kvorum::api_v2
