#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/testing/temp_directory.h"

namespace kvorum::dns::testing {

/// A dnsmasq on a loopback address of its own; it ends with the object.
class DnsServer {
 public:
  /// `records`: options of dnsmasq ("srv-host=_x._tcp.test,host.test,2380,0,0",
  /// "host-record=host.test,127.0.0.1"). The server has authority over "test" and refuses everything else.
  /// Fails the process where there is no dnsmasq.
  explicit DnsServer(const std::vector<std::string>& records);
  ~DnsServer();
  DnsServer(const DnsServer&) = delete;
  DnsServer& operator=(const DnsServer&) = delete;

  /// "127.3.5.7:21000"
  const std::string& address() const { return address_; }

 private:
  kvorum::testing::TempDirectory folder_;
  std::string address_;
  pid_t pid_ = -1;
};

}  // namespace kvorum::dns::testing
