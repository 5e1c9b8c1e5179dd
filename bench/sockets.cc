#include "sockets.h"

#include <arpa/inet.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace kvorum::bench {

void Fail(const char* what) {
  std::fprintf(stderr, "kvorum-bench: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

sockaddr_in AddressOf(const std::string& target) {
  const size_t colon = target.rfind(':');
  sockaddr_in address{};
  address.sin_family = AF_INET;
  if (colon == std::string::npos ||
      inet_pton(AF_INET, target.substr(0, colon).c_str(), &address.sin_addr) != 1) {
    errno = EINVAL;
    Fail(target.c_str());
  }
  address.sin_port = htons(static_cast<uint16_t>(std::atoi(target.c_str() + colon + 1)));
  return address;
}

}  // namespace kvorum::bench
