#pragma once

#include <csignal>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"

namespace kvorum::cmd {

/// What the system is asked for on behalf of the whole process.

/// Keeps SIGINT and SIGTERM from every thread made from now on, so that `WaitForStopSignal` alone
/// sees them, and
/// ignores SIGPIPE. Called once, before the first thread.
void BlockSignals();

/// Waits for SIGINT or SIGTERM; its number. REQUIRES: BlockSignals was called
int WaitForStopSignal();

/// Makes WaitForStopSignal return, as SIGTERM does. From any thread.
void AskToStop();

/// As long as it lives, SIGINT or SIGTERM ends the process at once, by that signal: for a start that waits
/// for others. REQUIRES: BlockSignals was called
class StopAtOnce {
 public:
  /// `before` is called first, on another thread.
  explicit StopAtOnce(absl::AnyInvocable<void(int signal)> before);
  ~StopAtOnce();
  StopAtOnce(const StopAtOnce&) = delete;
  StopAtOnce& operator=(const StopAtOnce&) = delete;

 private:
  void Watch();

  absl::AnyInvocable<void(int signal)> before_;
  const int end_fd_;  // an eventfd
  std::thread thread_;
};

/// "terminated", "interrupt": Go's names.
std::string_view SignalName(int signal);

/// Ends the process by that signal, so that whoever waits for it sees the signal; process 1, which the system
/// does not let die so, exits with 0.
[[noreturn]] void DieBySignal(int signal);

/// Raises the limit of open files as far as the process may. The limit that holds then.
uint64_t RaiseFileLimit();

/// Lets the allocator keep up to 16 MiB a thread that were freed: for a process whose memory comes and goes
/// in bursts, which would else give it back to the system and fault it in again with each (of the HTTP
/// proxy's processor time that was 6 %). Does nothing where the allocator is not glibc's. Early: before the
/// threads that it is for.
void KeepFreedMemory();

/// Keeps all memory, now and later, from being swapped out.
absl::Status LockMemory();

/// Tells a service manager that waits for it (systemd, Type=notify) that the process is ready.
void NotifyReady();

/// The address that the default route leaves from; empty where there is no route. Sends nothing.
std::string DefaultHost();

/// The address of a host name, IPv4 where there is one. May take as long as the resolver does.
absl::StatusOr<std::string> ResolveHost(const std::string& host);
/// The same, tried again every second until `deadline`: names may come up later than the members do.
absl::StatusOr<std::string> ResolveHostUntil(const std::string& host, MonotonicTime deadline);

std::vector<std::string> Environment();

}  // namespace kvorum::cmd
