#include <sys/resource.h>
#include <unistd.h>

#include <charconv>

#include "api/admin/handlers.h"
#include "base/env.h"
#include "base/version.h"

namespace kvorum::api_admin {
namespace {

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double Limit(int resource) {
  rlimit limit{};
  getrlimit(static_cast<__rlimit_resource>(resource), &limit);
  return static_cast<double>(limit.rlim_cur);
}

double OpenFiles() {
  const auto names = PosixEnv().ListDirectory("/proc/self/fd");
  // The one that lists them is among them.
  return names.ok() && !names->empty() ? static_cast<double>(names->size() - 1) : 0;
}

/// The number at `index` of a line of numbers, or 0.
double NumberAt(std::string_view line, size_t index) {
  for (; index > 0; --index) line.remove_prefix(std::min(line.find(' ') + 1, line.size()));
  uint64_t value = 0;
  std::from_chars(line.data(), line.data() + line.size(), value);
  return static_cast<double>(value);
}

/// Fields of /proc/self/statm, in bytes.
double MemoryBytes(size_t index) {
  const auto statm = PosixEnv().ReadFile("/proc/self/statm");
  return statm.ok() ? NumberAt(*statm, index) * static_cast<double>(sysconf(_SC_PAGESIZE)) : 0;
}

/// Unix seconds at which the process began: the boot time and field 22 of its stat.
double StartTime() {
  const auto stat = PosixEnv().ReadFile("/proc/self/stat");
  const auto system = PosixEnv().ReadFile("/proc/stat");
  if (!stat.ok() || !system.ok()) return 0;
  const size_t name_end = stat->rfind(") ");
  const size_t boot = system->find("btime ");
  if (name_end == std::string::npos || boot == std::string::npos) return 0;
  constexpr size_t kStartTimeAfterName = 19;  // field 22; the name is field 2
  return NumberAt(std::string_view(*system).substr(boot), 1) +
         NumberAt(std::string_view(*stat).substr(name_end + 2), kStartTimeAfterName) /
             static_cast<double>(sysconf(_SC_CLK_TCK));
}

}  // namespace

void AddProcessMetrics(metrics::Registry* metrics) {
  using metrics::Declared;
  metrics->NewGaugeCallback("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.",
                            &CpuSeconds, Declared::kCounter);
  metrics->NewGaugeCallback("process_open_fds", "Number of open file descriptors.", &OpenFiles);
  metrics->NewGaugeCallback("process_max_fds", "Maximum number of open file descriptors.",
                            [] { return Limit(RLIMIT_NOFILE); });
  metrics->NewGaugeCallback("process_virtual_memory_bytes", "Virtual memory size in bytes.",
                            [] { return MemoryBytes(0); });
  metrics->NewGaugeCallback("process_virtual_memory_max_bytes",
                            "Maximum amount of virtual memory available in bytes.",
                            [] { return Limit(RLIMIT_AS); });
  metrics->NewGaugeCallback("process_resident_memory_bytes", "Resident memory size in bytes.",
                            [] { return MemoryBytes(1); });
  metrics->NewGaugeCallback("process_start_time_seconds",
                            "Start time of the process since unix epoch in seconds.",
                            [start = StartTime()] { return start; });
  metrics
      ->NewGaugeFamily("etcd_server_version",
                       "Which version is running. 1 for 'server_version' label with "
                       "current version.",
                       {"server_version"})
      .With({std::string(kApiVersion)})
      .Set(1);
  metrics->NewGaugeCallback("os_fd_used", "The number of used file descriptors.", &OpenFiles);
  metrics->NewGaugeCallback("os_fd_limit", "The file descriptor limit.", [] { return Limit(RLIMIT_NOFILE); });
}

}  // namespace kvorum::api_admin
