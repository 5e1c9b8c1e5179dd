#pragma once

namespace kvorum::cmd {

/// Prints how fast three members with 1,000 requests per simulated second run, and how long their history
/// takes to check. False where the run was not good.
bool Measure();

}  // namespace kvorum::cmd
