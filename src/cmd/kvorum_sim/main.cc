#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <deque>
#include <iostream>
#include <map>
#include <optional>

#include "base/arguments.h"
#include "base/check.h"
#include "base/planted_bug.h"
#include "fmt/format.h"
#include "git_revision.h"
#include "measure.h"
#include "sim/run.h"

namespace kvorum::cmd {
namespace {

// Exit statuses; those of the worst seed of a range.
constexpr int kExitUsage = 1;
constexpr int kExitLiveness = 2;
constexpr int kExitSafety = 3;
constexpr int kExitCrash = 4;

/// Of one seed of a range, of the processor: hundreds of times what one takes.
constexpr rlim_t kMostSeconds = 60;

// Told of one that fails, where the trace is not told whole.
constexpr size_t kMostViolations = 20;
constexpr size_t kLastEvents = 20;

const std::vector<CommandFlag> kFlags = {
    {"seed", "", "Run this seed."},
    {"seeds", "", "Run these, FROM-TO."},
    {"jobs", "1", "Processes at a time."},
    {"time-limit", "0", "Begin no further seed after so many seconds (0: no limit)."},
    {"trace", "false", "Print what happens.", true},
    {"measure", "false", "Print how fast it runs, with 1,000 requests a second and no faults.", true},
    {"failures", "", "Append the seeds that fail to this file."},
#if KVORUM_PLANTED_BUGS
    {"bug", "", "Plant this bug; a range of seeds ends where it breaks a promise."},
    {"bugs", "false", "List the bugs that can be planted.", true},
#endif
};

void PrintHelp() {
  std::cout << "Runs whole clusters in one thread each, under faults, from a seed, and checks what their "
               "clients saw.\n\n"
               "usage: kvorum-sim --seed N [--trace] | --seeds FROM-TO [--jobs N] [--time-limit SECONDS]\n\n";
  for (const CommandFlag& flag : kFlags) std::cout << fmt::format("  --{:<12} {}\n", flag.name, flag.help);
  std::cout << "\nexit status: 0 all is well; 2 a cluster did not become well again; 3 a promise was broken; "
               "4 a crash\n";
}

std::string Seconds(sim::Instant time) { return fmt::format("{:10.6f}", static_cast<double>(time) / 1e9); }

/// What the seeds of a range have in all, which their processes add up.
struct Totals {
  std::atomic<sim::Instant> simulated{0};
  std::atomic<uint64_t> answers{0};
};

/// Runs one seed in this process. `totals`: those of the range that it is of, where only failures are told;
/// null where it is run by itself.
int RunSeed(uint64_t seed, bool trace, Totals* totals) {
  const sim::Plan plan = sim::Plan::Draw(seed);
  if (trace) fmt::print("seed {} revision {}\n{}\n", seed, kGitRevision, plan.Text());
  std::deque<std::string> last;
  const auto observer = [&last, trace](sim::Instant now, const std::string& what) {
    std::string line = fmt::format("{} {}\n", Seconds(now), what);
    if (trace) return fmt::print("{}", line);
    last.push_back(std::move(line));
    if (last.size() > kLastEvents) last.pop_front();
  };
  const sim::Result result = sim::Simulate(seed, plan, observer);
  if (totals != nullptr) {
    totals->simulated += result.simulated;
    totals->answers += result.answered + result.v2_answered;
  }
  if (totals == nullptr || result.verdict != sim::Result::Verdict::kGood) {
    fmt::print(
        "seed {}: {}, {} s simulated, {} events, {} answers, {} revisions, {} v2 indexes, {} messages, "
        "{} snapshots, {} kills, trace {:016x}\n",
        seed,
        result.verdict == sim::Result::Verdict::kGood     ? "good"
        : result.verdict == sim::Result::Verdict::kSafety ? "SAFETY"
                                                          : "LIVENESS",
        result.simulated / 1'000'000'000, result.events, result.answered + result.v2_answered,
        result.revisions, result.v2_index, result.messages, result.snapshots, result.kills, result.trace);
  }
  if (result.verdict != sim::Result::Verdict::kGood) {
    fmt::print("  revision {}, {}\n", kGitRevision, plan.Text());
    for (size_t i = 0; i < result.violations.size() && i < kMostViolations; ++i)
      fmt::print("  {}\n", result.violations[i]);
    if (!last.empty()) fmt::print("  the last events:\n");
    for (const std::string& line : last) fmt::print("  {}", line);
  }
  std::fflush(stdout);
  switch (result.verdict) {
    case sim::Result::Verdict::kGood:
      return 0;
    case sim::Result::Verdict::kLiveness:
      return kExitLiveness;
    case sim::Result::Verdict::kSafety:
      return kExitSafety;
  }
  return kExitCrash;
}

/// Runs a range of seeds, each in a process of its own, so that one that crashes says which it was.
class Range {
 public:
  struct Options {
    uint64_t from = 1;
    uint64_t to = 1;
    uint64_t jobs = 1;
    uint64_t limit_seconds = 0;
    std::string failures;
    bool until_broken = false;  ///< begin no further seed when one has broken a promise or crashed
  };

