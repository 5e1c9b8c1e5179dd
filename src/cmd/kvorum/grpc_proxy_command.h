#pragma once

#include <string>
#include <vector>

namespace kvorum::cmd {

/// `kvorum grpc-proxy …` (reference: flags.md §6, proxy-discovery.md §11). `arguments` is the whole command
/// line. Returns the exit status, or ends by the signal that stopped it.
int RunGrpcProxyCommand(const std::vector<std::string>& arguments);

}  // namespace kvorum::cmd
