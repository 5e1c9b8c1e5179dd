#pragma once

#include "rapidcheck.h"
#include "v2/scenario.h"

namespace kvorum::test {

/// Requests of every verb and parameter of /v2/keys, most of them sensible, some odd, some wrong, on few
/// keys, so that they meet each other; watchers among them.
rc::Gen<Scenario> AnyScenario();

}  // namespace kvorum::test
