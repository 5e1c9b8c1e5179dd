#include "config/config.h"

#include "absl/strings/str_join.h"
#include "config/flag_table.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kvorum::config {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class ConfigLoad : public testing::Test {
 protected:
  Loaded Load(const std::vector<std::string>& arguments) {
    return config::Load(ParseCommandLine(arguments).value(), sources_);
  }
  Config Good(const std::vector<std::string>& arguments) {
    Loaded loaded = Load(arguments);
    EXPECT_TRUE(loaded.status.ok()) << loaded.status;
    return loaded.config;
  }
  std::string ErrorOf(const std::vector<std::string>& arguments) {
    return std::string(Load(arguments).status.message());
  }
  static std::vector<std::string> Messages(const Loaded& loaded) {
    std::vector<std::string> out;
    for (const Note& note : loaded.notes) {
      std::string text = fmt::format("{} {}", LogLevelName(note.level), note.message);
      for (const auto& [key, value] : note.fields) text += fmt::format(" {}={}", key, value);
      out.push_back(text);
    }
    return out;
  }

  std::map<std::string, std::string> files_;
  Sources sources_{.environment = {},
                   .read_file = [this](const std::string& path) -> absl::StatusOr<std::string> {
                     if (files_.contains(path)) return files_[path];
                     return absl::NotFoundError(fmt::format("open {}: no such file or directory", path));
                   },
                   .default_host = [] { return std::string(); }};
};

TEST_F(ConfigLoad, GivesTheDefaults) {
  const Config config = Good({});
  EXPECT_EQ(config.name, "default");
  EXPECT_EQ(config.data_dir, "default.etcd");
  EXPECT_EQ(config.WalDirectory(), "default.etcd/member/wal");
  EXPECT_EQ(config.election_timeout_ms, 1000u);
  EXPECT_EQ(config.max_concurrent_streams, 4294967295u);
  EXPECT_EQ(JoinUrls(config.advertise_client_urls), "http://localhost:2379");
  EXPECT_EQ(config.initial_cluster, "default=http://localhost:2380");
  EXPECT_TRUE(config.Gate("FastLeaseKeepAlive"));
}

TEST_F(ConfigLoad, TakesFlagsAndEnvironment) {
  sources_.environment = {"ETCD_NAME=a", "ETCD_MAX_WALS=7", "ETCD_DATA_DIR=", "HOME=/root"};
  const Loaded loaded = Load({"--max-snapshots=3"});
  EXPECT_EQ(loaded.config.name, "a");
  EXPECT_EQ(loaded.config.max_wals, 7u);
  EXPECT_EQ(loaded.config.data_dir, "a.etcd");
  EXPECT_THAT(
      Messages(loaded),
      ElementsAre("info recognized and used environment variable variable-name=ETCD_NAME variable-value=a",
                  "info recognized and used environment variable variable-name=ETCD_MAX_WALS "
                  "variable-value=7",
                  "warn --max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8.",
                  "warn 'data-dir' was empty; using default data-dir=a.etcd"));
}

TEST_F(ConfigLoad, ShowsNoPasswordOfTheEnvironment) {
  sources_.environment = {"ETCD_DISCOVERY_USER=u:secret", "ETCD_DISCOVERY_PASSWORD=secret"};
  for (const std::string& message : Messages(Load({}))) EXPECT_THAT(message, Not(HasSubstr("secret")));
  for (const std::string& message : Messages(Load({"--discovery-password=x"}))) {
    EXPECT_THAT(message, Not(HasSubstr("secret")));
  }
}

TEST_F(ConfigLoad, AVariableShadowedByAFlagIsFatal) {
  sources_.environment = {"ETCD_NAME="};
  const Loaded loaded = Load({"--name=b"});
  EXPECT_FALSE(loaded.status.ok());
  EXPECT_THAT(
      Messages(loaded),
      ElementsAre("fatal conflicting environment variable is shadowed by corresponding command-line flag "
                  "(either unset environment variable or disable flag)) environment-variable=ETCD_NAME="));
}