  explicit Range(Options options) : options_(std::move(options)), next_(options_.from) {
    if (options_.limit_seconds > 0) {
      latest_ = std::time(nullptr) + static_cast<time_t>(options_.limit_seconds);
    }
    void* const shared =
        mmap(nullptr, sizeof(Totals), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    KVORUM_CHECK(shared != MAP_FAILED, "mmap: {}", std::strerror(errno));
    totals_ = new (shared) Totals;
  }
  ~Range() { munmap(totals_, sizeof(Totals)); }
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;

  int Run() {
    for (;;) {
      while (running_.size() < options_.jobs && MayBegin()) Begin();
      if (running_.empty()) break;
      Await();
    }
    fmt::print("{} seeds, {} failed; {:.1f} hours and {} answers simulated\n", done_, failed_,
               static_cast<double>(totals_->simulated) / 3.6e12, totals_->answers.load());
    return worst_;
  }

 private:
  bool Caught() const { return options_.until_broken && worst_ >= kExitSafety; }

  void EndOthers() {
    for (const auto& [pid, seed] : running_) {
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, 0);
    }
    running_.clear();
  }

  bool MayBegin() const {
    if (Caught()) return false;
    return next_ <= options_.to && (!latest_ || std::time(nullptr) < *latest_);
  }

  /// REQUIRES: MayBegin()
  void Begin() {
    const pid_t parent = getpid();
    const pid_t pid = fork();
    KVORUM_CHECK(pid >= 0, "fork: {}", std::strerror(errno));
    const uint64_t seed = next_++;
    if (pid == 0) {
      // Nobody is left behind by one that is killed.
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent) _exit(kExitCrash);
      // One that never ends dies of this, which is a crash.
      const rlimit limit{.rlim_cur = kMostSeconds, .rlim_max = kMostSeconds};
      setrlimit(RLIMIT_CPU, &limit);
      _exit(RunSeed(seed, false, totals_));
    }
    running_[pid] = seed;
  }

  void Await() {
    int status = 0;
    const pid_t pid = wait(&status);
    const auto found = running_.find(pid);
    if (found == running_.end()) return;
    const uint64_t seed = found->second;
    running_.erase(found);
    ++done_;
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : kExitCrash;
    if (code != 0) {
      ++failed_;
      if (code == kExitCrash) fmt::print("seed {}: CRASH, revision {}\n", seed, kGitRevision);
      if (!options_.failures.empty()) Keep(seed);
    }
    worst_ = std::max(worst_, code);
    if (done_ % 100 == 0) fmt::print("{} seeds, {} failed, last {}\n", done_, failed_, seed);
    std::fflush(stdout);
    if (Caught()) EndOthers();
  }

  void Keep(uint64_t seed) const {
    if (std::FILE* file = std::fopen(options_.failures.c_str(), "a")) {
      fmt::print(file, "{} {}\n", seed, kGitRevision);
      std::fclose(file);
    }
  }

  const Options options_;
  Totals* totals_ = nullptr;  // shared with the processes of the seeds
  uint64_t next_;
  std::optional<time_t> latest_;
  std::map<pid_t, uint64_t> running_;
  uint64_t done_ = 0;
  uint64_t failed_ = 0;
  int worst_ = 0;
};

#if KVORUM_PLANTED_BUGS
void PrintBugs() {
#define KVORUM_PRINT_BUG(constant, name, what) fmt::print("{}\t{}\n", name, what);
  KVORUM_FOR_EACH_PLANTED_BUG(KVORUM_PRINT_BUG)
#undef KVORUM_PRINT_BUG
}

bool Plant(std::string_view wanted) {
#define KVORUM_PLANT_BUG(constant, name, what) \
  if (wanted == name) planted_bug = PlantedBug::constant;
  KVORUM_FOR_EACH_PLANTED_BUG(KVORUM_PLANT_BUG)
#undef KVORUM_PLANT_BUG
  return planted_bug != PlantedBug::kNone;
}
#endif

bool ReadNumber(std::string_view text, uint64_t* number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
  return error == std::errc() && end == text.data() + text.size();
}

int Usage(std::string_view error) {
  std::cerr << "kvorum-sim: " << error << '\n';
  return kExitUsage;
}

int Main(const std::vector<std::string>& words) {
  const absl::StatusOr<Arguments> arguments = Arguments::Parse(kFlags, words);
  if (!arguments.ok()) return Usage(std::string(arguments.status().message()));
  if (arguments->help()) {
    PrintHelp();
    return 0;
  }
  if (arguments->IsOn("measure")) return Measure() ? 0 : kExitSafety;
  bool hunting = false;
#if KVORUM_PLANTED_BUGS
  if (arguments->IsOn("bugs")) {
    PrintBugs();
    return 0;
  }
  hunting = !arguments->Text("bug").empty();
  if (hunting && !Plant(arguments->Text("bug"))) return Usage("no such bug: see --bugs");
#endif
  uint64_t from = 0;
  uint64_t to = 0;
  if (const std::string& seed = arguments->Text("seed"); !seed.empty()) {
    if (!ReadNumber(seed, &from)) return Usage("--seed is no number");
    return RunSeed(from, arguments->IsOn("trace"), nullptr);
  }
  const std::string& range = arguments->Text("seeds");
  const size_t dash = range.find('-');
  const bool good = dash != std::string::npos && ReadNumber(std::string_view(range).substr(0, dash), &from) &&
                    ReadNumber(std::string_view(range).substr(dash + 1), &to) && from <= to;
  if (!good) return Usage("give --seed N or --seeds FROM-TO");
  const absl::StatusOr<uint64_t> jobs = arguments->Number("jobs");
  const absl::StatusOr<uint64_t> limit = arguments->Number("time-limit");
  if (!jobs.ok() || *jobs == 0 || !limit.ok()) return Usage("--jobs and --time-limit are numbers");
  return Range({.from = from,
                .to = to,
                .jobs = *jobs,
                .limit_seconds = *limit,
                .failures = arguments->Text("failures"),
                .until_broken = hunting})
      .Run();
}

}  // namespace
}  // namespace kvorum::cmd

int main(int argc, char** argv) { return kvorum::cmd::Main({argv + 1, argv + argc}); }
