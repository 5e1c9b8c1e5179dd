#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include "rapidcheck/gtest.h"
#include "support/server.h"
#include "v2/generator.h"
#include "v2/player.h"

namespace kvorum::test {

/// How RapidCheck shows a scenario: as one can put it into v2_scenarios/.
void showValue(const Scenario& scenario, std::ostream& out) { out << "\n" << ToText(scenario); }

namespace {

// The same requests to Debian's etcd 3.4 and to Kvorum; whatever a client can see must agree.
//
// More of them: RC_PARAMS="max_success=10000 seed=1" build/release/bin/v2_difference_test. A scenario that
// differs is printed in the form of the files in v2_scenarios/, where it is kept once it was understood.
// KVORUM_TEST_V2_SUBJECT=etcd compares etcd with itself, which tests the comparison.

// One seed for all who run the tests, so that a change fails for whoever made it.
const bool kSeeded = setenv("RC_PARAMS", "seed=2379 max_success=100", 0) == 0;

Server::Kind Subject() {
  const char* subject = std::getenv("KVORUM_TEST_V2_SUBJECT");
  return subject != nullptr && std::string_view(subject) == "etcd" ? Server::Kind::kEtcd
                                                                   : Server::Kind::kKvorum;
}

class V2Difference : public testing::Test {
 protected:
  // Elections are soon over, so that the servers start at once.
  const std::vector<std::string> flags_{"--enable-v2", "--heartbeat-interval=20", "--election-timeout=200"};
  const Server reference_{Server::Kind::kEtcd, flags_};
  const Server subject_{Subject(), flags_};
  Player player_{&reference_, &subject_};
};

TEST_F(V2Difference, RandomRequestsAreAnsweredAsByEtcd) {
  ASSERT_TRUE(kSeeded);
  const bool agreed = rc::check([&] {
    const Scenario scenario = *AnyScenario();
    const auto difference = player_.Play(scenario);
    // What is left is to make it small.
    if (difference) player_.set_patience(std::chrono::seconds(1));
    if (difference) RC_FAIL(*difference);
  });
  ASSERT_TRUE(agreed);
  for (const int status : {200, 201, 301, 400, 403, 404, 405, 412}) {
    EXPECT_TRUE(player_.statuses().contains(status)) << "the requests are all of a kind: " << status;
  }
  for (const auto& [status, count] : player_.statuses()) std::cout << status << ": " << count << "\n";
}

class V2Scenario : public V2Difference, public testing::WithParamInterface<std::filesystem::path> {};

TEST_P(V2Scenario, IsAnsweredAsByEtcd) {
  const std::ifstream file(GetParam());
  std::ostringstream text;
  text << file.rdbuf();
  const Scenario scenario = ParseScenario(text.str());
  ASSERT_FALSE(scenario.empty());
  EXPECT_EQ(player_.Play(scenario).value_or(""), "");
}

std::vector<std::filesystem::path> Scenarios() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(KVORUM_V2_SCENARIOS)) {
    files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

INSTANTIATE_TEST_SUITE_P(V2, V2Scenario, testing::ValuesIn(Scenarios()),
                         [](const auto& info) { return info.param.stem().string(); });

}  // namespace
}  // namespace kvorum::test
