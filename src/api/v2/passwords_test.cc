#include "api/v2/passwords.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/synchronization/notification.h"
#include "base/thread_executor.h"

namespace kvorum::api_v2 {
namespace {

using ::testing::Each;
using ::testing::StartsWith;

/// Runs its tasks when it is told to.
class HeldExecutor final : public Executor {
 public:
  void Post(Task task) override {
    absl::MutexLock lock(&mutex_);
    tasks_.push_back(std::move(task));
  }
  TimerId PostAt(MonotonicTime, Task) override { return 0; }
  void CancelTimer(TimerId) override {}
  const Clock& clock() const override { return SystemClock(); }

  size_t waiting() const {
    absl::MutexLock lock(&mutex_);
    return tasks_.size();
  }
  void RunAll() {
    std::vector<Task> tasks;
    {
      absl::MutexLock lock(&mutex_);
      tasks.swap(tasks_);
    }
    for (Task& task : tasks) task();
  }

 private:
  mutable absl::Mutex mutex_;
  std::vector<Task> tasks_ ABSL_GUARDED_BY(mutex_);
};

class V2Passwords : public ::testing::Test {
 protected:
  /// Runs `action` on the loop, and everything posted there before.
  template <typename F>
  void OnLoop(F action) {
    absl::Notification done;
    loop_.Post([&] {
      action();
      done.Notify();
    });
    done.WaitForNotification();
  }
  /// Asks, and says where the verdict goes.
  std::shared_ptr<std::optional<Verdict>> Ask(const std::string& user, const std::string& password) {
    auto verdict = std::make_shared<std::optional<Verdict>>();
    OnLoop([&] {
      tickets_.push_back(
          passwords_.Check(user, hash_, password, loop_, [verdict](Verdict said) { *verdict = said; }));
    });
    return verdict;
  }
  void Settle() {
    executor_.RunAll();
    OnLoop([] {});
  }

  http::Loop loop_{"test-loop"};
  HeldExecutor executor_;
  Passwords passwords_{&executor_};
  const std::string hash_ = *HashPassword("secret");
  std::vector<std::unique_ptr<AccessControl::Ticket>> tickets_;
};

TEST_F(V2Passwords, HashesAreEtcds) {
  EXPECT_EQ(hash_.size(), 60u);
  EXPECT_THAT(hash_, StartsWith("$2a$10$"));
  EXPECT_NE(hash_, *HashPassword("secret"));
  EXPECT_TRUE(PasswordMatches("secret", hash_));
  EXPECT_FALSE(PasswordMatches("Secret", hash_));
  // Made by etcd 3.4; of a long password the first 72 bytes count.
  EXPECT_TRUE(
      PasswordMatches(std::string(100, 'x'), "$2a$10$abXTlcabhuqhUbNA8IJzt.nUFlF1k6AVvm1HQMajGz.qc5mBoQB1W"));
  EXPECT_TRUE(PasswordMatches("pässwörd", "$2a$10$cxSZSerA8fvRrkp5aigaReKo340FRzY/Lu4x2ejQoJ6oVjngsm0we"));
}

TEST_F(V2Passwords, WhatIsNoHashMatchesNothing) {
  for (std::string bad :
       {std::string(), std::string("secret"), std::string(60, 'x'), hash_ + "x", "$2a$99$" + hash_.substr(7),
        "$1$" + hash_.substr(3), "$2a$10$" + std::string(53, '!')}) {
    EXPECT_FALSE(PasswordMatches("secret", bad)) << bad;
  }
}

TEST_F(V2Passwords, ANulByteIsNoPartOfAPassword) {
  EXPECT_EQ(HashPassword(std::string("a\0b", 3)), std::nullopt);
  EXPECT_FALSE(PasswordMatches(std::string("secret\0x", 8), hash_));
}

TEST_F(V2Passwords, RemembersWhatWasRight) {
  const auto first = Ask("u", "secret");
  EXPECT_FALSE(first->has_value());
  Settle();
  EXPECT_EQ(*first, Verdict::kAllowed);
  EXPECT_EQ(*Ask("u", "secret"), Verdict::kAllowed);  // inside the call
  const auto wrong = Ask("u", "wrong");
  Settle();
  EXPECT_EQ(*wrong, Verdict::kDenied);
  EXPECT_FALSE(Ask("u", "wrong")->has_value());
}

TEST_F(V2Passwords, EqualQuestionsAreAskedOnce) {
  std::vector<std::shared_ptr<std::optional<Verdict>>> verdicts;
  for (int i = 0; i < 100; ++i) verdicts.push_back(Ask("u", "secret"));
  EXPECT_EQ(executor_.waiting(), 1u);
  Settle();
  for (const auto& verdict : verdicts) EXPECT_EQ(*verdict, Verdict::kAllowed);
}

TEST_F(V2Passwords, AFloodOfOneUserLeavesRoomForOthers) {
  std::vector<Verdict> refused;
  for (int i = 0; i < 50; ++i) {
    if (const auto verdict = Ask("u", "wrong" + std::to_string(i)); verdict->has_value()) {
      refused.push_back(**verdict);
    }
  }
  EXPECT_EQ(refused.size(), 42u);
  EXPECT_THAT(refused, Each(Verdict::kBusy));
  const auto other = Ask("other", "secret");
  Settle();
  EXPECT_EQ(*other, Verdict::kAllowed);
  const auto again = Ask("u", "secret");
  EXPECT_EQ(*again, Verdict::kAllowed);
}

TEST_F(V2Passwords, WhatWaitsIsBounded) {
  for (int i = 0; i < 100; ++i) Ask("u" + std::to_string(i), "wrong");
  // One password and one hash for all of them: one question.
  EXPECT_EQ(executor_.waiting(), 1u);
  for (int i = 0; i < 100; ++i) Ask("v" + std::to_string(i), "wrong" + std::to_string(i));
  EXPECT_EQ(executor_.waiting(), 64u);
  OnLoop([&] { EXPECT_FALSE(passwords_.Hash("p", loop_, [](auto) {})); });
  OnLoop([&] { tickets_.clear(); });
  Settle();  // nobody waits: nothing is computed
  EXPECT_FALSE(Ask("v", "wrong")->has_value());
}

TEST_F(V2Passwords, ATicketThatIsGoneHearsNothing) {
  const auto verdict = Ask("u", "secret");
  OnLoop([&] { tickets_.clear(); });
  Settle();
  EXPECT_FALSE(verdict->has_value());
  EXPECT_FALSE(Ask("u", "secret")->has_value());  // it was not even computed
}

TEST_F(V2Passwords, HashesOnTheExecutor) {
  std::optional<std::string> hash;
  OnLoop([&] { EXPECT_TRUE(passwords_.Hash("new", loop_, [&](auto made) { hash = std::move(made); })); });
  EXPECT_FALSE(hash);
  Settle();
  ASSERT_TRUE(hash);
  EXPECT_TRUE(PasswordMatches("new", *hash));
}

}  // namespace
}  // namespace kvorum::api_v2
