#include "base/metrics.h"

#include <cmath>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kvorum::metrics {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(BaseMetrics, WritesFamiliesSortedByName) {
  Registry registry;
  registry.NewGauge("b", "Second.").Set(-2);
  registry.NewCounter("a_total", "First.").Add(3);
  EXPECT_EQ(registry.Text(),
            "# HELP a_total First.\n# TYPE a_total counter\na_total 3\n"
            "# HELP b Second.\n# TYPE b gauge\nb -2\n");
}

TEST(BaseMetrics, PrintsNumbersAsGo) {
  // From Go's strconv.FormatFloat(v, 'g', -1, 64).
  const std::vector<std::pair<double, std::string>> cases = {
      {0, "0"},
      {-0.0, "0"},
      {1e5, "100000"},
      {999999, "999999"},
      {999999.5, "999999.5"},
      {1e6, "1e+06"},
      {1234567.5, "1.2345675e+06"},
      {1572864, "1.572864e+06"},
      {123456789, "1.23456789e+08"},
      {12345678901234, "1.2345678901234e+13"},
      {1e20, "1e+20"},
      {1e21, "1e+21"},
      {0.1, "0.1"},
      {0.0001, "0.0001"},
      {0.00001, "1e-05"},
      {2.5e-10, "2.5e-10"},
      {-1.5, "-1.5"},
      {INFINITY, "+Inf"},
      {-INFINITY, "-Inf"},
      {NAN, "NaN"},
  };
  Registry registry;
  for (const auto& [value, text] : cases) {
    registry.NewGaugeCallback("g", "h", [v = value] { return v; });
    EXPECT_EQ(registry.Text(), "# HELP g h\n# TYPE g gauge\ng " + text + "\n");
  }
}

TEST(BaseMetrics, SortsLabelsByNameAndPutsTheBoundLast) {
  Registry registry;
  registry.NewHistogramFamily("h", "x", {"version", "op", "success"}, 0.5, 2, 2)
      .With({"v3", "Put", "true"})
      .Observe(0.75);
  EXPECT_EQ(registry.Text(),
            "# HELP h x\n# TYPE h histogram\n"
            "h_bucket{op=\"Put\",success=\"true\",version=\"v3\",le=\"0.5\"} 0\n"
            "h_bucket{op=\"Put\",success=\"true\",version=\"v3\",le=\"1\"} 1\n"
            "h_bucket{op=\"Put\",success=\"true\",version=\"v3\",le=\"+Inf\"} 1\n"
            "h_sum{op=\"Put\",success=\"true\",version=\"v3\"} 0.75\n"
            "h_count{op=\"Put\",success=\"true\",version=\"v3\"} 1\n");
}

TEST(BaseMetrics, EscapesLabelValuesAndHelp) {
  Registry registry;
  registry.NewGaugeFamily("g", "back\\slash\nline \"q\"", {"l"}).With({"a\"b\\c\nd"}).Set(1);
  EXPECT_EQ(registry.Text(),
            "# HELP g back\\\\slash\\nline \"q\"\n# TYPE g gauge\ng{l=\"a\\\"b\\\\c\\nd\"} 1\n");
}

TEST(BaseMetrics, LeavesOutAFamilyWithoutMembers) {
  Registry registry;
  auto& family = registry.NewCounterFamily("c_total", "x", {"l"});
  EXPECT_THAT(registry.Text(), Not(HasSubstr("c_total")));
  family.With({"v"});
  EXPECT_THAT(registry.Text(), HasSubstr("c_total{l=\"v\"} 0\n"));
}

TEST(BaseMetrics, DeclaresACounterAsGaugeWhereAsked) {
  Registry registry;
  registry.NewCounter("etcd_server_proposals_applied_total", "x", Declared::kGauge).Add();
  EXPECT_THAT(registry.Text(), HasSubstr("# TYPE etcd_server_proposals_applied_total gauge\n"));
}

TEST(BaseMetrics, GivesTheSameMetricForTheSameName) {
  Registry registry;
  EXPECT_EQ(&registry.NewCounter("c", "x"), &registry.NewCounter("c", "x"));
  auto& family = registry.NewCounterFamily("f", "x", {"l"});
  EXPECT_EQ(&family.With({"a"}), &registry.NewCounterFamily("f", "x", {"l"}).With({"a"}));
  EXPECT_DEATH(registry.NewCounterFamily("c", "x", {"l"}), "of another kind");
}

TEST(BaseMetrics, CountsAnObservationOnABoundBelowIt) {
  Histogram histogram(1, 2, 3);
  for (const double v : {0.5, 1.0, 1.5, 4.0, 4.5}) histogram.Observe(v);
  histogram.Observe(std::chrono::milliseconds(2500));
  const Histogram::Snapshot snapshot = histogram.Read();
  EXPECT_EQ(snapshot.bounds, (std::vector<double>{1, 2, 4}));
  EXPECT_EQ(snapshot.cumulative, (std::vector<uint64_t>{2, 3, 5, 6}));
  EXPECT_DOUBLE_EQ(snapshot.sum, 14);
}

TEST(BaseMetrics, TakesBoundsThatAreNoPowers) {
  Registry registry;
  registry.NewHistogramFamily("h", "H.", {"l"}, {.005, .01, .025}).With({"x"}).Observe(0.02);
  EXPECT_THAT(registry.Text(), HasSubstr("h_bucket{l=\"x\",le=\"0.01\"} 0\n"
                                         "h_bucket{l=\"x\",le=\"0.025\"} 1\n"
                                         "h_bucket{l=\"x\",le=\"+Inf\"} 1\n"));
}

TEST(BaseMetrics, CallbacksMayUseTheRegistry) {
  Registry registry;
  registry.NewGaugeCallback("g", "x",
                            [&] { return static_cast<double>(registry.NewCounter("c", "y").value()); });
  EXPECT_THAT(registry.Text(), HasSubstr("g 0\n"));
}

TEST(BaseMetrics, LosesNothingBetweenThreads) {
  Registry registry;
  Histogram& histogram = registry.NewHistogram("h", "x", 1, 2, 4);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) {
        histogram.Observe(1.0 + i % 3);
        registry.NewCounterFamily("c", "x", {"l"}).With({"v"}).Add();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(histogram.Read().cumulative.back(), 4000u);
  EXPECT_EQ(registry.NewCounterFamily("c", "x", {"l"}).With({"v"}).value(), 4000u);
}

}  // namespace
}  // namespace kvorum::metrics
