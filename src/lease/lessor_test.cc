#include "lease/lessor.h"

#include <algorithm>
#include <map>
#include <set>
#include <thread>

#include "backend/memory_backend.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "lease/lease_format.h"
#include "rapidcheck.h"
#include "rapidcheck/gtest.h"

namespace kvorum::lease {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class FakeClock final : public Clock {
 public:
  MonotonicTime Now() const override { return now_; }
  WallTime WallNow() const override { return WallTime(now_.time_since_epoch()); }
  void Advance(nanoseconds d) { now_ += d; }

 private:
  MonotonicTime now_{seconds(1000)};
};

/// A lessor with its clock and backend.
struct Fixture {
  explicit Fixture(bool primary = true) { Reopen(primary); }

  void Reopen(bool primary) {
    backend->CommitNow();
    backend = backend->Crash();
    auto opened = Lessor::Open({.backend = backend.get(), .clock = &clock, .metrics = &registry});
    EXPECT_TRUE(opened.ok()) << opened.status();
    lessor = *std::move(opened);
    if (primary) lessor->Promote(nanoseconds(0));
  }
  int64_t Remaining(int64_t id) { return lessor->Get(LeaseId(id), false)->remaining_ttl_seconds; }

  FakeClock clock;
  metrics::Registry registry;
  std::unique_ptr<backend::MemoryBackend> backend = backend::MemoryBackend::Create();
  std::unique_ptr<Lessor> lessor;
};

TEST(LeaseLessor, RefusesAGrantAsEtcdDoes) {
  Fixture f;
  EXPECT_EQ(f.lessor->Grant(LeaseId(0), 10).status(), NotFoundError());
  EXPECT_EQ(f.lessor->Grant(LeaseId(1), kMaxTtlSeconds + 1).status(), TtlTooLargeError());
  EXPECT_EQ(f.lessor->Grant(LeaseId(1), kMaxTtlSeconds).value(), kMaxTtlSeconds);
  EXPECT_EQ(f.lessor->Grant(LeaseId(1), 10).status(), ExistsError());
}

TEST(LeaseLessor, RaisesAShortTtlToTheMinimum) {
  Fixture f;
  EXPECT_EQ(f.lessor->Grant(LeaseId(1), -5).value(), 2);
  EXPECT_EQ(f.lessor->Grant(LeaseId(2), 3).value(), 3);
}

TEST(LeaseLessor, GivesOutWhatHasEndedInOrderUpToTheLimit) {
  Fixture f;
  for (const auto& [id, ttl] : {std::pair(1, 5), std::pair(2, 3), std::pair(3, 4), std::pair(4, 100)}) {
    ASSERT_TRUE(f.lessor->Grant(LeaseId(id), ttl).ok());
  }
  f.clock.Advance(seconds(5));
  EXPECT_THAT(f.lessor->TakeExpired(2), ElementsAre(LeaseId(2), LeaseId(3)));
  EXPECT_THAT(f.lessor->TakeExpired(2), ElementsAre(LeaseId(1)));
  EXPECT_THAT(f.lessor->TakeExpired(2), IsEmpty());
}

TEST(LeaseLessor, OffersALeaseAgainThatWasNotRevoked) {
  Fixture f;
  ASSERT_TRUE(f.lessor->Grant(LeaseId(1), 2).ok());
  ASSERT_TRUE(f.lessor->Grant(LeaseId(2), 2).ok());
  f.clock.Advance(seconds(2));
  EXPECT_EQ(f.lessor->TakeExpired(9).size(), 2u);
  ASSERT_TRUE(f.lessor->Remove(LeaseId(2)).ok());
  f.clock.Advance(milliseconds(500));
  EXPECT_THAT(f.lessor->TakeExpired(9), IsEmpty());
  f.clock.Advance(seconds(3));
  EXPECT_THAT(f.lessor->TakeExpired(9), ElementsAre(LeaseId(1)));
}

TEST(LeaseLessor, ARenewalStartsTheTimeAgain) {
  Fixture f;
  ASSERT_TRUE(f.lessor->Grant(LeaseId(1), 10).ok());
  f.clock.Advance(seconds(9));
  EXPECT_EQ(f.Remaining(1), 1);
  EXPECT_EQ(f.lessor->Renew(LeaseId(1)).value(), 10);
  EXPECT_EQ(f.Remaining(1), 10);
  f.clock.Advance(seconds(9));
  EXPECT_THAT(f.lessor->TakeExpired(9), IsEmpty());
  f.clock.Advance(seconds(1));
  EXPECT_THAT(f.lessor->TakeExpired(9), ElementsAre(LeaseId(1)));
}

TEST(LeaseLessor, DoesNotRenewWhatHasEndedOrIsUnknown) {
  Fixture f;
  ASSERT_TRUE(f.lessor->Grant(LeaseId(1), 10).ok());
  EXPECT_EQ(f.lessor->Renew(LeaseId(2)).status(), NotFoundError());
  f.clock.Advance(seconds(10));
  EXPECT_EQ(f.lessor->Renew(LeaseId(1)).status(), EndingError());
  EXPECT_TRUE(f.lessor->Exists(LeaseId(1)));
  f.lessor->Demote();
  EXPECT_EQ(f.lessor->Renew(LeaseId(1)).status(), NotPrimaryError());
}

TEST(LeaseLessor, OnlyThePrimaryCountsDown) {
  Fixture f(/*primary=*/false);
  ASSERT_TRUE(f.lessor->Grant(LeaseId(1), 10).ok());
  f.clock.Advance(seconds(60));
  EXPECT_THAT(f.lessor->TakeExpired(9), IsEmpty());
  EXPECT_EQ(f.Remaining(1), 10);
  f.lessor->Promote(seconds(1));
  EXPECT_EQ(f.Remaining(1), 11);
  f.clock.Advance(seconds(11));
  EXPECT_THAT(f.lessor->TakeExpired(9), ElementsAre(LeaseId(1)));
}

TEST(LeaseLessor, APromotionSpreadsLeasesThatWouldEndTogether) {
  Fixture f(/*primary=*/false);
  for (int id = 1; id <= 3000; ++id) ASSERT_TRUE(f.lessor->Grant(LeaseId(id), 10).ok());
  f.lessor->Promote(nanoseconds(0));
  f.clock.Advance(seconds(10));
  for (int second = 0; second < 5; ++second) {
    const std::vector<LeaseId> ended = f.lessor->TakeExpired(3000);
    EXPECT_LE(ended.size(), 751u);
    for (const LeaseId id : ended) ASSERT_TRUE(f.lessor->Remove(id).ok());
    f.clock.Advance(seconds(1));
  }
  EXPECT_EQ(f.lessor->size(), 0u);
}

TEST(LeaseLessor, KeysComeSortedAndGoWithADetach) {
  Fixture f;
  ASSERT_TRUE(f.lessor->Grant(LeaseId(1), 10).ok());
  for (const char* key : {"b", "a", "c", "a"}) f.lessor->Attach(LeaseId(1), key);
  EXPECT_THAT(f.lessor->KeysOf(LeaseId(1)).value(), ElementsAre("a", "b", "c"));
  f.lessor->Detach(LeaseId(1), "b");
  EXPECT_THAT(f.lessor->Get(LeaseId(1), true)->keys, ElementsAre("a", "c"));
  EXPECT_THAT(f.lessor->Get(LeaseId(1), false)->keys, IsEmpty());
  EXPECT_EQ(f.lessor->KeysOf(LeaseId(2)).status(), NotFoundError());
}

TEST(LeaseLessor, LeasesOutliveARestart) {
  Fixture f;
  ASSERT_TRUE(f.lessor->Grant(LeaseId(1), 10).ok());
  ASSERT_TRUE(f.lessor->Grant(LeaseId(0x1234'5678'9abc'def0), 600).ok());
  ASSERT_TRUE(f.lessor->Grant(LeaseId(3), 30).ok());
  ASSERT_TRUE(f.lessor->Remove(LeaseId(3)).ok());
  f.lessor->Checkpoint(LeaseId(0x1234'5678'9abc'def0), 123);
  f.Reopen(/*primary=*/true);
  EXPECT_EQ(f.lessor->size(), 2u);
  EXPECT_EQ(f.Remaining(1), 10);
  EXPECT_EQ(f.Remaining(0x1234'5678'9abc'def0), 123);
  EXPECT_EQ(f.lessor->Get(LeaseId(0x1234'5678'9abc'def0), false)->granted_ttl_seconds, 600);
}

TEST(LeaseLessor, RefusesAMalformedRecord) {
  Fixture f;
  f.backend->Put(backend::Bucket::kLease, "12345678", Bytes::Copy("\x08\x01"));
  EXPECT_TRUE(absl::IsDataLoss(Lessor::Open({.backend = f.backend.get(), .clock = &f.clock}).status()));
}

TEST(LeaseLessor, CheckpointsLongLeasesEachInterval) {
  Fixture f;
  ASSERT_TRUE(f.lessor->Grant(LeaseId(1), 1000).ok());
  ASSERT_TRUE(f.lessor->Grant(LeaseId(2), 200).ok());
  f.clock.Advance(seconds(300));
  auto items = f.lessor->TakeDueCheckpoints(9);
  ASSERT_EQ(items.size(), 1u);
  EXPECT_EQ(items[0].id, LeaseId(1));
  EXPECT_EQ(items[0].remaining_ttl_seconds, 700);
  f.lessor->Checkpoint(LeaseId(1), 700);
  EXPECT_THAT(f.lessor->TakeDueCheckpoints(9), IsEmpty());
  f.clock.Advance(seconds(300));
  items = f.lessor->TakeDueCheckpoints(9);
  ASSERT_EQ(items.size(), 1u);
  EXPECT_EQ(items[0].remaining_ttl_seconds, 400);
}

TEST(LeaseLessor, ARenewalTakesTheCheckpointBack) {
  Fixture f;
  ASSERT_TRUE(f.lessor->Grant(LeaseId(1), 1000).ok());
  f.clock.Advance(seconds(300));
  f.lessor->TakeDueCheckpoints(9);
  f.lessor->Checkpoint(LeaseId(1), 700);
  ASSERT_TRUE(f.lessor->Renew(LeaseId(1)).ok());
  auto items = f.lessor->TakeDueCheckpoints(9);
  ASSERT_EQ(items.size(), 1u);
  EXPECT_EQ(items[0].remaining_ttl_seconds, 0);
  f.lessor->Checkpoint(LeaseId(1), 0);
  f.Reopen(/*primary=*/true);
  EXPECT_EQ(f.Remaining(1), 1000);
}

TEST(LeaseLessor, ARenewalThatOvertakesItsCheckpointIsNotLost) {
  Fixture f;
  ASSERT_TRUE(f.lessor->Grant(LeaseId(1), 1000).ok());
  f.clock.Advance(seconds(300));
  ASSERT_EQ(f.lessor->TakeDueCheckpoints(9).size(), 1u);  // on its way through the log
  ASSERT_TRUE(f.lessor->Renew(LeaseId(1)).ok());
  f.lessor->Checkpoint(LeaseId(1), 700);
  auto items = f.lessor->TakeDueCheckpoints(9);
  ASSERT_EQ(items.size(), 1u);
  EXPECT_EQ(items[0].remaining_ttl_seconds, 0);
}

TEST(LeaseLessor, CountsInTheMetrics) {
  Fixture f;
  ASSERT_TRUE(f.lessor->Grant(LeaseId(1), 10).ok());
  ASSERT_TRUE(f.lessor->Renew(LeaseId(1)).ok());
  ASSERT_TRUE(f.lessor->Remove(LeaseId(1)).ok());
  const std::string text = f.registry.Text();
  for (const char* line :
       {"etcd_debugging_lease_granted_total 1\n", "etcd_debugging_lease_renewed_total 1\n",
        "etcd_debugging_lease_revoked_total 1\n", "etcd_debugging_lease_ttl_total_bucket{le=\"8\"} 0\n",
        "etcd_debugging_lease_ttl_total_bucket{le=\"8.388608e+06\"} 1\n"}) {
    EXPECT_THAT(text, ::testing::HasSubstr(line));
  }
}

TEST(LeaseLessor, RenewalsFromManyThreadsAreAllSeen) {
  Fixture f;
  for (int id = 1; id <= 100; ++id) ASSERT_TRUE(f.lessor->Grant(LeaseId(id), 400).ok());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        EXPECT_TRUE(f.lessor->Renew(LeaseId(1 + i % 100)).ok());
        f.lessor->Get(LeaseId(1 + i % 100), true).status().IgnoreError();
      }
    });
  }
  for (int i = 0; i < 200; ++i) {
    f.lessor->Attach(LeaseId(1 + i % 100), "k");
    f.lessor->TakeExpired(10);
    f.lessor->TakeDueCheckpoints(10);
  }
  for (std::thread& thread : threads) thread.join();
  f.lessor->CheckInvariants();
  EXPECT_THAT(f.registry.Text(), ::testing::HasSubstr("etcd_debugging_lease_renewed_total 8000\n"));
}

/// What a lessor has to be, said in the simplest way.
struct Model {
  struct Entry {
    int64_t ttl;
    int64_t expiry_ns;
    int64_t offered_ns = -1;
    std::set<std::string> keys;
  };
  std::map<int64_t, Entry> leases;
};

RC_GTEST_PROP(LeaseLessorProperty, DoesWhatTheModelDoes, ()) {
  Fixture f;
  Model model;
  const auto now = [&] { return f.clock.Now().time_since_epoch().count(); };
  const int steps = *rc::gen::inRange(1, 200);
  for (int step = 0; step < steps; ++step) {
    const int64_t id = *rc::gen::inRange(1, 8);
    const std::string key(1, static_cast<char>('a' + *rc::gen::inRange(0, 5)));
    const auto it = model.leases.find(id);
    switch (*rc::gen::inRange(0, 9)) {
      case 0:
      case 1: {
        const int64_t ttl = *rc::gen::inRange(0, 12);
        const auto granted = f.lessor->Grant(LeaseId(id), ttl);
        RC_ASSERT(granted.ok() == (it == model.leases.end()));
        if (!granted.ok()) break;
        RC_ASSERT(*granted == std::max<int64_t>(ttl, 2));
        model.leases[id] = {.ttl = *granted, .expiry_ns = now() + *granted * 1'000'000'000, .keys = {}};
        break;
      }
      case 2: {
        RC_ASSERT(f.lessor->Remove(LeaseId(id)).ok() == (it != model.leases.end()));
        model.leases.erase(id);
        break;
      }
      case 3: {
        const bool alive = it != model.leases.end() && it->second.expiry_ns > now();
        RC_ASSERT(f.lessor->Renew(LeaseId(id)).ok() == alive);
        if (alive) it->second.expiry_ns = now() + it->second.ttl * 1'000'000'000;
        break;
      }
      case 4:
        f.lessor->Attach(LeaseId(id), key);
        if (it != model.leases.end()) it->second.keys.insert(key);
        break;
      case 5:
        f.lessor->Detach(LeaseId(id), key);
        if (it != model.leases.end()) it->second.keys.erase(key);
        break;
      case 6:
      case 7: {
        f.clock.Advance(milliseconds(*rc::gen::inRange(1, 4000)));
        std::set<int64_t> expected;
        for (auto& [i, entry] : model.leases) {
          if (entry.expiry_ns > now()) continue;
          if (entry.offered_ns >= 0 && now() - entry.offered_ns < 3'000'000'000) continue;
          entry.offered_ns = now();
          expected.insert(i);
        }
        std::set<int64_t> got;
        for (const LeaseId e : f.lessor->TakeExpired(100)) RC_ASSERT(got.insert(e.value()).second);
        RC_ASSERT(got == expected);
        break;
      }
      case 8: {
        // A restart and a new primary: every lease has its whole time again, and the keys come from the
        // store.
        f.Reopen(/*primary=*/true);
        for (auto& [i, entry] : model.leases) {
          entry.offered_ns = -1;
          for (const std::string& k : entry.keys) f.lessor->Attach(LeaseId(i), k);
        }
        // Equal ends are spread by a few milliseconds: renew, so that the model need not know how.
        f.clock.Advance(milliseconds(50));
        for (auto& [i, entry] : model.leases) {
          RC_ASSERT(f.lessor->Renew(LeaseId(i)).ok());
          entry.expiry_ns = now() + entry.ttl * 1'000'000'000;
        }
        break;
      }
    }
    f.lessor->CheckInvariants();
    RC_ASSERT(f.lessor->size() == model.leases.size());
    for (const auto& [i, entry] : model.leases) {
      const LeaseView view = f.lessor->Get(LeaseId(i), true).value();
      RC_ASSERT(view.remaining_ttl_seconds ==
                std::max<int64_t>(0, (entry.expiry_ns - now()) / 1'000'000'000));
      RC_ASSERT(view.keys == std::vector<std::string>(entry.keys.begin(), entry.keys.end()));
    }
    std::vector<LeaseId> by_time = f.lessor->List();
    RC_ASSERT(std::is_sorted(by_time.begin(), by_time.end(), [&](LeaseId a, LeaseId b) {
      return model.leases.at(a.value()).expiry_ns < model.leases.at(b.value()).expiry_ns;
    }));
  }
}

TEST(LeaseFormat, IsLeasepbUnderTheBigEndianId) {
  EXPECT_EQ(StoredLeaseKey(LeaseId(0x0102030405060708)), "\x01\x02\x03\x04\x05\x06\x07\x08");
  const Bytes bytes = EncodeStoredLease({.id = LeaseId(300), .ttl_seconds = 60, .remaining_ttl_seconds = 0});
  EXPECT_EQ(bytes.view(), "\x08\xac\x02\x10\x3c");
  const auto lease = DecodeStoredLease(StoredLeaseKey(LeaseId(300)), bytes.view());
  ASSERT_TRUE(lease.ok());
  EXPECT_EQ(lease->ttl_seconds, 60);
}

}  // namespace
}  // namespace kvorum::lease
