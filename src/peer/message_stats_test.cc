#include "peer/message_stats.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

namespace kvorum::peer {
namespace {

using std::chrono::milliseconds;

constexpr MonotonicTime kStart{std::chrono::hours(1)};

TEST(PeerMessageMeter, KnowsNoRateOfOneMessage) {
  MessageMeter meter;
  EXPECT_EQ(meter.Read(kStart).count, 0u);
  meter.Add(kStart, 10);
  const auto read = meter.Read(kStart);
  EXPECT_EQ(read.count, 1u);
  EXPECT_EQ(read.messages_per_second, 0);
  EXPECT_EQ(read.bytes_per_second, 0);
}

TEST(PeerMessageMeter, RatesAreOfTheLastTwoHundred) {
  MessageMeter meter;
  MonotonicTime now = kStart;
  for (int i = 0; i < 1000; ++i) meter.Add(now += milliseconds(10), 7);   // slow and small
  for (int i = 0; i < 200; ++i) meter.Add(now += milliseconds(1), 1000);  // fast and large
  const auto read = meter.Read(now);
  EXPECT_EQ(read.count, 1200u);
  EXPECT_NEAR(read.messages_per_second, 200 / 0.199, 0.01);
  EXPECT_NEAR(read.bytes_per_second, 200'000 / 0.199, 0.01);
}

TEST(PeerMessageMeter, ForgetsWhatWasBeforeAPause) {
  MessageMeter meter;
  for (int i = 0; i < 10; ++i) meter.Add(kStart + milliseconds(i), 1);
  EXPECT_GT(meter.Read(kStart + milliseconds(1009)).messages_per_second, 0);
  EXPECT_EQ(meter.Read(kStart + milliseconds(1010)).messages_per_second, 0);
  const MonotonicTime later = kStart + std::chrono::minutes(1);
  meter.Add(later, 1);
  EXPECT_EQ(meter.Read(later).messages_per_second, 0);
  meter.Add(later + milliseconds(500), 1);
  EXPECT_DOUBLE_EQ(meter.Read(later + milliseconds(500)).messages_per_second, 4);
}

TEST(PeerMessageMeter, ReadersMeetAWriterThatGoesOn) {
  MessageMeter meter;
  constexpr uint64_t kMessages = 200'000;
  std::thread writer([&] {
    for (uint64_t i = 0; i < kMessages; ++i) meter.Add(kStart + std::chrono::microseconds(i), 100);
  });
  uint64_t count = 0;
  while (count < kMessages) {
    const auto read = meter.Read(kStart);
    ASSERT_GE(read.count, count);
    ASSERT_GE(read.bytes_per_second, 0);
    ASSERT_LT(read.messages_per_second, 3'000'000);
    count = read.count;
  }
  writer.join();
}

TEST(PeerFollowerMeter, SumsUp) {
  FollowerMeter meter;
  EXPECT_EQ(meter.Read().latency_minimum, 9223372036854775808.0);
  FollowerMeter::Batch batch;
  meter.Succeed(batch);
  EXPECT_EQ(meter.Read().success, 0u);
  batch.Add(milliseconds(1));
  batch.Add(milliseconds(3));
  meter.Succeed(batch);
  FollowerMeter::Batch other;
  other.Add(milliseconds(2));
  meter.Succeed(other);
  meter.Fail(2);
  const auto read = meter.Read();
  EXPECT_EQ(read.success, 3u);
  EXPECT_EQ(read.fail, 2u);
  EXPECT_DOUBLE_EQ(read.latency_current, 2);
  EXPECT_DOUBLE_EQ(read.latency_average, 2);
  EXPECT_DOUBLE_EQ(read.latency_minimum, 1);
  EXPECT_DOUBLE_EQ(read.latency_maximum, 3);
  EXPECT_NEAR(read.latency_standard_deviation, 0.8165, 0.0001);
}

TEST(PeerMessageStats, KeepsAFollowerUntilItIsRemoved) {
  MessageStats stats;
  const auto meter = stats.AddFollower(MemberId(2));
  EXPECT_EQ(stats.AddFollower(MemberId(2)), meter);
  meter->Fail();
  EXPECT_EQ(stats.followers().at(MemberId(2)).fail, 1u);
  stats.RemoveFollower(MemberId(2));
  EXPECT_TRUE(stats.followers().empty());
}

}  // namespace
}  // namespace kvorum::peer