TEST_F(ConfigLoad, WarnsOfVariablesThatMeanNothing) {
  sources_.environment = {"ETCD_NOPE=1", "ETCD_VERSION=3", "ETCD_UNSUPPORTED_ARCH=x"};
  const std::vector<std::string> messages = Messages(Load({"--data-dir=d"}));
  EXPECT_THAT(messages, ElementsAre("warn unrecognized environment variable environment-variable=ETCD_NOPE=1",
                                    "warn cannot set special environment variable key=ETCD_VERSION"));
}

TEST_F(ConfigLoad, ABadVariableNamesItself) {
  sources_.environment = {"ETCD_MAX_WALS=many"};
  EXPECT_EQ(ErrorOf({}), "invalid value \"many\" for ETCD_MAX_WALS: parse error");
}

TEST_F(ConfigLoad, AFileReplacesFlagsAndEnvironment) {
  files_["c.yml"] = "name: f\ndata-dir: d\nlisten-client-urls: http://127.0.0.1:1\n";
  sources_.environment = {"ETCD_MAX_WALS=many", "ETCD_NAME=e", "ETCD_CONFIG_FILE=c.yml"};
  const Loaded loaded = Load({"--name=x", "--max-snapshots=1"});
  EXPECT_TRUE(loaded.status.ok()) << loaded.status;
  EXPECT_EQ(loaded.config.name, "f");
  EXPECT_EQ(loaded.config.max_snapshots, 5u);
  EXPECT_EQ(JoinUrls(loaded.config.advertise_client_urls), "http://localhost:2379");
  EXPECT_EQ(loaded.config.initial_cluster, "f=http://localhost:2380");
  EXPECT_THAT(
      Messages(loaded),
      ElementsAre("info loaded server configuration, other configuration command line flags and environment "
                  "variables will be ignored if provided path=c.yml"));
}

TEST_F(ConfigLoad, AFileThatIsNotThereIsNamed) {
  EXPECT_EQ(ErrorOf({"--config-file=no.yml"}), "open no.yml: no such file or directory");
}

TEST_F(ConfigLoad, AnArgumentThatIsNoFlagIsNamed) {
  EXPECT_EQ(ErrorOf({"start"}), "\"start\" is not a valid flag");
}

