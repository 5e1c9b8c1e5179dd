#include "http/tls.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>
#include <thread>

#include "absl/synchronization/notification.h"
#include "http/client.h"
#include "http/raw_server.h"
#include "http/server.h"
#include "http/session_driver.h"
#include "http/test_certificates.h"

namespace kvorum::http {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::StartsWith;

constexpr auto kLong = std::chrono::seconds(30);

/// Keeps the lines of rejected connections: "remote-addr: error".
class KeepingLogger final : public Logger {
 public:
  bool Enabled(LogLevel) const override { return true; }
  void Write(LogLevel, const char*, int, std::string_view message,
             std::initializer_list<LogField> fields) override {
    absl::MutexLock lock(&mutex_);
    std::string line(message);
    for (const LogField& field : fields) {
      if (field.key() == "error") line += ": " + field.text();
    }
    lines_.push_back(line);
  }
  /// Waits for a line with that end.
  bool Await(const std::string& end) {
    absl::MutexLock lock(&mutex_);
    const auto found = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return std::any_of(lines_.begin(), lines_.end(),
                         [&](const std::string& line) { return line.ends_with(end); });
    };
    const bool there = mutex_.AwaitWithTimeout(absl::Condition(&found), absl::Seconds(30));
    if (!there) ADD_FAILURE() << ::testing::PrintToString(lines_);
    return there;
  }

 private:
  absl::Mutex mutex_;
  std::vector<std::string> lines_ ABSL_GUARDED_BY(mutex_);
};

/// A server with a certificate for localhost and 127.0.0.1, and clients of it.
class TlsTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    files_ = new TestCertificates;
    files_->Make("server", "DNS:localhost,IP:127.0.0.1");
    files_->Make("client", "");
    files_->Make("stranger", "DNS:localhost,IP:127.0.0.1", "other-ca");
  }
  static void TearDownTestSuite() { delete files_; }
  static std::string File(const std::string& name) { return *files_ / name; }

  static TlsOptions ServerTls(const std::string& name = "server") {
    return {.cert_file = File(name + ".pem"), .key_file = File(name + ".key")};
  }
  static TlsOptions ClientTls() { return {.trusted_ca_file = File("ca.pem")}; }
  static TlsOptions ClientTls(const std::string& name) {
    TlsOptions options = ClientTls();
    options.cert_file = File(name + ".pem");
    options.key_file = File(name + ".key");
    return options;
  }

  void Serve(const TlsOptions& tls = ServerTls(), const std::string& url = "https://127.0.0.1:0") {
    options_.handler = &handler_;
    options_.logger = &log_;
    options_.tls = TlsContext::ForServer(tls).value();
    server_ = std::make_unique<Server>(&loops_, options_);
    address_ = server_->Listen({url}).value();
    server_->Start();
  }
  std::string Url(std::string_view path = "/hello") const {
    return fmt::format("https://{}{}", address_, path);
  }
  std::string port() const { return address_.substr(address_.rfind(':') + 1); }

  absl::StatusOr<ClientResponse> Call(ClientRequest request, const TlsOptions& tls = ClientTls()) {
    Client client(&loop_, {.tls = TlsContext::ForClient(tls).value()});
    return Call(client, std::move(request));
  }
  static absl::StatusOr<ClientResponse> Call(Client& client, ClientRequest request,
                                             std::chrono::nanoseconds limit = kLong) {
    absl::StatusOr<ClientResponse> result;
    absl::Notification done;
    client.Call(std::move(request), SystemClock().Now() + limit, [&](absl::StatusOr<ClientResponse> got) {
      result = std::move(got);
      done.Notify();
    });
    done.WaitForNotification();
    return result;
  }
  /// The body, or the error's text.
  std::string Get(const TlsOptions& tls = ClientTls(), const std::string& url = "") {
    absl::StatusOr<ClientResponse> got = Call({.url = url.empty() ? Url() : url}, tls);
    return got.ok() ? got->body : std::string(got.status().message());
  }

  /// What a command prints.
  static std::string Shell(const std::string& command) {
    FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
    std::string got;
    char piece[4096];
    for (size_t n; (n = ::fread(piece, 1, sizeof piece, pipe)) > 0;) got.append(piece, n);
    ::pclose(pipe);
    return got;
  }
  /// The body, the version of HTTP and how curl ended.
  static std::string Curl(const std::string& arguments) {
    return Shell("curl -sS --max-time 30 --cacert " + File("ca.pem") + " -w ' %{http_version} %{exitcode}' " +
                 arguments);
  }
  static int ConnectTo(const std::string& port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(static_cast<uint16_t>(std::stoi(port)));
    EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
    timeval limit{.tv_sec = 30, .tv_usec = 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
  }
  static std::string ReadAll(int fd) {
    std::string got;
    char piece[4096];
    ssize_t n;
    while ((n = ::recv(fd, piece, sizeof piece, 0)) > 0) got.append(piece, static_cast<size_t>(n));
    EXPECT_TRUE(n == 0 || errno == ECONNRESET) << "nobody closed it";
    return got;
  }

  static TestCertificates* files_;
  LoopGroup loops_{1};
  Loop loop_{"client"};
  KeepingLogger log_;
  TestHandler handler_;
  ServerOptions options_;
  std::unique_ptr<Server> server_;
  std::string address_;
};

