#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "http/loop.h"

namespace kvorum::http {

/// The addresses of a host name, in the order in which they are tried. Blocks its thread.
using HostLookup = std::function<absl::StatusOr<std::vector<std::string>>(const std::string& host)>;

/// How this process looks names up from now on, and the names of addresses, instead of as the system does
/// (getaddrinfo, getnameinfo). Called by several threads at a time. REQUIRES: before the first lookup.
void SetHostLookup(HostLookup hosts, HostLookup addresses);

/// The addresses of a name; an address stands for itself. Blocks. Errors, in the words of Go's net package
/// ("lookup x.example: no such host"): those of the lookup that was set; NotFound and Unavailable by the
/// system's.
absl::StatusOr<std::vector<std::string>> LookupHost(const std::string& host);

/// The same by a few threads that do nothing else; `done` is called on the loop, not inside this call, and
/// not at all once the loop is gone. Those who ask for the same name meanwhile get the same answer. On the
/// loop only.
void LookupHostOn(Loop& loop, const std::string& host,
                  absl::AnyInvocable<void(const absl::StatusOr<std::vector<std::string>>&)> done);

/// The names that an address has, without a dot at their ends; as LookupHostOn.
void LookupAddressOn(Loop& loop, const std::string& address,
                     absl::AnyInvocable<void(const absl::StatusOr<std::vector<std::string>>&)> done);

}  // namespace kvorum::http
