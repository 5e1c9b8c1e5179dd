#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

/// Leaves the enclosing function with the status of `expression` unless it is OK.
#define KVORUM_RETURN_IF_ERROR(expression)                                                    \
  do {                                                                                        \
    if (absl::Status kvorum_status = (expression); !kvorum_status.ok()) return kvorum_status; \
  } while (false)

#define KVORUM_STATUS_NAME2(line) kvorum_result_##line
#define KVORUM_STATUS_NAME(line) KVORUM_STATUS_NAME2(line)

/// `KVORUM_ASSIGN_OR_RETURN(auto x, F());`: the value of a StatusOr, or leaves with its status.
#define KVORUM_ASSIGN_OR_RETURN(declaration, expression) \
  KVORUM_ASSIGN_OR_RETURN_IMPL(KVORUM_STATUS_NAME(__LINE__), declaration, expression)
#define KVORUM_ASSIGN_OR_RETURN_IMPL(name, declaration, expression) \
  auto name = (expression);                                         \
  if (!name.ok()) return std::move(name).status();                  \
  declaration = *std::move(name)
