#include "proxy/http/director.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "absl/synchronization/notification.h"
#include "base/thread_executor.h"

namespace kvorum::proxy_http {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class ProxyDirector : public ::testing::Test {
 protected:
  std::shared_ptr<Director> Make(std::chrono::nanoseconds failure_wait, std::function<void()> on_none = {}) {
    return std::make_shared<Director>(Director::Options{
        .failure_wait = failure_wait, .seed = 1, .executor = &executor_, .on_none = std::move(on_none)});
  }
  ThreadExecutor executor_{"director"};
};

TEST_F(ProxyDirector, HasNoneAtFirst) {
  EXPECT_THAT(Make(std::chrono::hours(1))->AvailableUrls(), IsEmpty());
}

TEST_F(ProxyDirector, TakesUrlsInAnyOrder) {
  const auto director = Make(std::chrono::hours(1));
  std::set<std::string> first;
  for (int i = 0; i < 100; ++i) {
    director->Replace({"http://a:1", "http://b:1/", "http://c:1"});
    EXPECT_THAT(director->AvailableUrls(), UnorderedElementsAre("http://a:1", "http://b:1", "http://c:1"));
    first.insert(director->AvailableUrls()[0]);
  }
  EXPECT_EQ(first.size(), 3u);
}

TEST_F(ProxyDirector, LeavesOutWhatIsNoUrl) {
  const auto director = Make(std::chrono::hours(1));
  director->Replace({"a:1", "", "unix://a", "http://a:1"});
  EXPECT_THAT(director->AvailableUrls(), ElementsAre("http://a:1"));
}

TEST_F(ProxyDirector, DoesWithoutAFailedOneForAWhile) {
  const auto director = Make(std::chrono::milliseconds(20));
  director->Replace({"http://a:1", "http://b:1"});
  const std::shared_ptr<Endpoint> failed = director->endpoints()->at(0);
  director->MarkFailed(failed);
  EXPECT_EQ(director->AvailableUrls().size(), 1u);
  while (!failed->available) std::this_thread::yield();
  EXPECT_EQ(director->AvailableUrls().size(), 2u);
}

TEST_F(ProxyDirector, TellsThatTheLastOneFailed) {
  absl::Notification none;
  const auto director = Make(std::chrono::hours(1), [&] { none.Notify(); });
  director->Replace({"http://a:1", "http://b:1"});
  director->MarkFailed(director->endpoints()->at(1));
  absl::Notification quiet;
  executor_.Post([&] { quiet.Notify(); });
  quiet.WaitForNotification();
  EXPECT_FALSE(none.HasBeenNotified());
  director->MarkFailed(director->endpoints()->at(0));
  none.WaitForNotification();
  director->Replace({"http://a:1"});  // a fresh list is all there
  EXPECT_THAT(director->AvailableUrls(), ElementsAre("http://a:1"));
}

}  // namespace
}  // namespace kvorum::proxy_http