TestCertificates* TlsTest::files_ = nullptr;

TEST_F(TlsTest, ExchangesRequests) {
  Serve();
  Client client(&loop_, {.tls = TlsContext::ForClient(ClientTls()).value()});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Call(client, {.url = Url()})->body, "hello");
  EXPECT_EQ(server_->connection_count(), 1u) << "it is not kept";
}

TEST_F(TlsTest, DoesNotMixItsConnectionsWithPlainOnes) {
  Serve();
  Server plain(&loops_, options_);
  const std::string address = plain.Listen({"http://127.0.0.1:0"}).value();
  plain.Start();
  Client client(&loop_, {.tls = TlsContext::ForClient(ClientTls()).value()});
  EXPECT_EQ(Call(client, {.url = "http://" + address + "/hello"})->body, "hello");
  // The kept connection is none that may be taken for https.
  EXPECT_EQ(Call(client, {.url = "https://" + address + "/hello"}).status().message(),
            "http: server gave HTTP response to HTTPS client");
}

TEST_F(TlsTest, CarriesLargeBodiesBothWays) {
  Serve();
  std::string body(1 << 20, 'x');
  for (size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>(i * 7 / 3);
  for (const char* version : {"TLS1.2", "TLS1.3"}) {
    TlsOptions tls = ClientTls();
    tls.min_version = tls.max_version = version;
    Client client(&loop_, {.tls = TlsContext::ForClient(tls).value()});
    for (int i = 0; i < 8; ++i) {
      EXPECT_EQ(Call(client, {.method = "POST", .url = Url("/echo"), .body = body})->body, body) << version;
    }
  }
}

TEST_F(TlsTest, ServesOverAUnixSocket) {
  Serve(ServerTls(), "unixs://" + File("socket"));
  EXPECT_THAT(Curl("--unix-socket " + File("socket") + " https://localhost/hello"), EndsWith("hello 2 0"));
}

TEST_F(TlsTest, GoesThroughAProxy) {
  Serve();
  std::string asked;
  {
    // The request is read, and then bytes go both ways.
    RawListener proxy([&](int client) {
      asked += ReadRequest(client);
      const int server = ConnectTo(port());
      Send(client, "HTTP/1.1 200 Connection established\r\n\r\n");
      const auto copy = [](int from, int to) {
        char piece[4096];
        for (ssize_t n; (n = ::recv(from, piece, sizeof piece, 0)) > 0;) {
          Send(to, {piece, static_cast<size_t>(n)});
        }
        ::shutdown(to, SHUT_WR);
      };
      std::thread back([&] { copy(server, client); });
      copy(client, server);
      back.join();
      ::close(client);
      ::close(server);
    });
    Client client(&loop_, {.tls = TlsContext::ForClient(ClientTls()).value()});
    const std::string through = "http://" + proxy.address();
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(Call(client, {.url = "https://localhost:" + port() + "/hello", .proxy = through})->body,
                "hello");
    }
  }
  EXPECT_EQ(asked, fmt::format("CONNECT localhost:{0} HTTP/1.1\r\nhost: localhost:{0}\r\n\r\n", port()));
}

// ---- whose certificates are taken ----

