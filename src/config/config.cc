#include "config/config.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/status.h"
#include "boost/json/parse.hpp"
#include "boost/json/value_to.hpp"
#include "config/config_file.h"
#include "config/flag_table.h"
#include "config/go_text.h"

namespace kvorum::config {
namespace {

using Settings = std::map<const Flag*, Value>;

absl::Status Invalid(std::string text) { return absl::InvalidArgumentError(text); }

std::string_view NameOf(std::string_view variable) { return variable.substr(0, variable.find('=')); }
std::string_view ValueOf(std::string_view variable) {
  const size_t equals = variable.find('=');
  return equals == std::string_view::npos ? "" : variable.substr(equals + 1);
}

/// Puts the variables that no flag shadows into `settings` (reference: flags.md §2).
absl::Status ReadEnvironment(const std::vector<std::string>& environment, Settings* settings,
                             std::vector<Note>* notes) {
  std::map<std::string, const Flag*> flags;
  for (const FlagSection& section : FlagSections()) {
    for (const Flag& flag : section.flags) flags[flag.EnvironmentName()] = &flag;
  }
  for (const std::string& variable : environment) {
    const auto found = flags.find(std::string(NameOf(variable)));
    if (found == flags.end() || !settings->contains(found->second)) continue;
    const std::string text =
        "conflicting environment variable is shadowed by corresponding command-line flag (either unset "
        "environment variable or disable flag))";
    const std::string shown =
        fmt::format("{}={}", found->first, ShownValue(found->second->name, ValueOf(variable)));
    notes->push_back({LogLevel::kFatal, text, {{"environment-variable", shown}}});
    return Invalid(text);
  }
  for (const std::string& variable : environment) {
    const std::string name(NameOf(variable));
    if (!name.starts_with("ETCD_") || name == "ETCD_CONFIG_FILE" || name == "ETCD_UNSUPPORTED_ARCH") continue;
    if (name == "ETCD_VERSION") {
      notes->push_back({LogLevel::kWarn, "cannot set special environment variable", {{"key", name}}});
      continue;
    }
    const auto found = flags.find(name);
    if (found == flags.end()) {
      notes->push_back(
          {LogLevel::kWarn, "unrecognized environment variable", {{"environment-variable", variable}}});
      continue;
    }
    const std::string text(ValueOf(variable));
    if (text.empty()) continue;
    absl::StatusOr<Value> value = ParseValue(*found->second, text);
    if (!value.ok()) {
      return Invalid(fmt::format("invalid value {} for {}: {}", Quoted(text), name,
                                 std::string(value.status().message())));
    }
    notes->push_back({LogLevel::kInfo,
                      "recognized and used environment variable",
                      {{"variable-name", name}, {"variable-value", ShownValue(found->second->name, text)}}});
    settings->emplace(found->second, *std::move(value));
  }
  return absl::OkStatus();
}

/// Gives the values of older names to the flags and gates that took their place.
absl::Status ResolveOlderNames(Settings* settings, std::vector<Note>* notes) {
  const Flag* const gates_flag = FindFlag("feature-gates");
  const Gates given = settings->contains(gates_flag) ? std::get<Gates>(settings->at(gates_flag)) : Gates{};
  std::vector<const Flag*> older;
  for (const auto& [flag, value] : *settings) {
    if (!flag->replaced_by.empty() || !flag->replaced_by_gate.empty()) older.push_back(flag);
  }
  for (const Flag* flag : older) {
    Value value = std::move(settings->at(flag));
    settings->erase(flag);
    if (!flag->replaced_by.empty()) {
      if (settings->contains(FindFlag(flag->replaced_by))) {
        return Invalid(fmt::format("cannot set --{} and --{} at the same time, please use --{} only",
                                   flag->name, flag->replaced_by, flag->replaced_by));
      }
      notes->push_back(
          {LogLevel::kWarn,
           fmt::format("--{} is deprecated in v3.6 and will be decommissioned in v3.7. Use '--{}' "
                       "instead.",
                       flag->name, flag->replaced_by),
           {}});
      settings->emplace(FindFlag(flag->replaced_by), std::move(value));
      continue;
    }
    const std::string gate(flag->replaced_by_gate);
    if (settings->contains(gates_flag) && given.contains(gate) && given.at(gate) != DefaultGates().at(gate)) {
      return Invalid(
          fmt::format("cannot specify both flags: --{0}={1} and --feature-gates={2}={3} at the same "
                      "time, please just use --feature-gates={2}={3}",
                      flag->name, std::get<bool>(value), gate, given.at(gate)));
    }
    notes->push_back({LogLevel::kWarn,
                      fmt::format("--{} is deprecated in v3.6 and will be decommissioned in v3.7. Use "
                                  "'--feature-gates={}=true' instead.",
                                  flag->name, gate),
                      {}});
    auto& gates = settings->try_emplace(gates_flag, Value(DefaultGates())).first->second;
    std::get<Gates>(gates)[gate] = std::get<bool>(value);
  }
  return absl::OkStatus();
}

void NoteDeprecations(const Settings& settings, std::vector<Note>* notes) {
  const auto warn = [&](std::string text) { notes->push_back({LogLevel::kWarn, std::move(text), {}}); };
  if (settings.contains(FindFlag("max-snapshots"))) {
    warn("--max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8.");
  }
  if (settings.contains(FindFlag("backend-bbolt-freelist-type"))) {
    warn("--backend-bbolt-freelist-type has no effect: the database keeps its free pages itself.");
  }
  for (const auto& [flag, value] : settings) {
    if (flag->kind == Kind::kIgnored)
      warn(fmt::format("flag \"-{}\" is no longer supported - ignoring.", flag->name));
  }
}

/// What a setting that cannot be honoured says, or OK.
absl::Status RefuseNotBuilt(const Settings& settings, const Config& config) {
  for (const auto& [flag, value] : settings) {
    if (flag->built || value == *ParseValue(*flag, flag->default_text)) continue;
    return Invalid(fmt::format("--{} is not supported by this version of kvorum: {} is not built in",
                               flag->name, flag->help));
  }
  for (const auto& [gate, value] : config.feature_gates) {
    if (IsBuiltGate(gate) || value == DefaultGates().at(gate)) continue;
    return Invalid(
        fmt::format("--feature-gates={}={} is not supported by this version of kvorum", gate, value));
  }
  return absl::OkStatus();
}

/// A stage of the v2 API's removal takes it away, unless it was asked for by name.
absl::Status SettleV2(bool enable_given, Config* config) {
  if (config->v2_deprecation == kV2NotYet) return absl::OkStatus();
  if (enable_given && config->enable_v2) {
    return Invalid(
        fmt::format("--enable-v2 and --v2-deprecation={} are mutually exclusive", config->v2_deprecation));
  }
  config->enable_v2 = false;
  return absl::OkStatus();
}

std::string InitialClusterFromName(const Config& config) {
  const std::string name = config.name.empty() ? "default" : config.name;
  std::vector<std::string> parts;
  for (const Url& url : config.initial_advertise_peer_urls) parts.push_back(name + "=" + url.Text());
  return absl::StrJoin(parts, ",");
}

/// Settings that follow from others: the advertised host where it listens everywhere, and --initial-cluster
/// where only the name was given.
void Derive(const Sources& sources, Config* config, std::vector<Note>* notes) {
  const Config defaults = Defaults();
  std::string host;
  bool asked = false;
  const auto advertise = [&](const std::vector<Url>& listen, const std::vector<Url>& advertised_default,
                             std::vector<Url>* advertised) {
    if (*advertised != advertised_default || listen.empty() || listen[0].Hostname() != "0.0.0.0")
      return false;
    if (!std::exchange(asked, true)) host = sources.default_host();
    if (host.empty()) return false;
    (*advertised)[0].host = host + ":" + listen[0].Port();
    (*advertised)[0].scheme = listen[0].scheme;
    return true;
  };
  bool used = advertise(config->listen_peer_urls, defaults.initial_advertise_peer_urls,
                        &config->initial_advertise_peer_urls);
  if (config->name != defaults.name && config->initial_cluster == defaults.initial_cluster) {
    config->initial_cluster = InitialClusterFromName(*config);
  }
  used |=
      advertise(config->listen_client_urls, defaults.advertise_client_urls, &config->advertise_client_urls);
  if (used) notes->push_back({LogLevel::kInfo, "detected default host for advertise", {{"host", host}}});
  if (config->data_dir.empty()) {
    config->data_dir = config->name + ".etcd";
    notes->push_back(
        {LogLevel::kWarn, "'data-dir' was empty; using default", {{"data-dir", config->data_dir}}});
  }
}

absl::Status ReadFile(const std::string& path, const Sources& sources, Settings* settings) {
  absl::StatusOr<std::string> content = sources.read_file(path);
  if (!content.ok()) return Invalid(std::string(content.status().message()));
  KVORUM_ASSIGN_OR_RETURN(auto values, ParseConfigFile(*content));
  for (auto& [flag, value] : values) settings->emplace(flag, std::move(value));
  return absl::OkStatus();
}

absl::Status Gather(const CommandLine& command_line, const Sources& sources, const std::string& file,
                    Settings* settings, std::vector<Note>* notes) {
  if (!command_line.rest.empty()) {
    return Invalid(fmt::format("{} is not a valid flag", Quoted(command_line.rest[0])));
  }
  if (!file.empty()) {
    KVORUM_RETURN_IF_ERROR(ReadFile(file, sources, settings));
    notes->push_back({LogLevel::kInfo,
                      "loaded server configuration, other configuration command line flags and environment "
                      "variables will be ignored if provided",
                      {{"path", file}}});
    return absl::OkStatus();
  }
  for (const auto& [flag, text] : command_line.flags) {
    settings->insert_or_assign(flag, *ParseValue(*flag, text));
  }
  return ReadEnvironment(sources.environment, settings, notes);
}

absl::Status Build(const CommandLine& command_line, const Sources& sources, Loaded* out) {
  std::string file = command_line.config_file;
  if (file.empty()) {
    for (const std::string& variable : sources.environment) {
      if (NameOf(variable) == "ETCD_CONFIG_FILE") file = ValueOf(variable);
    }
  }
  Settings settings;
  KVORUM_RETURN_IF_ERROR(Gather(command_line, sources, file, &settings, &out->notes));
  KVORUM_RETURN_IF_ERROR(ResolveOlderNames(&settings, &out->notes));
  NoteDeprecations(settings, &out->notes);

  Config& config = out->config;
  for (const auto& [flag, value] : settings) Assign(*flag, value, &config);
  const auto given = [&](std::string_view name) { return settings.contains(FindFlag(name)); };
  KVORUM_RETURN_IF_ERROR(SettleV2(given("enable-v2"), &config));
  if (file.empty() && given("listen-client-urls") && !given("advertise-client-urls")) {
    config.advertise_client_urls.clear();
  }
  const bool discovery = !config.discovery.empty() || !config.discovery_srv.empty() ||
                         !config.discovery_endpoints.empty() || !config.discovery_token.empty();
  if (discovery && !given("initial-cluster")) config.initial_cluster.clear();
  if (config.snapshot_count == 0) config.snapshot_count = Defaults().snapshot_count;

  KVORUM_RETURN_IF_ERROR(Validate(config));
  if (config.max_request_bytes > 10 << 20) {
    out->notes.push_back({LogLevel::kWarn,
                          "exceeded recommended request limit",
                          {{"max-request-bytes", fmt::format("{}", config.max_request_bytes)},
                           {"recommended-request-bytes", "10485760"}}});
  }
  KVORUM_RETURN_IF_ERROR(RefuseNotBuilt(settings, config));
  Derive(sources, &config, &out->notes);
  return InitialCluster(config).status();
}

}  // namespace

bool Config::Gate(std::string_view gate_name) const {
  const auto gate = feature_gates.find(std::string(gate_name));
  KVORUM_CHECK(gate != feature_gates.end(), "no feature gate {}", gate_name);
  return gate->second;
}

Config Defaults() {
  static const auto* const defaults = [] {
    auto* config = new Config();
    for (const FlagSection& section : FlagSections()) {
      for (const Flag& flag : section.flags) {
        absl::StatusOr<Value> value = ParseValue(flag, flag.default_text);
        const bool follows = !flag.replaced_by.empty() || !flag.replaced_by_gate.empty();
        if (follows) continue;
        KVORUM_CHECK(value.ok(), "default of --{}: {}", flag.name, std::string(value.status().message()));
        Assign(flag, *std::move(value), config);
      }
    }
    return config;
  }();
  return *defaults;
}

Loaded Load(const CommandLine& command_line, const Sources& sources) {
  Loaded loaded;
  loaded.status = Build(command_line, sources, &loaded);
  return loaded;
}

absl::StatusOr<std::map<std::string, std::vector<Url>>> ParseCluster(std::string_view text) {
  std::map<std::string, std::vector<Url>> cluster;
  std::string_view rest = text;
  while (!rest.empty()) {
    const size_t comma = rest.find(',');
    const std::string_view part = rest.substr(0, comma);
    rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
    if (part.empty()) continue;
    const size_t equals = part.find('=');
    const std::string name(part.substr(0, equals));
    const std::string_view text_of_url = equals == std::string_view::npos ? "" : part.substr(equals + 1);
    std::vector<Url>& urls = cluster[name];
    if (text_of_url.empty() && urls.empty()) {
      return Invalid(fmt::format("empty URL given for {}", Quoted(name)));
    }
    KVORUM_ASSIGN_OR_RETURN(Url url, ParseUrl(text_of_url));
    urls.push_back(std::move(url));
  }
  // Doubles stay, for a member must not start with them.
  for (auto& [name, urls] : cluster) std::sort(urls.begin(), urls.end());
  return cluster;
}

absl::StatusOr<std::map<std::string, std::vector<Url>>> InitialCluster(const Config& config) {
  auto cluster = ParseCluster(config.initial_cluster);
  if (cluster.ok()) return cluster;
  return Invalid(
      fmt::format("error setting up initial cluster: {}", std::string(cluster.status().message())));
}

absl::StatusOr<LogRotation> ParseLogRotation(const std::string& json) {
  boost::json::error_code error;
  const boost::json::value value = boost::json::parse(json, error);
  if (error.failed() || !value.is_object()) {
    return Invalid(fmt::format("improperly formatted log rotation config: {}",
                               error.failed() ? error.message() : "not an object"));
  }
  LogRotation rotation;
  const boost::json::object& object = value.as_object();
  const auto number = [&](std::string_view key, uint64_t max) -> absl::StatusOr<uint64_t> {
    const boost::json::value* field = object.if_contains(key);
    if (field == nullptr) return 0;
    if (!field->is_int64() || field->as_int64() < 0 || static_cast<uint64_t>(field->as_int64()) > max) {
      return Invalid(fmt::format("invalid log rotation config: {}", key));
    }
    return static_cast<uint64_t>(field->as_int64());
  };
  const auto truth = [&](std::string_view key) -> absl::StatusOr<bool> {
    const boost::json::value* field = object.if_contains(key);
    if (field == nullptr) return false;
    if (!field->is_bool()) return Invalid(fmt::format("invalid log rotation config: {}", key));
    return field->as_bool();
  };
  constexpr uint64_t kDefaultMegabytes = 100;
  KVORUM_ASSIGN_OR_RETURN(const uint64_t megabytes, number("maxsize", uint64_t{1} << 40));
  KVORUM_ASSIGN_OR_RETURN(const uint64_t age, number("maxage", 36'500));
  KVORUM_ASSIGN_OR_RETURN(const uint64_t backups, number("maxbackups", UINT32_MAX));
  KVORUM_ASSIGN_OR_RETURN(rotation.local_time, truth("localtime"));
  KVORUM_ASSIGN_OR_RETURN(rotation.compress, truth("compress"));
  rotation.max_size_bytes = (megabytes == 0 ? kDefaultMegabytes : megabytes) << 20;
  rotation.max_age_days = static_cast<uint32_t>(age);
  rotation.max_backups = static_cast<uint32_t>(backups);
  return rotation;
}

LogLevel LogLevelOf(const Config& config) { return *ParseLogLevel(config.log_level); }

LogFormat LogFormatOf(const Config& config) {
  return config.log_format == "console" ? LogFormat::kConsole : LogFormat::kJson;
}

}  // namespace kvorum::config
