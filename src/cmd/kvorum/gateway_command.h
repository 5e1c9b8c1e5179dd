#pragma once

#include <string>
#include <vector>

namespace kvorum::cmd {

/// `kvorum gateway …` (reference: proxy-discovery.md §10, flags.md §6). `arguments`: the whole command line.
/// Runs until a signal ends the process. The exit status, where it does not run. REQUIRES: BlockSignals was
/// called
int RunGatewayCommand(const std::vector<std::string>& arguments);

}  // namespace kvorum::cmd