TEST_F(TlsTest, RefusesAServerThatNobodyVouchesFor) {
  Serve();
  TlsOptions other;
  other.trusted_ca_file = File("other-ca.pem");
  EXPECT_EQ(Get(other), "tls: failed to verify certificate: x509: certificate signed by unknown authority");
  EXPECT_TRUE(
      log_.Await("rejected connection on client endpoint: remote error: tls: unknown certificate authority"));
  EXPECT_EQ(Get({}), "tls: failed to verify certificate: x509: certificate signed by unknown authority");
  EXPECT_EQ(Get({.skip_verify = true}), "hello");
  EXPECT_EQ(Get(), "hello");
}

TEST_F(TlsTest, TrustsACertificateByItself) {
  files_->Make("alone", "IP:127.0.0.1");
  Serve(ServerTls("alone"));
  EXPECT_EQ(Get({.trusted_ca_file = File("alone.pem")}), "hello");
}

TEST_F(TlsTest, RefusesAServerWithAnotherName) {
  files_->Make("named", "DNS:node1.example,DNS:*.example.org");
  files_->Make("addressed", "IP:192.0.2.1,IP:::1");
  files_->Make("localhost", "");
  const std::string refused = "tls: failed to verify certificate: x509: ";
  Serve(ServerTls("named"));
  EXPECT_EQ(Get(),
            refused + "cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs");
  const std::string by_name = "https://localhost:" + port() + "/hello";
  EXPECT_EQ(Get(ClientTls(), by_name),
            refused + "certificate is valid for node1.example, *.example.org, not localhost");
  for (const auto& [name, good] : std::map<std::string, bool>{{"node1.example", true},
                                                              {"Node1.Example.", true},
                                                              {"a.example.org", true},
                                                              {"a.b.example.org", false},
                                                              {"example.org", false},
                                                              {"node2.example", false}}) {
    TlsOptions tls = ClientTls();
    tls.server_name = name;
    EXPECT_EQ(Get(tls) == "hello", good) << name;
  }
  Serve(ServerTls("addressed"));
  EXPECT_EQ(Get(), refused + "certificate is valid for 192.0.2.1, ::1, not 127.0.0.1");
  Serve(ServerTls("localhost"));
  EXPECT_EQ(Get(ClientTls(), "https://localhost:" + port() + "/hello"),
            refused + "certificate relies on legacy Common Name field, use SANs instead");
}

TEST_F(TlsTest, RefusesAServerOutOfItsTime) {
  files_->Make("expired", "IP:127.0.0.1", "ca", "-startdate 20200101000000Z -enddate 20200102000000Z");
  files_->Make("early", "IP:127.0.0.1", "ca", "-startdate 20900101000000Z -enddate 20910101000000Z");
  const std::string refused =
      "tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 20";
  Serve(ServerTls("expired"));
  EXPECT_THAT(Get(), AllOf(StartsWith(refused), EndsWith(" is after 2020-01-02T00:00:00Z")));
  EXPECT_TRUE(log_.Await("remote error: tls: expired certificate"));
  Serve(ServerTls("early"));
  EXPECT_THAT(Get(), AllOf(StartsWith(refused), EndsWith(" is before 2090-01-01T00:00:00Z")));
}

TEST_F(TlsTest, RefusesAServerWithACertificateForOtherUses) {
  files_->Make("for-clients", "IP:127.0.0.1", "ca", "-days 5", "-addext extendedKeyUsage=clientAuth");
  Serve(ServerTls("for-clients"));
  EXPECT_EQ(Get(),
            "tls: failed to verify certificate: x509: certificate specifies an incompatible key usage");
}

TEST_F(TlsTest, RefusesWhatWasTakenBack) {
  files_->Make("revoked", "IP:127.0.0.1");
  files_->Revoke("revoked");
  TlsOptions client = ClientTls();
  client.crl_file = File("ca.crl");
  Serve(ServerTls("revoked"));
  EXPECT_THAT(Get(client), MatchesRegex("transport: certificate serial 1a0. revoked"));
  EXPECT_TRUE(log_.Await("remote error: tls: revoked certificate"));
  EXPECT_EQ(Get(), "hello") << "without the list";

  TlsOptions server = ServerTls();
  server.trusted_ca_file = File("ca.pem");
  server.crl_file = File("ca.crl");
  Serve(server);
  EXPECT_EQ(Get(ClientTls("revoked")), "remote error: tls: revoked certificate");
  EXPECT_EQ(Get(ClientTls("client")), "hello");
  // A list of another authority, and one that nobody renewed, revoke nothing else.
  server.crl_file = File("other-ca.crl");
  Serve(server);
  EXPECT_EQ(Get(ClientTls("revoked")), "hello");
}