TEST_F(ConfigLoad, ChecksInEtcdsWords) {
  EXPECT_EQ(ErrorOf({"--listen-client-urls=http://127.0.0.1:1"}),
            "--advertise-client-urls is required when --listen-client-urls is set explicitly");
  EXPECT_EQ(ErrorOf({"--listen-peer-urls=http://example.com:1"}),
            "expected IP in URL for binding (http://example.com:1)");
  EXPECT_EQ(
      ErrorOf({"--advertise-client-urls=http://:1"}),
      "--advertise-client-urls \"http://:1\" must be \"host:port\" (unexpected empty host (http://:1))");
  EXPECT_EQ(ErrorOf({"--heartbeat-interval=0"}), "--heartbeat-interval must be >0 (set to 0ms)");
  EXPECT_EQ(ErrorOf({"--election-timeout=0"}), "--election-timeout must be >0 (set to 0ms)");
  EXPECT_EQ(ErrorOf({"--election-timeout=499"}),
            "--election-timeout[499ms] should be at least as 5 times as --heartbeat-interval[100ms]");
  EXPECT_EQ(ErrorOf({"--election-timeout=50001"}),
            "--election-timeout[50001ms] is too long, and should be set less than 50000ms");
  EXPECT_EQ(ErrorOf({"--logger=capnslog"}), "--logger=capnslog is removed in v3.5");
  EXPECT_EQ(ErrorOf({"--logger=x"}), "unknown logger option \"x\"");
  EXPECT_EQ(ErrorOf({"--log-format=xml"}), "unknown log format: xml, supported values json, console");
  EXPECT_EQ(ErrorOf({"--log-level=loud"}), "unrecognized level: \"loud\"");
  EXPECT_EQ(ErrorOf({"--log-outputs="}), "open sink \"\": open : no such file or directory");
  EXPECT_EQ(ErrorOf({"--metrics=all"}), "unknown metrics option \"all\", supported values basic, extensive");
  EXPECT_EQ(ErrorOf({"--log-outputs=default,a.log"}), "multi logoutput for \"default\" is not supported yet");
  EXPECT_EQ(ErrorOf({"--enable-log-rotation"}),
            "--log-outputs requires a single file path when --log-rotate-config-json is defined");
  EXPECT_EQ(ErrorOf({"--io-threads=1025"}), "--io-threads must be at most 1024 (set to 1025)");
  EXPECT_EQ(ErrorOf({"--max-request-bytes=1073741825"}),
            "--max-request-bytes must be at most 1073741824 (set to 1073741825)");
  EXPECT_EQ(ErrorOf({"--auto-compaction-mode=x"}), "unknown auto-compaction-mode \"x\"");
  EXPECT_EQ(ErrorOf({"--auto-compaction-mode="}), "undefined auto-compaction-mode");
  EXPECT_EQ(ErrorOf({"--compact-hash-check-time=0"}), "--compact-hash-check-time must be >0 (set to 0s)");
  EXPECT_EQ(ErrorOf({"--feature-gates=LeaseCheckpointPersist=true"}),
            "enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint");
  EXPECT_EQ(ErrorOf({"--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"}),
            "min version (TLS1.3) is greater than max version (TLS1.2)");
  EXPECT_EQ(ErrorOf({"--listen-metrics-urls=https://127.0.0.1:1"}),
            "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url");
  EXPECT_EQ(
      ErrorOf({"--listen-client-urls=https://127.0.0.1:1", "--advertise-client-urls=https://a:1"}),
      "TLS key/cert (--cert-file, --key-file) must be provided for client url https://127.0.0.1:1 with HTTPS "
      "scheme");
  EXPECT_EQ(ErrorOf({"--listen-peer-urls=https://127.0.0.1:1"}),
            "cannot listen on TLS for 127.0.0.1:1: KeyFile and CertFile are not presented");
  EXPECT_EQ(ErrorOf({"--tls-min-version=TLS1.1"}),
            "unexpected TLS version \"TLS1.1\" (must be one of: TLS1.2, TLS1.3)");
  EXPECT_EQ(ErrorOf({"--tls-min-version=TLS1.3", "--cipher-suites=TLS_RSA_WITH_AES_128_CBC_SHA"}),
            "cipher suites cannot be configured when only TLS1.3 is enabled");
  EXPECT_EQ(ErrorOf({"--peer-cert-allowed-cn=a,b", "--peer-cert-allowed-hostname=c"}),
            "AllowedCNs and AllowedHostnames are mutually exclusive (cns=[\"a\" \"b\"], hostnames=[\"c\"])");
  EXPECT_THAT(ErrorOf({"--peer-cert-allowed-cn=a", "--peer-auto-tls"}),
              HasSubstr("--peer-cert-allowed-cn needs certificates that are vouched for"));
  EXPECT_EQ(ErrorOf({"--initial-cluster=default=x"}),
            "error setting up initial cluster: URL scheme must be http, https, unix, or unixs: x");
  EXPECT_EQ(ErrorOf({"--initial-cluster=default"}),
            "error setting up initial cluster: empty URL given for \"default\"");
}

