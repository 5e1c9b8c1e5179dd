#pragma once

#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/synchronization/notification.h"

namespace kvorum::utl {

using Done = absl::AnyInvocable<void(absl::Status)>;

/// Starts something and waits for its end.
inline absl::Status WaitFor(absl::FunctionRef<void(Done)> start) {
  absl::Notification finished;
  absl::Status result;
  start([&](absl::Status status) {
    result = std::move(status);
    finished.Notify();
  });
  finished.WaitForNotification();
  return result;
}

}  // namespace kvorum::utl