TEST_F(TlsTest, AsksForAClientsCertificate) {
  TlsOptions server = ServerTls();
  server.trusted_ca_file = File("ca.pem");
  server.client_cert_auth = true;
  for (const char* version : {"TLS1.2", "TLS1.3"}) {
    const bool newest = version == std::string("TLS1.3");
    server.min_version = server.max_version = version;
    Serve(server);
    EXPECT_EQ(Get(ClientTls("client")), "hello");
    EXPECT_EQ(Get(),
              newest ? "remote error: tls: certificate required" : "remote error: tls: handshake failure");
    EXPECT_TRUE(
        log_.Await("rejected connection on client endpoint: tls: client didn't provide a certificate"));
    EXPECT_EQ(Get(ClientTls("stranger")), "remote error: tls: unknown certificate authority");
    EXPECT_TRUE(
        log_.Await("tls: failed to verify certificate: x509: certificate signed by unknown authority"));
  }
}

TEST_F(TlsTest, ARequestThatIsUnderWayWhenItsCertificateIsRefusedLearnsWhy) {
  TlsOptions server = ServerTls();
  server.trusted_ca_file = File("other-ca.pem");
  Serve(server);
  // What is in the socket when it is closed must not turn the reason into a reset.
  for (int i = 0; i < 5; ++i) {
    const ClientRequest post{.method = "POST", .url = Url("/echo"), .body = std::string(1 << 20, 'x')};
    EXPECT_EQ(Call(post, ClientTls("client")).status().message(),
              "remote error: tls: unknown certificate authority");
  }
}

// ---- versions, ciphers, protocols ----

TEST_F(TlsTest, RefusesOldVersions) {
  Serve();
  for (const std::string flag : {"-tls1", "-tls1_1"}) {
    EXPECT_THAT(
        Shell("openssl s_client " + flag + " -cipher ALL:@SECLEVEL=0 -connect " + address_ + " </dev/null"),
        HasSubstr("alert protocol version"));
  }
  EXPECT_TRUE(log_.Await("tls: client offered only unsupported versions: [301]"));
  EXPECT_TRUE(log_.Await("tls: client offered only unsupported versions: [302 301]"));
}