TEST_F(ConfigLoad, ChecksDiscoveryInEtcdsWords) {
  EXPECT_THAT(ErrorOf({"--discovery=http://a:1", "--initial-cluster=default=http://a:1"}),
              HasSubstr("multiple discovery or bootstrap flags are set. Choose one of"));
  EXPECT_EQ(ErrorOf({"--discovery-token=x"}), "both --discovery-token and --discovery-endpoints must be set");
  EXPECT_THAT(ErrorOf({"--discovery=http://a:1", "--discovery-cert=x"}),
              HasSubstr("both v2 discovery settings"));
  EXPECT_EQ(ErrorOf({"--discovery-token=x", "--discovery-endpoints=a:1,"}),
            "--discovery-endpoints must not contain empty endpoints");
}

TEST_F(ConfigLoad, AProxyMayComeOfV2DiscoveryAlone) {
  Good({"--discovery=http://a:1", "--discovery-fallback=proxy"});
  EXPECT_EQ(ErrorOf({"--discovery-token=x", "--discovery-endpoints=a:1", "--discovery-fallback=proxy"}),
            "v2 proxy is deprecated, and --discovery-fallback can't be configured as \"proxy\"");
  // What may become a proxy need not advertise anything.
  Good({"--discovery=http://a:1", "--discovery-fallback=proxy", "--listen-client-urls=http://127.0.0.1:1"});
  EXPECT_EQ(ErrorOf({"--discovery=http://a:1", "--listen-client-urls=http://127.0.0.1:1"}),
            "--advertise-client-urls is required when --listen-client-urls is set explicitly");
}

TEST_F(ConfigLoad, UsersOfADiscoveryServiceHavePasswords) {
  const auto with = [&](std::vector<std::string> flags) {
    flags.insert(flags.end(), {"--discovery-token=x", "--discovery-endpoints=a:1"});
    return flags;
  };
  Good(with({"--discovery-user=a", "--discovery-password=b"}));
  Good(with({"--discovery-user=a:b"}));
  for (const char* half : {"--discovery-user=a", "--discovery-password=b"}) {
    EXPECT_EQ(ErrorOf(with({half})), "--discovery-user and --discovery-password must both be set");
  }
}

TEST_F(ConfigLoad, RefusesTimesWithWhichNothingWorks) {
  Good({"--discovery-dial-timeout=0s", "--discovery-keepalive-time=0s", "--discovery-keepalive-timeout=0s"});
  EXPECT_EQ(ErrorOf({"--discovery-request-timeout=0s"}),
            "--discovery-request-timeout must be >0 (set to 0s)");
  for (const char* name : {"dial-timeout", "keepalive-time", "keepalive-timeout"}) {
    EXPECT_EQ(ErrorOf({fmt::format("--discovery-{}=-1s", name)}),
              fmt::format("--discovery-{} must be >=0 (set to -1s)", name));
  }
  EXPECT_EQ(ErrorOf({"--proxy-refresh-interval=0"}), "--proxy-refresh-interval must be >0 (set to 0ms)");
}

TEST_F(ConfigLoad, AProxyIsNotFoundByTheV3Protocol) {
  EXPECT_THAT(ErrorOf({"--proxy=on", "--discovery-token=x", "--discovery-endpoints=a:1"}),
              HasSubstr("--proxy=on and v3 discovery settings are set"));
}

TEST_F(ConfigLoad, ADiscoveryServiceNeedsTheV2Api) {
  Good({"--serve-discovery"});
  EXPECT_THAT(ErrorOf({"--serve-discovery", "--enable-v2=false"}), HasSubstr("needs the v2 API"));
  EXPECT_THAT(ErrorOf({"--serve-discovery", "--v2-deprecation=write-only"}), HasSubstr("needs the v2 API"));
}

TEST_F(ConfigLoad, RefusesByNameWhatIsNotBuilt) {
  EXPECT_THAT(ErrorOf({"--auth-token=jwt"}), HasSubstr("--auth-token is not supported"));
  EXPECT_EQ(
      ErrorOf({"--experimental-enable-v2v3=/v2"}),
      "--experimental-enable-v2v3 is not supported by this version of kvorum: the v2 API on keys of the "
      "v3 API is not built in");
  EXPECT_THAT(ErrorOf({"--feature-gates=LeaseCheckpoint=true"}),
              HasSubstr("--feature-gates=LeaseCheckpoint=true is not supported"));
}

