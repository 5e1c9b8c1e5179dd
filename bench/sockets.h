#pragma once

#include <netinet/in.h>

#include <string>

namespace kvorum::bench {

/// Ends the process with a line that says what failed, and the system's reason.
[[noreturn]] void Fail(const char* what);

/// Of "HOST:PORT" with an IPv4 address for a host; anything else ends the process.
sockaddr_in AddressOf(const std::string& target);

}  // namespace kvorum::bench