TEST_F(TlsTest, KeepsToItsVersionsAndCiphers) {
  TlsOptions server = ServerTls();
  server.max_version = "TLS1.2";
  server.cipher_suites = {"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305"};
  Serve(server);
  TlsOptions client = ClientTls();
  EXPECT_EQ(Get(client), "hello");
  client.min_version = "TLS1.3";
  EXPECT_EQ(Get(client), "remote error: tls: protocol version not supported");
  client.min_version = "TLS1.2";
  client.cipher_suites = {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"};
  EXPECT_EQ(Get(client), "remote error: tls: handshake failure");
  EXPECT_TRUE(log_.Await("tls: no cipher suite supported by both client and server"));
}

TEST_F(TlsTest, RefusesProtocolsThatItDoesNotSpeak) {
  Serve();
  EXPECT_THAT(Shell("openssl s_client -alpn foo,h3 -connect " + address_ + " </dev/null"),
              HasSubstr("alert no application protocol"));
  EXPECT_TRUE(log_.Await("tls: client requested unsupported application protocols"));
}

TEST(TlsContextTest, SaysWhatItCannotUse) {
  TestCertificates files;
  files.Make("a", "");
  files.Make("b", "");
  files.Write("empty", "");
  files.Write("broken", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
  const std::string here = files / "";
  const auto error = [](const TlsOptions& options) {
    return std::string(TlsContext::ForServer(options).status().message());
  };
  const TlsOptions good{.cert_file = here + "a.pem", .key_file = here + "a.key"};
  EXPECT_EQ(error(good), "");
  const auto with = [&](std::string TlsOptions::*field, const std::string& value) {
    TlsOptions options = good;
    options.*field = value;
    return error(options);
  };
  EXPECT_EQ(with(&TlsOptions::cert_file, "/no/such"), "open /no/such: no such file or directory");
  EXPECT_EQ(with(&TlsOptions::key_file, "/no/such"), "open /no/such: no such file or directory");
  EXPECT_EQ(with(&TlsOptions::trusted_ca_file, "/no/such"), "open /no/such: no such file or directory");
  EXPECT_EQ(with(&TlsOptions::crl_file, here), "read " + here + ": is a directory");
  EXPECT_EQ(with(&TlsOptions::cert_file, here + "empty"),
            "tls: failed to find any PEM data in certificate input (" + here + "empty)");
  EXPECT_EQ(with(&TlsOptions::cert_file, here + "broken"),
            "x509: malformed certificate (" + here + "broken)");
  EXPECT_EQ(with(&TlsOptions::trusted_ca_file, here + "broken"),
            "x509: malformed certificate (" + here + "broken)");
  EXPECT_EQ(with(&TlsOptions::key_file, here + "empty"),
            "tls: failed to find any PEM data in key input (" + here + "empty)");
  EXPECT_EQ(with(&TlsOptions::key_file, here + "b.key"),
            "tls: private key does not match public key (" + here + "a.pem, " + here + "b.key)");
  EXPECT_EQ(with(&TlsOptions::crl_file, here + "a.pem"), "x509: malformed crl (" + here + "a.pem)");
  EXPECT_EQ(with(&TlsOptions::cert_file, ""),
            "KeyFile and CertFile must both be present[key: " + here + "a.key, cert: ]");
  EXPECT_EQ(with(&TlsOptions::min_version, "TLS1.1"),
            "unexpected TLS version \"TLS1.1\" (must be one of: TLS1.2, TLS1.3)");
  TlsOptions options = good;
  options.min_version = "TLS1.3";
  options.max_version = "TLS1.2";
  EXPECT_EQ(error(options), "min version (TLS1.3) is greater than max version (TLS1.2)");
  options = good;
  options.cipher_suites = {"TLS_AES_128_GCM_SHA256", "TLS_RSA_WITH_AES_128_CBC_SHA",
                           "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
                           "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"};
  EXPECT_EQ(error(options), "");
  options.cipher_suites.push_back("ECDHE-RSA-AES128-SHA");
  EXPECT_EQ(error(options), "unexpected TLS cipher suite \"ECDHE-RSA-AES128-SHA\"");
}

// ---- who may come ----

TEST_F(TlsTest, TakesOnlyTheNamesThatAreAllowed) {
  files_->Make("host", "DNS:m1.example.com,IP:10.0.0.7");
  TlsOptions server = ServerTls();
  server.trusted_ca_file = File("ca.pem");
  server.allowed_common_names = {"other", "client"};
  Serve(server);
  EXPECT_EQ(Get(ClientTls("client")), "hello");
  EXPECT_EQ(Get(ClientTls("host")), "remote error: tls: bad certificate");
  EXPECT_TRUE(log_.Await("rejected connection on client endpoint: client certificate authentication failed"));

  server.allowed_common_names.clear();
  for (const char* host : {"m1.example.com", "10.0.0.7"}) {
    server.allowed_hostnames = {"nowhere", host};
    Serve(server);
    EXPECT_EQ(Get(ClientTls("host")), "hello") << host;
    EXPECT_EQ(Get(ClientTls("client")), "remote error: tls: bad certificate");
  }
  // A common name is no host's.
  server.allowed_hostnames = {"client"};
  Serve(server);
  EXPECT_EQ(Get(ClientTls("client")), "remote error: tls: bad certificate");

  TlsOptions client = ClientTls("client");
  client.allowed_common_names = {"server"};
  EXPECT_EQ(Get(client), "remote error: tls: bad certificate") << "its server is right, and it is not";
  Serve();
  EXPECT_EQ(Get(client), "hello");
  client.allowed_common_names = {"m1"};
  EXPECT_EQ(Get(client), "client certificate authentication failed");
}

TEST_F(TlsTest, LooksWhetherAClientIsWhereItsCertificateSays) {
  const std::pair<const char*, const char*> certificates[] = {{"elsewhere", "IP:10.1.2.3,IP:10.1.2.4"},
                                                              {"here", "DNS:no.invalid,DNS:localhost"},
                                                              {"address", "IP:127.0.0.1,DNS:no.invalid"},
                                                              {"nobody", "DNS:no.invalid"},
                                                              {"wildcard", "DNS:*.no.invalid"}};
  for (const auto& [name, names] : certificates) files_->Make(name, names);
  TlsOptions server = ServerTls();
  server.trusted_ca_file = File("ca.pem");
  options_.check_client_names = true;
  Serve(server);
  for (const char* good : {"client", "here", "address"}) EXPECT_EQ(Get(ClientTls(good)), "hello") << good;
  for (const char* bad : {"elsewhere", "nobody", "wildcard"}) EXPECT_NE(Get(ClientTls(bad)), "hello") << bad;
  EXPECT_TRUE(log_.Await("x509: certificate is valid for 10.1.2.3, 10.1.2.4, not 127.0.0.1"));
  EXPECT_TRUE(
      log_.Await("tls: \"127.0.0.1\" does not match any of DNSNames [\"no.invalid\"] (lookup "
                 "no.invalid: no such host)"));
  EXPECT_TRUE(log_.Await("tls: \"127.0.0.1\" does not match any of DNSNames [\"*.no.invalid\"]"));
}

// ---- files that change ----

TEST_F(TlsTest, ReadsFilesThatChange) {
  for (const char* name : {"first", "second"}) files_->Make(name, "IP:127.0.0.1");
  const auto take = [&](const std::string& name) {  // the key in place before the certificate
    for (const char* end : {".key", ".pem"}) {
      Shell("cp " + File(name + end) + " " + File("new") + " && mv " + File("new") + " " + File("live") +
            end);
    }
  };
  const auto expects = [&](const std::string& name) {
    TlsOptions client = ClientTls();
    client.allowed_common_names = {name};
    return Get(client);
  };
  take("first");
  TlsOptions server = ServerTls("live");
  server.logger = &log_;
  Serve(server);
  Client before(&loop_, {.tls = TlsContext::ForClient(ClientTls()).value()});
  EXPECT_EQ(Call(before, {.url = Url()})->body, "hello");
  EXPECT_EQ(expects("first"), "hello");
  take("second");
  EXPECT_EQ(expects("second"), "hello");
  EXPECT_TRUE(log_.Await("read changed TLS files"));
  EXPECT_EQ(Call(before, {.url = Url()})->body, "hello") << "on its old connection";
  EXPECT_EQ(server_->connection_count(), 1u);

  for (const std::string content : {"", "senseless"}) {
    files_->Write("live.pem", content);
    EXPECT_EQ(expects("second"), "hello");
  }
  ::unlink(File("live.key").c_str());
  EXPECT_EQ(expects("second"), "hello");
  EXPECT_TRUE(
      log_.Await("failed to read changed TLS files; those that were read before stay in use: "
                 "tls: failed to find any PEM data in certificate input (" +
                 File("live.pem") + ")"));
  take("first");
  EXPECT_EQ(expects("first"), "hello");
}

TEST_F(TlsTest, ACertificateThatIsTakenBackLaterIsRefused) {
  files_->Make("later", "");
  TlsOptions server = ServerTls();
  server.trusted_ca_file = File("ca.pem");
  server.crl_file = File("ca.crl");
  Serve(server);
  EXPECT_EQ(Get(ClientTls("later")), "hello");
  files_->Revoke("later");
  EXPECT_EQ(Get(ClientTls("later")), "remote error: tls: revoked certificate");
}

// ---- with TLS and without ----

TEST_F(TlsTest, OneAddressCanHaveBoth) {
  Serve();
  const std::string place = fmt::format("127.0.0.1:{}", port());
  server_.reset();
  for (const bool secure_first : {true, false}) {
    server_ = std::make_unique<Server>(&loops_, options_);
    for (const bool secure : {secure_first, !secure_first}) {
      EXPECT_EQ(server_->Listen({(secure ? "https://" : "http://") + place}).value(), place);
    }
    EXPECT_FALSE(server_->Listen({"https://" + place}).ok()) << "twice the same";
    server_->Start();
    EXPECT_EQ(Get(), "hello");
    EXPECT_THAT(Curl("--http1.1 http://" + place + "/hello"), EndsWith("hello 1.1 0"));
    EXPECT_THAT(Curl("--http2-prior-knowledge http://" + place + "/hello"), EndsWith("hello 2 0"));
    // Whoever says nothing keeps nobody from stopping.
    const int silent = ConnectTo(port());
    EXPECT_EQ(Get(), "hello");
    server_.reset();
    EXPECT_EQ(ReadAll(silent), "");
    ::close(silent);
  }
}

// ---- the other side misbehaves ----

TEST_F(TlsTest, TheOldestOfTooManyHandshakesEnds) {
  options_.max_handshakes = 3;
  Serve();
  std::vector<int> silent;
  for (int i = 0; i < 4; ++i) silent.push_back(ConnectTo(port()));
  EXPECT_EQ(ReadAll(silent[0]), "");
  EXPECT_EQ(Get(), "hello");
  for (const int fd : silent) ::close(fd);
}

TEST_F(TlsTest, ASlowOrSenselessHandshakeHarmsNobodyElse) {
  options_.handshake_timeout = std::chrono::seconds(2);
  Serve();
  std::vector<int> silent;
  for (int i = 0; i < 50; ++i) silent.push_back(ConnectTo(port()));
  for (const std::string_view bytes :
       {std::string_view("GET / HTTP/1.1\r\nhost: a\r\n\r\n"), std::string_view("\x16\x03\x01\x02"),
        std::string_view("\x16\x03\x01\xff\xff"
                         "aaaaaaaaaaaaaaaaaaaa"),
        std::string_view("\0\0\0\0\0\0\0\0", 8), std::string_view()}) {
    const int fd = ConnectTo(port());
    EXPECT_EQ(::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
    ::shutdown(fd, SHUT_WR);
    ReadAll(fd);
    ::close(fd);
  }
  EXPECT_EQ(Get(), "hello");
  EXPECT_TRUE(log_.Await("rejected connection on client endpoint: EOF"));
  EXPECT_TRUE(log_.Await("tls: first record does not look like a TLS handshake"));
  for (const int fd : silent) {
    ReadAll(fd);  // the server gives up on it
    ::close(fd);
  }
  EXPECT_TRUE(log_.Await("rejected connection on client endpoint: TLS handshake timeout"));
}

TEST_F(TlsTest, AServerStopsWhileHandshakesAreUnderWay) {
  Serve();
  const int fd = ConnectTo(port());
  EXPECT_EQ(Get(), "hello");
  server_.reset();
  EXPECT_EQ(ReadAll(fd), "");
  ::close(fd);
}

TEST_F(TlsTest, AHandshakeThatNobodyAnswersEndsWithTheTime) {
  RawListener silent(SayNothing);
  const std::string url = "https://" + silent.address() + "/";
  Client client(&loop_, {.dial_timeout = std::chrono::milliseconds(100),
                         .tls = TlsContext::ForClient(ClientTls()).value()});
  EXPECT_EQ(Call(client, {.url = url}).status(), absl::UnavailableError("net/http: TLS handshake timeout"));
  EXPECT_EQ(Call(client, {.url = url}, std::chrono::milliseconds(10)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
}

// ---- other programs ----

TEST_F(TlsTest, ServesCurl) {
  TlsOptions server = ServerTls();
  server.trusted_ca_file = File("ca.pem");
  Serve(server);
  const std::string certificate = " --cert " + File("client.pem") + " --key " + File("client.key") + " ";
  EXPECT_THAT(Curl("--http2" + certificate + Url()), EndsWith("hello 2 0"));
  EXPECT_THAT(Curl("--http1.1" + certificate + Url()), EndsWith("hello 1.1 0"));
  EXPECT_THAT(Curl("--no-alpn --http1.1 --tls-max 1.2" + certificate + Url()), EndsWith("hello 1.1 0"));
  files_->Write("body", std::string(1 << 20, 'y'));
  for (const std::string version : {"--http2", "--http1.1"}) {
    Shell("curl -sS " + version + certificate + "--cacert " + File("ca.pem") + " --data-binary @" +
          File("body") + " -o " + File("echo") + " " + Url("/echo"));
    EXPECT_EQ(Shell("cmp " + File("body") + " " + File("echo") + " && echo same"), "same\n") << version;
  }
  EXPECT_THAT(Curl(Url()), HasSubstr("alert certificate required"));
}

}  // namespace
}  // namespace kvorum::http