TEST_F(ConfigLoad, AFileHasItsTlsInSections) {
  files_["c.yml"] =
      "client-transport-security:\n  cert-file: c.pem\n  key-file: c.key\n  client-cert-auth: true\n"
      "  trusted-ca-file: ca.pem\n  allowed-hostname: [b, a]\n"
      "peer-transport-security:\n  cert-file: p.pem\n  key-file: p.key\n  allowed-cn: [m]\n"
      "  skip-client-san-verification: true\n"
      "self-signed-cert-validity: 3\ntls-min-version: TLS1.3\n";
  const Config config = Good({"--config-file=c.yml"});
  EXPECT_EQ(config.cert_file, "c.pem");
  EXPECT_TRUE(config.client_cert_auth);
  EXPECT_EQ(config.trusted_ca_file, "ca.pem");
  EXPECT_THAT(config.client_cert_allowed_hostname, ElementsAre("a", "b"));
  EXPECT_EQ(config.peer_key_file, "p.key");
  EXPECT_THAT(config.peer_cert_allowed_cn, ElementsAre("m"));
  EXPECT_TRUE(config.peer_skip_client_san_verification);
  EXPECT_EQ(config.self_signed_cert_validity, 3u);
  EXPECT_EQ(config.tls_min_version, "TLS1.3");
}

TEST_F(ConfigLoad, TheDefaultOfWhatIsNotBuiltIsTaken) {
  Good({"--auth-token=simple", "--raft-read-timeout=5000ms", "--feature-gates=AllAlpha=false"});
}

TEST_F(ConfigLoad, TheV2ApiIsServedUnlessItIsTurnedOff) {
  EXPECT_TRUE(Good({}).enable_v2);
  EXPECT_TRUE(Good({"--enable-v2", "--v2-deprecation=not-yet"}).enable_v2);
  EXPECT_FALSE(Good({"--enable-v2=false"}).enable_v2);
  for (const char* stage : {"write-only", "write-only-skip-check", "write-only-drop-data", "gone"}) {
    const std::string flag = fmt::format("--v2-deprecation={}", stage);
    EXPECT_FALSE(Good({flag.c_str()}).enable_v2) << stage;
    EXPECT_FALSE(Good({"--enable-v2=false", flag.c_str()}).enable_v2) << stage;
    EXPECT_EQ(ErrorOf({"--enable-v2", flag.c_str()}),
              fmt::format("--enable-v2 and --v2-deprecation={} are mutually exclusive", stage));
  }
  sources_.environment = {"ETCD_ENABLE_V2=true"};
  EXPECT_EQ(ErrorOf({"--v2-deprecation=gone"}),
            "--enable-v2 and --v2-deprecation=gone are mutually exclusive");
}

TEST_F(ConfigLoad, HashesCanBeCompared) {
  const Loaded loaded = Load({"--feature-gates=CompactHashCheck=true", "--corrupt-check-time=5m",
                              "--compact-hash-check-time=30s", "--experimental-initial-corrupt-check"});
  EXPECT_TRUE(loaded.config.Gate("CompactHashCheck"));
  EXPECT_TRUE(loaded.config.Gate("InitialCorruptCheck"));
  EXPECT_EQ(loaded.config.corrupt_check_time, std::chrono::minutes(5));
  EXPECT_EQ(loaded.config.compact_hash_check_time, std::chrono::seconds(30));
}

