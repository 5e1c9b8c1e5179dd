#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"

namespace kvorum::test {

/// How long a test waits for something that should come soon, before it fails.
inline constexpr std::chrono::seconds kPatience{60};

/// A directory of its own under the system's temporary folder; removed with everything in it.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

/// A TCP port on loopback that nobody listens on and that no other test takes while this process lives.
int FreePort();

/// A child process whose output is collected. Killed with SIGKILL when destroyed.
class Process {
 public:
  /// `argv[0]` is looked up in PATH. `environment` is added to ours.
  explicit Process(const std::vector<std::string>& argv,
                   const std::map<std::string, std::string>& environment = {});
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int signal) const;

  /// Standard output and standard error so far.
  std::string output() const;
  /// Waits until the output has `text`; false where the process ended, or patience, without it.
  bool WaitForOutput(const std::string& text);
  /// The wait status, as of waitpid(2).
  int Wait();

 private:
  void ReadOutput(int fd);
  bool OutputHas(const std::string& text) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  pid_t pid_ = -1;
  int wait_status_ = 0;
  bool waited_ = false;
  mutable absl::Mutex mutex_;
  std::string output_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread reader_;
};

/// What a command printed and how it ended.
struct CommandResult {
  int exit_code = -1;  ///< 128 + signal where a signal ended it
  std::string out;
  std::string err;
};

/// Runs a shell command to its end, at most `kPatience` long.
CommandResult Shell(const std::string& command, const std::map<std::string, std::string>& environment = {});

/// `text` in single quotes, for Shell.
std::string Quote(const std::string& text);

/// Calls `condition` every few milliseconds until it is true; false when patience ends first.
bool Eventually(const std::function<bool()>& condition);

}  // namespace kvorum::test
