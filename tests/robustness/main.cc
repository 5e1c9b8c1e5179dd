#include <iostream>
#include <memory>
#include <string>

#include "absl/synchronization/notification.h"
#include "base/arguments.h"
#include "fmt/format.h"
#include "git_revision.h"
#include "robustness/report.h"
#include "robustness/run.h"

namespace kvorum::robustness {
namespace {

// Exit statuses, as those of kvorum-sim.
constexpr int kExitUsage = 1;
constexpr int kExitLiveness = 2;
constexpr int kExitSafety = 3;

constexpr size_t kMaxShown = 20;

const std::vector<CommandFlag> kFlags = {
    {"endpoints", "", "The members: NAME=HOST:PORT,…"},
    {"seed", "1", "Of what the clients do."},
    {"clients", "8", "Clients of the key-value API."},
    {"watchers", "4", "Clients that watch."},
    {"leasers", "2", "Clients that hold leases."},
    {"keys", "16", "Keys that the clients share."},
    {"think-ms", "5", "Mean time between an answer and the next request."},
    {"value-bytes", "8", "Of each value, at least."},
    {"patience", "60", "Seconds that each step towards health may take, once the faults are over."},
    {"history", "", "Where to write what was noted, if something is wrong."},
};

void PrintHelp() {
  std::cout << "Uses a cluster that others break meanwhile, until a line comes on standard input; from then "
               "on nobody breaks it any more. Then checks what the clients saw.\n\n"
               "usage: kvorum-robustness --endpoints NAME=HOST:PORT,… [flags]\n\n";
  for (const CommandFlag& flag : kFlags) std::cout << fmt::format("  --{:<12} {}\n", flag.name, flag.help);
  std::cout << "\nexit status: 0 all is well; 2 the cluster did not become well again; 3 a promise was "
               "broken\n";
}

int Usage(std::string_view error) {
  std::cerr << "kvorum-robustness: " << error << '\n';
  return kExitUsage;
}

absl::Status ReadOptions(const Arguments& arguments, Options* options) {
  for (const std::string& part : SplitList(arguments.Text("endpoints"))) {
    const size_t equals = part.find('=');
    if (equals == std::string::npos) return absl::InvalidArgumentError("--endpoints takes NAME=HOST:PORT");
    options->endpoints.emplace_back(part.substr(0, equals), part.substr(equals + 1));
  }
  if (options->endpoints.empty()) return absl::InvalidArgumentError("--endpoints is missing");
  uint64_t think = 0;
  uint64_t patience = 0;
  for (const auto& [name, into] : {std::pair<std::string_view, uint64_t*>("seed", &options->seed),
                                   {"clients", &options->clients},
                                   {"watchers", &options->watchers},
                                   {"leasers", &options->leasers},
                                   {"keys", &options->workload.keys},
                                   {"value-bytes", &options->workload.value_bytes},
                                   {"think-ms", &think},
                                   {"patience", &patience}}) {
    const absl::StatusOr<uint64_t> number = arguments.Number(name);
    if (!number.ok()) return number.status();
    *into = *number;
  }
  if (options->workload.keys == 0) return absl::InvalidArgumentError("--keys is zero");
  options->workload.think = static_cast<Instant>(think) * kMillisecond;
  options->patience = static_cast<Instant>(patience) * kSecond;
  return absl::OkStatus();
}

int Main(const std::vector<std::string>& words) {
  const absl::StatusOr<Arguments> arguments = Arguments::Parse(kFlags, words);
  if (!arguments.ok()) return Usage(MessageOf(arguments.status()));
  if (arguments->help()) {
    PrintHelp();
    return 0;
  }
  Options options;
  if (const absl::Status status = ReadOptions(*arguments, &options); !status.ok()) {
    return Usage(MessageOf(status));
  }
  http::Loop loop("clients");
  absl::Notification finished;
  Verdict verdict;
  std::unique_ptr<Run> run;
  loop.Post([&] {
    run = std::make_unique<Run>(&loop, std::move(options), [&](Verdict found) {
      verdict = std::move(found);
      finished.Notify();
    });
    // The faults' times can be told from it: those of the system's monotonic clock.
    std::cout << fmt::format("begins at {}", run->scene().begin().time_since_epoch().count()) << std::endl;
    run->Start();
  });
  std::string line;
  if (!std::getline(std::cin, line)) return Usage("nobody is there to say when the faults are over");
  loop.Post([&] { run->EndOfFaults(); });
  finished.WaitForNotification();

  absl::Notification ended;
  std::string summary;
  absl::Status written;
  loop.Post([&] {
    summary = Summary(run->scene().history());
    const std::string& path = arguments->Text("history");
    if (verdict.kind != Verdict::Kind::kGood && !path.empty()) {
      written = WriteHistory(run->scene().history(), path);
    }
    run.reset();
    ended.Notify();
  });
  ended.WaitForNotification();
  loop.Stop();
  std::cout << summary << ", " << kGitRevision << '\n';
  for (size_t i = 0; i < verdict.violations.size() && i < kMaxShown; ++i) {
    std::cout << "  " << verdict.violations[i] << '\n';
  }
  if (verdict.violations.size() > kMaxShown) {
    std::cout << "  … and " << verdict.violations.size() - kMaxShown << " more\n";
  }
  if (!written.ok()) return Usage(MessageOf(written));
  switch (verdict.kind) {
    case Verdict::Kind::kGood:
      return 0;
    case Verdict::Kind::kLiveness:
      std::cout << "LIVENESS\n";
      return kExitLiveness;
    case Verdict::Kind::kSafety:
      std::cout << "SAFETY\n";
      return kExitSafety;
  }
  return kExitUsage;
}

}  // namespace
}  // namespace kvorum::robustness

int main(int argc, char** argv) { return kvorum::robustness::Main({argv + 1, argv + argc}); }
