#include "http/host_lookup.h"

#include <atomic>
#include <memory>
#include <thread>

#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kvorum::http {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;

TEST(HostLookupTest, AsksTheSystem) {
  EXPECT_THAT(LookupHost("localhost").value(), Contains("127.0.0.1"));
  EXPECT_THAT(LookupHost("10.1.2.3").value(), ElementsAre("10.1.2.3"));
  EXPECT_EQ(LookupHost("no such name").status().message(), "lookup no such name: no such host");
}

TEST(HostLookupTest, AnswersOnTheLoop) {
  Loop loop("loop");
  absl::Notification answered;
  bool in_thread = false;
  loop.Post([&] {
    LookupHostOn(loop, "localhost", [&](const absl::StatusOr<std::vector<std::string>>& addresses) {
      in_thread = loop.InThread() && addresses.ok();
      answered.Notify();
    });
  });
  answered.WaitForNotification();
  EXPECT_TRUE(in_thread);
}

/// Runs in a process of its own, for the lookup is the process's.
void UseAnother() {
  static std::atomic<int> asked{0};
  static absl::Notification go;
  const auto hosts = [](const std::string& host) -> absl::StatusOr<std::vector<std::string>> {
    ++asked;
    go.WaitForNotification();
    if (host == "none.test") return absl::NotFoundError("lookup none.test: not here");
    return std::vector<std::string>{"10.0.0." + host.substr(0, 1)};
  };
  const auto addresses = [](const std::string& address) -> absl::StatusOr<std::vector<std::string>> {
    return std::vector<std::string>{"of." + address};
  };
  SetHostLookup(hosts, addresses);
  auto gone = std::make_unique<Loop>("gone");
  auto owned = std::make_shared<std::string>("owned by what waits");
  std::weak_ptr<std::string> watched = owned;
  gone->Post([loop = gone.get(), owned = std::move(owned)] {
    LookupHostOn(*loop, "1.test", [owned](const auto&) { abort(); });
  });
  while (asked == 0) std::this_thread::yield();
  gone.reset();  // while its lookup is under way
  if (!watched.expired()) abort();

  Loop loop("loop");
  std::atomic<int> answers{0};
  absl::Notification asked_all;
  loop.Post([&] {
    for (int i = 0; i < 100; ++i) {
      LookupHostOn(loop, "2.test", [&](const absl::StatusOr<std::vector<std::string>>& addresses) {
        if (addresses.ok() && addresses->front() == "10.0.0.2") ++answers;
      });
      LookupHostOn(loop, "none.test", [&](const absl::StatusOr<std::vector<std::string>>& addresses) {
        if (addresses.status().message() == "lookup none.test: not here") ++answers;
      });
    }
    LookupAddressOn(loop, "2.test", [&](const absl::StatusOr<std::vector<std::string>>& names) {
      if (names.ok() && names->front() == "of.2.test") ++answers;
    });
    asked_all.Notify();
  });
  asked_all.WaitForNotification();
  go.Notify();
  while (answers < 201) std::this_thread::yield();
  exit(asked == 3 ? 0 : 1);  // those who wait for one name share its lookup
}

TEST(HostLookupDeathTest, UsesTheLookupThatIsSet) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(UseAnother(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace kvorum::http
