#include "cmd/kvorumutl/commands.h"

#include <algorithm>
#include <ostream>
#include <utility>
#include <vector>

#include "base/arguments.h"
#include "base/version.h"
#include "cmd/kvorumutl/migrate.h"
#include "cmd/kvorumutl/output.h"
#include "cmd/kvorumutl/restore.h"
#include "cmd/kvorumutl/save.h"
#include "cmd/kvorumutl/snapshot_file.h"
#include "fmt/format.h"

namespace kvorum::utl {
namespace {

using Words = std::span<const std::string>;

struct Command {
  std::vector<std::string_view> name;  ///< {"snapshot", "status"}
  std::string_view usage;              ///< what follows the name
  std::string_view summary;
  std::vector<CommandFlag> flags;
  int (*run)(const Arguments& arguments, const Surroundings& with);
};

constexpr CommandFlag kWriteOut = {.name = "write-out",
                                   .default_value = "simple",
                                   .help = "set the output format (fields, json, protobuf, simple, table)",
                                   .shorthand = 'w'};
constexpr CommandFlag kWalDir = {.name = "wal-dir",
                                 .default_value = "",
                                 .help = "Path to the WAL directory (use --data-dir if none given)"};

int Fail(const Surroundings& with, std::string_view text, int status) {
  with.error << "Error: " << text << '\n';
  return status;
}

int Fail(const Surroundings& with, const absl::Status& status, int exit_status = kExitError) {
  const std::string text(status.message());
  return Fail(with, text, exit_status);
}

int SnapshotStatusCommand(const Arguments& arguments, const Surroundings& with) {
  if (arguments.rest().size() != 1) {
    return Fail(with, "snapshot status requires exactly one argument", kExitBadArguments);
  }
  const std::optional<Format> format = FormatFrom(arguments.Text(kWriteOut.name));
  if (!format) return Fail(with, "unsupported output format", kExitBadFeature);
  if (*format == Format::kProtobuf) {
    return Fail(with, "protobuf not supported as output format", kExitBadFeature);
  }
  const absl::StatusOr<SnapshotStatus> read = ReadSnapshotStatus(arguments.rest()[0]);
  if (!read.ok()) return Fail(with, read.status());
  const std::vector<std::string> row = {fmt::format("{:x}", read->hash), fmt::format("{}", read->revision),
                                        fmt::format("{}", read->total_keys), HumanBytes(read->total_bytes),
                                        read->version};
  switch (*format) {
    case Format::kFields:
      with.out << fmt::format(
          "\"Hash\" : {}\n\"Revision\" : {}\n\"Keys\" : {}\n\"Size\" : {}\n\"Version\" : {}\n", read->hash,
          read->revision, read->total_keys, read->total_bytes, read->version);
      break;
    case Format::kJson:
      with.out << fmt::format(
          "{{\"hash\":{},\"revision\":{},\"totalKey\":{},\"totalSize\":{},\"version\":\"{}\"}}\n", read->hash,
          read->revision, read->total_keys, read->total_bytes, read->version);
      break;
    case Format::kTable:
      with.out << TableText({"hash", "revision", "total keys", "total size", "version"}, row);
      break;
    case Format::kSimple:
    case Format::kProtobuf:
      with.out << fmt::format("{}, {}, {}, {}, {}\n", row[0], row[1], row[2], row[3], row[4]);
      break;
  }
  return 0;
}

int SnapshotRestoreCommand(const Arguments& arguments, const Surroundings& with) {
  if (arguments.rest().size() != 1) {
    return Fail(with, "snapshot restore requires exactly one argument", kExitBadArguments);
  }
  RestoreOptions options;
  options.snapshot_path = arguments.rest()[0];
  options.name = arguments.Text("name");
  options.data_dir = arguments.Text("data-dir");
  if (options.data_dir.empty()) options.data_dir = options.name + ".etcd";
  options.wal_dir = arguments.Text("wal-dir");
  options.initial_cluster_token = arguments.Text("initial-cluster-token");
  options.advertise_peer_urls = SplitList(arguments.Text("initial-advertise-peer-urls"));
  if (arguments.IsOn("skip-hash-check")) options.sum_check = SumCheck::kSkip;
  options.mark_compacted = arguments.IsOn("mark-compacted");
  const absl::StatusOr<uint64_t> bump = arguments.Number("bump-revision");
  if (!bump.ok()) return Fail(with, bump.status());
  options.bump_revision = *bump;
  if (options.bump_revision > 0 && !options.mark_compacted) {
    return Fail(with, "--mark-compacted required if --revision-bump > 0", kExitBadArguments);
  }
  auto cluster = ParseInitialCluster(arguments.Text("initial-cluster"));
  if (!cluster.ok()) return Fail(with, cluster.status(), kExitBadArguments);
  options.initial_cluster = *std::move(cluster);
  const absl::Status restored = Restore(options, with.env, with.logger);
  return restored.ok() ? 0 : Fail(with, restored);
}

int SnapshotSaveCommand(const Arguments& arguments, const Surroundings& with) {
  if (arguments.rest().size() != 1) {
    return Fail(with, "snapshot save expects one argument", kExitBadArguments);
  }
  const std::vector<std::string> endpoints = SplitList(arguments.Text("endpoints"));
  if (endpoints.size() != 1) {
    return Fail(with,
                fmt::format("snapshot must be requested to one selected node, not multiple [{}]",
                            arguments.Text("endpoints")),
                kExitBadArguments);
  }
  const std::string& path = arguments.rest()[0];
  const absl::StatusOr<std::string> version =
      SaveSnapshot({.endpoint = endpoints[0], .path = path}, with.env, with.logger);
  if (!version.ok()) return Fail(with, version.status(), kExitInterrupted);
  with.out << "Snapshot saved at " << path << '\n';
  if (!version->empty()) with.out << "Server version " << *version << '\n';
  return 0;
}

int MigrateCommand(const Arguments& arguments, const Surroundings& with) {
  MigrateOptions options;
  options.data_dir = arguments.Text("data-dir");
  if (options.data_dir.empty()) return Fail(with, "required flag(s) \"data-dir\" not set", kExitError);
  if (arguments.Text("to").empty()) return Fail(with, "required flag(s) \"to\" not set", kExitError);
  options.wal_dir = arguments.Text("wal-dir");
  options.force = arguments.IsOn("force");
  const absl::StatusOr<Release> target = ReleaseFrom(arguments.Text("to"));
  if (!target.ok()) return Fail(with, target.status(), kExitBadArguments);
  options.target = *target;
  const absl::Status migrated = Migrate(options, with.env, with.logger);
  return migrated.ok() ? 0 : Fail(with, migrated);
}

int VersionCommand(const Arguments& /*arguments*/, const Surroundings& with) {
  with.out << "etcdutl version: " << kApiVersion << '\n'
           << "API version: " << kApiVersion.substr(0, kApiVersion.rfind('.')) << '\n'
           << "Kvorum version: " << kKvorumVersion << '\n';
  return 0;
}

const std::vector<Command>& Commands() {
  static const auto& commands = *new std::vector<Command>{
      {{"snapshot", "status"},
       "<filename>",
       "Tells hash, revision, number of keys, size and storage version of a snapshot file",
       {kWriteOut},
       &SnapshotStatusCommand},
      {{"snapshot", "restore"},
       "<filename> --data-dir {output dir} [options]",
       "Makes the data directory of a member of a new cluster from a snapshot file",
       {{"data-dir", "", "Path to the output data directory (default: {name}.etcd)"},
        kWalDir,
        {"name", "default", "Human-readable name for this member"},
        {"initial-cluster", "default=http://localhost:2380", "Initial cluster configuration"},
        {"initial-cluster-token", "etcd-cluster", "Initial cluster token for the cluster"},
        {"initial-advertise-peer-urls", "http://localhost:2380", "This member's peer URLs for the others"},
        {"skip-hash-check", "false",
         "Ignore the snapshot's integrity hash (required if copied from a data directory)", true},
        {"bump-revision", "0", "How much to increase the latest revision after restore"},
        {"mark-compacted", "false", "Mark the latest revision after restore as the point of compaction",
         true}},
       &SnapshotRestoreCommand},
      {{"snapshot", "save"},
       "<filename>",
       "Writes a snapshot of a running member to a file",
       {{"endpoints", "127.0.0.1:2379", "Client address of the member"}},
       &SnapshotSaveCommand},
      {{"migrate"},
       "--data-dir {dir} --to etcd-{X.Y}",
       "Makes of a data directory of a stopped Kvorum one that etcd of that release starts from",
       {{"data-dir", "", "Path to the data directory"},
        kWalDir,
        {"to", "", "The release of etcd, from etcd-3.4 to etcd-3.7"},
        {"force", "false", "Lower the cluster version though there are other members, which are migrated too",
         true}},
       &MigrateCommand},
      {{"version"}, "", "Prints the version", {}, &VersionCommand},
  };
  return commands;
}

std::string NameOf(const Command& command) {
  std::string name = "kvorumutl";
  for (const std::string_view word : command.name) name.append(" ").append(word);
  return name;
}

std::string Help(const Command& command) {
  std::string text = fmt::format("{}\n\nUsage:\n  {} {}\n", command.summary, NameOf(command), command.usage);
  if (!command.flags.empty()) text += "\nFlags:\n";
  for (const CommandFlag& flag : command.flags) {
    const std::string shorthand = flag.shorthand == 0 ? "    " : fmt::format("-{}, ", flag.shorthand);
    text += fmt::format(
        "  {}--{}={}\n          {}\n", shorthand, flag.name,
        flag.is_switch ? std::string(flag.default_value) : fmt::format("\"{}\"", flag.default_value),
        flag.help);
  }
  return text;
}

std::string Overview() {
  std::string text = "Works on the files of members that do not run.\n\nUsage:\n";
  for (const Command& command : Commands()) {
    text += fmt::format("  {} {}\n          {}\n", NameOf(command), command.usage, command.summary);
  }
  return text;
}

const Command* Find(Words words, Words* rest) {
  for (const Command& command : Commands()) {
    if (words.size() >= command.name.size() &&
        std::equal(command.name.begin(), command.name.end(), words.begin())) {
      *rest = words.subspan(command.name.size());
      return &command;
    }
  }
  return nullptr;
}

}  // namespace

int RunCommand(Words words, const Surroundings& with) {
  Words rest;
  const Command* command = Find(words, &rest);
  if (command == nullptr) {
    if (words.empty() || words[0] == "help" || words[0] == "-h" || words[0] == "--help") {
      with.out << Overview();
      return 0;
    }
    with.error << Overview() << '\n';
    return Fail(with, fmt::format("unknown command \"{}\" for \"kvorumutl\"", words[0]), kExitError);
  }
  const absl::StatusOr<Arguments> arguments = Arguments::Parse(command->flags, rest);
  if (!arguments.ok()) return Fail(with, arguments.status());
  if (arguments->help()) {
    with.out << Help(*command);
    return 0;
  }
  return command->run(*arguments, with);
}

}  // namespace kvorum::utl
