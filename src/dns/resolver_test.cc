#include "dns/resolver.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <set>

#include "dns/testing/dns_server.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kvorum::dns {
namespace {

using testing::DnsServer;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Resolver ResolverOf(const std::string& server, std::chrono::milliseconds timeout = std::chrono::seconds(10)) {
  absl::StatusOr<Resolver> resolver = Resolver::Create({.server = server, .timeout = timeout});
  EXPECT_TRUE(resolver.ok()) << resolver.status();
  return *std::move(resolver);
}

TEST(ResolverTest, SortsServiceRecordsByPriority) {
  DnsServer server({"srv-host=_etcd-server._tcp.good.test,b.good.test,2380,20,7",
                    "srv-host=_etcd-server._tcp.good.test,a.good.test,2381,10,0"});
  const auto records = ResolverOf(server.address()).LookupSrv("etcd-server", "tcp", "good.test");
  ASSERT_TRUE(records.ok()) << records.status();
  EXPECT_THAT(*records,
              ElementsAre(SrvRecord{"a.good.test.", 2381, 10, 0}, SrvRecord{"b.good.test.", 2380, 20, 7}));
}

TEST(ResolverTest, DrawsAmongEqualsByWeight) {
  DnsServer server({"srv-host=_x._tcp.w.test,light.test,1,5,1", "srv-host=_x._tcp.w.test,heavy.test,1,5,9",
                    "srv-host=_x._tcp.w.test,last.test,1,6,60000"});
  const Resolver resolver = ResolverOf(server.address());
  int heavy_first = 0;
  constexpr int kLookups = 300;
  for (int i = 0; i < kLookups; ++i) {
    const auto records = resolver.LookupSrv("x", "tcp", "w.test");
    ASSERT_TRUE(records.ok() && records->size() == 3) << records.status();
    heavy_first += (*records)[0].target == "heavy.test.";
    EXPECT_EQ((*records)[2].target, "last.test.");
  }
  EXPECT_GT(heavy_first, kLookups / 2);  // nine of ten are expected
  EXPECT_LT(heavy_first, kLookups);
}

TEST(ResolverTest, KeepsEqualRecords) {
  DnsServer server({"srv-host=_x._tcp.dup.test,a.test,1,1,0", "srv-host=_x._tcp.dup.test,a.test,1,2,0"});
  const auto records = ResolverOf(server.address()).LookupSrv("x", "tcp", "dup.test");
  ASSERT_TRUE(records.ok()) << records.status();
  EXPECT_EQ(records->size(), 2u);
}

TEST(ResolverTest, SaysWhatIsNotThere) {
  DnsServer server({"host-record=a.test,127.0.0.1"});
  const Resolver resolver = ResolverOf(server.address());
  const absl::Status missing = resolver.LookupSrv("etcd-server", "tcp", "none.test").status();
  EXPECT_TRUE(absl::IsNotFound(missing));
  EXPECT_EQ(missing.message(),
            fmt::format("lookup _etcd-server._tcp.none.test on {}: no such host", server.address()));
  // The name is there, but not with such a record.
  EXPECT_TRUE(absl::IsNotFound(resolver.LookupHost("none.test").status()));
  DnsServer other({"srv-host=_x._tcp.a.test,a.test,1"});
  EXPECT_TRUE(absl::IsNotFound(ResolverOf(other.address()).LookupHost("_x._tcp.a.test").status()));
  EXPECT_EQ(resolver.LookupHost("").status().message(), "lookup : no such host");
}

TEST(ResolverTest, SaysWhenTheServerRefuses) {
  DnsServer server({});
  const absl::Status refused =
      ResolverOf(server.address()).LookupSrv("x", "tcp", "elsewhere.example").status();
  EXPECT_TRUE(absl::IsUnavailable(refused));
  EXPECT_EQ(refused.message(),
            fmt::format("lookup _x._tcp.elsewhere.example on {}: server misbehaving", server.address()));
}

TEST(ResolverTest, GivesUpOnServersThatDoNotAnswer) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  socklen_t size = sizeof address;
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  const std::string silent = fmt::format("127.0.0.1:{}", ntohs(address.sin_port));
  const absl::Status late =
      ResolverOf(silent, std::chrono::milliseconds(50)).LookupSrv("x", "tcp", "a.test").status();
  EXPECT_TRUE(absl::IsUnavailable(late));
  EXPECT_EQ(late.message(), fmt::format("lookup _x._tcp.a.test on {}: i/o timeout", silent));
  close(fd);  // now nobody is there
  const absl::Status gone = ResolverOf(silent, std::chrono::milliseconds(50)).LookupHost("a.test").status();
  EXPECT_TRUE(absl::IsUnavailable(gone));
  EXPECT_THAT(std::string(gone.message()), HasSubstr("connection refused"));
}

