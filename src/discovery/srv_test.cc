#include "discovery/srv.h"

#include "dns/testing/dns_server.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kvorum::discovery {
namespace {

using dns::testing::DnsServer;

const std::vector<std::string> kHosts = {"host-record=m1.test,127.0.0.1", "host-record=m2.test,127.0.0.2",
                                         "host-record=m3.test,127.0.0.3"};

class SrvTest : public ::testing::Test {
 protected:
  /// A domain "d.test" with these records, "SERVICE HOST PORT PRIORITY".
  void Serve(const std::vector<std::string>& records) {
    std::vector<std::string> options = kHosts;
    for (const std::string& record : records) {
      char service[64];
      char host[64];
      int port;
      int priority;
      ASSERT_EQ(sscanf(record.c_str(), "%63s %63s %d %d", service, host, &port, &priority), 4) << record;
      options.push_back(fmt::format("srv-host=_{}._tcp.d.test,{},{},{},3", service, host, port, priority));
    }
    server_.emplace(options);
    resolver_.emplace(dns::Resolver::Create({.server = server_->address()}).value());
  }

  std::string Members(const std::vector<std::string>& own, const std::string& suffix = "") {
    const auto members =
        MembersBySrv(*resolver_, {.domain = "d.test", .service_name = suffix}, "me", own, NullLogger());
    return members.ok() ? *members : "error: " + std::string(members.status().message());
  }
  std::string Failed(const std::string& service) const {
    return fmt::format("error querying DNS SRV records for _{0} lookup _{0}._tcp.d.test on {1}: no such host",
                       service, server_->address());
  }

  std::optional<DnsServer> server_;
  std::optional<dns::Resolver> resolver_;
};

TEST_F(SrvTest, NamesItselfAndNumbersTheOthers) {
  Serve({"etcd-server m2.test 2380 1", "etcd-server m1.test 2380 2", "etcd-server m3.test 2380 3"});
  EXPECT_EQ(Members({"http://m1.test:2380"}),
            "0=http://m2.test:2380,me=http://m1.test:2380,1=http://m3.test:2380");
  // By address, not by name.
  EXPECT_EQ(Members({"http://127.0.0.3:2380"}),
            "0=http://m2.test:2380,1=http://m1.test:2380,me=http://m3.test:2380");
  // The port belongs to it.
  EXPECT_EQ(Members({"http://m1.test:2381"}),
            "0=http://m2.test:2380,1=http://m1.test:2380,2=http://m3.test:2380");
}

TEST_F(SrvTest, JoinsBothServicesEachWithNumbersOfItsOwn) {
  Serve({"etcd-server m1.test 2380 1", "etcd-server m2.test 2380 2", "etcd-server-ssl m3.test 2390 1"});
  EXPECT_EQ(Members({"http://m1.test:2380"}),
            "0=https://m3.test:2390,me=http://m1.test:2380,0=http://m2.test:2380");
}

TEST_F(SrvTest, DropsItsOwnRecordOfTheOtherScheme) {
  Serve({"etcd-server m1.test 2380 1", "etcd-server m2.test 2380 2", "etcd-server-ssl m1.test 2380 1"});
  EXPECT_EQ(Members({"https://m1.test:2380"}), "me=https://m1.test:2380,0=http://m2.test:2380");
  EXPECT_EQ(Members({"http://m1.test:2380"}), "me=http://m1.test:2380,0=http://m2.test:2380");
}

TEST_F(SrvTest, SaysThatTheSchemeIsAnother) {
  Serve({"etcd-server-ssl m1.test 2380 1"});
  EXPECT_EQ(Members({"http://m1.test:2380"}),
            "error: error querying DNS SRV records for _etcd-server-ssl bootstrap at https://m1.test:2380 "
            "from DNS for "
            "etcd-server-ssl has scheme mismatch with expected peer http://m1.test:2380; " +
                Failed("etcd-server"));
}

TEST_F(SrvTest, PassesOverTargetsWithoutAddress) {
  Serve({"etcd-server nowhere.test 2380 1", "etcd-server m1.test 2380 2"});
  EXPECT_EQ(Members({"http://m1.test:2380"}), "me=http://m1.test:2380");
  Serve({"etcd-server nowhere.test 2380 1"});
  EXPECT_EQ(
      Members({"http://m1.test:2380"}),
      fmt::format(
          "error: {}; error querying DNS SRV records for _etcd-server lookup nowhere.test. on {}: no such "
          "host",
          Failed("etcd-server-ssl"), server_->address()));
}

TEST_F(SrvTest, KeepsDoubles) {
  Serve({"etcd-server m1.test 2380 1", "etcd-server m2.test 2380 2", "etcd-server m2.test 2380 3"});
  EXPECT_EQ(Members({"http://m1.test:2380"}),
            "me=http://m1.test:2380,0=http://m2.test:2380,1=http://m2.test:2380");
}

TEST_F(SrvTest, AddsTheSuffixToTheServicesNames) {
  Serve({"etcd-server-blue m1.test 2380 1", "etcd-server m2.test 2380 1"});
  EXPECT_EQ(Members({"http://m1.test:2380"}, "blue"), "me=http://m1.test:2380");
  EXPECT_EQ(Members({"http://m1.test:2380"}, "red"),
            "error: " + Failed("etcd-server-ssl-red") + "; " + Failed("etcd-server-red"));
}

TEST_F(SrvTest, SaysThatItsOwnNameHasNoAddress) {
  Serve({"etcd-server m1.test 2380 1"});
  EXPECT_EQ(Members({"http://nowhere.test:2380"}),
            fmt::format("error: lookup nowhere.test on {}: no such host", server_->address()));
}

TEST_F(SrvTest, FindsWhereClientsGo) {
  Serve({"etcd-client m2.test 2379 5", "etcd-client m1.test 2379 1", "etcd-client-ssl m3.test 2379 9",
         "etcd-client-ssl-x m1.test 1 1"});
  const auto endpoints = ClientEndpointsBySrv(*resolver_, {.domain = "d.test", .service_name = ""}).value();
  ASSERT_EQ(endpoints.size(), 3u);
  EXPECT_EQ(endpoints[0].url, "https://m3.test.:2379");
  EXPECT_EQ(endpoints[0].priority, 9);
  EXPECT_EQ(endpoints[1].url, "http://m1.test.:2379");
  EXPECT_EQ(endpoints[2].url, "http://m2.test.:2379");
  EXPECT_EQ(endpoints[2].weight, 3);
  const auto suffixed = ClientEndpointsBySrv(*resolver_, {.domain = "d.test", .service_name = "x"}).value();
  ASSERT_EQ(suffixed.size(), 1u);
  EXPECT_EQ(suffixed[0].url, "https://m1.test.:1");
  EXPECT_EQ(
      ClientEndpointsBySrv(*resolver_, {.domain = "d.test", .service_name = "y"}).status().message(),
      fmt::format("dns lookup errors: lookup _etcd-client-ssl-y._tcp.d.test on {0}: no such host and lookup "
                  "_etcd-client-y._tcp.d.test on {0}: no such host",
                  server_->address()));
}

}  // namespace
}  // namespace kvorum::discovery