TEST_F(ConfigLoad, OlderNamesAreTaken) {
  const Loaded loaded = Load({"--experimental-compaction-batch-limit=5"});
  EXPECT_EQ(loaded.config.compaction_batch_limit, 5);
  EXPECT_THAT(Messages(loaded), Contains(HasSubstr("--experimental-compaction-batch-limit is deprecated")));
  EXPECT_EQ(ErrorOf({"--experimental-compaction-batch-limit=5", "--compaction-batch-limit=6"}),
            "cannot set --experimental-compaction-batch-limit and --compaction-batch-limit at the same time, "
            "please use "
            "--compaction-batch-limit only");
  EXPECT_EQ(
      ErrorOf({"--experimental-initial-corrupt-check=false", "--feature-gates=InitialCorruptCheck=true"}),
      "cannot specify both flags: --experimental-initial-corrupt-check=false and "
      "--feature-gates=InitialCorruptCheck=true at the same time, please just use "
      "--feature-gates=InitialCorruptCheck=true");
}

TEST_F(ConfigLoad, TheClusterFollowsTheName) {
  EXPECT_EQ(Good({"--name=m1", "--initial-advertise-peer-urls=http://a:2,http://a:1"}).initial_cluster,
            "m1=http://a:1,m1=http://a:2");
  EXPECT_EQ(Good({"--initial-advertise-peer-urls=http://a:1"}).initial_cluster,
            "default=http://localhost:2380");
}

TEST_F(ConfigLoad, AdvertisesTheDefaultRoutesHost) {
  sources_.default_host = [] { return std::string("10.0.0.7"); };
  const Config config =
      Good({"--listen-peer-urls=http://0.0.0.0:2380", "--listen-client-urls=http://0.0.0.0:2379",
            "--advertise-client-urls=http://localhost:2379", "--name=x"});
  EXPECT_EQ(JoinUrls(config.initial_advertise_peer_urls), "http://10.0.0.7:2380");
  EXPECT_EQ(JoinUrls(config.advertise_client_urls), "http://10.0.0.7:2379");
  EXPECT_EQ(config.initial_cluster, "x=http://10.0.0.7:2380");
}

TEST_F(ConfigLoad, ReadsAutoCompaction) {
  EXPECT_EQ(AutoCompaction(Good({"--auto-compaction-retention=2"}))->period, std::chrono::hours(2));
  EXPECT_EQ(AutoCompaction(Good({"--auto-compaction-retention=30m"}))->period, std::chrono::minutes(30));
  EXPECT_EQ(
      AutoCompaction(Good({"--auto-compaction-mode=revision", "--auto-compaction-retention=7"}))->revisions,
      7);
  EXPECT_THAT(ErrorOf({"--auto-compaction-retention=soon"}), HasSubstr("error parsing CompactionRetention"));
}

TEST_F(ConfigLoad, ReadsLogRotation) {
  const LogRotation rotation =
      ParseLogRotation(R"({"maxsize": 2, "maxage": 3, "maxbackups": 4, "localtime": true})").value();
  EXPECT_EQ(rotation.max_size_bytes, 2u << 20);
  EXPECT_EQ(rotation.max_age_days, 3u);
  EXPECT_EQ(rotation.max_backups, 4u);
  EXPECT_TRUE(rotation.local_time);
  EXPECT_FALSE(rotation.compress);
  EXPECT_FALSE(ParseLogRotation("{").ok());
  EXPECT_FALSE(ParseLogRotation(R"({"maxsize": "2"})").ok());
}

TEST(ConfigParseCluster, KeepsDoubles) {
  const auto cluster =
      ParseCluster("b=http://1.1.1.1:2,a=http://1.1.1.1:1,b=http://1.1.1.1:1,b=http://1.1.1.1:2").value();
  EXPECT_EQ(JoinUrls(cluster.at("b")), "http://1.1.1.1:1,http://1.1.1.1:2,http://1.1.1.1:2");
  EXPECT_EQ(JoinUrls(cluster.at("a")), "http://1.1.1.1:1");
}

}  // namespace
}  // namespace kvorum::config