TEST(ResolverTest, GetsLongAnswersOverTcp) {
  std::vector<std::string> options;
  for (int i = 0; i < 200; ++i) {
    options.push_back(
        fmt::format("srv-host=_x._tcp.long.test,member-{:03}.a-rather-long-name.test,{},0,0", i, i + 1));
  }
  DnsServer server(options);
  const auto records = ResolverOf(server.address()).LookupSrv("x", "tcp", "long.test");
  ASSERT_TRUE(records.ok()) << records.status();
  std::set<std::string> targets;
  for (const SrvRecord& record : *records) targets.insert(record.target);
  EXPECT_EQ(targets.size(), 200u);
}

TEST(ResolverTest, RefusesTargetsThatAreNoNames) {
  DnsServer server({"srv-host=_x._tcp.bad.test,127.0.0.1,1", "srv-host=_x._tcp.bad.test,a.test,1"});
  EXPECT_EQ(ResolverOf(server.address()).LookupSrv("x", "tcp", "bad.test").status().message(),
            "lookup bad.test: DNS response contained records which contain invalid names");
}

TEST(ResolverTest, FindsAddressesIpv4First) {
  DnsServer server({"host-record=both.test,fd00::7,10.1.2.3", "host-record=six.test,fd00::8",
                    "cname=alias.test,both.test"});
  const Resolver resolver = ResolverOf(server.address());
  EXPECT_THAT(resolver.LookupHost("both.test").value(), ElementsAre("10.1.2.3", "fd00::7"));
  EXPECT_THAT(resolver.LookupHost("both.test.").value(), ElementsAre("10.1.2.3", "fd00::7"));
  EXPECT_THAT(resolver.LookupHost("alias.test").value(), ElementsAre("10.1.2.3", "fd00::7"));
  EXPECT_THAT(resolver.LookupHost("six.test").value(), ElementsAre("fd00::8"));
  EXPECT_THAT(resolver.LookupHost("localhost").value(), ::testing::Contains("127.0.0.1"));
}

TEST(ResolverTest, FindsTheNamesOfAddresses) {
  DnsServer server({"host-record=a.test,fd00::7,10.1.2.3"});
  const Resolver resolver = ResolverOf(server.address());
  EXPECT_THAT(resolver.LookupAddress("10.1.2.3").value(), ElementsAre("a.test"));
  EXPECT_THAT(resolver.LookupAddress("fd00::7").value(), ElementsAre("a.test"));
  EXPECT_THAT(resolver.LookupAddress("127.0.0.1").value(), ::testing::Contains("localhost"));
  EXPECT_FALSE(resolver.LookupAddress("10.9.9.9").ok());
  EXPECT_EQ(resolver.LookupAddress("a.test").status().message(), "lookup a.test: unrecognized address");
}

TEST(ResolverTest, TakesAddressesAsTheyAre) {
  const Resolver nobody = ResolverOf("127.0.0.1:1");
  EXPECT_THAT(nobody.LookupHost("10.9.8.7").value(), ElementsAre("10.9.8.7"));
  EXPECT_THAT(nobody.LookupHost("fe80::1%eth0").value(), ElementsAre("fe80::1%eth0"));
}

TEST(ResolverTest, ChecksTheServersAddress) {
  for (const std::string good : {"", "127.0.0.1", "127.0.0.1:5353", "::1", "[::1]", "[::1]:53"}) {
    EXPECT_TRUE(Resolver::Create({.server = good}).ok()) << good;
  }
  for (const std::string bad : {"localhost", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:x",
                                ":53", "[127.0.0.1]:53", "[::1", "[::1]x:5", "1.2.3", "10.0.0.1,10.0.0.2"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(Resolver::Create({.server = bad}).status())) << bad;
  }
}

}  // namespace
}  // namespace kvorum::dns
